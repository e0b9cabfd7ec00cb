// The host build's runtime: memory, copies, events, captured graphs.
#include "kernels/cuda/runtime.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "kernels/cuda/host/config.h"
#include "kernels/cuda/host/shared_memory.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/memory.h"
#include "tests/kernels/cuda/device_array.h"

namespace offramp::cuda {
namespace {

using test::DeviceArray;

TEST(HostRuntime, DeviceMemoryIsAlignedPoisonedAndCounted) {
  const std::size_t before = host::device_bytes_in_use();
  auto* memory = static_cast<float*>(device_malloc(3 * sizeof(float)));
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory) % 256, 0u);
  EXPECT_TRUE(std::isnan(memory[0]) && std::isnan(memory[2]));
  EXPECT_EQ(host::device_bytes_in_use(), before + 12);
  device_free(memory);
  EXPECT_EQ(host::device_bytes_in_use(), before);
  EXPECT_EQ(device_malloc(0), nullptr);
  device_free(nullptr);
}

TEST(HostRuntime, CopiesCheckTheSidesAndTheSize) {
  DeviceArray<int> device(std::vector<int>{1, 2, 3});
  int host_values[4] = {};
  copy_async(host_values, device.data(), 12, Copy::kDeviceToHost, nullptr);
  EXPECT_EQ(host_values[2], 3);
  EXPECT_THROW(copy_async(host_values, device.data(), 16, Copy::kDeviceToHost, nullptr), DeviceError);
  EXPECT_THROW(copy_async(host_values, device.data(), 12, Copy::kHostToDevice, nullptr), DeviceError);
  EXPECT_THROW(copy_async(device.data(), device.data(), 12, Copy::kDeviceToHost, nullptr), DeviceError);
  EXPECT_THROW(memset_async(host_values, 0, 4, nullptr), DeviceError);
  memset_async(device.data(), 0, 8, nullptr);
  EXPECT_EQ(device.values(), (std::vector<int>{0, 0, 3}));
}

TEST(HostRuntime, ListsItself) {
  EXPECT_EQ(device_count(), 1);
  EXPECT_EQ(why_no_device(), "");
  EXPECT_TRUE(executes_on_host());
  EXPECT_EQ(device_properties(0).max_shared_bytes, 232448u);
  EXPECT_THROW(device_properties(1), DeviceError);
}

TEST(HostRuntime, AStreamTakesWorkOfThreadsThatChoseItsDevice) {
  host::config().devices = 2;
  set_device(1);
  Stream stream = create_stream();
  DeviceArray<int> value(1);
  memset_async(value.data(), 0, sizeof(int), stream);
  set_device(0);
  EXPECT_THROW(memset_async(value.data(), 0, sizeof(int), stream), DeviceError);
  EXPECT_THROW(set_device(2), DeviceError);
  destroy_stream(stream);
  host::config().devices = 1;
}

TEST(HostRuntime, EventsMeasureTime) {
  Event start = create_event(Timing::kYes), stop = create_event(Timing::kYes),
        untimed = create_event(Timing::kNo);
  record_event(start, nullptr);
  record_event(stop, nullptr);
  EXPECT_GE(elapsed_ms(start, stop), 0.f);
  EXPECT_THROW(elapsed_ms(start, untimed), DeviceError);
  for (Event event : {start, stop, untimed}) destroy_event(event);
}

__global__ void add_kernel(int* value, int amount) { *value += amount; }

// What stays behind of an error that was handled would be thrown by the next launch as its own.
TEST(LastError, OfAFullDeviceIsGoneWhenTheCacheWasDroppedForIt) {
  CachingAllocator allocator(CachingAllocator::Reuse::kStreamOrdered);
  allocator.release(allocator.allocate(1024, "cached"));
  DeviceArray<int> value(1);
  const std::size_t limit = host::limit_device_bytes(host::device_bytes_in_use() + 1024);
  void* block = allocator.allocate(2048, "retried");  // refused, until the cached block is given back
  EXPECT_EQ(allocator.stats().cached_bytes, 0u);
  EXPECT_THROW(static_cast<void>(allocator.allocate(2048, "too much")), DeviceError);
  host::limit_device_bytes(limit);
  EXPECT_NO_THROW(launch(add_kernel, 1, 1, 0, nullptr, value.data(), 5));
  EXPECT_EQ(value.values()[0], 5);
  allocator.release(block);
}

TEST(LastError, OfARefusedLaunchIsGoneAtTheNext) {
  DeviceArray<int> value(1);
  EXPECT_THROW(launch(add_kernel, 1, 1, host::kMaxSharedBytes + 1, nullptr, value.data(), 5), DeviceError);
  EXPECT_NO_THROW(launch(add_kernel, 1, 1, host::kMaxSharedBytes, nullptr, value.data(), 5));
  EXPECT_EQ(value.values()[0], 5);
}

