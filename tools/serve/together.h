// A worker of a server whose requests advance together (nets/exits/in_flight.h): one thread with a net of its own; any thread
// asks and waits for the answer.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "nets/exits/in_flight.h"

namespace offramp::tools {

// What several workers are asked; outlives them.
class Arrivals {
 public:
  struct Request {
    std::vector<float> values = {};  // of its images, as they came
    nets::Asked asked = {};
    // On the worker's thread, when the answer is there: what else is its device's to do. May be empty.
    std::function<void(const nets::EarlyExitResult& result, const Tensor& images)> answered = {};
    std::exception_ptr failed = {};
    bool done = false;
    std::condition_variable ready = {};
  };
  // Returns when the request has its answer; throws what its worker threw.
  void ask(Request& request);
  void stop();  // workers end when they are through with what they have

 private:
  friend class TogetherWorker;
  std::mutex mutex_;
  std::condition_variable came_;
  std::deque<Request*> waiting_;
  bool stopping_ = false;
};

struct TogetherOptions {
  int most = 1;                          // images that advance together
  std::chrono::nanoseconds max_wait{0};  // for company, at each exit
};

class TogetherWorker {
 public:
  // net and arrivals outlive it. `tensor` makes a request's images a tensor on the worker's device.
  TogetherWorker(const nets::SegmentedNet& net,
                 const nets::ExitPolicy& policy,
                 const TogetherOptions& options,
                 Arrivals& arrivals,
                 std::function<Tensor(const std::vector<float>& values)> tensor);
  ~TogetherWorker();  // after Arrivals::stop
  TogetherWorker(const TogetherWorker&) = delete;
  TogetherWorker& operator=(const TogetherWorker&) = delete;

 private:
  void work();
  void take(std::unique_lock<std::mutex>& lock);
  void finish(nets::Asked& asked, std::exception_ptr failed);

  nets::InFlight flight_;
  int most_;
  Arrivals& arrivals_;
  std::function<Tensor(const std::vector<float>&)> tensor_;
  std::vector<Arrivals::Request*> inside_;
  std::size_t images_inside_ = 0;
  std::thread thread_;  // last: it uses the rest
};

}  // namespace offramp::tools
