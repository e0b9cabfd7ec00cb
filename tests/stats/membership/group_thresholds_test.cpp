#include "stats/membership/group_thresholds.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "tests/stats/expect_message.h"

namespace offramp::stats {
namespace {

struct Sample {
  std::vector<double> score;
  std::vector<std::uint8_t> member;
  std::vector<std::int32_t> group;
  GroupedScores view() const { return {score, member, group}; }
};

Sample draw_groups(std::size_t n, int groups, std::uint64_t seed) {
  std::mt19937_64 rng(seed);
  std::normal_distribution<double> normal;
  Sample s;
  for (std::size_t i = 0; i < n; ++i) {
    s.member.push_back(rng() % 2);
    s.group.push_back(static_cast<std::int32_t>(rng() % static_cast<std::uint64_t>(groups)));
    // Groups on scales of their own: one threshold for all does badly.
    s.score.push_back(normal(rng) + 1.5 * s.member.back() + 4.0 * s.group.back());
  }
  return s;
}

double balanced(std::span<const double> members, std::span<const double> others, double threshold) {
  const auto above = [threshold](std::span<const double> v) {
    return static_cast<double>(std::ranges::count_if(v, [&](double s) { return s > threshold; })) /
           static_cast<double>(v.size());
  };
  return (above(members) + 1 - above(others)) / 2;
}

TEST(BalancedThreshold, IsTheBestOfAll) {
  std::mt19937_64 rng(3);
  std::normal_distribution<double> normal;
  for (int trial = 0; trial < 50; ++trial) {
    std::vector<double> members, others;
    for (int i = 0; i < 30; ++i) members.push_back(std::round(2 * normal(rng) + 1));
    for (int i = 0; i < 20; ++i) others.push_back(std::round(2 * normal(rng)));
    const auto found = balanced_threshold(members, others);
    EXPECT_EQ(balanced(members, others, found.threshold), found.balanced_accuracy);
    double best = 0.5;
    for (double t = -12.5; t < 12; t += 0.5) best = std::max(best, balanced(members, others, t));
    EXPECT_NEAR(found.balanced_accuracy, best, 1e-12);
  }
}

TEST(BalancedThreshold, EndsOfTheScale) {
  const std::vector<double> high = {3, 4}, low = {1, 2}, same = {2, 2};
  EXPECT_EQ(balanced_threshold(high, low).threshold, 2.5);
  EXPECT_EQ(balanced_threshold(high, low).balanced_accuracy, 1);
  // Scores that speak against membership are worth nothing, not less: nobody is called a member.
  const auto reversed = balanced_threshold(low, high);
  EXPECT_EQ(reversed.balanced_accuracy, .5);
  EXPECT_EQ(balanced(low, high, reversed.threshold), .5);
  EXPECT_EQ(reversed.threshold,
            std::numeric_limits<double>::infinity());  // a higher score than any known is nobody's either
  EXPECT_EQ(balanced_threshold(same, same).balanced_accuracy, .5);  // constant scores
  const double inf = std::numeric_limits<double>::infinity();
  const std::vector<double> infinite = {inf, 1}, finite = {0, -inf};
  EXPECT_EQ(balanced(infinite, finite, balanced_threshold(infinite, finite).threshold), 1);
  const std::vector<double> sure = {inf, inf};
  EXPECT_EQ(balanced(sure, finite, balanced_threshold(sure, finite).threshold), 1);
}

TEST(ArtGrid, FirstOfTheNinetyNine) {  // specs/membership.md 4.3
  const std::vector<double> members = {10, 6, 5}, others = {0, 0, 4};
  const auto found = art_grid_threshold(members, others);
  EXPECT_DOUBLE_EQ(found.threshold, 4);  // j = 40: 4 > 4 is false
  EXPECT_EQ(found.balanced_accuracy, 1);
  // One outlier of 10,000 puts every multiple of 100 above all the others.
  const std::vector<double> outlier = {10000, 6, 5};
  EXPECT_DOUBLE_EQ(art_grid_threshold(outlier, others).threshold, 100);
  EXPECT_MESSAGE(art_grid_threshold(members, std::vector<double>{-1}), "begins at 0, a score is -1");
}

TEST(GroupThresholds, EachGroupHasTheBestOfItsOwn) {
  const Sample s = draw_groups(3000, 3, 1);
  const auto t = group_thresholds(s.view(), 3);
  for (std::int32_t g = 0; g < 3; ++g) {
    std::vector<double> members, others;
    for (std::size_t i = 0; i < s.score.size(); ++i) {
      if (s.group[i] == g) (s.member[i] ? members : others).push_back(s.score[i]);
    }
    EXPECT_EQ(t.threshold[static_cast<std::size_t>(g)], balanced_threshold(members, others).threshold);
  }
  const auto result = grouped_accuracy(s.view(), decide(s.view(), t), t);
  EXPECT_GT(result.average, .72);  // Phi(.75) = .773 in each
  const auto one = group_thresholds({s.score, s.member, std::vector<std::int32_t>(3000, 0)}, 1);
  const std::vector<std::int32_t> all(3000, 0);
  EXPECT_LT(grouped_accuracy({s.score, s.member, all}, decide({s.score, s.member, all}, one), one).average,
            .65);
}

TEST(GroupThresholds, OrderOfRecordsAndNamesOfGroupsDoNotMatter) {
  const Sample s = draw_groups(400, 4, 9);
  std::vector<std::size_t> order(400);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::shuffle(order.begin(), order.end(), std::mt19937_64(4));
  const std::int32_t names[] = {2, 0, 3, 1};
  Sample other;
  for (const std::size_t i : order) {
    other.score.push_back(s.score[i]);
    other.member.push_back(s.member[i]);
    other.group.push_back(names[s.group[i]]);
  }
  const auto a = group_thresholds(s.view(), 4), b = group_thresholds(other.view(), 4);
  for (std::size_t g = 0; g < 4; ++g)
    EXPECT_EQ(a.threshold[g], b.threshold[static_cast<std::size_t>(names[g])]);
  EXPECT_DOUBLE_EQ(grouped_accuracy(s.view(), decide(s.view(), a), a).average,
                   grouped_accuracy(other.view(), decide(other.view(), b), b).average);
}

TEST(GroupThresholds, GroupsWithoutOneSide) {  // specs/membership.md 5, edge cases
  Sample s;
  const auto add = [&](double score, int member, int group) {
    s.score.push_back(score);
    s.member.push_back(static_cast<std::uint8_t>(member));
    s.group.push_back(group);
  };
  // Group 0 has no member, group 1 both (best above 4), group 2 nothing, group 3 no non-member.
  for (const double v : {1.0, 2.0}) add(v, 0, 0);
  for (const double v : {3.0, 4.0}) add(v, 0, 1);
  for (const double v : {5.0, 6.0}) add(v, 1, 1);
  add(7, 1, 3);
  const auto ours = group_thresholds(s.view(), 4);
  EXPECT_EQ(ours.own, (std::vector<std::uint8_t>{0, 1, 0, 0}));
  EXPECT_EQ(ours.threshold, (std::vector<double>{4.5, 4.5, 4.5, 4.5}));
  const auto code = group_thresholds(s.view(), 4, EmptyGroup::kPrevious);
  EXPECT_EQ(code.threshold, (std::vector<double>{0, 4.5, 4.5, 4.5}));

  const auto result = grouped_accuracy(s.view(), decide(s.view(), ours), ours);
  EXPECT_EQ(result.average, 1);  // of group 1 alone
  EXPECT_EQ(result.flagged, 2u);
  EXPECT_TRUE(std::isnan(result.groups[0].accuracy));
  // Half of group 1 decided wrongly: the code's average hides it behind ones.
  const std::vector<std::uint8_t> nobody(s.score.size(), 0);
  const auto wrong = grouped_accuracy(s.view(), nobody, ours);
  EXPECT_EQ(wrong.average, .5);
  EXPECT_EQ(wrong.as_ccs_code, (1 + .5 + 1 + 1) / 4);
}

// One group of two records, all right, and one of six, half right: five eighths of the records, three quarters of the groups.
TEST(GroupThresholds, TheWeightedAverageCountsRecords) {
  Sample s;
  s.score = {1, 2, 1, 1, 1, 2, 2, 2};
  s.member = {0, 1, 0, 0, 1, 0, 0, 1};
  s.group = {0, 0, 1, 1, 1, 1, 1, 1};
  const auto t = group_thresholds(s.view(), 2);
  const auto result = grouped_accuracy(s.view(), decide(s.view(), {{1.5, 1.5}, {1, 1}}), t);
  EXPECT_EQ(result.groups[0].accuracy, 1);
  EXPECT_EQ(result.groups[1].accuracy, .5);
  EXPECT_EQ(result.average, .75);
  EXPECT_EQ(result.weighted, 5. / 8);
}

TEST(GroupThresholds, NoGroupThatCountsIsNaN) {
  Sample s;
  s.score = {1, 2};
  s.member = {0, 1};
  s.group = {0, 1};
  const auto t = group_thresholds(s.view(), 2);
  EXPECT_TRUE(std::isnan(grouped_accuracy(s.view(), decide(s.view(), t), t).average));
}

TEST(GroupThresholds, BadInputIsNamed) {
  const std::vector<double> score = {1, 2}, nan = {1, std::nan("")};
  const std::vector<std::uint8_t> member = {0, 1}, two = {0, 2}, members = {1, 1};
  const std::vector<std::int32_t> group = {0, 0}, beyond = {0, 1};
  EXPECT_MESSAGE(group_thresholds({score, member, beyond}, 1), "got 1 at index 1");
  EXPECT_MESSAGE(group_thresholds({score, two, group}, 1), "membership of 0 or 1, got 2 at index 1");
  EXPECT_MESSAGE(group_thresholds({score, members, group}, 1), "negative scores");
  EXPECT_MESSAGE(decide({nan, member, group}, {{0.0}, {1}}), "must not be NaN, got one at index 1");
}

}  // namespace
}  // namespace offramp::stats
