#pragma once
// Index-parallel loop of the readers: fn(i) for i in 0..n-1 on std::threads. When several calls throw, the
// exception of the lowest index is rethrown, whatever the number of threads.
#include "base/cpus.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace offramp::data {

template <class Fn>
void parallel_for(int n, int threads, Fn&& fn) {
  threads = std::clamp(threads, 1, std::max(n, 1));
  constexpr int kChunk = 64;
  std::atomic<int> next{0}, stop{n};  // indices from `stop` on need no work any more
  std::mutex mutex;
  std::exception_ptr failure;
  const auto work = [&] {
    for (int begin = next.fetch_add(kChunk); begin < stop.load(); begin = next.fetch_add(kChunk))
      for (int i = begin; i < std::min(begin + kChunk, stop.load()); ++i) {
        try {
          fn(i);
        } catch (...) {  // handed to the caller below
          const std::lock_guard lock(mutex);
          if (i < stop.load()) {
            stop.store(i);
            failure = std::current_exception();
          }
        }
      }
  };
  std::vector<std::thread> pool;
  for (int t = 1; t < threads; ++t) pool.emplace_back(work);
  work();
  for (auto& thread : pool) thread.join();
  if (failure) std::rethrow_exception(failure);
}

inline int default_threads() { return std::min(usable_cpus(), 16); }

}  // namespace offramp::data
