#pragma once
// Where an op runs, seen from a test: TestDevice classes with one interface, and the lists of (device, type)
// pairs that typed tests iterate over. A device is a class with
//   using Context                       the context of its op namespace
//   static const char* name();
//   static std::string missing();       empty, or why its cases are skipped
//   static Context& context();          shared by all tests; two threads on the CPU
//   static void* allocate(bytes); static void release(void*);
//   static void upload(void* device, const void* host, bytes);
//   static void download(void* host, const void* device, bytes);
// Where there is a CUDA back end its device is added to the lists at the end of this file.
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "kernels/bf16.h"
#include "kernels/cpu/context.h"
#if OFFRAMP_HAS_CUDA
#include "kernels/cuda/context.h"
#include "kernels/cuda/memory.h"
#endif

namespace offramp::test {

struct CpuDevice {
  using Context = cpu::Context;
  static const char* name() { return "cpu"; }
  static std::string missing() { return ""; }
  static Context& context() {
    static Context shared(cpu::ContextOptions{.threads = 2});
    return shared;
  }
  static void* allocate(std::size_t bytes) { return std::aligned_alloc(64, (bytes + 63) / 64 * 64); }
  static void release(void* memory) { std::free(memory); }
  static void upload(void* device, const void* host, std::size_t bytes) {
    if (bytes > 0) std::memcpy(device, host, bytes);
  }
  static void download(void* host, const void* device, std::size_t bytes) {
    if (bytes > 0) std::memcpy(host, device, bytes);
  }
};

#if OFFRAMP_HAS_CUDA
// A GPU, or in a build with OFFRAMP_CUDA=host the CPU with one fiber a CUDA thread: keep shapes small. The
// libraries compute where they are found; OFFRAMP_TEST_CONV=native in the environment tests our own kernels
// in their place.
struct CudaDevice {
  using Context = cuda::Context;
  static const char* name() { return "cuda"; }
  static std::string missing() { return cuda::why_no_device(); }
  static Context& context() {
    const char* conv = std::getenv("OFFRAMP_TEST_CONV");
    // Never destroyed: when statics go, the libraries that it would call may be gone already.
    static Context& shared = *new Context({.conv = conv != nullptr && std::string(conv) == "native"
                                                       ? cuda::ConvBackend::kNative
                                                       : cuda::ConvBackend::kLibrary});
    return shared;
  }
  static void* allocate(std::size_t bytes) { return cuda::allocate(context(), bytes, "test"); }
  static void release(void* memory) { cuda::release(context(), memory); }
  static void upload(void* device, const void* host, std::size_t bytes) {
    cuda::upload(context(), device, host, bytes);
  }
  static void download(void* host, const void* device, std::size_t bytes) {
    cuda::download(context(), host, device, bytes);
  }
};
#endif

template <class DeviceType, class ValueType>
struct Backend {
  using Device = DeviceType;
  using Value = ValueType;
};

#if OFFRAMP_HAS_CUDA
using FloatBackends = ::testing::Types<Backend<CpuDevice, float>, Backend<CudaDevice, float>>;
using Backends = ::testing::Types<Backend<CpuDevice, float>,
                                  Backend<CpuDevice, bf16>,
                                  Backend<CudaDevice, float>,
                                  Backend<CudaDevice, bf16>>;
#else
using FloatBackends = ::testing::Types<Backend<CpuDevice, float>>;
using Backends = ::testing::Types<Backend<CpuDevice, float>, Backend<CpuDevice, bf16>>;
#endif

// Fixture of typed tests: `using Device = typename TypeParam::Device`.
template <class B>
class BackendTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = B::Device::missing(); !why.empty()) GTEST_SKIP() << why;
  }
};

// Test names: cpu_float, cpu_bf16, ...
struct BackendNames {
  template <class B>
  static std::string GetName(int) {
    return std::string(B::Device::name()) + (sizeof(typename B::Value) == sizeof(bf16) ? "_bf16" : "_float");
  }
};

}  // namespace offramp::test
