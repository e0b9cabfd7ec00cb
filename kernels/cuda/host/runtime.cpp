// kernels/cuda/runtime.h for OFFRAMP_CUDA=host. Device memory comes from the heap with its exact size, so
// that ASan sees its end, and starts as bytes 0xFF (NaN), so that a read before the write shows.
#include "kernels/cuda/runtime.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <utility>

#include "base/errors.h"
#include "kernels/cuda/host/config.h"
#include "kernels/cuda/host/shared_memory.h"
#include "kernels/cuda/host/stream.h"

struct CUevent_st {
  bool timed = false, recorded = false;
  CUstream_st* stream = nullptr;  // of the last record
  std::chrono::steady_clock::time_point when{};
};
struct CUgraphExec_st {
  std::vector<std::function<void()>> work;
};

namespace offramp::cuda {
namespace {

constexpr std::size_t kAlignment = 256;

// As cudart does: a call that fails leaves its error behind, of the calling thread.
std::string& last_error() {
  static thread_local std::string error;
  return error;
}

int& current_device() {  // of the thread
  static thread_local int device = 0;
  return device;
}

// As runtime_device.cpp does: an error that is thrown is not left for the next launch to find.
[[noreturn]] void failed(const char* call, const std::string& why, const Place& where) {
  last_error() = why;
  static_cast<void>(host::take_last_error());
  throw DeviceError(std::string(call) + ": " + why + " at " + where.file_name() + ":" +
                    std::to_string(where.line()));
}

// All device memory: start and size.
struct Allocations {
  std::mutex mutex;
  std::map<const unsigned char*, std::size_t> blocks;
  std::size_t bytes = 0, limit = std::size_t{1} << 34;

  bool holds(const void* address, std::size_t length) {
    const std::lock_guard lock(mutex);
    const auto* first = static_cast<const unsigned char*>(address);
    auto after = blocks.upper_bound(first);
    if (after == blocks.begin()) return false;
    --after;
    return first + length <= after->first + after->second;
  }
};
Allocations& allocations() {
  static auto* all = new Allocations;  // outlives every static that frees device memory
  return *all;
}

// All streams, for what waits for the whole device. What waits in them is added and run under the mutex: one
// thread frees memory while another submits.
struct Streams {
  std::recursive_mutex mutex;
  std::set<Stream> all;
};
Streams& streams() {
  static auto* all = new Streams;
  return *all;
}

// What waits for the device, or might, is no part of a graph. As on a device such a call fails, and spoils the
// captures that the calling thread has under way: all that remains is to end them, which fails too.
bool spoils_captures(const char* call) noexcept {
  const std::lock_guard lock(streams().mutex);
  bool any = false;
  for (const Stream stream : streams().all) {
    if (!stream->capturing || stream->captured_by != std::this_thread::get_id()) continue;
    stream->spoilt_by = call;
    any = true;
  }
  return any;
}
constexpr const char* kNotCaptured = "not permitted while a stream of this thread is capturing";

void refuse_in_captures(const char* call, const Place& where) {
  if (spoils_captures(call)) failed(call, kNotCaptured, where);
}
bool refused_in_captures(const char* call) noexcept {  // for destructors
  if (!spoils_captures(call)) return false;
  std::fprintf(stderr, "%s: %s\n", call, kNotCaptured);
  return true;
}

// Freeing memory waits for the device, and can report a failure of its work nowhere else.
void drain_all() noexcept {
  const std::lock_guard lock(streams().mutex);
  for (const Stream stream : streams().all) {
    try {
      host::drain(stream);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "host execution: %s\n", error.what());
    }
  }
}

void* aligned_memory(const char* call, std::size_t bytes, const Place& where) {
  void* memory = nullptr;
  if (posix_memalign(&memory, kAlignment, bytes) != 0) {
    failed(call, "out of memory for " + std::to_string(bytes) + " bytes", where);
  }
  return memory;
}

void check_device(const char* call, const void* memory, std::size_t bytes, const Place& where) {
  if (!allocations().holds(memory, bytes)) {
    failed(call,
           "expected device memory of " + std::to_string(bytes) + " bytes, got other or less memory",
           where);
  }
}

void check_number(const char* call, int device, const Place& where) {
  if (device >= 0 && device < device_count()) return;
  failed(call,
         "expected a device below " + std::to_string(device_count()) + ", got " + std::to_string(device),
         where);
}

void check_host(const char* call, const void* memory, const Place& where) {
  if (allocations().holds(memory, 1)) failed(call, "expected host memory, got device memory", where);
}

std::string spoilt(Stream stream) { return std::string("the capture was spoilt by ") + stream->spoilt_by; }

}  // namespace

