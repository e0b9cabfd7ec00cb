// A small pool of std::threads. Work is cut by the caller into items whose results do not depend on which
// thread runs them, so every function of this room gives the same bits for any thread count.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace offramp::stats {

// 0 means: every CPU that this process may use (base/cpus.h).
unsigned resolve_threads(unsigned threads);

class WorkerPool {
 public:
  explicit WorkerPool(unsigned threads);  // the caller is one of them; 0: as above
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  unsigned size() const { return static_cast<unsigned>(helpers_.size()) + 1; }

  // Runs task(item) for item = 0..items-1, in any order, and returns when all are done. The first exception
  // thrown by a task is rethrown here; the remaining items are skipped.
  void run(std::size_t items, const std::function<void(std::size_t)>& task);

 private:
  void help();
  void drain(const std::function<void(std::size_t)>& task, std::size_t items);

  std::vector<std::thread> helpers_;
  std::mutex mutex_;
  std::condition_variable start_, done_;
  const std::function<void(std::size_t)>* task_ = nullptr;
  std::size_t items_ = 0;
  std::atomic<std::size_t> next_{0};
  std::size_t busy_ = 0;
  std::size_t round_ = 0;
  bool stop_ = false;
  std::exception_ptr error_;
};

}  // namespace offramp::stats
