// The form for machines without AVX2.
#define OFFRAMP_SIMD 0
#define SIMD_SUITE SimdArray
#include "tests/kernels/simd_checks.h"
