#include "attacks/membership/records.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/errors.h"
#include "engine/ops.h"
#include "engine/recording.h"
#include "nets/exits/frozen.h"

namespace offramp::attacks::membership {
namespace {

constexpr int kRecordsBatch = 250;

double logsumexp(std::span<const float> z, int without) {
  double top = -std::numeric_limits<double>::infinity();
  for (std::size_t c = 0; c < z.size(); ++c)
    if (static_cast<int>(c) != without) top = std::max(top, static_cast<double>(z[c]));
  double sum = 0;
  for (std::size_t c = 0; c < z.size(); ++c)
    if (static_cast<int>(c) != without) sum += std::exp(static_cast<double>(z[c]) - top);
  return top + std::log(sum);
}

// What one segment says: logits, softmax, and what its last layer was given.
struct Answered {
  nets::Features next;
  std::vector<float> logits, probabilities, features;
  std::size_t feature_size = 0;
};

Answered ask(const nets::FrozenNet& net, int segment, const nets::Features& x) {
  Tensor last_input;
  nets::Segment s = net.forward_segment(segment, x, last_input);
  Answered a;
  a.next = std::move(s.features);
  a.logits = s.logits.to_host<float>();
  a.probabilities = softmax(s.logits).to_host<float>();
  a.features = convert(last_input, DType::kFloat32).to_host<float>();
  a.feature_size = a.features.size() / static_cast<std::size_t>(s.logits.shape()[0]);
  return a;
}

class Collector {
 public:
  Collector(const nets::Network& net, const nets::ExitPolicy& policy, const Samples& samples)
      : net_(net), device_(net.device()), policy_(policy), samples_(samples) {
    policy.check(net.num_exits());
    records_.classes = net.classes();
    records_.num_exits = net.num_exits();
  }

  // As many samples as the cache holds from layer to layer; each has the same record in any company.
  int rows_together() const {
    return device_.kind() == DeviceKind::kCuda ? kRecordsBatch : net_.rows_together();
  }

  void add(std::span<const std::int32_t> rows, std::uint8_t member) {
    const std::size_t start = records_.size(), count = rows.size();
    const auto classes = static_cast<std::size_t>(net_.classes());
    for (const std::int32_t row : rows) {
      records_.row.push_back(row);
      records_.member.push_back(member);
      records_.label.push_back(samples_.labels()[static_cast<std::size_t>(row)]);
    }
    records_.predicted.resize(start + count);
    records_.exit.resize(start + count);
    records_.scores.resize((start + count) * classes);
    records_.loss.resize(start + count);
    records_.margin.resize(start + count);
    features_.resize(start + count);

    // As nets::infer walks: a sample's row in the segment is `at`, its record `of`.
    nets::Features x = {samples_.load(rows, device_)};
    std::vector<std::size_t> of(count);
    for (std::size_t i = 0; i < count; ++i) of[i] = start + i;
    std::vector<float> best(count, -1.f);
    const int last = net_.num_exits() - 1;
    for (int segment = 0; segment <= last && !of.empty(); ++segment) {
      Answered a = ask(net_, segment, x);
      std::vector<std::size_t> next;
      std::vector<std::int32_t> stay;
      for (std::size_t at = 0; at < of.size(); ++at) {
        const auto p = std::span<const float>(a.probabilities).subspan(at * classes, classes);
        const float top = *std::ranges::max_element(p);
        const bool stops = segment == last || policy_.stops(segment, static_cast<double>(top));
        float& confidence = best[of[at] - start];
        const bool answers = (segment < last && stops) ||
                             (policy_.fallback == nets::Fallback::kLast ? segment == last : top > confidence);
        if (answers) {
          confidence = top;
          take(of[at], at, a, p);
        }
        if (stops) {
          records_.exit[of[at]] = segment + 1;
        } else {
          stay.push_back(static_cast<std::int32_t>(at));
          next.push_back(of[at]);
        }
      }
      of = std::move(next);
      if (of.empty() || segment == last) break;
      const Tensor index = Tensor::from<std::int32_t>(
          {static_cast<std::int64_t>(stay.size())}, std::span<const std::int32_t>(stay), device_);
      x.clear();
      for (const Tensor& map : a.next) x.push_back(gather_rows(map, index));
    }
  }

  Records finished() {
    const std::size_t size = features_.empty() ? 0 : features_.front().size();
    if (std::ranges::all_of(features_, [&](const auto& f) { return f.size() == size; })) {
      records_.feature_size = static_cast<int>(size);
      for (const auto& f : features_) records_.feature.insert(records_.feature.end(), f.begin(), f.end());
    }
    return std::move(records_);
  }

