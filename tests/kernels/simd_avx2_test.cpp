// The AVX2 form, also on machines whose kernels use AVX-512.
#define OFFRAMP_SIMD 256
#define SIMD_SUITE SimdAvx2
#include "tests/kernels/simd_checks.h"
