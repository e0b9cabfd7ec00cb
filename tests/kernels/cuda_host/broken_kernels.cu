// A program with one broken kernel per name, for broken_kernels_test.cpp, which looks at how it ends. It
// exits with 3 when the kernel ran through and left a NaN where a number belongs, with 0 when nothing shows.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <vector>

#include "kernels/cuda/launch.h"
#include "tests/kernels/cuda/device_array.h"

namespace offramp::cuda {
namespace {

constexpr int kThreads = 64;

__global__ void shared_overrun(float* out) {
  OFFRAMP_SHARED(float, s, [kThreads]);
  float* slots = s;  // hides the array bound from the undefined-behaviour sanitizer: this is ASan's to find
  slots[threadIdx.x + 1] = 1;
  __syncthreads();
  out[threadIdx.x] = s[threadIdx.x];
}
__global__ void dynamic_shared_overrun(float* out) {
  OFFRAMP_DYN_SHARED(float, s);
  s[threadIdx.x + 1] = 1;
  __syncthreads();
  out[threadIdx.x] = s[threadIdx.x];
}
__global__ void global_overrun(float* out) { out[threadIdx.x + 1] = 1; }
__global__ void uninitialised_shared(float* out) {
  OFFRAMP_SHARED(float, s, [kThreads]);
  if (threadIdx.x < kThreads - 1) s[threadIdx.x] = 1;
  __syncthreads();
  out[threadIdx.x] = s[threadIdx.x];
}
__global__ void missing_barrier(float* out) {
  OFFRAMP_SHARED(float, s, [kThreads]);
  s[threadIdx.x] = 1;
  out[threadIdx.x] = s[kThreads - 1 - threadIdx.x];
}
// Warps have not run in lockstep since Volta: lanes need __syncwarp between the store and the load.
__global__ void assumed_lockstep(float* out) {
  OFFRAMP_SHARED(float, s, [kThreads]);
  s[threadIdx.x] = 1;
  out[threadIdx.x] = s[threadIdx.x ^ 1u];
}
__global__ void block_race(float* out) {
  if (threadIdx.x == 0) out[0] += 1.0f;
}
// Barriers order the threads of a block, not two blocks.
__global__ void block_race_around_barrier(float* out) {
  if (blockIdx.x == 0 && threadIdx.x == 0) out[0] = 1;
  __syncthreads();
  __syncwarp();
  if (blockIdx.x == 1 && threadIdx.x == 0) out[0] = 2;
}
__global__ void barrier_too_early(float* out) {
  OFFRAMP_SHARED(float, s, [kThreads]);
  s[threadIdx.x] = 1;
  __syncthreads();
  out[threadIdx.x] = s[kThreads - 1 - threadIdx.x];
  s[threadIdx.x] = 2;  // somebody may still be reading it
}

int run(const char* name) {
  struct {
    const char* name;
    void (*kernel)(float*);
    int blocks;
    std::size_t shared;
  } const all[] = {
      {"shared_overrun", shared_overrun, 1, 0},
      {"dynamic_shared_overrun", dynamic_shared_overrun, 1, kThreads * sizeof(float)},
      {"global_overrun", global_overrun, 1, 0},
      {"uninitialised_shared", uninitialised_shared, 1, 0},
      {"missing_barrier", missing_barrier, 1, 0},
      {"assumed_lockstep", assumed_lockstep, 1, 0},
      {"block_race", block_race, 4, 0},
      {"block_race_around_barrier", block_race_around_barrier, 2, 0},
      {"barrier_too_early", barrier_too_early, 1, 0},
  };
  for (const auto& broken : all) {
    if (std::strcmp(broken.name, name) != 0) continue;
    test::DeviceArray<float> out(kThreads);
    launch(broken.kernel, broken.blocks, kThreads, broken.shared, nullptr, out.data());
    for (const float value : out.values()) {
      if (std::isnan(value)) return 3;
    }
    return 0;
  }
  std::fprintf(stderr, "no broken kernel is called '%s'\n", name);
  return 2;
}

}  // namespace
}  // namespace offramp::cuda

int main(int argc, char** argv) { return argc == 2 ? offramp::cuda::run(argv[1]) : 2; }
