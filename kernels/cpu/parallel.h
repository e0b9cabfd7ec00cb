#pragma once
// Loops over threads. Which thread runs which part depends on the thread count, so a part must write only its
// own output; sums go over chunks of a fixed size (for_chunks), one partial each, added in chunk order by the
// caller: the same bits for any thread count. Exceptions of a part are thrown again after the loop (the first
// one caught).
#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "kernels/cpu/context.h"

namespace offramp::cpu {

// Type-erased core: calls body(argument, begin, end, thread) for the ranges of a static split of 0 .. count -
// 1, the ranges of different threads at the same time; thread < ctx.threads(). Runs in the caller where there
// is only one range, or where the caller is itself inside such a loop.
using RangeBody = void (*)(void* argument, std::int64_t begin, std::int64_t end, int thread);
void run_ranges(const Context& ctx, std::int64_t count, RangeBody body, void* argument);

// fn(begin, end, thread): one contiguous range per thread.
template <class Fn>
void parallel_ranges(const Context& ctx, std::int64_t count, Fn&& fn) {
  using Body = std::remove_reference_t<Fn>;
  run_ranges(
      ctx,
      count,
      [](void* body, std::int64_t begin, std::int64_t end, int thread) {
        (*static_cast<Body*>(body))(begin, end, thread);
      },
      const_cast<void*>(static_cast<const void*>(&fn)));
}

// fn(i) for i < count.
template <class Fn>
void parallel_for(const Context& ctx, std::int64_t count, Fn&& fn) {
  parallel_ranges(ctx, count, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t i = begin; i < end; ++i) fn(i);
  });
}

inline std::int64_t chunk_count(std::int64_t n, std::int64_t chunk) { return (n + chunk - 1) / chunk; }

// fn(index, begin, end) for the chunks [index * chunk, min(n, (index + 1) * chunk)) of 0 .. n - 1.
template <class Fn>
void for_chunks(const Context& ctx, std::int64_t n, std::int64_t chunk, Fn&& fn) {
  parallel_for(ctx, chunk_count(n, chunk), [&](std::int64_t index) {
    fn(index, index * chunk, std::min(n, (index + 1) * chunk));
  });
}

// While it lives, library calls of this thread use ctx.threads() threads.
class ThreadScope {
 public:
  explicit ThreadScope(int threads);
  ~ThreadScope();
  ThreadScope(const ThreadScope&) = delete;
  ThreadScope& operator=(const ThreadScope&) = delete;

 private:
  [[maybe_unused]] int before_;
};

int available_threads();  // processors that this process may use; 1 without OpenMP

}  // namespace offramp::cpu
