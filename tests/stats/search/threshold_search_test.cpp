#include "stats/search/threshold_search.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <set>

#include "tests/stats/expect_message.h"
#include "tests/support/threshold_data.h"

namespace offramp::stats {
namespace {

using test::draw_network;
using test::draw_small;
using test::ThresholdData;

// Every combination of one threshold per gap between distinct confidences of each column.
struct Optima {
  double joint = 0, separable_remaining = 0, separable_all = 0;
};

Optima enumerate(const ThresholdData& d) {
  std::vector<std::vector<double>> candidates(d.num_exits - 1);
  for (std::size_t k = 0; k + 1 < d.num_exits; ++k) {
    std::set<double> values;
    for (std::size_t i = 0; i < d.exits.size(); ++i) values.insert(d.confidences[i * d.num_exits + k]);
    candidates[k].push_back(*values.begin() - 1);
    candidates[k].insert(candidates[k].end(), values.begin(), values.end());  // T = v: v itself stays
  }
  Optima best;
  std::vector<std::size_t> at(d.num_exits - 1, 0);
  std::vector<double> t(d.num_exits - 1);
  for (;;) {
    for (std::size_t k = 0; k < at.size(); ++k) t[k] = candidates[k][at[k]];
    double joint = 0;
    for (std::size_t i = 0; i < d.exits.size(); ++i) {
      int exit = 1;
      while (exit < static_cast<int>(d.num_exits) &&
             d.confidences[i * d.num_exits + static_cast<std::size_t>(exit) - 1] <=
                 t[static_cast<std::size_t>(exit) - 1]) {
        ++exit;
      }
      joint += exit == d.exits[i] ? (d.weights.empty() ? 1 : d.weights[i]) : 0;
    }
    best.joint = std::max(best.joint, joint);
    std::size_t k = 0;
    while (k < at.size() && ++at[k] == candidates[k].size()) at[k++] = 0;
    if (k == at.size()) break;
  }
  for (std::size_t k = 0; k + 1 < d.num_exits; ++k) {
    double remaining = 0, all = 0;
    for (const double threshold : candidates[k]) {
      double r = 0, a = 0;
      for (std::size_t i = 0; i < d.exits.size(); ++i) {
        const double w = d.weights.empty() ? 1 : d.weights[i];
        const bool own = d.exits[i] == static_cast<int>(k) + 1;
        const bool right = own == (d.confidences[i * d.num_exits + k] > threshold);
        a += right ? w : 0;
        r += right && d.exits[i] > static_cast<int>(k) ? w : 0;
      }
      remaining = std::max(remaining, r);
      all = std::max(all, a);
    }
    best.separable_remaining += remaining;
    best.separable_all += all;
  }
  return best;
}

ThresholdData spec_example() {  // specs/extraction.md 4.3
  ThresholdData d;
  d.num_exits = 3;
  d.confidences = {.99, .92, .96, .80, .97, .99, .95, .60, .90, .70, .98, .99,
                   .55, .65, .97, .90, .93, .95, .85, .50, .88, .97, .85, .70};
  d.exits = {1, 2, 1, 2, 3, 3, 1, 2};
  return d;
}

TEST(ThresholdSearch, WorkedExampleOfTheSpec) {
  const ThresholdData d = spec_example();
  const SearchResult joint = search_thresholds(d.samples());
  EXPECT_EQ(joint.value, 6);
  EXPECT_EQ(joint.upper_bound, 6);
  EXPECT_TRUE(joint.optimal);
  const double a = joint.thresholds[0], b = joint.thresholds[1];
  EXPECT_TRUE((a > .80 && a < .85 && b > .65 && b < .97) || (a > .90 && a < .95 && b > .93 && b < .97))
      << a << " " << b;
  const SearchResult remaining = search_thresholds(d.samples(), {.objective = SearchObjective::kSeparable});
  EXPECT_EQ(remaining.value, 6 + 4);
  // Among equal separable values the joint one decides: (.97, .99) for exit 1 is separable- but not jointly
  // optimal.
  EXPECT_EQ(joint_value(d.samples(), remaining.thresholds), 6);
  const SearchResult all = search_thresholds(
      d.samples(), {.objective = SearchObjective::kSeparable, .others = SeparableOthers::kAll});
  EXPECT_EQ(all.value, 6 + 7);
  EXPECT_GT(all.thresholds[1], .93);
  EXPECT_LT(all.thresholds[1], .97);
}

TEST(ThresholdSearch, EqualsFullEnumerationOnRandomInstancesHalfWithHeavyTies) {
  std::size_t instances = 0;
  for (std::uint64_t seed = 1; seed <= 280; ++seed) {
    const std::size_t num_exits = 2 + seed % 5;
    const std::size_t n = num_exits == 2   ? 1 + seed % 40
                          : num_exits == 3 ? 1 + seed % 30
                          : num_exits == 4 ? 20
                          : num_exits == 5 ? 12
                                           : 9;
    const bool ties = seed % 2 == 0;
    ThresholdData d = draw_small(n, num_exits, ties ? 4 : 1 << 20, seed);
    if (seed % 7 < 2) {  // weights: CLO's zeros and ones, and numbers without a common unit
      for (std::size_t i = 0; i < n; ++i) {
        d.weights.push_back(seed % 7 == 0 ? static_cast<double>((seed + i) % 2)
                                          : 0.1 + std::sqrt(static_cast<double>(i)));
      }
    }
    const Optima want = enumerate(d);
    const SearchResult joint = search_thresholds(d.samples());
    const double rounding = 1e-12 * (1 + want.joint) * (d.weights.empty() ? 0 : 1);
    ASSERT_NEAR(joint.value, want.joint, rounding) << "seed " << seed << " exits " << num_exits << " n " << n;
    ASSERT_TRUE(joint.optimal) << "seed " << seed;
    ASSERT_NEAR(joint.upper_bound, want.joint, 1e-8 * (d.weights.empty() ? 0 : 1) * (1 + want.joint))
        << "seed " << seed;
    ASSERT_EQ(joint.value, joint_value(d.samples(), joint.thresholds));
    const SearchResult r = search_thresholds(d.samples(), {.objective = SearchObjective::kSeparable});
    const SearchResult a = search_thresholds(
        d.samples(), {.objective = SearchObjective::kSeparable, .others = SeparableOthers::kAll});
    ASSERT_NEAR(r.value, want.separable_remaining, 4 * rounding) << "seed " << seed;
    ASSERT_NEAR(a.value, want.separable_all, 4 * rounding) << "seed " << seed;
    ASSERT_NEAR(
        separable_value(d.samples(), r.thresholds, SeparableOthers::kRemaining), r.value, 4 * rounding);
    ASSERT_NEAR(separable_value(d.samples(), a.thresholds, SeparableOthers::kAll), a.value, 4 * rounding);
    ++instances;
  }
  EXPECT_GE(instances, 200u);
}

TEST(ThresholdSearch, LargerInstancesAgreeWithTheSweepsOfFewerExits) {
  // K = 4 whose third exit is never taken and always silent is K = 3: the branch and bound must meet the
  // sweep.
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    const ThresholdData three = draw_network(3000, 3, seed % 2 ? 0 : 2, seed);
    ThresholdData four;
    four.num_exits = 4;
    for (std::size_t i = 0; i < three.exits.size(); ++i) {
      four.confidences.insert(
          four.confidences.end(),
          {three.confidences[3 * i], three.confidences[3 * i + 1], 0.5, three.confidences[3 * i + 2]});
      four.exits.push_back(three.exits[i] == 3 ? 4 : three.exits[i]);
    }
    EXPECT_EQ(search_thresholds(three.samples()).value, search_thresholds(four.samples()).value);
  }
}

TEST(ThresholdSearch, JointIsNeverBelowSeparableAndEqualsItForTwoExits) {  // specs/extraction.md 9, H5
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    for (const std::size_t num_exits : {2u, 3u, 4u, 6u}) {
      const ThresholdData d = draw_network(2000, num_exits, seed % 2 ? 0 : 2, seed);
      const double joint = search_thresholds(d.samples()).value;
      for (const auto others : {SeparableOthers::kRemaining, SeparableOthers::kAll}) {
        const SearchResult s =
            search_thresholds(d.samples(), {.objective = SearchObjective::kSeparable, .others = others});
        EXPECT_GE(joint, joint_value(d.samples(), s.thresholds));
        if (num_exits == 2) {
          EXPECT_EQ(joint, s.value);
        }
      }
    }
  }
}

