#pragma once
// Streams of the host build. Work runs when it is submitted, or with StreamWork::kLate when somebody waits
// for the stream; a stream that captures keeps it for the graph.
#include <deque>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "kernels/cuda/runtime.h"

struct CUstream_st {
  int device = 0;
  bool capturing = false;
  std::thread::id captured_by;
  const char* spoilt_by = nullptr;  // a call that a capture does not allow: nothing more is recorded
  std::vector<std::function<void()>> recorded;
  std::deque<std::function<void()>> waiting;
};

namespace offramp::cuda::host {

void submit(Stream stream, std::function<void()> work);
// Runs what waits. A failure is thrown here, where a device would report it, and the rest is forgotten.
void drain(Stream stream);

// Whether an address lies in (or right behind) memory of device_malloc. A kernel argument that points
// elsewhere would fault on a device.
bool is_device_memory(const void* address);
std::size_t device_bytes_in_use();
// More than that device_malloc refuses, as a full device does; returns the limit before. For tests.
std::size_t limit_device_bytes(std::size_t bytes);

// The error that a failed call of this thread left behind, as cudaGetLastError: empty if there is none; then
// it is gone.
std::string take_last_error();
// As cudaFuncSetAttribute of the dynamic shared memory: false, and a last error, where it is too much.
bool allow_shared(std::size_t bytes);

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
