#include "stats/search/threshold_choice.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include "stats/checks.h"

namespace offramp::stats {
namespace {

constexpr double kNever = 1e8;  // above every confidence; the value of the reference code

std::size_t check(const ExitOutcomes& o) {
  const std::string what = "threshold choice: ";
  const std::size_t k = o.costs.size();
  if (k < 2) {
    throw ValueError(what + "at least 2 exits are needed, costs hold " + std::to_string(k));
  }
  if (o.confidences.empty() || o.confidences.size() % k != 0) {
    throw DataError(what + "confidences must hold samples x " + std::to_string(k) + " values, got " +
                    std::to_string(o.confidences.size()));
  }
  require_same_size(o.confidences.size(), "confidences", o.correct.size(), "correct", "threshold choice");
  require_finite(o.confidences, "threshold choice", "confidences");
  require_finite(o.costs, "threshold choice", "costs");
  if (!std::is_sorted(o.costs.begin(), o.costs.end())) {
    throw ValueError(what + "costs must ascend with the exits");
  }
  for (std::size_t i = 0; i < o.correct.size(); ++i) {
    if (o.correct[i] != 0 && o.correct[i] != 1) {
      throw DataError(what + "correct must be 0 or 1, got " + std::to_string(o.correct[i]) + " at index " +
                      std::to_string(i));
    }
  }
  return k;
}

void check(const ChoiceGoal& goal) {
  if (goal.min_accuracy.has_value() == goal.max_mean_cost.has_value()) {
    throw ValueError("threshold choice: set either min_accuracy or max_mean_cost");
  }
}

bool leaves(ExitRule rule, double confidence, double threshold) {
  return rule == ExitRule::kAtLeast ? confidence >= threshold : confidence > threshold;
}

// A threshold that lets `high` leave and keeps `low`, midway where possible.
double cut(ExitRule rule, double low, double high) {
  const double middle = low + (high - low) / 2;
  if (middle > low && middle < high) {
    return middle;
  }
  return rule == ExitRule::kAtLeast ? high : low;
}

// What a sample brings when it leaves at exit k, or when nobody left.
struct Result {
  double correct, cost;
};

class Samples {
 public:
  explicit Samples(const ExitOutcomes& o) : o_(o), k_(o.costs.size()), n_(o.confidences.size() / k_) {}
  std::size_t size() const { return n_; }
  std::size_t exits() const { return k_; }
  double confidence(std::size_t i, std::size_t k) const { return o_.confidences[i * k_ + k]; }
  Result at(std::size_t i, std::size_t k) const {
    return {static_cast<double>(o_.correct[i * k_ + k]), o_.costs[k]};
  }
  Result nobody(std::size_t i) const {
    std::size_t who = k_ - 1;
    if (o_.fallback == Fallback::kMostConfident) {
      const auto row = o_.confidences.subspan(i * k_, k_);
      who = static_cast<std::size_t>(std::max_element(row.begin(), row.end()) - row.begin());
    }
    return {static_cast<double>(o_.correct[i * k_ + who]), o_.costs[k_ - 1]};
  }

 private:
  const ExitOutcomes& o_;
  std::size_t k_, n_;
};

// Sums over n samples; `better` under the goal, with the goal's bound itself inside and rounding forgiven.
struct Score {
  double correct = 0, cost = 0;

