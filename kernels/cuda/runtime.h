#pragma once
// The few runtime calls that the project uses: memory, copies, streams, events, graphs, devices. The CUDA
// build forwards to cudart (runtime_device.cpp); OFFRAMP_CUDA=host has its own (host/runtime.cpp), where
// device memory is the heap, poisoned and fenced. No vendor header is needed to include this one. Everything
// throws DeviceError with the call, the error's name and the place of the call, except what a destructor
// calls (noexcept; these report on stderr).
#include <atomic>
#include <cstddef>
#include <source_location>
#include <string>

struct CUstream_st;
struct CUevent_st;
struct CUgraphExec_st;

namespace offramp::cuda {

using Stream = CUstream_st*;  // the same types as cudaStream_t, cudaEvent_t, cudaGraphExec_t
using Event = CUevent_st*;
using GraphExec = CUgraphExec_st*;
using Place = std::source_location;

// ---- devices ----
// Number of devices; 0 without a driver, then `why_no_device` says what is missing (empty otherwise).
int device_count() noexcept;
std::string why_no_device();

struct DeviceProperties {
  std::string name;
  int major = 0, minor = 0;  // compute capability
  int multiprocessors = 0;
  std::size_t memory_bytes = 0;
  std::size_t l2_bytes = 0;
  std::size_t max_shared_bytes = 0;  // of a block, opted in
};
DeviceProperties device_properties(int device, Place where = Place::current());
void set_device(int device, Place where = Place::current());
void synchronize_device(Place where = Place::current());
std::string runtime_version();  // "CUDA 13.0", or "host execution"
bool executes_on_host();        // true in a build with OFFRAMP_CUDA=host

// ---- memory: 256-byte aligned; 0 bytes give null ----
void* device_malloc(std::size_t bytes, Place where = Place::current());
void device_free(void* memory) noexcept;
void* pinned_malloc(std::size_t bytes, Place where = Place::current());  // of the host, for fast copies
void pinned_free(void* memory) noexcept;

enum class Copy { kHostToDevice, kDeviceToHost, kDeviceToDevice };
void copy_async(
    void* to, const void* from, std::size_t bytes, Copy kind, Stream stream, Place where = Place::current());
void memset_async(void* to, int byte, std::size_t bytes, Stream stream, Place where = Place::current());

// ---- streams and events ----
Stream create_stream(Place where = Place::current());  // does not wait for the default stream
void destroy_stream(Stream stream) noexcept;
void synchronize_stream(Stream stream, Place where = Place::current());

enum class Timing { kNo, kYes };
Event create_event(Timing timing, Place where = Place::current());
void destroy_event(Event event) noexcept;
void record_event(Event event, Stream stream, Place where = Place::current());
void wait_event(Stream stream,
                Event event,
                Place where = Place::current());  // the stream waits, not the host
void synchronize_event(Event event, Place where = Place::current());
float elapsed_ms(Event start, Event stop, Place where = Place::current());  // both created with Timing::kYes

// ---- overlapping launches: on devices of 9.0 and later a kernel of ours may take its place while the one before
// it ends (programmatic dependent launch), also in graphs; nothing elsewhere. Values do not depend on it.
inline std::atomic<bool> overlap_launches{false};

// ---- graphs: what is launched on the stream between begin and end is recorded, not run ----
// Refused in between, since a device refuses it: memory that is allocated or freed, and whatever waits for the device, a
// stream or an event.
void begin_capture(Stream stream, Place where = Place::current());
GraphExec end_capture(Stream stream, Place where = Place::current());
void abandon_capture(Stream stream) noexcept;  // forgets what was recorded, also where recording failed
bool is_capturing(Stream stream, Place where = Place::current());
void launch_graph(GraphExec graph, Stream stream, Place where = Place::current());
std::size_t graph_nodes(GraphExec graph);  // number of recorded operations
void destroy_graph(GraphExec graph) noexcept;

// ---- profilers: Nsight started with --capture-range=cudaProfilerApi records what lies between
void start_profiler(Place where = Place::current());
void stop_profiler(Place where = Place::current());

}  // namespace offramp::cuda
