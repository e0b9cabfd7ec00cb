#pragma once
// What a header needs to be read by the host compiler and by nvcc alike.
#if defined(__CUDACC__)
#define OFFRAMP_HD __host__ __device__
#else
#define OFFRAMP_HD
#endif
