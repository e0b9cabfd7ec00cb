#pragma once
// Images of several requests on their way through one net at the same time: those that have come to the same exit go on as
// one batch, and whoever is sure leaves there and then, whatever becomes of the others. Nobody waits for a deeper exit than
// his own: at each exit an image waits for company at most `max_wait`, besides the segment that is running.
//
// One thread owns it; times are given, so that what it does is a function of its calls. Answers are those of nets::infer,
// bit for bit (a sample's result does not depend on its batch).
#include <chrono>
#include <cstddef>
#include <deque>
#include <exception>
#include <memory>
#include <optional>
#include <vector>

#include "nets/exits/early_exit.h"

namespace offramp::nets {

// A request, owned by who asks; `result` is whole when InFlight::run has returned it, unless `failed` says why not.
struct Asked {
  Features x = {};  // [n, ...] as the net takes it, on the CPU
  EarlyExitResult result = {};
  int left = 0;  // images on their way
  // Of the first image that the net has no answer for (its exit is not finite).
  std::exception_ptr failed = {};
};

class InFlight {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  // Runs at most `most` images at a time. The net must outlive it. Throws ValueError for a policy that does not fit the net,
  // most < 1 or max_wait < 0.
  InFlight(const SegmentedNet& net, ExitPolicy policy, int most, std::chrono::nanoseconds max_wait);

  // Throws ShapeError for a request without images. `asked` must live until it is returned.
  void enter(Asked& asked, TimePoint now);
  bool empty() const { return waiting_ == 0; }
  std::size_t waiting_before(int segment) const { return queues_[static_cast<std::size_t>(segment)].size(); }

  // What to do now: the deepest segment that has `most` images or one that waited `max_wait`; else, where some are on their
  // way already, the first that has any, so that they catch up with those ahead; else none: new ones wait for company.
  std::optional<int> next(TimePoint now) const;
  // When next() will not be none any more, if nothing else comes; there must be an image.
  TimePoint due() const;
  // Runs a segment on those who waited longest before it. Returns the requests of which no image is on its way any more: an
  // image without an answer ends its own request and nobody else's. Where it throws (memory), nobody has moved.
  std::vector<Asked*> run(int segment, TimePoint now);
  std::vector<Asked*> abandon();  // every request in it, each once; it is empty then

 private:
  struct Image {
    Asked* asked;
    int index;  // in its request
    std::shared_ptr<const Features> from;
    int row;  // in `from`
    TimePoint since;
  };
  static Features batch_of(const std::vector<Image>& images);

  const SegmentedNet& net_;
  ExitPolicy policy_;
  std::size_t most_;
  std::chrono::nanoseconds max_wait_;
  std::vector<std::deque<Image>> queues_;  // [exits] before each segment
  std::size_t waiting_ = 0;
};

}  // namespace offramp::nets