TEST(ThresholdSearch, SameThresholdsForAnyThreadCountAndOrderOfSamples) {
  const ThresholdData d = draw_network(4000, 5, 2, 9);
  const SearchResult one = search_thresholds(d.samples(), {.threads = 1});
  const SearchResult three = search_thresholds(d.samples(), {.threads = 3});
  EXPECT_EQ(one.thresholds, three.thresholds);
  EXPECT_EQ(one.nodes, three.nodes);
  ThresholdData reversed;
  reversed.num_exits = d.num_exits;
  for (std::size_t i = d.exits.size(); i-- > 0;) {
    reversed.exits.push_back(d.exits[i]);
    reversed.confidences.insert(reversed.confidences.end(),
                                d.confidences.begin() + static_cast<std::ptrdiff_t>(i * d.num_exits),
                                d.confidences.begin() + static_cast<std::ptrdiff_t>((i + 1) * d.num_exits));
  }
  EXPECT_EQ(search_thresholds(reversed.samples()).value, one.value);
}

TEST(ThresholdSearch, ReloadingThresholdsFromSeventeenDigitsKeepsEveryDecision) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    ThresholdData d = draw_small(200, 4, seed % 2 ? 7 : 1 << 20, seed);
    if (seed % 3 == 0) {  // neighbouring floats: nothing lies between them
      for (double& c : d.confidences) c = 0.5 + std::ldexp(std::round(c * 8), -53);
    }
    const SearchResult r = search_thresholds(d.samples());
    std::vector<double> reloaded;
    for (const double t : r.thresholds) {
      char text[64];
      std::snprintf(text, sizeof text, "%.17g", t);
      reloaded.push_back(std::strtod(text, nullptr));
    }
    EXPECT_EQ(reloaded, r.thresholds);
    EXPECT_EQ(joint_value(d.samples(), reloaded), r.value) << "seed " << seed;
  }
}

