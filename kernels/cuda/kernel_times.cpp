#include "kernels/cuda/kernel_times.h"

#include "base/errors.h"
#include "kernels/cuda/runtime.h"

#if !defined(OFFRAMP_CUDA_HOST) && __has_include(<cupti.h>)

#include <cupti.h>
#include <cxxabi.h>
#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>

namespace offramp::cuda {
namespace {

struct Library {
  void* handle = nullptr;
  std::string problem;
  decltype(&cuptiActivityEnable) enable = nullptr;
  decltype(&cuptiActivityDisable) disable = nullptr;
  decltype(&cuptiActivityRegisterCallbacks) register_callbacks = nullptr;
  decltype(&cuptiActivityGetNextRecord) next_record = nullptr;
  decltype(&cuptiActivityFlushAll) flush = nullptr;
  decltype(&cuptiGetResultString) result_string = nullptr;

  template <class F>
  void find(F& function, const char* name) {
    function = reinterpret_cast<F>(dlsym(handle, name));
    if (function == nullptr && problem.empty()) problem = std::string("libcupti has no ") + name;
  }

  Library() {
    constexpr const char* kNames[] = {"libcupti.so.13",
                                      "libcupti.so",
                                      "/usr/local/cuda/lib64/libcupti.so",
                                      "/usr/local/cuda/extras/CUPTI/lib64/libcupti.so"};
    for (const char* name : kNames) {
      if (handle == nullptr) handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    }
    if (handle == nullptr) {
      problem =
          "libcupti.so.13 was not found; it is in extras/CUPTI/lib64 of the CUDA toolkit (set "
          "LD_LIBRARY_PATH)";
      return;
    }
    find(enable, "cuptiActivityEnable");
    find(disable, "cuptiActivityDisable");
    find(register_callbacks, "cuptiActivityRegisterCallbacks");
    find(next_record, "cuptiActivityGetNextRecord");
    find(flush, "cuptiActivityFlushAll");
    find(result_string, "cuptiGetResultString");
  }
};

Library& library() {
  static Library the_library;
  return the_library;
}

void check(CUptiResult result, const char* what) {
  if (result == CUPTI_SUCCESS) return;
  const char* text = "unknown";
  library().result_string(result, &text);
  throw DeviceError(std::string("kernel times: ") + what + ": " + text);
}

// Filled by CUPTI's own thread.
struct Times {
  std::mutex mutex;
  std::map<std::string, KernelTime> by_name;
};
Times& times() {
  static Times all;
  return all;
}

std::string demangled(const char* name) {
  int status = 0;
  char* text = abi::__cxa_demangle(name, nullptr, nullptr, &status);
  std::string result = status == 0 && text != nullptr ? text : name;
  std::free(text);
  return result;
}

void add(const CUpti_ActivityKernel10& k) {
  KernelTime& t = times().by_name[demangled(k.name)];
  const double seconds = static_cast<double>(k.end - k.start) * 1e-9;
  t.shortest = t.launches == 0 ? seconds : std::min(t.shortest, seconds);
  t.longest = std::max(t.longest, seconds);
  ++t.launches;
  t.seconds += seconds;
  t.registers = k.registersPerThread;
  t.shared_bytes = std::int64_t{k.staticSharedMemory} + k.dynamicSharedMemory;
  t.blocks = std::int64_t{k.gridX} * k.gridY * k.gridZ;
  t.threads = k.blockX * k.blockY * k.blockZ;
}

constexpr std::size_t kBufferBytes = std::size_t{4} << 20, kBufferAlignment = 8;

void CUPTIAPI buffer_wanted(std::uint8_t** buffer, std::size_t* bytes, std::size_t* max_records) {
  *buffer = static_cast<std::uint8_t*>(std::aligned_alloc(kBufferAlignment, kBufferBytes));
  *bytes = *buffer != nullptr ? kBufferBytes : 0;
  *max_records = 0;
}

void CUPTIAPI buffer_full(
    CUcontext /*context*/, std::uint32_t /*stream*/, std::uint8_t* buffer, std::size_t, std::size_t valid) {
  const std::lock_guard lock(times().mutex);
  CUpti_Activity* record = nullptr;
  while (library().next_record(buffer, valid, &record) == CUPTI_SUCCESS) {
    if (record->kind == CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) {
      add(*reinterpret_cast<const CUpti_ActivityKernel10*>(record));
    }
  }
  std::free(buffer);
}

}  // namespace

std::string why_no_kernel_times() { return library().problem; }

void start_kernel_times() {
  if (!library().problem.empty()) throw DeviceError("kernel times: " + library().problem);
  synchronize_device();
  {
    const std::lock_guard lock(times().mutex);
    times().by_name.clear();
  }
  check(library().register_callbacks(buffer_wanted, buffer_full), "registering");
  check(library().enable(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL), "enabling");
}

std::vector<KernelTime> stop_kernel_times() {
  synchronize_device();
  check(library().disable(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL), "disabling");
  check(library().flush(1), "flushing");
  const std::lock_guard lock(times().mutex);
  std::vector<KernelTime> all;
  for (auto& [name, time] : times().by_name) {
    all.push_back(time);
    all.back().name = name;
  }
  std::stable_sort(
      all.begin(), all.end(), [](const KernelTime& a, const KernelTime& b) { return a.seconds > b.seconds; });
  return all;
}

}  // namespace offramp::cuda

#else

namespace offramp::cuda {

std::string why_no_kernel_times() {
  return executes_on_host() ? "kernels are executed on the host" : "the build found no cupti.h";
}
void start_kernel_times() { throw DeviceError("kernel times: " + why_no_kernel_times()); }
std::vector<KernelTime> stop_kernel_times() { throw DeviceError("kernel times: " + why_no_kernel_times()); }

}  // namespace offramp::cuda

#endif