 private:
  void take(std::size_t i, std::size_t at, const Answered& a, std::span<const float> p) {
    const auto classes = p.size();
    records_.predicted[i] = static_cast<std::int32_t>(std::ranges::max_element(p) - p.begin());
    std::ranges::copy(p, records_.scores.begin() + static_cast<std::ptrdiff_t>(i * classes));
    const auto logits = std::span<const float>(a.logits).subspan(at * classes, classes);
    records_.loss[i] = loss_of(logits, records_.label[i]);
    records_.margin[i] = margin_of(logits, records_.label[i]);
    const auto f = std::span<const float>(a.features).subspan(at * a.feature_size, a.feature_size);
    features_[i].assign(f.begin(), f.end());
  }

  nets::FrozenNet net_;
  Device device_;
  const nets::ExitPolicy& policy_;
  const Samples& samples_;
  Records records_;
  std::vector<std::vector<float>> features_;
};

}  // namespace

double margin_of(std::span<const float> logits, int label) {
  return static_cast<double>(logits[static_cast<std::size_t>(label)]) - logsumexp(logits, label);
}
double loss_of(std::span<const float> logits, int label) {
  // ln(1 + e^-m) of the margin: exact where p_y is near 1, where logsumexp - z_y cancels.
  const double m = margin_of(logits, label);
  return m > 0 ? std::log1p(std::exp(-m)) : -m + std::log1p(std::exp(m));
}

Records collect_records(const nets::Network& net,
                        const nets::ExitPolicy& policy,
                        const Samples& samples,
                        std::span<const std::int32_t> members,
                        std::span<const std::int32_t> non_members,
                        Listener& listener) {
  const NoGrad no_grad;
  Collector collector(net, policy, samples);
  const auto total = static_cast<std::int64_t>(members.size() + non_members.size());
  std::int64_t done = 0;
  for (const auto& [rows, member] : {std::pair{members, std::uint8_t{1}}, {non_members, std::uint8_t{0}}}) {
    for (std::size_t first = 0; first < rows.size(); first += kRecordsBatch) {
      const auto batch = rows.subspan(first, std::min<std::size_t>(kRecordsBatch, rows.size() - first));
      const auto together = static_cast<std::size_t>(collector.rows_together());
      for (std::size_t at = 0; at < batch.size(); at += together)
        collector.add(batch.subspan(at, std::min(together, batch.size() - at)), member);
      done += static_cast<std::int64_t>(batch.size());
      listener.progress("records", total, done, "samples", Listener::Fields::object());
      stop_if_requested(listener);
    }
  }
  return collector.finished();
}

std::vector<double> last_layer_gradient(const Records& records, std::size_t i) {
  if (records.feature_size == 0)
    throw ValueError(
        "last_layer_gradient: the records have no features: exits of one width have (two-layer)");
  std::vector<double> out;
  const auto p = records.scores_of(i);
  for (std::size_t c = 0; c < p.size(); ++c) {
    const double error =
        static_cast<double>(p[c]) - (static_cast<std::int32_t>(c) == records.label[i] ? 1.0 : 0.0);
    for (const float f : records.feature_of(i)) out.push_back(error * static_cast<double>(f));
  }
  return out;
}

Records subset(const Records& all, std::span<const std::size_t> keep) {
  Records out{.model = all.model,
              .classes = all.classes,
              .num_exits = all.num_exits,
              .feature_size = all.feature_size,
              .repetitions = all.repetitions};
  const auto pick = [&](const auto& from, auto& to, int width) {
    const auto w = static_cast<std::ptrdiff_t>(width);
    for (const std::size_t i : keep) {
      const auto at = from.begin() + static_cast<std::ptrdiff_t>(i) * w;
      to.insert(to.end(), at, at + w);
    }
  };
  pick(all.row, out.row, 1);
  pick(all.member, out.member, 1);
  pick(all.label, out.label, 1);
  pick(all.predicted, out.predicted, 1);
  pick(all.exit, out.exit, 1);
  pick(all.scores, out.scores, all.classes);
  pick(all.loss, out.loss, 1);
  pick(all.margin, out.margin, 1);
  pick(all.feature, out.feature, all.feature_size);
  pick(all.times_ns, out.times_ns, all.repetitions);
  return out;
}

}  // namespace offramp::attacks::membership
