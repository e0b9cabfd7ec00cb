#include "stats/parallel.h"

#include "base/cpus.h"

namespace offramp::stats {

unsigned resolve_threads(unsigned threads) {
  return threads != 0 ? threads : static_cast<unsigned>(usable_cpus());
}

WorkerPool::WorkerPool(unsigned threads) {
  const unsigned wanted = resolve_threads(threads);
  for (unsigned i = 1; i < wanted; ++i) {
    helpers_.emplace_back([this] { help(); });
  }
}

WorkerPool::~WorkerPool() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  start_.notify_all();
  for (std::thread& helper : helpers_) {
    helper.join();
  }
}

void WorkerPool::drain(const std::function<void(std::size_t)>& task, std::size_t items) {
  try {
    for (std::size_t item = next_++; item < items; item = next_++) {
      task(item);
    }
  } catch (...) {
    next_ = items;
    const std::lock_guard lock(mutex_);
    if (!error_) {
      error_ = std::current_exception();  // rethrown by run()
    }
  }
}

void WorkerPool::run(std::size_t items, const std::function<void(std::size_t)>& task) {
  if (helpers_.empty() || items < 2) {
    for (std::size_t item = 0; item < items; ++item) {
      task(item);
    }
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    task_ = &task;
    items_ = items;
    next_ = 0;
    busy_ = helpers_.size();
    ++round_;
  }
  start_.notify_all();
  drain(task, items);
  std::unique_lock lock(mutex_);
  done_.wait(lock, [this] { return busy_ == 0; });
  if (error_) {
    std::exception_ptr error = nullptr;
    std::swap(error, error_);
    std::rethrow_exception(error);
  }
}

void WorkerPool::help() {
  std::size_t seen = 0;
  for (;;) {
    const std::function<void(std::size_t)>* task = nullptr;
    std::size_t items = 0;
    {
      std::unique_lock lock(mutex_);
      start_.wait(lock, [&] { return stop_ || round_ != seen; });
      if (stop_) {
        return;
      }
      seen = round_;
      task = task_;
      items = items_;
    }
    drain(*task, items);
    const std::lock_guard lock(mutex_);
    if (--busy_ == 0) {
      done_.notify_one();
    }
  }
}

}  // namespace offramp::stats