TEST(ThresholdSearch, ATimeLimitLeavesAnHonestGap) {
  const ThresholdData d = draw_network(3000, 6, 1, 3);  // adversarial: does not close at once
  const SearchResult r = search_thresholds(d.samples(), {.time_limit_s = 0});
  EXPECT_FALSE(r.optimal);
  EXPECT_TRUE(r.time_limit_reached);
  EXPECT_GT(r.upper_bound, r.value);
  EXPECT_LE(r.upper_bound, 3000);
  EXPECT_EQ(r.value, joint_value(d.samples(), r.thresholds));
  const SearchResult longer = search_thresholds(d.samples(), {.time_limit_s = 0.2});
  EXPECT_GE(longer.value, r.value);
  EXPECT_LE(longer.upper_bound, r.upper_bound);
  EXPECT_GE(longer.upper_bound, longer.value);
}

TEST(ThresholdSearch, ExitsNobodyOrEverybodyTookGetTheirLimits) {
  ThresholdData d;
  d.num_exits = 3;
  d.confidences = {.9, .8, .1, .7, .6, .2, .5, .4, .3};
  d.exits = {2, 2, 2};
  for (const auto objective : {SearchObjective::kJoint, SearchObjective::kSeparable}) {
    const SearchResult r = search_thresholds(d.samples(), {.objective = objective});
    EXPECT_EQ(r.thresholds, (std::vector<double>{1, 0})) << static_cast<int>(objective);
  }
  d.confidences = {-3, 5, .1, 7, -6, .2, 2, -1, .3};
  const SearchResult r = search_thresholds(d.samples());
  EXPECT_EQ(r.value, 3);
  EXPECT_EQ(r.thresholds[0], 7);
  EXPECT_LT(r.thresholds[1], -6);
}

TEST(ThresholdSearch, OneSampleAndAllWeightsZeroAreAnswered) {
  ThresholdData d;
  d.num_exits = 4;
  d.confidences = {.5, .6, .7, .8};
  for (int exit = 1; exit <= 4; ++exit) {
    d.exits = {exit};
    EXPECT_EQ(search_thresholds(d.samples()).value, 1);
  }
  d.weights = {0};
  const SearchResult r = search_thresholds(d.samples());
  EXPECT_EQ(r.value, 0);
  EXPECT_TRUE(r.optimal);
  EXPECT_EQ(r.thresholds.size(), 3u);
}