namespace host {

void submit(Stream stream, std::function<void()> work) {
  if (stream != nullptr && stream->device != current_device()) {
    throw DeviceError("invalid resource handle: a stream of device " + std::to_string(stream->device) +
                      ", and the thread's device is " + std::to_string(current_device()));
  }
  if (stream != nullptr && stream->capturing) {
    if (stream->spoilt_by != nullptr) throw DeviceError(spoilt(stream));
    stream->recorded.push_back(std::move(work));
  } else if (stream != nullptr && config().streams == StreamWork::kLate) {
    const std::lock_guard lock(streams().mutex);
    stream->waiting.push_back(std::move(work));
  } else if (config().streams != StreamWork::kNever) {
    work();
  }
}

void drain(Stream stream) {
  const std::lock_guard lock(streams().mutex);
  if (!streams().all.contains(stream)) return;
  std::deque<std::function<void()>> work = std::exchange(stream->waiting, {});
  for (const auto& w : work) w();
}

bool is_device_memory(const void* address) { return allocations().holds(address, 0); }

std::size_t device_bytes_in_use() {
  const std::lock_guard lock(allocations().mutex);
  return allocations().bytes;
}

std::size_t limit_device_bytes(std::size_t bytes) {
  const std::lock_guard lock(allocations().mutex);
  return std::exchange(allocations().limit, bytes);
}

std::string take_last_error() { return std::exchange(last_error(), {}); }

bool allow_shared(std::size_t bytes) {
  if (bytes <= kMaxSharedBytes) return true;
  last_error() = "expected at most " + std::to_string(kMaxSharedBytes) +
                 " bytes of dynamic shared memory, got " + std::to_string(bytes);
  return false;
}

}  // namespace host

int device_count() noexcept { return host::config().devices; }
std::string why_no_device() { return device_count() == 0 ? "OFFRAMP_HOST_DEVICES is 0" : ""; }
std::string runtime_version() { return "host execution"; }
bool executes_on_host() { return true; }

DeviceProperties device_properties(int device, Place where) {
  check_number("device_properties", device, where);
  return {.name = "host execution (fibers)",
          .major = 9,
          .minor = 0,
          .multiprocessors = 4,
          .memory_bytes = std::size_t{1} << 34,
          .l2_bytes = std::size_t{1} << 25,
          .max_shared_bytes = host::kMaxSharedBytes};
}
void set_device(int device, Place where) {
  check_number("set_device", device, where);
  current_device() = device;
}
void synchronize_device(Place where) {
  refuse_in_captures("synchronize_device", where);
  const std::lock_guard lock(streams().mutex);
  for (const Stream stream : streams().all) host::drain(stream);
}

void* device_malloc(std::size_t bytes, Place where) {
  if (bytes == 0) return nullptr;
  refuse_in_captures("device_malloc", where);
  Allocations& all = allocations();
  {
    const std::lock_guard lock(all.mutex);
    if (bytes > all.limit || all.bytes > all.limit - bytes) {
      failed("device_malloc", "out of memory for " + std::to_string(bytes) + " bytes", where);
    }
  }
  void* memory = aligned_memory("device_malloc", bytes, where);
  if (host::config().streams != host::StreamWork::kNever) std::memset(memory, 0xFF, bytes);
  const std::lock_guard lock(all.mutex);
  all.blocks[static_cast<unsigned char*>(memory)] = bytes;
  all.bytes += bytes;
  return memory;
}

void device_free(void* memory) noexcept {
  if (memory == nullptr || refused_in_captures("device_free")) return;
  drain_all();
  Allocations& all = allocations();
  {
    const std::lock_guard lock(all.mutex);
    const auto found = all.blocks.find(static_cast<unsigned char*>(memory));
    if (found == all.blocks.end()) {
      std::fputs("device_free: not the start of device memory\n", stderr);
      return;
    }
    all.bytes -= found->second;
    all.blocks.erase(found);
  }
  std::free(memory);
}

