#include "attacks/membership/many_models.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "stats/membership/control.h"
#include "stats/membership/detection_point.h"
#include "tests/attacks/message.h"

namespace offramp::attacks::membership {
namespace {

// One record; the margins of nets without and with it.
References one_record(std::vector<double> out, std::vector<double> in) {
  References r{.models = static_cast<int>(out.size() + in.size()), .num_exits = 2, .records = 1};
  for (const double v : out) {
    r.margin.push_back(v);
    r.in.push_back(0);
  }
  for (const double v : in) {
    r.margin.push_back(v);
    r.in.push_back(1);
  }
  r.exit.assign(r.margin.size(), 1);
  return r;
}

TEST(Lira, CheckValuesOfTheSpec) {  // specs/audit.md 1
  const References r = one_record({1.0, 1.4, .6, 1.2}, {2.8, 3.4, 3.0, 3.6});
  const Queried x{{3.2}, {1}};
  EXPECT_NEAR(lira_online(x, r, Variance::kOwn)[0], 19.743949, 5e-7);
  EXPECT_NEAR(lira_online(x, r, Variance::kCommon)[0], 18.49, 1e-12);
  // With one record pooled over all records is its own.
  EXPECT_NEAR(lira_online(x, r, Variance::kPooled)[0], 19.743949, 5e-7);
  EXPECT_NEAR(lira_offline(x, r, Variance::kOwn)[0], 2.15 / std::sqrt(.35 / 3), 1e-12);
}

double log_odds(double p) { return std::log(p / (1 - p)); }

TEST(Rmia, CheckValuesOfTheSpec) {
  // Nets that were trained on the record (.99) do not count for it; those of the population's records all do.
  const References of_record =
      one_record({log_odds(.5), log_odds(.4)}, {log_odds(.99), log_odds(.99), log_odds(.99)});
  const std::vector<double> x = rmia_ratios({{log_odds(.9)}, {1}}, of_record, .3);
  ASSERT_EQ(x.size(), 1u);
  EXPECT_NEAR(x[0], .9 / .6425, 1e-12);
  EXPECT_NEAR(rmia_prior(std::vector<double>{.5, .4}, .3), .6425, 1e-15);
  std::vector<double> population;
  const double z[3][3] = {{.2, .3, .2}, {.7, .6, .8}, {.95, .9, .9}};
  for (const auto& [target, first, second] : z) {
    const References r = one_record({log_odds(first), log_odds(second)}, {});
    population.push_back(rmia_population_ratios({{log_odds(target)}, {1}}, r)[0]);
  }
  EXPECT_NEAR(x[0] / population[0], 1.750973, 5e-7);
  EXPECT_NEAR(x[0] / population[1], 1.400778, 5e-7);
  EXPECT_NEAR(x[0] / population[2], 1.327053, 5e-7);
  EXPECT_EQ(rmia(x, population, 1), std::vector<double>{1});
  EXPECT_EQ(rmia(x, population, 2), std::vector<double>{0});
  EXPECT_EQ(rmia(x, population, 1.35), std::vector<double>{2.0 / 3});
}

// Records with difficulties of their own, nets on random halves; a net that saw a record gives it a larger margin and, as
// asked, an earlier exit. The last net is the target.
struct NetWorld {
  References references;
  Queried target;
  std::vector<std::uint8_t> member;
};
// `unequal`: how much records differ in their spread.
NetWorld net_world(
    std::size_t n, int models, double gain, double exit_gain, std::uint64_t seed, double unequal = 0) {
  std::mt19937_64 rng(seed);
  std::normal_distribution<double> normal;
  std::uniform_real_distribution<double> uniform;
  NetWorld w;
  w.references = {.models = models, .num_exits = 2, .records = n};
  std::vector<double> difficulty(n), spread(n, .5);
  for (double& d : difficulty) d = 3 * normal(rng);
  if (unequal > 0)
    for (double& s : spread) s *= std::exp(unequal * normal(rng));
  for (int m = 0; m <= models; ++m) {
    for (std::size_t i = 0; i < n; ++i) {
      // In pairs that share the records between them, as models_of plans them.
      const bool in = m == models  ? uniform(rng) < .5
                      : m % 2 == 0 ? uniform(rng) < .5
                                   : w.references.in[w.references.at(m - 1, i)] == 0;
      const double margin = difficulty[i] + spread[i] * normal(rng) + (in ? gain : 0);
      const int exit = uniform(rng) < .5 + (in ? exit_gain : -exit_gain) ? 1 : 2;
      if (m == models) {
        w.target.margin.push_back(margin);
        w.target.exit.push_back(exit);
        w.member.push_back(in);
      } else {
        w.references.margin.push_back(margin);
        w.references.exit.push_back(exit);
        w.references.in.push_back(in);
      }
    }
  }
  return w;
}

std::pair<std::vector<double>, std::vector<double>> sides(const std::vector<double>& scores,
                                                          const NetWorld& w) {
  std::pair<std::vector<double>, std::vector<double>> out;
  for (std::size_t i = 0; i < scores.size(); ++i) (w.member[i] ? out.first : out.second).push_back(scores[i]);
  return out;
}
double auc(const std::vector<double>& scores, const NetWorld& w) {
  const auto [members, others] = sides(scores, w);
  return stats::delong_auc(members, others).estimate;
}

TEST(Lira, FindsWhatOneThresholdCannotSee) {
  const NetWorld w = net_world(2000, 16, .6, 0, 1);
  EXPECT_LT(auc(w.target.margin, w), .6);  // difficulty hides it
  EXPECT_GT(auc(lira_offline(w.target, w.references), w), .75);
  EXPECT_GT(auc(lira_online(w.target, w.references), w), .75);
  EXPECT_NEAR(auc(exit_ratio(w.target, w.references), w), .5, .04);
}

TEST(Lira, NothingToFindIsNothingFound) {
  const NetWorld w = net_world(2000, 16, 0, 0, 2);
  for (const ManyModelAttack& attack : many_model_attacks())
    EXPECT_NEAR(auc(attack.score(w.target, w.references), w), .5, 3.3 * std::sqrt(1.0 / (12 * 500)))
        << attack.name;
}

TEST(Lira, TheExitAddsWhatItTells) {
  const NetWorld told = net_world(3000, 16, .4, .35, 3), untold = net_world(3000, 16, .4, 0, 3);
  const auto gain = [](const NetWorld& w) {
    const auto online = auc(lira_online(w.target, w.references), w);
    for (const ManyModelAttack& a : many_model_attacks())
      if (std::string(a.name) == "lira-online+exit") return auc(a.score(w.target, w.references), w) - online;
    return 0.0;
  };
  EXPECT_GT(auc(exit_ratio(told.target, told.references), told), .7);
  EXPECT_GT(gain(told), .05);
  EXPECT_LT(gain(untold), .01);
  EXPECT_GT(auc(lira_joint(told.target, told.references), told), .75);
}

// Records whose exits never differ: the joint ratio is the plain one with variances of its own pooling.
TEST(Lira, JointWithOneExitIsThePlainOne) {
  NetWorld w = net_world(50, 16, .6, 0, 4);
  std::ranges::fill(w.references.exit, 1);
  std::ranges::fill(w.target.exit, 1);
  const auto joint = lira_joint(w.target, w.references),
             plain = lira_online(w.target, w.references, Variance::kPooled);
  for (std::size_t i = 0; i < 50; ++i) EXPECT_NEAR(joint[i], plain[i], 1e-9 * (1 + std::abs(plain[i])));
}

TEST(Lira, OrderOfRecordsAndNetsDoesNotMatter) {
  const NetWorld w = net_world(60, 8, .6, .2, 5);
  std::vector<std::size_t> order(60);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::shuffle(order.begin(), order.end(), std::mt19937_64(2));
  NetWorld other = w;
  const int nets[] = {3, 1, 0, 7, 2, 6, 4, 5};
  for (std::size_t i = 0; i < 60; ++i) {
    other.target.margin[i] = w.target.margin[order[i]];
    other.target.exit[i] = w.target.exit[order[i]];
    for (int m = 0; m < 8; ++m) {
      const std::size_t from = w.references.at(nets[m], order[i]), to = other.references.at(m, i);
      other.references.margin[to] = w.references.margin[from];
      other.references.exit[to] = w.references.exit[from];
      other.references.in[to] = w.references.in[from];
    }
  }
  for (const ManyModelAttack& attack : many_model_attacks()) {
    const auto a = attack.score(w.target, w.references), b = attack.score(other.target, other.references);
    for (std::size_t i = 0; i < 60; ++i)
      EXPECT_NEAR(b[i], a[order[i]], 1e-9 * (1 + std::abs(b[i]))) << attack.name;
  }
}

TEST(Lira, CalibrationKeepsItsLevelOnEveryRecord) {
  const NetWorld w = net_world(4000, 16, .8, 0, 6);
  const auto c = calibrated([](const Queried& q, const References& r) { return lira_online(q, r); },
                            w.target,
                            w.member,
                            w.references);
  EXPECT_EQ(c.level, 1.0 / 9);
  const double n = static_cast<double>(c.non_members), rate = static_cast<double>(c.false_alarms) / n;
  EXPECT_LT(rate, c.level + .05);
  EXPECT_GT(static_cast<double>(c.members_found) / static_cast<double>(c.members), rate + .2);
}

// Where taking a net away would change which moments are a record's own (32 of each side; 5 of each side at an exit), the nets that
// play the target are scored as the target all the same.
TEST(Lira, CalibrationScoresTheNetsAsTheTarget) {
  for (const int models : {64, 66, 62}) {
    const NetWorld w = net_world(3000, models, 0, 0, 8, .8);
    const auto c = calibrated([](const Queried& q, const References& r) { return lira_online(q, r); },
                              w.target,
                              w.member,
                              w.references);
    const double n = static_cast<double>(c.non_members), rate = static_cast<double>(c.false_alarms) / n;
    EXPECT_LT(rate, c.level + 4 * std::sqrt(c.level / n)) << models;
  }
  for (const int models : {8, 10, 12, 16}) {
    const NetWorld w = net_world(3000, models, 0, 0, 9, .8);
    const auto c = calibrated(lira_joint, w.target, w.member, w.references);
    const double n = static_cast<double>(c.non_members), rate = static_cast<double>(c.false_alarms) / n;
    EXPECT_LT(rate, c.level + 4 * std::sqrt(c.level / n)) << models;
  }
}

// A score that is the margin itself. Highest margin of nets without the record: 2, 3, 1; midway between all margins without and
// with: (3 + 4) / 2.
TEST(Lira, CalibrationByHand) {
  References r{.models = 4, .num_exits = 1, .records = 3};
  r.margin = {1, 4, 9, 2, 8, 0.5, 6, 3, 1, 5, 2, 7};
  r.in = {0, 1, 1, 0, 1, 0, 1, 0, 0, 1, 0, 1};
  r.exit.assign(12, 1);
  const std::vector<std::uint8_t> member = {1, 1, 0};
  const auto c = calibrated(
      [](const Queried& q, const References&) { return q.margin; }, {{2.5, 3, 1.5}, {1, 1, 1}}, member, r);
  EXPECT_EQ(c.level, 1.0 / 3);
  EXPECT_EQ(c.threshold, 3.5);
  EXPECT_EQ(c.members, 2u);
  EXPECT_EQ(c.members_found, 1u);
  EXPECT_EQ(c.non_members, 1u);
  EXPECT_EQ(c.false_alarms, 1u);
}

// From 32 nets a side on a record has a variance of its own.
TEST(Lira, FewNetsShareAVariance) {
  for (const int models : {64, 62}) {
    const NetWorld w = net_world(20, models, .5, 0, 10, .8);
    std::vector<std::size_t> in(20, 0);
    for (int m = 0; m < models; ++m)
      for (std::size_t i = 0; i < 20; ++i) in[i] += w.references.in[w.references.at(m, i)];
    for (const std::size_t count : in) ASSERT_EQ(count, static_cast<std::size_t>(models) / 2);
    const auto own = lira_online(w.target, w.references, Variance::kOwn),
               pooled = lira_online(w.target, w.references, Variance::kPooled),
               chosen = lira_online(w.target, w.references);
    EXPECT_NE(own, pooled);
    EXPECT_EQ(chosen, models == 64 ? own : pooled);
    EXPECT_EQ(lira_offline(w.target, w.references),
              lira_offline(w.target, w.references, models == 64 ? Variance::kOwn : Variance::kPooled));
  }
}

TEST(ManyModels, DegenerateAndBadInput) {
  // Constant margins: finite scores, nothing found.
  const References same = one_record({1, 1, 1}, {1, 1, 1});
  EXPECT_EQ(lira_online({{1}, {1}}, same), std::vector<double>{0});
  EXPECT_TRUE(std::isfinite(lira_offline({{2}, {1}}, same)[0]));
  EXPECT_EQ(test::message_of([] {
              lira_online({{1}, {1}}, one_record({1, 2}, {1}));
            }),
            "lira-online: needs two reference nets trained on each record, record 0 has 1");
  EXPECT_EQ(test::message_of([] {
              lira_offline({{1}, {1}}, one_record({1}, {1, 2}));
            }),
            "lira-offline: needs two reference nets not trained on each record, record 0 has 1");
  EXPECT_EQ(test::message_of([] {
              lira_offline({{std::nan("")}, {1}}, one_record({1, 2}, {}));
            }),
            "lira-offline: margins must be finite, record 0 has one that is not");
  EXPECT_EQ(test::message_of([] {
              lira_online({{1, 2}, {1, 1}}, one_record({1, 2}, {1, 2}));
            }),
            "lira-online: the target has 2 records, the references 1");
  EXPECT_EQ(test::message_of([] { references_of({}, {}); }),
            "references: there are no reference nets; train some with --references");
  EXPECT_EQ(test::message_of([] { rmia(std::vector<double>{1}, std::vector<double>{}, 1); }),
            "rmia: the population is empty");
  Records net{.model = "reference-k2-00", .classes = 2, .num_exits = 2};
  net.row = {4};
  net.margin = {1};
  net.exit = {1};
  net.member = {0};
  const std::vector<Records> nets = {net};
  EXPECT_EQ(test::message_of([&] {
              references_of(nets, std::vector<std::int32_t>{4, 5});
            }),
            "references: reference-k2-00 was not asked about row 5");
}

}  // namespace
}  // namespace offramp::attacks::membership
