#include "nets/exits/evaluation.h"

#include <algorithm>
#include <cmath>

#include "base/errors.h"

namespace offramp::nets {

std::vector<double> mean_loss(const ExitOutputs& out) {
  std::vector<double> losses;
  for (int e = 0; e < out.num_exits; ++e) {
    double sum = 0;
    for (int i = 0; i < out.n; ++i) {
      const std::size_t label = static_cast<std::size_t>(out.labels[static_cast<std::size_t>(i)]);
      const double p = out.row(i, e)[label];
      sum -= std::log(std::max(p, 1e-45));  // the smallest float: a probability may have rounded to 0
    }
    losses.push_back(sum / std::max(1, out.n));
  }
  return losses;
}

PolicyResult apply(const ExitPolicy& policy, const ExitOutputs& out, const NetCosts& costs) {
  policy.check(out.num_exits);
  PolicyResult result;
  result.histogram.assign(static_cast<std::size_t>(out.num_exits), 0);
  const auto exits = static_cast<std::size_t>(out.num_exits);
  std::int64_t right = 0;
  for (int i = 0; i < out.n; ++i) {
    const ExitChoice choice = choose_exit(policy, std::span(out.confidence).subspan(out.at(i, 0), exits));
    ++result.histogram[static_cast<std::size_t>(choice.stopped)];
    right += out.right(i, choice.answered) ? 1 : 0;
  }
  const double n = std::max(1, out.n);
  result.accuracy = static_cast<double>(right) / n;
  for (std::size_t e = 0; e < result.histogram.size(); ++e) {
    const double share = static_cast<double>(result.histogram[e]) / n;
    result.mean_macs += share * static_cast<double>(costs.exits[e].macs);
    result.mean_ops_profiler += share * static_cast<double>(costs.exits[e].ops_profiler);
  }
  result.relative_macs = result.mean_macs / static_cast<double>(costs.plain.macs);
  result.relative_ops_profiler = result.mean_ops_profiler / static_cast<double>(costs.plain.ops_profiler);
  return result;
}

Overthinking overthinking(const ExitOutputs& out, std::span<const double> relative_cost) {
  const int last = out.num_exits - 1;
  if (static_cast<int>(relative_cost.size()) != out.num_exits) {
    throw ValueError("overthinking: expected a relative cost for each of " + std::to_string(out.num_exits) +
                     " exits, got " + std::to_string(relative_cost.size()));
  }
  Overthinking result;
  const auto ics = static_cast<std::size_t>(last);
  result.cumulative_accuracy.assign(ics + 1, 0);
  result.destructive_per_exit.assign(ics, 0);
  std::vector<double> sum_destructive(ics, 0), sum_right(ics, 0);
  std::vector<std::int64_t> count_right(ics, 0);
  std::int64_t final_errors = 0;
  double cost = 0;
  for (int i = 0; i < out.n; ++i) {
    int first = out.num_exits;
    for (int e = last; e >= 0; --e) {
      if (out.right(i, e)) first = e;
    }
    for (int e = first; e <= last; ++e) result.cumulative_accuracy[static_cast<std::size_t>(e)] += 1;
    // The last exit costs 1 whether it is right or not.
    cost += first < last ? relative_cost[static_cast<std::size_t>(first)] : 1.0;
    const bool final_right = out.right(i, last);
    final_errors += final_right ? 0 : 1;
    if (!final_right && first < last) ++result.destructive;
    for (std::size_t e = 0; e < ics; ++e) {
      if (!out.right(i, static_cast<int>(e))) continue;
      const double c = out.confidence[out.at(i, static_cast<int>(e))];
      ++count_right[e];
      sum_right[e] += c;
      if (final_right) continue;
      ++result.destructive_per_exit[e];
      sum_destructive[e] += c;
    }
  }
  const double n = std::max(1, out.n);
  for (double& share : result.cumulative_accuracy) share /= n;
  result.oracle_cost = cost / n;
  result.destructive_share =
      final_errors > 0 ? static_cast<double>(result.destructive) / static_cast<double>(final_errors) : 0;
  for (std::size_t e = 0; e < ics; ++e) {
    result.confidence_destructive.push_back(sum_destructive[e] /
                                            (static_cast<double>(result.destructive_per_exit[e]) + 0.1));
    result.confidence_right.push_back(sum_right[e] / (static_cast<double>(count_right[e]) + 0.1));
  }
  return result;
}

std::vector<double> confusion(const ExitOutputs& out) {
  std::vector<double> values(static_cast<std::size_t>(out.n), 0);
  const auto classes = static_cast<std::size_t>(out.classes);
  for (int i = 0; i < out.n; ++i) {
    const float* last = out.row(i, out.num_exits - 1);
    for (int e = 0; e + 1 < out.num_exits; ++e) {
      const float* p = out.row(i, e);
      for (std::size_t c = 0; c < classes; ++c) {
        values[static_cast<std::size_t>(i)] +=
            std::abs(static_cast<double>(last[c]) - static_cast<double>(p[c]));
      }
    }
  }
  return values;
}

ConfusionScale confusion_scale(std::span<const double> values) {
  if (values.empty()) throw ValueError("confusion: expected at least one sample, got none");
  const auto n = static_cast<double>(values.size());
  double mean = 0, squares = 0;
  for (const double v : values) mean += v / n;
  for (const double v : values) squares += (v - mean) * (v - mean) / n;
  return {mean, squares > 0 ? std::sqrt(squares) : 1};
}

ConfusionSummary confusion_summary(const ExitOutputs& out, const ConfusionScale& scale) {
  const std::vector<double> values = confusion(out);
  ConfusionSummary summary;
  std::int64_t right = 0;
  for (int i = 0; i < out.n; ++i) {
    const double d = (values[static_cast<std::size_t>(i)] - scale.mean) / scale.deviation;
    const bool is_right = out.right(i, out.num_exits - 1);
    right += is_right ? 1 : 0;
    (is_right ? summary.right : summary.wrong) += d;
  }
  if (right > 0) summary.right /= static_cast<double>(right);
  if (right < out.n) summary.wrong /= static_cast<double>(out.n - right);
  return summary;
}

}  // namespace offramp::nets
