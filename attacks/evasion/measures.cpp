#include "attacks/evasion/measures.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "base/errors.h"

namespace offramp::attacks::evasion {
namespace {

std::int32_t label_of(const Judgement& j, std::size_t i) { return j.outputs.labels[i]; }
bool right(const Judgement& j, std::size_t i) { return j.label[i] == label_of(j, i); }

std::optional<double> pearson(std::span<const double> x, std::span<const double> y) {
  const auto n = static_cast<double>(x.size());
  const double mx = std::accumulate(x.begin(), x.end(), 0.0) / n,
               my = std::accumulate(y.begin(), y.end(), 0.0) / n;
  double xx = 0, yy = 0, xy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    xx += (x[i] - mx) * (x[i] - mx);
    yy += (y[i] - my) * (y[i] - my);
    xy += (x[i] - mx) * (y[i] - my);
  }
  if (!(xx > 0 && yy > 0)) return std::nullopt;
  return xy / std::sqrt(xx * yy);
}

void check_same_images(const Judgement& a, const Judgement& b) {
  if (a.outputs.labels != b.outputs.labels) throw ValueError("evade: judgements of different images");
}

// Mean over cells of the share of hits among the counted of the drawn images; empty where no cell has any.
std::optional<double> mean_success(std::span<const Hits> cells, std::span<const std::size_t> drawn) {
  double sum = 0;
  int used = 0;
  for (const Hits& cell : cells) {
    int hits = 0, counted = 0;
    for (const std::size_t i : drawn) {
      if (!cell[i]) continue;
      ++counted;
      hits += *cell[i] ? 1 : 0;
    }
    if (counted == 0) continue;
    sum += static_cast<double>(hits) / counted;
    ++used;
  }
  if (used == 0) return std::nullopt;
  return sum / used;
}

}  // namespace

Rate rate_of(int count, int of) {
  Rate rate{.count = count, .of = of, .share = {}};
  if (of > 0)
    rate.share = stats::wilson_interval(static_cast<std::size_t>(count), static_cast<std::size_t>(of));
  return rate;
}

Transfer transfer_of(const Judgement& surrogate_clean,
                     const Judgement& surrogate_attacked,
                     const Judgement& target_clean,
                     const Judgement& target_attacked) {
  check_same_images(surrogate_clean, target_clean);
  check_same_images(surrogate_attacked, target_attacked);
  const int n = static_cast<int>(target_clean.n());
  int clean_wrong = 0, wrong = 0, both = 0, fooled = 0, hits = 0;
  Transfer t;
  for (std::size_t i = 0; i < target_clean.n(); ++i) {
    const bool missed = !right(target_attacked, i);
    clean_wrong += right(target_clean, i) ? 0 : 1;
    wrong += missed ? 1 : 0;
    const bool both_right = right(surrogate_clean, i) && right(target_clean, i);
    const bool counts = both_right && !right(surrogate_attacked, i);
    both += both_right ? 1 : 0;
    fooled += counts ? 1 : 0;
    hits += counts && missed ? 1 : 0;
    t.hit.push_back(counts ? std::optional<bool>(missed) : std::nullopt);
  }
  t.clean_error = rate_of(clean_wrong, n);
  t.unconditional = rate_of(wrong, n);
  t.fooled = rate_of(fooled, both);
  t.conditional = rate_of(hits, fooled);
  return t;
}

std::vector<int> exit_histogram(const Judgement& judgement) {
  std::vector<int> histogram(static_cast<std::size_t>(judgement.outputs.num_exits), 0);
  for (const std::int32_t exit : judgement.exit) ++histogram[static_cast<std::size_t>(exit)];
  return histogram;
}

ExitChange exit_change(const Victim& victim, const Judgement& clean, const Judgement& attacked) {
  check_same_images(clean, attacked);
  ExitChange change;
  change.clean = exit_histogram(clean);
  change.attacked = exit_histogram(attacked);
  std::vector<double> confidence, delta;
  double macs = 0;
  int one = 0, two = 0, negative = 0;
  for (std::size_t i = 0; i < clean.n(); ++i) {
    const int d = attacked.exit[i] - clean.exit[i];
    change.delta.push_back(d);
    one += d >= 1 ? 1 : 0;
    two += d >= 2 ? 1 : 0;
    negative += d < 0 ? 1 : 0;
    delta.push_back(d);
    confidence.push_back(attacked.outputs.confidence[attacked.outputs.at(static_cast<int>(i),
                                                                         attacked.outputs.num_exits - 1)]);
    macs += static_cast<double>(victim.exit_macs[static_cast<std::size_t>(attacked.exit[i])] -
                                victim.exit_macs[static_cast<std::size_t>(clean.exit[i])]);
  }
  const auto n = static_cast<double>(clean.n());
  change.mean = std::accumulate(delta.begin(), delta.end(), 0.0) / n;
  change.at_least_one = rate_of(one, static_cast<int>(clean.n()));
  change.at_least_two = rate_of(two, static_cast<int>(clean.n()));
  change.negative = rate_of(negative, static_cast<int>(clean.n()));
  change.cost_increase = macs / n / static_cast<double>(victim.exit_macs.back());
  change.efficacy_clean = efficacy(victim, change.clean);
  change.efficacy_attacked = efficacy(victim, change.attacked);
  change.correlation = pearson(confidence, delta);
  return change;
}

