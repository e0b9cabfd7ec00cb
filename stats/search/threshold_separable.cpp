#include "stats/search/threshold_separable.h"

#include <algorithm>

#include "stats/search/threshold_problem.h"

namespace offramp::stats::search {
namespace {

constexpr std::size_t kMostTies = 64;  // of one exit that are compared by their joint value

struct Tied {
  std::vector<double> thresholds;
  double value = 0;
};

Tied best_of_exit(const SearchSamples& s, std::size_t k, SeparableOthers others) {
  struct Sample {
    double confidence, gain;  // of letting it stay: +weight for an other, -weight for one that should leave
  };
  std::vector<Sample> order;
  double leaving = 0, staying = 0;
  const int exit = static_cast<int>(k) + 1;
  for (std::size_t i = 0; i < s.exits.size(); ++i) {
    const double w = s.weights.empty() ? 1.0 : s.weights[i];
    if (w == 0 || (s.exits[i] < exit && others == SeparableOthers::kRemaining)) {
      continue;
    }
    const bool own = s.exits[i] == exit;
    (own ? leaving : staying) += w;
    order.push_back({s.confidences[i * s.num_exits + k], own ? -w : w});
  }
  std::sort(order.begin(), order.end(), [](const Sample& a, const Sample& b) {
    return a.confidence < b.confidence;
  });
  if (leaving == 0) {
    return {{above_all(order.empty() ? 0.0 : order.back().confidence)}, staying};
  }
  if (staying == 0) {
    return {{below_all(order.front().confidence)}, leaving};
  }
  Tied best = {{below_all(order.front().confidence)}, leaving};
  double sum = leaving;
  for (std::size_t i = 0; i < order.size();) {
    const double here = order[i].confidence;
    for (; i < order.size() && order[i].confidence == here; ++i) {
      sum += order[i].gain;
    }
    const double t = i < order.size() ? between(here, order[i].confidence) : above_all(here);
    if (sum > best.value) {
      best = {{t}, sum};
    } else if (sum == best.value) {
      best.thresholds.push_back(t);
    }
  }
  return best;
}

}  // namespace

SeparableOptimum separable_optimum(const SearchSamples& s, SeparableOthers others) {
  SeparableOptimum result;
  std::vector<std::vector<double>> ties;
  for (std::size_t k = 0; k + 1 < s.num_exits; ++k) {
    Tied best = best_of_exit(s, k, others);
    result.value += best.value;
    if (best.thresholds.size() > kMostTies) {
      for (std::size_t i = 0; i < kMostTies; ++i) {
        best.thresholds[i] = best.thresholds[i * best.thresholds.size() / kMostTies];
      }
      best.thresholds.resize(kMostTies);
    }
    result.thresholds.push_back(best.thresholds.front());
    ties.push_back(std::move(best.thresholds));
  }
  if (std::all_of(ties.begin(), ties.end(), [](const auto& t) { return t.size() == 1; })) {
    return result;
  }
  double joint = joint_value(s, result.thresholds);
  for (int round = 0; round < 2; ++round) {
    for (std::size_t k = 0; k < ties.size(); ++k) {
      for (const double t : ties[k]) {
        std::vector<double> trial = result.thresholds;
        trial[k] = t;
        const double value = trial == result.thresholds ? joint : joint_value(s, trial);
        if (value > joint) {
          joint = value;
          result.thresholds = std::move(trial);
        }
      }
    }
  }
  return result;
}

}  // namespace offramp::stats::search