TEST(ThresholdSearch, BadInputIsNamed) {
  const ThresholdData good = spec_example();
  ThresholdData d = good;
  EXPECT_MESSAGE(search_thresholds({}), "search_thresholds: at least one sample is needed, got none");
  d.num_exits = 1;
  EXPECT_MESSAGE(search_thresholds(d.samples()), "the number of exits must lie in 2..32, got 1");
  d.num_exits = 4;
  EXPECT_MESSAGE(search_thresholds(d.samples()),
                 "confidences must hold samples x exits = 8 x 4 values, got 24");
  d = good;
  d.exits[5] = 4;
  EXPECT_MESSAGE(search_thresholds(d.samples()), "exits must lie in 1..3, got 4 at sample 5");
  d.exits[5] = 0;
  EXPECT_MESSAGE(search_thresholds(d.samples()), "got 0 at sample 5");
  d = good;
  d.confidences[4] = std::nan("");
  EXPECT_MESSAGE(search_thresholds(d.samples()), "confidences must be finite, got nan at sample 1, exit 2");
  d.confidences[4] = std::numeric_limits<double>::infinity();
  EXPECT_MESSAGE(search_thresholds(d.samples()), "got inf at sample 1, exit 2");
  d = good;
  d.confidences[2] = std::nan("");  // the last exit's confidence decides nothing
  EXPECT_EQ(search_thresholds(d.samples()).value, 6);
  d = good;
  d.weights = {1, 2};
  EXPECT_MESSAGE(search_thresholds(d.samples()), "weights must be empty or one per sample (8), got 2");
  d.weights.assign(8, 1);
  d.weights[3] = -1;
  EXPECT_MESSAGE(search_thresholds(d.samples()),
                 "weights must be finite and not negative, got -1 at sample 3");
  EXPECT_MESSAGE(search_thresholds(good.samples(), {.time_limit_s = -1}),
                 "time limit must not be negative, got -1");
  EXPECT_MESSAGE(joint_value(good.samples(), std::vector<double>{1}), "equal lengths, got 2 and 3");
}

TEST(ThresholdSearch, ASolverFromOutsideGetsTheProblemInRanks) {
  const std::vector<double> c = {.9, .2, .1, .3, .8, .1, .3, .2, .9, .6, .7, .1};  // [4 samples][3 exits]
  const std::vector<int> exits = {1, 2, 3, 2};
  const std::vector<double> weights = {1, 2, 0, 3};  // the third does not count
  SearchOptions o;
  o.time_limit_s = 7;
  o.solver = [&](const RankedProblem& p) {
    EXPECT_EQ(p.candidates.size(), 2u);
    EXPECT_EQ(p.exit, (std::vector<std::int32_t>{0, 1, 1}));
    EXPECT_EQ(p.weight, (std::vector<std::int32_t>{1, 2, 3}));
    EXPECT_EQ(p.position.size(), 6u);
    EXPECT_EQ(p.start.size(), 2u);
    EXPECT_EQ(p.time_limit_s, 7);
    // The rule of ranks, over all points.
    RankedOptimum best;
    std::int64_t top = -1;
    for (std::uint32_t a = 0; a < p.candidates[0]; ++a) {
      for (std::uint32_t b = 0; b < p.candidates[1]; ++b) {
        std::int64_t sum = 0;
        for (std::size_t i = 0; i < 3; ++i) {
          const bool stays = a >= p.position[i], leaves = b < p.position[3 + i];
          sum += (p.exit[i] == 0 ? !stays : stays && leaves) ? p.weight[i] : 0;
        }
        if (sum > top) {
          top = sum;
          best.point = {a, b};
        }
      }
    }
    best.upper_bound = static_cast<double>(top);
    best.optimal = true;
    best.nodes = 12;
    return best;
  };
  const SearchResult got = search_thresholds({c, exits, 3, weights}, o);
  const SearchResult want = search_thresholds({c, exits, 3, weights});
  EXPECT_EQ(got.value, want.value);
  EXPECT_EQ(got.upper_bound, want.value);
  EXPECT_EQ(got.nodes, 12u);
  EXPECT_TRUE(got.optimal);
  const std::vector<double> odd = {1, .5, 1, 1};
  EXPECT_MESSAGE(search_thresholds({c, exits, 3, odd}, o), "a solver wants integer weights");
}

}  // namespace
}  // namespace offramp::stats