FirstModified first_modified(const Judgement& clean, const Judgement& attacked) {
  check_same_images(clean, attacked);
  const auto exits = static_cast<std::size_t>(clean.outputs.num_exits);
  FirstModified f{.all = std::vector<int>(exits, 0),
                  .agreed = std::vector<int>(exits, 0),
                  .first_exit_all = {},
                  .first_exit_agreed = {}};
  for (std::size_t i = 0; i < clean.n(); ++i) {
    const std::int32_t original = clean.last_label(i);
    if (attacked.last_label(i) == original) continue;
    const std::size_t at = clean.outputs.at(static_cast<int>(i), 0);
    std::size_t first = 0;
    while (attacked.outputs.predicted[at + first] == original) ++first;
    ++f.all[first];
    const auto begin = clean.outputs.predicted.begin() + static_cast<std::ptrdiff_t>(at);
    if (std::all_of(begin, begin + static_cast<std::ptrdiff_t>(exits), [&](std::int32_t p) {
          return p == original;
        })) {
      ++f.agreed[first];
    }
  }
  f.first_exit_all = rate_of(f.all[0], std::accumulate(f.all.begin(), f.all.end(), 0));
  f.first_exit_agreed = rate_of(f.agreed[0], std::accumulate(f.agreed.begin(), f.agreed.end(), 0));
  return f;
}

EarlyTransfer early_transfer(const Judgement& clean, const Judgement& attacked) {
  check_same_images(clean, attacked);
  const int ics = clean.outputs.num_exits - 1;
  const auto differing = [ics](const Judgement& j, std::size_t i, std::int32_t original) {
    int count = 0;
    for (int e = 0; e < ics; ++e) {
      count += j.outputs.predicted[j.outputs.at(static_cast<int>(i), e)] != original ? 1 : 0;
    }
    return count;
  };
  int success = 0, kept = 0, sum = 0, clean_sum = 0;
  for (std::size_t i = 0; i < clean.n(); ++i) {
    const std::int32_t original = clean.last_label(i);
    clean_sum += differing(clean, i, original);
    if (attacked.last_label(i) != original) continue;
    const int d = differing(attacked, i, original);
    ++kept;
    sum += d;
    success += ics > 0 && d == ics ? 1 : 0;
  }
  const int n = static_cast<int>(clean.n());
  EarlyTransfer t{.success = rate_of(success, n),
                  .t1 = rate_of(kept, n),
                  .t2 = {},
                  .clean_t2 = static_cast<double>(clean_sum) / std::max(1, n)};
  if (kept > 0) t.t2 = static_cast<double>(sum) / kept;
  return t;
}

double efficacy(std::span<const double> cost, std::span<const double> left) {
  if (cost.empty() || cost.size() != left.size() || !(cost.back() > 0)) {
    throw ValueError("efficacy: expected a cost above 0 and a share for each exit, got " +
                     std::to_string(cost.size()) + " and " + std::to_string(left.size()));
  }
  double area = 0, c_before = 0, f_before = 0;
  for (std::size_t e = 0; e < cost.size(); ++e) {
    const double c = cost[e] / cost.back(), f = e + 1 == cost.size() ? 1 : left[e];
    if (!(c >= c_before && f >= f_before && f <= 1)) {
      throw ValueError("efficacy: costs and shares must rise, and shares end at 1; at exit " +
                       std::to_string(e + 1) + " they are " + std::to_string(c) + " and " +
                       std::to_string(f));
    }
    area += (c - c_before) * (f + f_before) / 2;
    c_before = c;
    f_before = f;
  }
  return area;
}

double efficacy(const Victim& victim, std::span<const int> left_at) {
  std::vector<double> cost(victim.exit_ops.begin(), victim.exit_ops.end()), left;
  const double n = std::max(1, std::accumulate(left_at.begin(), left_at.end(), 0));
  int sum = 0;
  for (const int count : left_at) left.push_back((sum += count) / n);
  return efficacy(cost, left);
}

nets::ExitPolicy policy_by_accuracy_drop(const Victim& victim, const nets::ExitOutputs& out, double drop) {
  const int exits = out.num_exits;
  const auto accuracy_and_cost = [&](const nets::ExitPolicy& policy) {
    int right = 0;
    double macs = 0;
    for (int i = 0; i < out.n; ++i) {
      const auto choice = nets::choose_exit(
          policy, std::span(out.confidence).subspan(out.at(i, 0), static_cast<std::size_t>(exits)));
      right += out.right(i, choice.answered) ? 1 : 0;
      macs += static_cast<double>(victim.exit_macs[static_cast<std::size_t>(choice.stopped)]);
    }
    return std::pair(static_cast<double>(right) / out.n, macs / out.n);
  };
  const double wanted = (1 - drop) * accuracy_and_cost(nets::ExitPolicy::uniform(exits, 2)).first;
  std::optional<nets::ExitPolicy> best;
  double least = 0;
  for (int step = 1; step <= 19; ++step) {
    const nets::ExitPolicy policy = nets::ExitPolicy::uniform(exits, step / 20.0);
    const auto [accuracy, cost] = accuracy_and_cost(policy);
    if (accuracy > wanted && (!best || cost < least)) {
      best = policy;
      least = cost;
    }
  }
  if (!best) {
    throw ValueError("slowdown: no threshold of .05 to .95 keeps the accuracy of " + victim.name + " above " +
                     std::to_string(wanted));
  }
  return *best;
}

std::optional<stats::Interval> direction_difference(std::span<const Hits> d2s,
                                                    std::span<const Hits> s2d,
                                                    const stats::BootstrapOptions& options) {
  if (d2s.empty() || s2d.empty()) return std::nullopt;
  std::vector<std::size_t> all(d2s[0].size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  if (!mean_success(d2s, all) || !mean_success(s2d, all)) return std::nullopt;
  return stats::bootstrap(
      all.size(),
      [&](std::span<const std::size_t> drawn) {
        return mean_success(d2s, drawn).value_or(0) - mean_success(s2d, drawn).value_or(0);
      },
      options);
}

}  // namespace offramp::attacks::evasion
