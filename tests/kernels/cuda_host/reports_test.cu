// What the host execution runtime refuses, and what its reports say: launches outside the limits, barriers
// and warp operations that part of the threads never reach, pointers that no device could follow.
#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <string>

#include "kernels/cuda/launch.h"
#include "tests/kernels/cuda/device_array.h"

namespace offramp::cuda {
namespace {

using test::DeviceArray;

std::string error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const DeviceError& error) {
    return error.what();
  }
  return "(no error)";
}
void expect_says(const std::function<void()>& body, const std::vector<std::string>& parts) {
  const std::string text = error_of(body);
  for (const std::string& part : parts) {
    EXPECT_NE(text.find(part), std::string::npos) << "expected '" << part << "' in:\n" << text;
  }
}

__global__ void nothing_kernel() {}
__global__ void pointer_kernel(float*) {}

TEST(LaunchLimits, AreThoseOfADevice) {
  const auto shape = [](dim3 grid, dim3 block, std::size_t shared) {
    return [=] { launch(nothing_kernel, grid, block, shared, nullptr); };
  };
  EXPECT_EQ(error_of(shape(1, 1024, 0)), "(no error)");
  EXPECT_EQ(error_of(shape(1, dim3(1, 1, 64), 232448)), "(no error)");
  expect_says(shape(1, 1025, 0),
              {"launch: expected a block of 1 to 1024 threads", "(1025,1,1)", "reports_test.cu:"});
  expect_says(shape(1, 0, 0), {"expected a block of 1 to 1024 threads", "(0,1,1)"});
  expect_says(shape(1, dim3(1, 1, 65), 0), {"at most 64 in z", "(1,1,65)"});
  expect_says(shape(0, 32, 0), {"expected a grid of at least one block", "(0,1,1)"});
  expect_says(shape(dim3(1, 65536), 32, 0), {"(2147483647,65535,65535)", "(1,65536,1)"});
  expect_says(shape(1, 32, 232449), {"expected at most 232448 bytes of dynamic shared memory, got 232449"});
}

TEST(LaunchLimits, PointersMustBeDeviceMemory) {
  float on_host = 0;
  DeviceArray<float> on_device(3);
  EXPECT_EQ(error_of([&] { launch(pointer_kernel, 1, 1, 0, nullptr, on_device.data()); }), "(no error)");
  EXPECT_EQ(error_of([&] { launch(pointer_kernel, 1, 1, 0, nullptr, nullptr); }), "(no error)");
  expect_says([&] { launch(pointer_kernel, 1, 1, 0, nullptr, &on_host); },
              {"launch: a pointer argument is not device memory", "reports_test.cu:"});
}

__global__ void static_shared_kernel(float* out) {
  OFFRAMP_SHARED(float, first, [12000]);
  OFFRAMP_SHARED(float, second, [1000]);
  first[threadIdx.x] = second[threadIdx.x] = 0;
  out[threadIdx.x] = first[threadIdx.x];
}
TEST(SharedMemory, StaticArraysHaveALimit) {
  DeviceArray<float> out(1);
  expect_says([&] { launch(static_shared_kernel, 1, 1, 0, nullptr, out.data()); },
              {"expected at most 49152 bytes of static arrays", "got 52000 static and 0 dynamic"});
}

__global__ void shared_contents_kernel(unsigned* out, int write) {
  OFFRAMP_SHARED(unsigned, word, [1]);
  OFFRAMP_DYN_SHARED(unsigned, more);
  out[2 * blockIdx.x] = word[0];
  out[2 * blockIdx.x + 1] = more[0];
  if (write != 0) word[0] = more[0] = 1;
}
TEST(SharedMemory, EveryBlockStartsPoisoned) {
  DeviceArray<unsigned> out(4);
  launch(shared_contents_kernel, 2, 1, 4, nullptr, out.data(), 1);
  EXPECT_EQ(out.values(), std::vector<unsigned>(4, 0xffffffffu));
}

constexpr int kElseLine = __LINE__ + 5;
__global__ void divergent_barrier_kernel() {
  if (threadIdx.x < 16) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}
TEST(Reports, ThreadsAtDifferentBarriers) {
  const std::string place = "reports_test.cu:" + std::to_string(kElseLine);
  expect_says([] { launch(divergent_barrier_kernel, dim3(1, 2), 64, 0, nullptr); },
              {"divergent barrier: threads meet at different __syncthreads in block (0,0,0)",
               "threads 0..15: in __syncthreads at ",
               "threads 16..63: in __syncthreads at ",
               place});
}

__global__ void divergent_shuffle_kernel(int* out) {
  int v = static_cast<int>(threadIdx.x);
  if (threadIdx.x < 16) v += __shfl_down_sync(0xffffffffu, v, 8);
  __syncthreads();
  out[threadIdx.x] = v;
}
TEST(Reports, AShuffleThatPartOfTheWarpNeverReaches) {
  DeviceArray<int> out(64);
  expect_says([&] { launch(divergent_shuffle_kernel, 1, 64, 0, nullptr, out.data()); },
              {"deadlock: no thread can go on in block (0,0,0)",
               "threads 0..15: in a warp operation at ",
               "mask ffffffff",
               "threads 16..63: in __syncthreads at "});
}

__global__ void wrong_mask_kernel() { __syncwarp(0x0000ffffu); }
TEST(Reports, ALaneThatItsMaskLeavesOut) {
  expect_says([] { launch(wrong_mask_kernel, 1, 32, 0, nullptr); },
              {"a lane calls a warp operation whose mask leaves it out in block (0,0,0)", "mask 0000ffff"});
}

TEST(Reports, TheRuntimeGoesOnAfterAFailedKernel) {
  DeviceArray<int> out(64);
  for (int i = 0; i < 3; ++i) {
    EXPECT_THROW(launch(divergent_shuffle_kernel, 2, 64, 0, nullptr, out.data()), DeviceError);
    EXPECT_THROW(launch(divergent_barrier_kernel, 2, 64, 0, nullptr), DeviceError);
    launch(nothing_kernel, 2, 64, 0, nullptr);
  }
}

TEST(Reports, ADeviceFunctionOutsideAKernel) {
  expect_says([] { __syncthreads(); }, {"a device function was called outside a kernel"});
}

TEST(HostConfig, ComesFromTheEnvironmentAndIsChecked) {
  const auto with = [](const char* name, const char* value) {
    setenv(name, value, 1);
    const std::string error = error_of([] { host::Config::from_environment(); });
    unsetenv(name);
    return error;
  };
  EXPECT_EQ(with("OFFRAMP_HOST_ORDER", "reverse"), "(no error)");
  EXPECT_EQ(with("OFFRAMP_HOST_ORDER", "2"),
            "OFFRAMP_HOST_ORDER: expected forward, reverse or random, got '2'");
  EXPECT_EQ(with("OFFRAMP_HOST_SEED", "18446744073709551615"), "(no error)");
  EXPECT_EQ(with("OFFRAMP_HOST_SEED", "-1"),
            "OFFRAMP_HOST_SEED: expected a whole number from 0 to 18446744073709551615, got '-1'");
  EXPECT_EQ(with("OFFRAMP_HOST_WORKERS", "2"), "(no error)");
  EXPECT_EQ(with("OFFRAMP_HOST_WORKERS", "0"),
            "OFFRAMP_HOST_WORKERS: expected a whole number from 1 to 256, got '0'");
  EXPECT_EQ(with("OFFRAMP_HOST_WORKERS", "2x"),
            "OFFRAMP_HOST_WORKERS: expected a whole number from 1 to 256, got '2x'");
}

}  // namespace
}  // namespace offramp::cuda
