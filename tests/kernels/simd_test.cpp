#define SIMD_SUITE Simd
#include "tests/kernels/simd_checks.h"
