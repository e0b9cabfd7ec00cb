// kernels/cuda/runtime.h over cudart, which is linked statically: the program starts without a driver, and
// then device_count() is 0.
#include "kernels/cuda/runtime.h"

#include <cuda_profiler_api.h>
#include <cuda_runtime.h>

#include <cstdio>
#include <mutex>
#include <unordered_map>

#include "base/errors.h"

namespace offramp::cuda {
namespace {

// A call that fails also leaves its error as the thread's last error, where the next launch would find it and
// blame itself. Whoever handles an error takes that one away.
cudaError_t handled(cudaError_t error) noexcept {
  if (error != cudaSuccess) static_cast<void>(cudaGetLastError());
  return error;
}

void check(cudaError_t error, const char* call, const Place& where) {
  if (handled(error) == cudaSuccess) return;
  throw DeviceError(std::string(call) + ": " + cudaGetErrorName(error) + " (" + cudaGetErrorString(error) +
                    ") at " + where.file_name() + ":" + std::to_string(where.line()));
}

// For destructors. A driver that is already shutting down is no error.
void report(cudaError_t error, const char* call) noexcept {
  if (handled(error) == cudaSuccess || error == cudaErrorCudartUnloading) return;
  std::fprintf(stderr, "%s: %s\n", call, cudaGetErrorString(error));
}

std::mutex node_count_mutex;
std::unordered_map<GraphExec, std::size_t>& node_counts() {
  static std::unordered_map<GraphExec, std::size_t> counts;
  return counts;
}

}  // namespace

int device_count() noexcept {
  int count = 0;
  return handled(cudaGetDeviceCount(&count)) == cudaSuccess ? count : 0;
}
std::string why_no_device() {
  int count = 0;
  const cudaError_t error = handled(cudaGetDeviceCount(&count));
  if (error == cudaErrorInsufficientDriver) {
    int driver = 0;
    if (handled(cudaDriverGetVersion(&driver)) != cudaSuccess || driver == 0) {
      return "no NVIDIA driver (libcuda.so.1 was not found)";
    }
    return "the driver supports CUDA " + std::to_string(driver / 1000) + "." +
           std::to_string(driver % 1000 / 10) + ", this program needs " + runtime_version();
  }
  if (error != cudaSuccess) return cudaGetErrorString(error);
  return count == 0 ? "the driver lists no device" : "";
}
std::string runtime_version() {
  int version = 0;
  if (handled(cudaRuntimeGetVersion(&version)) != cudaSuccess) return "CUDA, version unknown";
  return "CUDA " + std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}
bool executes_on_host() { return false; }

DeviceProperties device_properties(int device, Place where) {
  cudaDeviceProp p{};
  check(cudaGetDeviceProperties(&p, device), "device_properties", where);
  return {.name = p.name,
          .major = p.major,
          .minor = p.minor,
          .multiprocessors = p.multiProcessorCount,
          .memory_bytes = p.totalGlobalMem,
          .l2_bytes = static_cast<std::size_t>(p.l2CacheSize),
          .max_shared_bytes = p.sharedMemPerBlockOptin};
}
void set_device(int device, Place where) { check(cudaSetDevice(device), "set_device", where); }
void synchronize_device(Place where) { check(cudaDeviceSynchronize(), "synchronize_device", where); }

void* device_malloc(std::size_t bytes, Place where) {
  void* memory = nullptr;
  if (bytes != 0) check(cudaMalloc(&memory, bytes), "device_malloc", where);
  return memory;
}
void device_free(void* memory) noexcept { report(cudaFree(memory), "device_free"); }
void* pinned_malloc(std::size_t bytes, Place where) {
  void* memory = nullptr;
  if (bytes != 0) check(cudaMallocHost(&memory, bytes), "pinned_malloc", where);
  return memory;
}
void pinned_free(void* memory) noexcept { report(cudaFreeHost(memory), "pinned_free"); }

void copy_async(void* to, const void* from, std::size_t bytes, Copy kind, Stream stream, Place where) {
  if (bytes == 0) return;
  const cudaMemcpyKind direction = kind == Copy::kHostToDevice   ? cudaMemcpyHostToDevice
                                   : kind == Copy::kDeviceToHost ? cudaMemcpyDeviceToHost
                                                                 : cudaMemcpyDeviceToDevice;
  check(cudaMemcpyAsync(to, from, bytes, direction, stream), "copy_async", where);
}
void memset_async(void* to, int byte, std::size_t bytes, Stream stream, Place where) {
  if (bytes != 0) check(cudaMemsetAsync(to, byte, bytes, stream), "memset_async", where);
}

Stream create_stream(Place where) {
  Stream stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "create_stream", where);
  return stream;
}
void destroy_stream(Stream stream) noexcept { report(cudaStreamDestroy(stream), "destroy_stream"); }
void synchronize_stream(Stream stream, Place where) {
  check(cudaStreamSynchronize(stream), "synchronize_stream", where);
}

