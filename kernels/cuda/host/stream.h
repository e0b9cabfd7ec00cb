#pragma once
// Streams of the host build. Work runs when it is submitted; a stream that captures keeps it for the graph.
#include <functional>
#include <string>
#include <vector>

#include "kernels/cuda/runtime.h"

struct CUstream_st {
  bool capturing = false;
  std::vector<std::function<void()>> recorded;
};

namespace offramp::cuda::host {

void submit(Stream stream, std::function<void()> work);

// Whether an address lies in (or right behind) memory of device_malloc. A kernel argument that points
// elsewhere would fault on a device.
bool is_device_memory(const void* address);
std::size_t device_bytes_in_use();

// Null pointers and arguments that are no pointers pass.
template <class T>
bool fit_for_device(const T& argument) {
  if constexpr (std::is_pointer_v<T> && !std::is_function_v<std::remove_pointer_t<T>>) {
    return argument == nullptr || is_device_memory(argument);
  } else {
    return true;
  }
}

}  // namespace offramp::cuda::host
