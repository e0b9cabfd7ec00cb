#include "nets/exits/in_flight.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "base/errors.h"
#include "engine/ops.h"
#include "engine/recording.h"

namespace offramp::nets {

InFlight::InFlight(const SegmentedNet& net, ExitPolicy policy, int most, std::chrono::nanoseconds max_wait)
    : net_(net),
      policy_(std::move(policy)),
      most_(static_cast<std::size_t>(most)),
      max_wait_(max_wait),
      queues_(static_cast<std::size_t>(net.num_exits())) {
  policy_.check(net.num_exits());
  if (most < 1 || max_wait.count() < 0)
    throw ValueError("in flight: needs at least one image at a time and a wait of 0 or more");
}

void InFlight::enter(Asked& asked, TimePoint now) {
  if (asked.x.empty() || !asked.x[0] || asked.x[0].shape().n() < 1)
    throw ShapeError("in flight: expected a batch of samples, got no tensor");
  const int n = asked.x[0].shape().n();
  asked.result = unanswered(n, net_.classes());
  asked.left = n;
  const auto from = std::make_shared<const Features>(std::move(asked.x));
  for (int i = 0; i < n; ++i) queues_[0].push_back({&asked, i, from, i, now});
  waiting_ += static_cast<std::size_t>(n);
}

std::optional<int> InFlight::next(TimePoint now) const {
  for (std::size_t s = queues_.size(); s-- > 0;) {
    const auto& queue = queues_[s];
    if (!queue.empty() && (queue.size() >= most_ || now - queue.front().since >= max_wait_))
      return static_cast<int>(s);
  }
  if (waiting_ == queues_[0].size()) return std::nullopt;
  for (std::size_t s = 0; s < queues_.size(); ++s)
    if (!queues_[s].empty()) return static_cast<int>(s);
  return std::nullopt;
}

InFlight::TimePoint InFlight::due() const {
  if (waiting_ == 0) throw std::logic_error("in flight: nobody is there to be due");
  if (waiting_ > queues_[0].size()) return TimePoint::min();
  return queues_[0].size() >= most_ ? TimePoint::min() : queues_[0].front().since + max_wait_;
}

// Rows of several tensors as one: a sample is contiguous in memory on the CPU.
Features InFlight::batch_of(const std::vector<Image>& images) {
  const Features& first = *images[0].from;
  bool whole = first[0].shape().n() == static_cast<int>(images.size());
  for (std::size_t i = 0; whole && i < images.size(); ++i)
    whole = images[i].from == images[0].from && images[i].row == static_cast<int>(i);
  if (whole) return first;
  Features batch;
  for (std::size_t map = 0; map < first.size(); ++map) {
    Shape shape = first[map].shape();
    const std::size_t bytes = first[map].bytes() / static_cast<std::size_t>(shape.n());
    const auto n = static_cast<std::int64_t>(images.size());
    shape = shape.rank() == 4 ? Shape{n, shape.c(), shape.h(), shape.w()} : Shape{n, shape[1]};
    Tensor to = Tensor::empty(shape, first[map].device(), first[map].dtype(), "in flight");
    auto* at = static_cast<std::byte*>(to.raw());
    for (const Image& image : images) {
      const auto* from = static_cast<const std::byte*>(std::as_const((*image.from)[map]).raw());
      std::memcpy(at, from + static_cast<std::size_t>(image.row) * bytes, bytes);
      at += bytes;
    }
    batch.push_back(std::move(to));
  }
  return batch;
}

std::vector<Asked*> InFlight::run(int segment, TimePoint now) {
  const NoGrad no_grad;
  auto& queue = queues_[static_cast<std::size_t>(segment)];
  const std::vector<Image> images(queue.begin(),
                                  queue.begin() + static_cast<std::ptrdiff_t>(std::min(most_, queue.size())));
  if (images.empty()) throw std::logic_error("in flight: nobody waits before this segment");
  Segment out = net_.forward_segment(segment, batch_of(images));
  const std::vector<float> probabilities = softmax(out.logits).to_host<float>();
  const auto features = std::make_shared<const Features>(std::move(out.features));
  queue.erase(queue.begin(), queue.begin() + static_cast<std::ptrdiff_t>(images.size()));
  const bool last = segment == net_.num_exits() - 1;
  const auto width = static_cast<std::size_t>(net_.classes());
  std::vector<Asked*> done;
  const auto leave = [&](Asked& asked) {
    --waiting_;
    if (--asked.left == 0) done.push_back(&asked);
  };
  for (std::size_t row = 0; row < images.size(); ++row) {
    const Image& image = images[row];
    const auto sample = static_cast<std::size_t>(image.index);
    try {
      if (take_exit(policy_,
                    segment,
                    last,
                    std::span(probabilities).subspan(row * width, width),
                    sample,
                    image.asked->result)) {
        leave(*image.asked);
        continue;
      }
    } catch (const Error&) {
      if (!image.asked->failed) image.asked->failed = std::current_exception();
      leave(*image.asked);
      continue;
    }
    queues_[static_cast<std::size_t>(segment) + 1].push_back(
        {image.asked, image.index, features, static_cast<int>(row), now});
  }
  return done;
}

std::vector<Asked*> InFlight::abandon() {
  std::vector<Asked*> all;
  for (auto& queue : queues_) {
    for (const Image& image : queue)
      if (std::find(all.begin(), all.end(), image.asked) == all.end()) all.push_back(image.asked);
    queue.clear();
  }
  waiting_ = 0;
  return all;
}

}  // namespace offramp::nets