Event create_event(Timing timing, Place where) {
  Event event = nullptr;
  const unsigned flags = timing == Timing::kYes ? cudaEventDefault : cudaEventDisableTiming;
  check(cudaEventCreateWithFlags(&event, flags), "create_event", where);
  return event;
}
void destroy_event(Event event) noexcept { report(cudaEventDestroy(event), "destroy_event"); }
void record_event(Event event, Stream stream, Place where) {
  check(cudaEventRecord(event, stream), "record_event", where);
}
void wait_event(Stream stream, Event event, Place where) {
  check(cudaStreamWaitEvent(stream, event, 0), "wait_event", where);
}
void synchronize_event(Event event, Place where) {
  check(cudaEventSynchronize(event), "synchronize_event", where);
}
float elapsed_ms(Event start, Event stop, Place where) {
  float ms = 0;
  check(cudaEventElapsedTime(&ms, start, stop), "elapsed_ms", where);
  return ms;
}

void begin_capture(Stream stream, Place where) {
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "begin_capture", where);
}
GraphExec end_capture(Stream stream, Place where) {
  cudaGraph_t graph = nullptr;
  check(cudaStreamEndCapture(stream, &graph), "end_capture", where);
  std::size_t nodes = 0;
  cudaError_t error = cudaGraphGetNodes(graph, nullptr, &nodes);
  GraphExec executable = nullptr;
  if (error == cudaSuccess) error = cudaGraphInstantiate(&executable, graph, 0);
  report(cudaGraphDestroy(graph), "end_capture");
  check(error, "end_capture", where);
  const std::lock_guard lock(node_count_mutex);
  node_counts()[executable] = nodes;
  return executable;
}
void abandon_capture(Stream stream) noexcept {
  cudaGraph_t graph = nullptr;
  static_cast<void>(cudaStreamEndCapture(stream, &graph));  // an error here is that of what failed before
  if (graph != nullptr) report(cudaGraphDestroy(graph), "abandon_capture");
  static_cast<void>(cudaGetLastError());
}
bool is_capturing(Stream stream, Place where) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  check(cudaStreamIsCapturing(stream, &status), "is_capturing", where);
  return status != cudaStreamCaptureStatusNone;
}
void launch_graph(GraphExec graph, Stream stream, Place where) {
  check(cudaGraphLaunch(graph, stream), "launch_graph", where);
}
std::size_t graph_nodes(GraphExec graph) {
  const std::lock_guard lock(node_count_mutex);
  return node_counts().at(graph);
}
void destroy_graph(GraphExec graph) noexcept {
  report(cudaGraphExecDestroy(graph), "destroy_graph");
  const std::lock_guard lock(node_count_mutex);
  node_counts().erase(graph);
}

void start_profiler(Place where) { check(cudaProfilerStart(), "start_profiler", where); }
void stop_profiler(Place where) { check(cudaProfilerStop(), "stop_profiler", where); }

}  // namespace offramp::cuda