TEST(LastError, OfSomebodyElseStopsTheLaunchThatFindsIt) {
  DeviceArray<int> value(1);
  EXPECT_FALSE(host::allow_shared(host::kMaxSharedBytes + 1));  // a call behind our back
  EXPECT_THROW(launch(add_kernel, 1, 1, 0, nullptr, value.data(), 5), DeviceError);
  EXPECT_NO_THROW(launch(add_kernel, 1, 1, 0, nullptr, value.data(), 5));
  EXPECT_EQ(value.values()[0], 5);
}

TEST(HostRuntime, AGraphRecordsInsteadOfRunning) {
  Stream stream = create_stream();
  DeviceArray<int> value(1), copy(1);
  EXPECT_THROW(begin_capture(nullptr), DeviceError);
  begin_capture(stream);
  EXPECT_TRUE(is_capturing(stream));
  launch(add_kernel, 1, 1, 0, stream, value.data(), 5);
  copy_async(copy.data(), value.data(), sizeof(int), Copy::kDeviceToDevice, stream);
  GraphExec graph = end_capture(stream);
  EXPECT_FALSE(is_capturing(stream));
  EXPECT_EQ(graph_nodes(graph), 2u);
  EXPECT_EQ(value.values()[0], 0);
  launch_graph(graph, stream);
  launch_graph(graph, stream);
  EXPECT_EQ(copy.values()[0], 10);
  destroy_graph(graph);
  destroy_stream(stream);
}

// As a device does: the call fails, and of the capture remains its end, which fails.
TEST(HostRuntime, WhatWaitsForTheDeviceSpoilsACapture) {
  Stream stream = create_stream();
  Event event = create_event(Timing::kNo);
  DeviceArray<int> value(1);
  auto *memory = device_malloc(8), *pinned = pinned_malloc(8);
  const std::size_t before = host::device_bytes_in_use();
  const std::vector<std::pair<const char*, std::function<void()>>> waiting{
      {"device_malloc", [] { device_malloc(8); }},
      {"pinned_malloc", [] { pinned_malloc(8); }},
      {"synchronize_device", [] { synchronize_device(); }},
      {"synchronize_stream", [&] { synchronize_stream(stream); }},
      {"synchronize_event", [&] { synchronize_event(event); }},
      {"device_free", [&] { device_free(memory); }},  // like the next it only tells
      {"pinned_free", [&] { pinned_free(pinned); }}};
  for (const auto& [call, wait] : waiting) {
    SCOPED_TRACE(call);
    begin_capture(stream);
    record_event(event, stream);
    if (std::string_view(call).ends_with("_free")) {
      EXPECT_NO_THROW(wait());
    } else {
      EXPECT_THROW(wait(), DeviceError);
    }
    EXPECT_THROW(memset_async(value.data(), 0, sizeof(int), stream), DeviceError);
    EXPECT_TRUE(is_capturing(stream));
    EXPECT_THROW(end_capture(stream), DeviceError);
    EXPECT_FALSE(is_capturing(stream));
  }
  EXPECT_EQ(host::device_bytes_in_use(), before);

  begin_capture(stream);  // of this thread: others may wait
  std::thread([] { device_free(device_malloc(8)), synchronize_device(); }).join();
  GraphExec graph = end_capture(stream);
  EXPECT_EQ(graph_nodes(graph), 0u);
  destroy_graph(graph);
  device_free(memory);
  pinned_free(pinned);
  destroy_event(event);
  destroy_stream(stream);
}

// Threads that make streams, wait for the device and free memory side by side, as ranks do. Late work runs once,
// whoever waits for it first.
TEST(HostRuntime, ThreadsShareTheDevice) {
  const host::StreamWork before = std::exchange(host::config().streams, host::StreamWork::kLate);
  constexpr int kThreads = 4, kRounds = 200;
  std::vector<int> sums(kThreads);
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&sum = sums[static_cast<std::size_t>(thread)]] {
      for (int round = 0; round < kRounds; ++round) {
        Stream stream = create_stream();
        auto* value = static_cast<int*>(device_malloc(sizeof(int)));
        memset_async(value, 0, sizeof(int), stream);
        launch(add_kernel, 1, 1, 0, stream, value, 5);
        launch(add_kernel, 1, 1, 0, stream, value, 2);
        int got = 0;
        copy_async(&got, value, sizeof(int), Copy::kDeviceToHost, stream);
        synchronize_stream(stream);
        sum += got;
        device_free(value);
        destroy_stream(stream);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  host::config().streams = before;
  EXPECT_EQ(sums, std::vector<int>(kThreads, 7 * kRounds));
}

}  // namespace
}  // namespace offramp::cuda
