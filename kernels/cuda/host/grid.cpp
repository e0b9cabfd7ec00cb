#include "kernels/cuda/host/grid.h"

#include <atomic>
#include <mutex>
#include <thread>

#include "base/errors.h"

namespace offramp::cuda::host {
namespace {

std::string in_words(dim3 d) {
  return std::string("(") + std::to_string(d.x) + "," + std::to_string(d.y) + "," + std::to_string(d.z) + ")";
}

}  // namespace

std::string launch_problem(dim3 grid, dim3 block) {
  const std::uint64_t threads = std::uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > kMaxThreads || block.z > 64) {
    return "expected a block of 1 to 1024 threads, at most 64 in z, got " + in_words(block);
  }
  const std::uint64_t blocks = std::uint64_t{grid.x} * grid.y * grid.z;
  if (blocks == 0 || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535) {
    return "expected a grid of at least one block, at most (2147483647,65535,65535), got " + in_words(grid);
  }
  return "";
}

void run_grid(Block::Launch& launch) {
  const dim3 grid = launch.grid;
  const std::uint64_t num_blocks = std::uint64_t{grid.x} * grid.y * grid.z;
  std::atomic<std::uint64_t> next{0};
  std::mutex failure_mutex;
  std::exception_ptr failure;
  happens_before(&launch.launched);  // blocks stay unordered among themselves
  const auto work = [&] {
    Unwatched unwatched;
    static thread_local Block block;  // keeps its stacks from launch to launch
    block.begin_launch(launch);
    try {
      for (std::uint64_t i = next++; i < num_blocks; i = next++) {
        const auto xy = static_cast<std::uint64_t>(grid.x) * grid.y;
        block.run({static_cast<unsigned>(i % grid.x),
                   static_cast<unsigned>(i % xy / grid.x),
                   static_cast<unsigned>(i / xy)});
      }
    } catch (...) {
      next = num_blocks;
      const std::lock_guard lock(failure_mutex);
      if (failure == nullptr) failure = std::current_exception();
    }
    block.end_launch();
  };
  std::vector<std::thread> others;
  for (int i = 1; i < config().workers && static_cast<std::uint64_t>(i) < num_blocks; ++i)
    others.emplace_back(work);
  work();
  for (std::thread& thread : others) thread.join();
  happens_after(&launch.returned);
  if (failure != nullptr) std::rethrow_exception(failure);
}

}  // namespace offramp::cuda::host