void* pinned_malloc(std::size_t bytes, Place where) {
  if (bytes == 0) return nullptr;
  refuse_in_captures("pinned_malloc", where);
  return aligned_memory("pinned_malloc", bytes, where);
}
void pinned_free(void* memory) noexcept {
  if (memory == nullptr || refused_in_captures("pinned_free")) return;
  drain_all();
  std::free(memory);
}

void copy_async(void* to, const void* from, std::size_t bytes, Copy kind, Stream stream, Place where) {
  if (bytes == 0) return;
  if (kind == Copy::kDeviceToHost) {
    check_host("copy_async", to, where);
  } else {
    check_device("copy_async", to, bytes, where);
  }
  if (kind == Copy::kHostToDevice) {
    check_host("copy_async", from, where);
  } else {
    check_device("copy_async", from, bytes, where);
  }
  host::submit(stream, [=] { std::memcpy(to, from, bytes); });
}

void memset_async(void* to, int byte, std::size_t bytes, Stream stream, Place where) {
  if (bytes == 0) return;
  check_device("memset_async", to, bytes, where);
  host::submit(stream, [=] { std::memset(to, byte, bytes); });
}

Stream create_stream(Place) {
  auto* stream = new CUstream_st;
  stream->device = current_device();
  const std::lock_guard lock(streams().mutex);
  return *streams().all.insert(stream).first;
}
void destroy_stream(Stream stream) noexcept {
  const std::lock_guard lock(streams().mutex);
  drain_all();
  streams().all.erase(stream);
  delete stream;
}
void synchronize_stream(Stream stream, Place where) {
  if (stream != nullptr && stream->capturing) {
    stream->spoilt_by = "synchronize_stream";
    failed("synchronize_stream", "the stream is capturing", where);
  }
  host::drain(stream);
}

Event create_event(Timing timing, Place) { return new CUevent_st{.timed = timing == Timing::kYes}; }
void destroy_event(Event event) noexcept {
  drain_all();
  delete event;
}
void record_event(Event event, Stream stream, Place) {
  event->stream = stream;
  host::submit(stream, [event] {
    event->recorded = true;
    event->when = std::chrono::steady_clock::now();
  });
}
void wait_event(Stream, Event event, Place) { host::drain(event->stream); }
void synchronize_event(Event event, Place where) {
  if (event->stream != nullptr && event->stream->capturing) {
    event->stream->spoilt_by = "synchronize_event";
    failed("synchronize_event", "the event's stream is capturing", where);
  }
  host::drain(event->stream);
}
float elapsed_ms(Event start, Event stop, Place where) {
  if (!start->timed || !stop->timed || !start->recorded || !stop->recorded) {
    failed("elapsed_ms", "expected two recorded events with timing", where);
  }
  return std::chrono::duration<float, std::milli>(stop->when - start->when).count();
}

void begin_capture(Stream stream, Place where) {
  if (stream == nullptr) failed("begin_capture", "the default stream cannot be captured", where);
  if (stream->capturing) failed("begin_capture", "the stream is already capturing", where);
  const std::lock_guard lock(streams().mutex);
  stream->capturing = true;
  stream->captured_by = std::this_thread::get_id();
  stream->spoilt_by = nullptr;
}
GraphExec end_capture(Stream stream, Place where) {
  if (stream == nullptr || !stream->capturing) failed("end_capture", "the stream is not capturing", where);
  const bool good = stream->spoilt_by == nullptr;
  std::vector<std::function<void()>> recorded = stream->recorded;
  abandon_capture(stream);
  if (!good) failed("end_capture", spoilt(stream), where);
  return new CUgraphExec_st{std::move(recorded)};
}
void abandon_capture(Stream stream) noexcept {
  const std::lock_guard lock(streams().mutex);
  stream->capturing = false;
  stream->recorded.clear();
}
bool is_capturing(Stream stream, Place) { return stream != nullptr && stream->capturing; }
void launch_graph(GraphExec graph, Stream stream, Place) {
  for (const auto& work : graph->work) host::submit(stream, work);
}
std::size_t graph_nodes(GraphExec graph) { return graph->work.size(); }
void destroy_graph(GraphExec graph) noexcept {
  drain_all();
  delete graph;
}

void start_profiler(Place) {}
void stop_profiler(Place) {}

}  // namespace offramp::cuda
