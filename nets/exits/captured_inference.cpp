#include "nets/exits/captured_inference.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/errors.h"
#include "engine/exit_decision.h"
#include "engine/recording.h"

namespace offramp::nets {
namespace {

// Confidences are floats, thresholds doubles. c > t holds for the same floats c as c > (the largest float <=
// t), and c >= t for the same as c >= (the smallest float >= t).
float rounded_for(ExitRule rule, double threshold) {
  const auto f = static_cast<float>(threshold);
  if (rule == ExitRule::kAbove) {
    return double{f} > threshold ? std::nextafter(f, -std::numeric_limits<float>::infinity()) : f;
  }
  return double{f} < threshold ? std::nextafter(f, std::numeric_limits<float>::infinity()) : f;
}

Shape with_rows(const Shape& shape, int n) {
  switch (shape.rank()) {
    case 4:
      return {n, shape[1], shape[2], shape[3]};
    case 2:
      return {n, shape[1]};
    default:
      return {n};
  }
}

// The first `rows` rows of a tensor into another.
void copy_rows(const Tensor& from, Tensor& to, int rows) {
  const std::size_t row_bytes = from.bytes() / static_cast<std::size_t>(from.shape().n());
  from.device().copy(to.raw(), from.raw(), static_cast<std::size_t>(rows) * row_bytes);
}
void copy_rows(const Features& from, Features& to, int rows) {
  for (std::size_t i = 0; i < from.size(); ++i) copy_rows(from[i], to[i], rows);
}

}  // namespace

CapturedInference::CapturedInference(const Network& net, const ExitPolicy& policy, int max_batch)
    : net_(net), policy_(policy), max_batch_(max_batch), device_(net.device()), readback_(net.device()) {
  policy.check(net.num_exits());
  if (max_batch < 1)
    throw ValueError("captured inference: expected a batch of at least 1, got " + std::to_string(max_batch));
  if (device_.kind() != DeviceKind::kCuda) {
    throw ValueError(std::string("captured inference: expected a net on cuda, got ") + device_.name());
  }
  for (int e = 0; e < net.num_exits(); ++e) {
    const bool last = e + 1 == net.num_exits();
    const float t = last ? 0.f : rounded_for(policy.rule, policy.thresholds[static_cast<std::size_t>(e)]);
    thresholds_.push_back(Tensor::full({1}, t, device_));
    counts_.push_back(Tensor::zeros({1}, device_, DType::kInt32));
  }
  counts_.push_back(Tensor::zeros({1}, device_, DType::kInt32));
  exit_of_ = Tensor::zeros({max_batch}, device_, DType::kInt32);
  answered_ = Tensor::zeros({max_batch}, device_, DType::kInt32);
  predicted_ = Tensor::zeros({max_batch}, device_, DType::kInt32);
  confidence_ = Tensor::zeros({max_batch}, device_);
  no_confidence_ = Tensor::full({max_batch}, -1.f, device_);
  probability_ = Tensor::zeros({max_batch, net.classes()}, device_);
}

int CapturedInference::recorded() const {
  int count = 0;
  for (const auto& [place, stage] : stages_) count += stage.step.recorded() ? 1 : 0;
  return count;
}

CapturedInference::Stage& CapturedInference::stage(int segment, int n, const Features& like) {
  const auto found = stages_.find({segment, n});
  if (found != stages_.end()) return found->second;
  std::vector<std::int32_t> identity(static_cast<std::size_t>(n));
  std::iota(identity.begin(), identity.end(), 0);
  const Shape rows{n};
  Features input;
  for (const Tensor& map : like) {
    input.push_back(Tensor::zeros(with_rows(map.shape(), n), device_, map.dtype()));
  }
  Stage made{.input = std::move(input),
             .sample = Tensor::from<std::int32_t>(rows, identity, device_),
             .segment = {},
             .row = Tensor::zeros(rows, device_, DType::kInt32),
             .next_sample = Tensor::zeros(rows, device_, DType::kInt32),
             .gathered = {},
             .step = CapturedStep(device_)};
  return stages_.emplace(std::pair{segment, n}, std::move(made)).first->second;
}

void CapturedInference::run(int segment, Stage& s) {
  const auto place = static_cast<std::size_t>(segment);
  const bool last = segment + 1 == net_.num_exits();
  s.step.run([&] {
    s.segment = {};
    s.gathered.clear();
    s.segment = net_.forward_segment(segment, s.input);
    ExitDecision decision{.exit = segment + 1,
                          .last = last,
                          .stops_at_threshold = policy_.rule == ExitRule::kAtLeast,
                          .keeps_best = policy_.fallback == Fallback::kMostConfident,
                          .logits = s.segment.logits,
                          .valid = counts_[place],
                          .threshold = thresholds_[place],
                          .sample = s.sample,
                          .exit_of = exit_of_,
                          .confidence = confidence_,
                          .predicted = predicted_,
                          .answered = answered_,
                          .probability = probability_,
                          .row = s.row,
                          .next_sample = s.next_sample,
                          .count = counts_[place + 1]};
    decide_exits(decision);
    if (last) return;
    for (const Tensor& map : s.segment.features) s.gathered.push_back(gather_rows(map, s.row));
  });
}

EarlyExitResult CapturedInference::infer(const Features& x) {
  const bool given = !x.empty() && x[0];
  const int n = given ? x[0].shape().n() : 0;
  if (n < 1 || n > max_batch_) {
    throw ShapeError("captured inference: expected 1 to " + std::to_string(max_batch_) + " samples, got " +
                     (given ? x[0].shape().to_string() : "no tensor"));
  }
  net_.check_inputs(x);
  const NoGrad no_grad;
  const auto padded = [](int count) { return static_cast<int>(std::bit_ceil(static_cast<unsigned>(count))); };
  device_.copy(confidence_.raw(), no_confidence_.raw(), confidence_.bytes());
  device_.upload(counts_[0].raw(), &n, sizeof n);
  Stage* now = &stage(0, padded(n), x);
  copy_rows(x, now->input, n);
  int remaining = n;
  for (int segment = 0;; ++segment) {
    run(segment, *now);
    if (segment + 1 == net_.num_exits()) break;
    readback_.start(std::vector{counts_[static_cast<std::size_t>(segment) + 1]});
    readback_.wait();
    remaining = readback_.values<std::int32_t>(0)[0];
    if (remaining == 0) break;
    const int rows = padded(remaining);
    Stage& next = stage(segment + 1, rows, now->gathered);
    copy_rows(now->gathered, next.input, rows);
    copy_rows(now->next_sample, next.sample, rows);
    now = &next;
  }
  return result(n);
}

EarlyExitResult CapturedInference::result(int n) {
  readback_.start(std::vector{predicted_, exit_of_, answered_, confidence_, probability_});
  readback_.wait();
  const auto rows = static_cast<std::size_t>(n), classes = static_cast<std::size_t>(net_.classes());
  const auto ints = [&](std::size_t i) {
    const auto values = readback_.values<std::int32_t>(i).first(rows);
    return std::vector<std::int32_t>(values.begin(), values.end());
  };
  const auto floats = [&](std::size_t i, std::size_t count) {
    const auto values = readback_.values<float>(i).first(count);
    return std::vector<float>(values.begin(), values.end());
  };
  const std::vector<float> confidence = floats(3, rows);
  const std::vector<std::int32_t> answered = ints(2);
  std::int32_t spoilt = net_.num_exits() + 1;  // the first exit that says what is not finite
  for (std::size_t i = 0; i < rows; ++i)
    if (!std::isfinite(confidence[i])) spoilt = std::min(spoilt, answered[i]);
  if (spoilt <= net_.num_exits())
    check_finite(std::vector{std::numeric_limits<float>::quiet_NaN()}, spoilt - 1);
  return {.n = n,
          .classes = net_.classes(),
          .label = ints(0),
          .exit = ints(1),
          .answered = answered,
          .confidence = confidence,
          .probabilities = floats(4, rows * classes)};
}

}  // namespace offramp::nets
