#pragma once
// One kernel source, two builds. Under nvcc these are thin names over <<<>>> and __shared__. Elsewhere
// (OFFRAMP_CUDA=host) the same file is plain C++: a block runs on one OS thread and each CUDA thread is a
// fiber (kernels/cuda/host/), so every kernel runs, and is checked by ASan and TSan, on a machine without a
// GPU.
//
//   launch(kernel, grid, block, dynamic_shared_bytes, stream, arguments...)
//   OFFRAMP_SHARED(float, tile, [32][33]);   a static shared array; a plain __shared__ does not compile here
//   OFFRAMP_DYN_SHARED(float, row);          float* row: the dynamic shared memory, 16-byte aligned
//   follow();                                the first statement of every kernel (tests/kernels/cuda/check_follow)
//
// launch throws DeviceError that names the launching line when the shape is refused; a kernel that fails on
// the host throws from there, with the lines where its threads wait. Shared kernels may not use: CUB, wmma,
// inline PTX, cooperative grid sync.
#include <cstddef>
#include <string>

#include "base/errors.h"
#include "kernels/cuda/runtime.h"

#if defined(__CUDACC__)

#include <cuda_runtime.h>

#define OFFRAMP_SHARED(T, name, ...) __shared__ __align__(16) T name __VA_ARGS__
#define OFFRAMP_DYN_SHARED(T, name)                                    \
  extern __shared__ __align__(16) unsigned char offramp_dyn_shared_[]; \
  T* name = reinterpret_cast<T*>(offramp_dyn_shared_)

#else

#include <memory>
#include <tuple>

#include "kernels/cuda/host/config.h"
#include "kernels/cuda/host/device_functions.h"
#include "kernels/cuda/host/grid.h"
#include "kernels/cuda/host/stream.h"

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline
#define __launch_bounds__(...)

#define OFFRAMP_SHARED(T, name, ...)                                                          \
  using name##_shared_type = T __VA_ARGS__;                                                   \
  static const char name##_shared_declaration = 0;                                            \
  name##_shared_type& name =                                                                  \
      *static_cast<name##_shared_type*>(::offramp::cuda::host::Block::current().shared_array( \
          &name##_shared_declaration, sizeof(name##_shared_type)))
#define OFFRAMP_DYN_SHARED(T, name) \
  T* name = reinterpret_cast<T*>(::offramp::cuda::host::Block::current().dynamic_shared())

#endif

namespace offramp::cuda {

// For which architecture the code of a kernel was compiled that runs here, as 90: an older PTX that the driver
// translates stays what it was, `#if __CUDA_ARCH__` included. 0 where the program has no code for the device.
template <class... Parameters>
int compiled_architecture([[maybe_unused]] void (*kernel)(Parameters...)) {
#if defined(__CUDACC__)
  cudaFuncAttributes attributes{};
  if (cudaFuncGetAttributes(&attributes, kernel) == cudaSuccess) return attributes.ptxVersion;
  static_cast<void>(cudaGetLastError());
  return 0;
#else
  return host::config().architecture;
#endif
}

// Where launches overlap (runtime.h) the blocks of a grid are there before the grid in front of it has ended: this
// waits until that one's writes are visible, then lets the grid behind it send its blocks. A grid ends only when all its
// blocks have waited, so what lies further back has ended too.
__device__ __forceinline__ void follow() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
#endif
}

// The grid of a launch, and the line that launches.
struct Grid {
  dim3 blocks;
  const char* file;
  int line;
  Grid(dim3 d, const char* f = __builtin_FILE(), int l = __builtin_LINE()) : blocks(d), file(f), line(l) {}
  Grid(unsigned n, const char* f = __builtin_FILE(), int l = __builtin_LINE())
      : blocks(n), file(f), line(l) {}
  Grid(int n, const char* f = __builtin_FILE(), int l = __builtin_LINE())
      : blocks(static_cast<unsigned>(n)), file(f), line(l) {}

  [[noreturn]] void refused(const std::string& why) const {
    throw DeviceError("launch: " + why + " at " + file + ":" + std::to_string(line));
  }
};

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...),
            Grid grid,
            dim3 block,
            std::size_t dynamic_shared_bytes,
            Stream stream,
            Arguments&&... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments),
                "a launch gives every parameter of its kernel");
  // A block has 48 KiB that nobody asks for, its static arrays included: 16 are left to them.
  constexpr std::size_t kWithoutOptIn = 32 * 1024;
  // The last error is asked for in any case: a refused attribute leaves one behind too.
#if defined(__CUDACC__)
  if (dynamic_shared_bytes <= kWithoutOptIn ||
      cudaFuncSetAttribute(kernel,
                           cudaFuncAttributeMaxDynamicSharedMemorySize,
                           static_cast<int>(dynamic_shared_bytes)) == cudaSuccess) {
    cudaLaunchAttribute overlap{};
    overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    overlap.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config{};
    config.gridDim = grid.blocks;
    config.blockDim = block;
    config.dynamicSmemBytes = dynamic_shared_bytes;
    config.stream = stream;
    config.attrs = &overlap;
    // Code for older devices that the driver translates does not wait.
    config.numAttrs = overlap_launches && compiled_architecture(kernel) >= 90 ? 1 : 0;
    cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
  }
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) {
    grid.refused(cudaGetErrorString(error));
  }
#else
  const bool opts_in = dynamic_shared_bytes > kWithoutOptIn;
  const bool allowed = !opts_in || host::allow_shared(dynamic_shared_bytes);
  if (const std::string left = host::take_last_error(); !allowed || !left.empty()) grid.refused(left);
  const std::string problem = host::launch_problem(grid.blocks, block);
  if (!problem.empty()) grid.refused(problem);
  if (!(host::fit_for_device(static_cast<const Parameters&>(arguments)) && ...)) {
    grid.refused("a pointer argument is not device memory");
  }
  if (host::launch_log != nullptr) {
    host::launch_log->push_back({grid.file, grid.blocks.x * grid.blocks.y * grid.blocks.z});
  }
  struct Call {
    void (*kernel)(Parameters...);
    std::tuple<Parameters...> arguments;
  };
  auto call =
      std::make_shared<Call>(Call{kernel, std::tuple<Parameters...>(static_cast<Parameters>(arguments)...)});
  host::submit(stream, [call, blocks = grid.blocks, block, dynamic_shared_bytes, opts_in] {
    host::Block::Launch shape;
    shape.body = [](void* p) {
      auto* c = static_cast<Call*>(p);
      std::apply(c->kernel, c->arguments);
    };
    shape.arguments = call.get();
    shape.grid = blocks;
    shape.block = block;
    shape.dynamic_shared_bytes = dynamic_shared_bytes;
    shape.opts_in = opts_in;
    host::run_grid(shape);
  });
#endif
}

}  // namespace offramp::cuda
