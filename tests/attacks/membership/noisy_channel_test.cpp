// Times through a network: their distribution, what averaging gives back, and neighbours on the machine.
#include "attacks/membership/noisy_channel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <thread>

#include "attacks/membership/tenants.h"
#include "nets/graph/state_dict.h"
#include "stats/hypothesis_tests.h"
#include "tests/attacks/membership/tables.h"
#include "tests/attacks/message.h"

namespace offramp::attacks::membership {
namespace {

using Form = NoisyChannel::Form;

// Records in two exits, and a trace without noise: 1 ms and 1 ms + gap.
struct TwoExits {
  Records records{.classes = 2, .num_exits = 2};
  Trace trace;
  TwoExits(int each, double gap_ns) {
    trace.classes = 2;
    trace.repetitions = 2;
    trace.samples = 2 * each;
    for (int i = 0; i < 2 * each; ++i) {
      records.row.push_back(i);
      records.exit.push_back(1 + i % 2);
      const auto time = std::llround(1e6 + (i % 2) * gap_ns);
      trace.times_ns.insert(trace.times_ns.end(), {time, time});
    }
  }
};

double mean_of(const std::vector<double>& x) {
  return std::accumulate(x.begin(), x.end(), 0.) / static_cast<double>(x.size());
}
double deviation_of(const std::vector<double>& x) {
  double sum = 0;
  for (const double v : x) sum += (v - mean_of(x)) * (v - mean_of(x));
  return std::sqrt(sum / static_cast<double>(x.size()));
}

// A normal of mean 0 kept where it is positive, and its absolute value, are the same half normal: mean sigma sqrt(2/pi),
// deviation sigma sqrt(1 - 2/pi). 4,000 delays: means within 4 standard errors.
TEST(NoisyChannel, DelaysFollowTheirDistribution) {
  const TwoExits two(2000, 0);
  for (const Form form : {Form::kTruncated, Form::kFolded}) {
    const auto times = times_through(two.trace, {.form = form, .mean_ns = 0, .sigma_ns = 1000}, 1, 3);
    EXPECT_NEAR(mean_of(times) - 1e6, 797.88, 4 * 602.8 / std::sqrt(4000.));
    EXPECT_NEAR(deviation_of(times), 602.8, 30);
    for (const double t : times) EXPECT_GT(t, 1e6);
  }
  // At mean = sigma they differ: the truncated one lies above, by the hazard of the normal at -1: mean 1 + .2876.
  const auto cut = times_through(
                 two.trace, {.form = Form::kTruncated, .mean_ns = 1000, .sigma_ns = 1000}, 1, 3),
             folded =
                 times_through(two.trace, {.form = Form::kFolded, .mean_ns = 1000, .sigma_ns = 1000}, 1, 3);
  EXPECT_NEAR(mean_of(cut) - 1e6, 1287.6, 60);
  EXPECT_NEAR(mean_of(folded) - 1e6, 1166.6, 60);
  // Without noise all answers are late alike.
  EXPECT_EQ(times_through(two.trace, {.mean_ns = 2e6, .sigma_ns = 0}, 3, 1), std::vector<double>(4000, 3e6));
  EXPECT_EQ(times_through(two.trace, {.mean_ns = 0, .sigma_ns = 0}, 1, 1), std::vector<double>(4000, 1e6));
}

TEST(NoisyChannel, MoreQueriesGoOnFromFewer) {
  const TwoExits two(50, 0);
  const NoisyChannel channel{.sigma_ns = 1e5};
  const auto one = times_through(two.trace, channel, 1, 5), two_of = times_through(two.trace, channel, 2, 5);
  EXPECT_EQ(times_through(two.trace, channel, 1, 5), one);
  EXPECT_NE(times_through(two.trace, channel, 1, 6), one);
  for (std::size_t i = 0; i < one.size(); ++i) EXPECT_GT(2 * two_of[i] - one[i], 1e6);  // the second answer
}

// Gap 3 ms, sigma 5 ms: the paper's bound is 22 queries, of which averages still overlap; a hundred make them fall apart.
TEST(NoisyChannel, AveragingGivesTheExitsBack) {
  const TwoExits two(400, 3e6);
  const NoisyChannel channel{.mean_ns = 5e7, .sigma_ns = 5e6};
  const auto at = [&](int queries) {
    return estimate_exits_of(
        times_through(two.trace, channel, queries, 1), 1, {}, two.records, two.records, 1);
  };
  const double gap = least_exit_gap(two.trace, two.records);
  EXPECT_EQ(gap, 3e6);
  EXPECT_EQ(stats::repetitions_to_distinguish(channel.sigma_ns, gap), 22u);
  EXPECT_EQ(stats::repetitions_to_cluster(channel.sigma_ns, gap), 100u);
  const EstimatedExits once = at(1), bound = at(22), often = at(101);
  EXPECT_LT(once.accuracy, .75);
  EXPECT_GT(bound.accuracy, once.accuracy);
  EXPECT_LT(bound.accuracy,
            .96);  // 1.96 sqrt 2 = 2.77 deviations apart: 8.3 % on the wrong side of the middle
  EXPECT_GT(often.accuracy, .99);
  EXPECT_EQ(often.found, 2u);
  // Two exits that a coarse clock does not tell apart have no gap, whoever else has one.
  TwoExits same(400, 3e6);
  for (std::size_t i = 0; i < same.records.size(); ++i)
    if (i % 4 == 0) same.records.exit[i] = 3;
  EXPECT_EQ(least_exit_gap(same.trace, same.records), 0);
  Records one = two.records;
  std::ranges::fill(one.exit, 1);
  EXPECT_EQ(least_exit_gap(two.trace, one), 0);
}

TEST(NoisyChannel, WrongUseIsNamed) {
  const TwoExits two(5, 1e6);
  EXPECT_EQ(test::message_of([&] { times_through(two.trace, {}, 0, 1); }),
            "noisy channel: expected at least 1 query, got 0");
  EXPECT_EQ(test::message_of([&] { times_through(two.trace, {.sigma_ns = -1}, 1, 1); }),
            "noisy channel: mean and sigma are times of 0 or more");
  EXPECT_EQ(test::message_of([&] { times_through(two.trace, {.mean_ns = INFINITY}, 1, 1); }),
            "noisy channel: mean and sigma are times of 0 or more");
}

nets::LoadedNet small_net(const Samples& samples) {
  nets::NetOptions options = test::small_plan().net;
  options.num_exits = 3;
  samples.describe(options, false);
  nets::LoadedNet loaded{.net = std::make_unique<nets::Network>(options, Device::make_cpu({.threads = 1})),
                         .policy = {},
                         .metadata = {}};
  nets::initialize(*loaded.net, 1);
  loaded.policy = nets::ExitPolicy::uniform(3, .5);
  return loaded;
}

TEST(Tenants, AllAnswerUntilTheyAreSentAway) {
  const Samples samples{test::bits(24, 30, 1)};
  std::vector<nets::LoadedNet> nets;
  for (int i = 0; i < 3; ++i) nets.push_back(small_net(samples));
  const Tenants tenants(std::move(nets), samples, {1, 5, 7});
  ASSERT_EQ(tenants.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i)
    while (tenants.answers(i) < 5) std::this_thread::yield();
  const Tenants none({}, samples, {});
  EXPECT_EQ(none.size(), 0u);
}

TEST(Tenants, WhatEndsOneIsSaid) {
  const Samples samples{test::bits(24, 30, 1)}, narrow{test::bits(24, 29, 1)};
  std::vector<nets::LoadedNet> nets;
  nets.push_back(small_net(samples));
  EXPECT_EQ(test::message_of([&] { Tenants(std::move(nets), samples, {}); }),
            "tenants: there is no sample to answer");
  std::vector<nets::LoadedNet> other;
  other.push_back(small_net(samples));
  const Tenants tenants(std::move(other), narrow, {0});
  EXPECT_NE(test::message_of([&] {
              while (tenants.answers(0) >= 0) std::this_thread::yield();
            }).find("30"),
            std::string::npos);
}

}  // namespace
}  // namespace offramp::attacks::membership
