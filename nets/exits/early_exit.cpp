#include "nets/exits/early_exit.h"

#include <algorithm>
#include <cmath>

#include "base/errors.h"
#include "engine/ops.h"
#include "engine/recording.h"
#include "nets/exits/parts.h"

namespace offramp::nets {

EarlyExitResult unanswered(int n, int classes) {
  const auto count = static_cast<std::size_t>(n), width = static_cast<std::size_t>(classes);
  return {.n = n,
          .classes = classes,
          .label = std::vector<std::int32_t>(count),
          .exit = std::vector<std::int32_t>(count),
          .answered = std::vector<std::int32_t>(count),
          .confidence = std::vector<float>(count, -1.f),
          .probabilities = std::vector<float>(count * width)};
}

void check_finite(std::span<const float> probabilities, int exit) {
  // One logit that is not finite spoils the sum, and with it every class.
  if (!std::isfinite(probabilities.front()))
    throw NumericError("net: what exit " + std::to_string(exit + 1) +
                       " says is not finite: training diverged, or its file is damaged");
}

bool take_exit(const ExitPolicy& policy,
               int s,
               bool last,
               std::span<const float> probabilities,
               std::size_t sample,
               EarlyExitResult& result) {
  check_finite(probabilities, s);
  const auto top = std::max_element(probabilities.begin(), probabilities.end());
  const bool stops = last || policy.stops(s, *top);
  const bool sure = !last && stops;
  // An output is kept where it answers: at a confident exit, at the last one, or as the most confident so far.
  const bool answers = sure || (policy.fallback == Fallback::kLast ? last : *top > result.confidence[sample]);
  if (answers) {
    result.label[sample] = static_cast<std::int32_t>(top - probabilities.begin());
    result.answered[sample] = s + 1;
    result.confidence[sample] = *top;
    std::copy(probabilities.begin(),
              probabilities.end(),
              result.probabilities.begin() + static_cast<std::ptrdiff_t>(sample * probabilities.size()));
  }
  if (stops) result.exit[sample] = s + 1;
  return stops;
}

namespace {

EarlyExitResult infer_together(const SegmentedNet& net,
                               const ExitPolicy& policy,
                               const Features& x,
                               const std::function<void(int, int)>& before_segment) {
  const int n = x[0].shape().n(), classes = net.classes();
  const auto count = static_cast<std::size_t>(n), width = static_cast<std::size_t>(classes);
  EarlyExitResult result = unanswered(n, classes);
  std::vector<std::int32_t> remaining(count);  // sample of each row that is still in the net
  for (int i = 0; i < n; ++i) remaining[static_cast<std::size_t>(i)] = i;

  Features features = x;
  const int last = net.num_exits() - 1;
  for (int s = 0; s <= last && !remaining.empty(); ++s) {
    if (before_segment) before_segment(s, static_cast<int>(remaining.size()));
    Segment segment = net.forward_segment(s, features);
    const std::vector<float> probabilities = softmax(segment.logits).to_host<float>();
    std::vector<std::int32_t> stay;  // rows of this segment
    for (std::size_t row = 0; row < remaining.size(); ++row) {
      const auto sample = static_cast<std::size_t>(remaining[row]);
      if (!take_exit(
              policy, s, s == last, std::span(probabilities).subspan(row * width, width), sample, result))
        stay.push_back(static_cast<std::int32_t>(row));
    }
    if (s == last) break;
    if (stay.size() == remaining.size()) {
      features = std::move(segment.features);
      continue;
    }
    std::vector<std::int32_t> next(stay.size());
    for (std::size_t i = 0; i < stay.size(); ++i) next[i] = remaining[static_cast<std::size_t>(stay[i])];
    remaining = std::move(next);
    if (remaining.empty()) break;
    const Shape shape{static_cast<std::int64_t>(stay.size())};
    const Tensor rows = Tensor::from<std::int32_t>(shape, stay, x[0].device());
    features.clear();
    for (const Tensor& map : segment.features) features.push_back(gather_rows(map, rows));
  }
  return result;
}

void append(EarlyExitResult& to, const EarlyExitResult& part) {
  const auto add = [](auto& all, const auto& some) { all.insert(all.end(), some.begin(), some.end()); };
  to.n += part.n;
  add(to.label, part.label);
  add(to.exit, part.exit);
  add(to.answered, part.answered);
  add(to.confidence, part.confidence);
  add(to.probabilities, part.probabilities);
}

}  // namespace

EarlyExitResult infer(const SegmentedNet& net,
                      const ExitPolicy& policy,
                      const Tensor& x,
                      const std::function<void(int, int)>& before_segment) {
  return infer(net, policy, Features{x}, before_segment);
}

EarlyExitResult infer(const SegmentedNet& net,
                      const ExitPolicy& policy,
                      const Features& x,
                      const std::function<void(int, int)>& before_segment) {
  policy.check(net.num_exits());
  if (x.empty() || !x[0]) throw ShapeError("infer: expected a batch of samples, got no tensor");
  const NoGrad no_grad;
  EarlyExitResult result;
  result.classes = net.classes();
  for (const Features& part : in_cache_sized_parts(net, x))
    append(result, infer_together(net, policy, part, before_segment));
  return result;
}

}  // namespace offramp::nets
