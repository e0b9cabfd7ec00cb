#include "tools/serve/together.h"

#include <algorithm>
#include <utility>

namespace offramp::tools {

using Clock = std::chrono::steady_clock;

void Arrivals::ask(Request& request) {
  std::unique_lock lock(mutex_);
  waiting_.push_back(&request);
  came_.notify_all();  // one alone may be a worker that is full
  request.ready.wait(lock, [&] { return request.done; });
  if (request.failed) std::rethrow_exception(request.failed);
}

void Arrivals::stop() {
  {
    std::unique_lock lock(mutex_);
    stopping_ = true;
  }
  came_.notify_all();
}

TogetherWorker::TogetherWorker(const nets::SegmentedNet& net,
                               const nets::ExitPolicy& policy,
                               const TogetherOptions& options,
                               Arrivals& arrivals,
                               std::function<Tensor(const std::vector<float>& values)> tensor)
    : flight_(net, policy, options.most, options.max_wait),
      most_(options.most),
      arrivals_(arrivals),
      tensor_(std::move(tensor)),
      thread_([this] { work(); }) {}

TogetherWorker::~TogetherWorker() { thread_.join(); }

// Takes in who waits, up to twice what runs at a time: the others are for other workers. What cannot be taken in is told so.
void TogetherWorker::take(std::unique_lock<std::mutex>& lock) {
  std::vector<Arrivals::Request*> taken;
  while (!arrivals_.waiting_.empty() && images_inside_ < 2 * static_cast<std::size_t>(most_)) {
    Arrivals::Request* const request = arrivals_.waiting_.front();
    arrivals_.waiting_.pop_front();
    taken.push_back(request);
    ++images_inside_;  // at least one; the rest below
  }
  if (taken.empty()) return;
  lock.unlock();
  for (Arrivals::Request* const request : taken) {
    inside_.push_back(request);
    try {
      request->asked.x = {tensor_(request->values)};
      const int images = request->asked.x[0].shape().n();
      flight_.enter(request->asked, Clock::now());
      images_inside_ += static_cast<std::size_t>(images - 1);
    } catch (const std::exception&) {
      --images_inside_;
      finish(request->asked, std::current_exception());
    }
  }
  lock.lock();
}

void TogetherWorker::finish(nets::Asked& asked, std::exception_ptr failed) {
  const auto at = std::find_if(
      inside_.begin(), inside_.end(), [&](const Arrivals::Request* r) { return &r->asked == &asked; });
  Arrivals::Request& request = **at;
  inside_.erase(at);
  if (!failed && request.answered) {
    try {
      request.answered(asked.result, tensor_(request.values));
    } catch (const std::exception&) {
      failed = std::current_exception();
    }
  }
  // Under the lock: who waits destroys the request as soon as he knows.
  const std::unique_lock lock(arrivals_.mutex_);
  request.failed = failed;
  request.done = true;
  request.ready.notify_one();
}

void TogetherWorker::work() {
  std::unique_lock lock(arrivals_.mutex_);
  for (;;) {
    take(lock);
    if (flight_.empty()) {
      if (arrivals_.stopping_ && arrivals_.waiting_.empty()) return;
      if (arrivals_.waiting_.empty()) arrivals_.came_.wait(lock);
      continue;
    }
    const auto segment = flight_.next(Clock::now());
    if (!segment) {
      arrivals_.came_.wait_until(lock, flight_.due());
      continue;
    }
    lock.unlock();
    try {
      for (nets::Asked* const asked : flight_.run(*segment, Clock::now())) {
        images_inside_ -= static_cast<std::size_t>(asked->result.n);
        finish(*asked, asked->failed);
      }
    } catch (const std::exception&) {
      const auto failed = std::current_exception();
      for (nets::Asked* const asked : flight_.abandon()) finish(*asked, failed);
      images_inside_ = 0;
    }
    lock.lock();
  }
}

}  // namespace offramp::tools