  bool meets(const ChoiceGoal& goal, double n) const {
    return goal.min_accuracy ? correct >= *goal.min_accuracy * n - 1e-9 * n
                             : cost <= *goal.max_mean_cost * n * (1 + 1e-12);
  }
  bool better_than(const Score& other, const ChoiceGoal& goal) const {
    const double slack = 1e-12 * (std::abs(other.cost) + 1);
    if (goal.min_accuracy) {
      return cost < other.cost - slack || (cost <= other.cost + slack && correct > other.correct);
    }
    return correct > other.correct || (correct == other.correct && cost < other.cost - slack);
  }
};

struct Event {
  double confidence;
  double correct, cost;  // change of the sums when the threshold falls below the confidence
};

struct Sweep {
  double threshold = kNever;
  Score score;
  bool found = false;
};

// All thresholds from above the largest confidence downward; the best one that meets the goal.
Sweep sweep(
    std::vector<Event>& events, Score score, const ExitOutcomes& o, const ChoiceGoal& goal, double n) {
  std::sort(events.begin(), events.end(), [](const Event& a, const Event& b) {
    return a.confidence > b.confidence;
  });
  Sweep best;
  const auto consider = [&](double threshold) {
    if (score.meets(goal, n) && (!best.found || score.better_than(best.score, goal))) {
      best = {threshold, score, true};
    }
  };
  consider(kNever);
  for (std::size_t i = 0; i < events.size();) {
    const double here = events[i].confidence;
    for (; i < events.size() && events[i].confidence == here; ++i) {
      score.correct += events[i].correct;
      score.cost += events[i].cost;
    }
    consider(cut(o.rule, i < events.size() ? events[i].confidence : here - 1, here));
  }
  return best;
}

}  // namespace

OperatingPoint evaluate_thresholds(const ExitOutcomes& o, std::span<const double> thresholds) {
  const std::size_t k = check(o);
  require_same_size(thresholds.size() + 1, "thresholds + 1", k, "exits", "threshold choice");
  const Samples s(o);
  OperatingPoint p;
  p.thresholds.assign(thresholds.begin(), thresholds.end());
  p.exit_counts.assign(k, 0);
  for (std::size_t i = 0; i < s.size(); ++i) {
    std::size_t e = 0;
    while (e + 1 < k && !leaves(o.rule, s.confidence(i, e), thresholds[e])) {
      ++e;
    }
    const Result r = e + 1 < k ? s.at(i, e) : s.nobody(i);
    p.accuracy += r.correct;
    p.mean_cost += r.cost;
    ++p.exit_counts[e];
  }
  p.accuracy /= static_cast<double>(s.size());
  p.mean_cost /= static_cast<double>(s.size());
  return p;
}

std::optional<OperatingPoint> choose_one_threshold(const ExitOutcomes& o, const ChoiceGoal& goal) {
  const std::size_t k = check(o);
  check(goal);
  const Samples s(o);
  Score score;
  std::vector<Event> events;
  std::vector<std::size_t> records;
  for (std::size_t i = 0; i < s.size(); ++i) {
    // As tau falls, the sample leaves at the exit of its largest confidence, then at ever earlier record
    // exits.
    records.clear();
    double high = -std::numeric_limits<double>::infinity();
    for (std::size_t e = 0; e + 1 < k; ++e) {
      if (s.confidence(i, e) > high) {
        high = s.confidence(i, e);
        records.push_back(e);
      }
    }
    Result now = s.nobody(i);
    score.correct += now.correct;
    score.cost += now.cost;
    for (std::size_t r = records.size(); r-- > 0;) {
      const Result next = s.at(i, records[r]);
      events.push_back({s.confidence(i, records[r]), next.correct - now.correct, next.cost - now.cost});
      now = next;
    }
  }
  const Sweep best = sweep(events, score, o, goal, static_cast<double>(s.size()));
  if (!best.found) {
    return std::nullopt;
  }
  return evaluate_thresholds(o, std::vector<double>(k - 1, best.threshold));
}

std::optional<OperatingPoint> choose_thresholds(const ExitOutcomes& o, const ChoiceGoal& goal) {
  std::optional<OperatingPoint> start = choose_one_threshold(o, goal);
  if (!start) {
    return std::nullopt;
  }
  const Samples s(o);
  const std::size_t k = s.exits();
  const double n = static_cast<double>(s.size());
  std::vector<double> t = start->thresholds;
  Score best = {start->accuracy * n, start->mean_cost * n};
  std::vector<Event> events;
  for (std::size_t unchanged = 0, d = 0; unchanged < k - 1; d = (d + 1) % (k - 1)) {
    Score score;
    events.clear();
    for (std::size_t i = 0; i < s.size(); ++i) {
      std::size_t e = 0;
      while (e < d && !leaves(o.rule, s.confidence(i, e), t[e])) {
        ++e;
      }
      const bool arrives = e == d;
      if (arrives) {
        ++e;
        while (e + 1 < k && !leaves(o.rule, s.confidence(i, e), t[e])) {
          ++e;
        }
      }
      const Result past = e + 1 < k ? s.at(i, e) : s.nobody(i);
      score.correct += past.correct;
      score.cost += past.cost;
      if (arrives) {
        const Result here = s.at(i, d);
        events.push_back({s.confidence(i, d), here.correct - past.correct, here.cost - past.cost});
      }
    }
    const Sweep found = sweep(events, score, o, goal, n);
    if (found.found && found.score.better_than(best, goal)) {
      t[d] = found.threshold;
      best = found.score;
      unchanged = 1;
    } else {
      ++unchanged;
    }
  }
  return evaluate_thresholds(o, t);
}

std::vector<OperatingPoint> sweep_thresholds(const ExitOutcomes& o, std::span<const double> taus) {
  std::vector<OperatingPoint> points;
  for (const double tau : taus) {
    points.push_back(evaluate_thresholds(o, std::vector<double>(check(o) - 1, tau)));
  }
  return points;
}

std::vector<double> sdn_taus() { return {.1, .15, .25, .5, .6, .7, .8, .9, .95, .99, .999}; }

std::vector<double> ccs_taus() {
  std::vector<double> taus;
  for (int i = 0; i <= 20; ++i) {
    taus.push_back(i / 20.0);
  }
  return taus;
}

std::vector<double> deepsloth_taus() {
  std::vector<double> taus = ccs_taus();
  return {taus.begin() + 1, taus.end() - 1};
}

std::optional<OperatingPoint> choose_deepsloth(const ExitOutcomes& o, double relative_drop) {
  const std::size_t k = check(o);
  const Samples s(o);
  double last = 0;
  for (std::size_t i = 0; i < s.size(); ++i) {
    last += s.at(i, k - 1).correct / static_cast<double>(s.size());
  }
  std::optional<OperatingPoint> best;
  for (OperatingPoint& p : sweep_thresholds(o, deepsloth_taus())) {
    if (p.accuracy > (1 - relative_drop) * last && (!best || p.mean_cost < best->mean_cost)) {
      best = std::move(p);
    }
  }
  return best;
}

std::vector<double> msdnet_thresholds(std::span<const double> confidences, std::size_t num_exits, double p) {
  const char* what = "msdnet_thresholds";
  require_finite(confidences, what, "confidences");
  if (num_exits < 2 || confidences.empty() || confidences.size() % num_exits != 0) {
    throw DataError(
        "msdnet_thresholds: confidences must hold samples x exits values with at least 2 exits, got " +
        std::to_string(confidences.size()) + " values and " + std::to_string(num_exits) + " exits");
  }
  if (!(p > 0) || !std::isfinite(p)) {
    throw ValueError("msdnet_thresholds: p must be positive and finite, got " + to_text(p));
  }
  const std::size_t n = confidences.size() / num_exits;
  std::vector<double> share(num_exits);
  for (std::size_t k = 0; k < num_exits; ++k) {
    share[k] = std::pow(p, static_cast<double>(k + 1));
  }
  const double sum = std::accumulate(share.begin(), share.end(), 0.0);
  std::vector<char> left(n, 0);
  std::vector<double> thresholds(num_exits - 1, kNever), waiting;
  for (std::size_t k = 0; k + 1 < num_exits; ++k) {
    waiting.clear();
    for (std::size_t i = 0; i < n; ++i) {
      if (!left[i]) {
        waiting.push_back(confidences[i * num_exits + k]);
      }
    }
    const auto want = static_cast<std::size_t>(std::floor(static_cast<double>(n) * share[k] / sum));
    if (want >= 1 && want <= waiting.size()) {
      std::nth_element(waiting.begin(),
                       waiting.begin() + static_cast<std::ptrdiff_t>(want - 1),
                       waiting.end(),
                       std::greater<>());
      thresholds[k] = waiting[want - 1];
    }
    for (std::size_t i = 0; i < n; ++i) {
      left[i] = left[i] || confidences[i * num_exits + k] >= thresholds[k] ? 1 : 0;
    }
  }
  return thresholds;
}

std::vector<double> msdnet_budgets() {
  std::vector<double> p;
  for (int j = 1; j <= 39; ++j) {
    p.push_back(j / 20.0);
  }
  return p;
}

}  // namespace offramp::stats
