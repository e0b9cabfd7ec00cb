// The device's densities, changepoints and threshold search against stats/: on the host's emulation or a GPU.
#include "engine/device_algorithms.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "base/errors.h"
#include "stats/changepoint.h"
#include "stats/kde.h"
#include "stats/search/threshold_search.h"

#if OFFRAMP_HAS_CUDA
#include "kernels/cuda/runtime.h"
#endif

namespace offramp {
namespace {

namespace on_device = device_algorithms;

#if OFFRAMP_HAS_CUDA
class DeviceAlgorithms : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = cuda::why_no_device(); !why.empty()) GTEST_SKIP() << why;
  }
  static Device device() { return Device::cuda(); }
};

std::vector<double> mixture(std::size_t n, std::uint64_t seed) {
  std::mt19937_64 rng(seed);
  std::normal_distribution<double> normal;
  std::vector<double> t;
  for (std::size_t i = 0; i < n; ++i) t.push_back(5 + (i % 3 ? 0 : 4) + (i % 3 ? 1 : 0.3) * normal(rng));
  return t;
}

std::vector<double> grid(double low, double high, std::size_t count) {
  std::vector<double> x;
  for (std::size_t i = 0; i < count; ++i) {
    x.push_back(low + (high - low) * static_cast<double>(i) / static_cast<double>(count - 1));
  }
  return x;
}

void expect_density(const std::vector<double>& got, const std::vector<double>& want, double share) {
  ASSERT_EQ(got.size(), want.size());
  const double peak = *std::max_element(want.begin(), want.end());
  for (std::size_t i = 0; i < want.size(); ++i) {
    ASSERT_NEAR(got[i], want[i], share * peak) << "point " << i;
  }
}

TEST_F(DeviceAlgorithms, DirectDensityKeepsItsStatedError) {
  for (const std::size_t n : {1u, 2u, 255u, 257u, 9000u}) {  // 9000: three slices
    const std::vector<double> t = mixture(n, n), x = grid(-3, 14, n > 1000 ? 37 : 300);
    const double h = 0.4;
    expect_density(on_device::kde_direct(device(), t, x, h), stats::kde_direct(t, x, h), 2e-6);
  }
  EXPECT_TRUE(on_device::kde_direct(device(), mixture(5, 1), {}, 1).empty());
  // Far away the exponent leaves the range of a float: nothing, not garbage.
  EXPECT_EQ(on_device::kde_direct(device(), std::vector<double>{0}, std::vector<double>{1e6}, 1e-3)[0], 0);
}

TEST_F(DeviceAlgorithms, BinnedDensityEqualsTheCpuCellForCell) {
  const double h = 0.4;
  for (const std::size_t n : {1u, 100u, 5000u}) {
    const std::vector<double> t = mixture(n, 7 * n), x = grid(-3, 14, 200);
    // 40 cells: one shared window; 1e-2: several; 1e-4: too many for windows, straight to memory.
    for (const double width : {0.1 * h, 1e-2 * h, 1e-4 * h}) {
      std::vector<double> want(x.size());
      stats::BinnedDensity(t, h, width, 6, 1).evaluate(x, want, 1);
      // moments are rounded to 2^-32, and the CPU adds a few cells beyond the cut: 2 exp(-18) of the peak
      expect_density(on_device::kde_cells(device(), t, x, h, width, 6), want, 4e-8);
    }
  }
}

TEST_F(DeviceAlgorithms, BinnedDensityHasTheSameBitsTwice) {
  const std::vector<double> t = mixture(5000, 3), x = grid(-3, 14, 50);
  EXPECT_EQ(on_device::kde_cells(device(), t, x, .3, .01, 6),
            on_device::kde_cells(device(), t, x, .3, .01, 6));
  EXPECT_EQ(on_device::kde_direct(device(), t, x, .3), on_device::kde_direct(device(), t, x, .3));
}

struct ChangepointCase {
  std::vector<double> y;
  stats::NormalGammaPrior prior;
  stats::LengthPrior length;
  on_device::SegmentModel model() const {
    return {prior.mu0, prior.k0, prior.a0, prior.b0, length.log_mass, length.log_survival};
  }
};

std::vector<ChangepointCase> changepoint_cases() {
  std::vector<ChangepointCase> cases;
  for (const std::size_t n : {1u, 2u, 31u, 256u, 257u, 2400u}) {  // 2400: two chunks of far ends
    std::mt19937_64 rng(n);
    std::normal_distribution<double> normal;
    std::vector<double> y;
    for (std::size_t i = 0; i < n; ++i) y.push_back(3.0 * static_cast<double>(4 * i / n) + 0.4 * normal(rng));
    if (n % 2 == 0) std::sort(y.begin(), y.end());
    cases.push_back({y, {1, 1, 1, 1}, stats::LengthPrior::constant(n)});
    if (n < 1000) cases.push_back({y, {250, 0.5, 2, 0.3}, stats::LengthPrior::geometric(n, 0.02)});
  }
  return cases;
}

TEST_F(DeviceAlgorithms, LogQAndPosteriorEqualTheCpu) {
  for (const ChangepointCase& c : changepoint_cases()) {
    SCOPED_TRACE(::testing::Message() << "n " << c.y.size() << " mu0 " << c.prior.mu0);
    const stats::ChangepointPosterior want = stats::changepoint_posterior(c.y, c.prior, c.length);
    const on_device::SegmentPosterior got = on_device::segment_posterior(device(), c.y, c.model());
    ASSERT_EQ(got.log_q.size(), want.log_q.size());
    for (std::size_t t = 0; t < want.log_q.size(); ++t) {
      // The goal of design/performance.md E5: 1e-9 relative.
      ASSERT_NEAR(got.log_q[t], want.log_q[t], 1e-9 * std::max(1.0, std::abs(want.log_q[t]))) << "t = " << t;
    }
    EXPECT_EQ(got.log_evidence, got.log_q[0]);
    ASSERT_EQ(got.at.size(), want.at.size());
    for (std::size_t i = 0; i < want.at.size(); ++i) {
      // exp of a difference of three such numbers
      ASSERT_NEAR(got.at[i], want.at[i], 3e-9 * std::max(1.0, std::abs(want.log_evidence))) << "place " << i;
    }
  }
}

TEST_F(DeviceAlgorithms, MapSegmentationEqualsTheCpu) {
  for (const ChangepointCase& c : changepoint_cases()) {
    SCOPED_TRACE(::testing::Message() << "n " << c.y.size() << " mu0 " << c.prior.mu0);
    const stats::MapSegmentation want = stats::map_segmentation(c.y, c.prior, c.length);
    const on_device::SegmentMap got = on_device::segment_map(device(), c.y, c.model());
    EXPECT_EQ(got.starts, want.starts);
    EXPECT_NEAR(got.log_joint, want.log_joint, 1e-9 * std::max(1.0, std::abs(want.log_joint)));
  }
}

// ---- thresholds
struct JointCase {
  std::vector<double> confidences, weights;
  std::vector<int> exits;
  std::size_t num_exits = 0;
  std::vector<std::vector<double>> values;  // distinct, ascending, per dimension
  std::vector<std::uint32_t> position;
  std::vector<std::int32_t> exit, weight;

  on_device::JointProblem problem() const {
    on_device::JointProblem p;
    for (const auto& v : values) p.candidates.push_back(static_cast<std::uint32_t>(v.size()) + 1);
    p.position = position;
    p.exit = exit;
    p.weight = weight;
    return p;
  }
  // J at a point of candidates, by the definition.
  std::int64_t count(const std::vector<std::uint32_t>& t) const {
    std::int64_t sum = 0;
    for (std::size_t i = 0; i < exits.size(); ++i) {
      std::size_t e = 0;
      while (e < t.size() && t[e] >= position[e * exits.size() + i]) ++e;
      sum += e == static_cast<std::size_t>(exit[i]) ? weight[i] : 0;
    }
    return sum;
  }
};

JointCase joint_case(std::size_t n, std::size_t num_exits, std::uint64_t seed, bool ties, bool weighted) {
  std::mt19937_64 rng(seed);
  JointCase c;
  c.num_exits = num_exits;
  const std::size_t dims = num_exits - 1;
  for (std::size_t i = 0; i < n; ++i) {
    const double easy = static_cast<double>(rng() % 1000) / 1000;
    c.exits.push_back(
        static_cast<int>(1 + std::min(num_exits - 1,
                                      static_cast<std::size_t>(easy * static_cast<double>(num_exits) +
                                                               static_cast<double>(rng() % 100) / 100))));
    for (std::size_t k = 0; k < num_exits; ++k) {
      const double noise = static_cast<double>(rng() % 1000) / 1000;
      double v = 0.5 * (1 - easy) + 0.1 * static_cast<double>(k) + 0.5 * noise;
      c.confidences.push_back(ties ? std::round(4 * v) / 4 : v);
    }
    c.weight.push_back(weighted ? static_cast<std::int32_t>(rng() % 5) : 1);
    c.weights.push_back(c.weight.back());
    c.exit.push_back(c.exits.back() - 1);
  }
  for (std::size_t k = 0; k < dims; ++k) {
    std::vector<double> v;
    for (std::size_t i = 0; i < n; ++i) v.push_back(c.confidences[i * num_exits + k]);
    std::sort(v.begin(), v.end());
    v.erase(std::unique(v.begin(), v.end()), v.end());
    for (std::size_t i = 0; i < n; ++i) {
      const auto at = std::lower_bound(v.begin(), v.end(), c.confidences[i * num_exits + k]);
      c.position.push_back(static_cast<std::uint32_t>(at - v.begin()) + 1);
    }
    c.values.push_back(std::move(v));
  }
  return c;
}

TEST_F(DeviceAlgorithms, JointSearchReachesTheProvenOptimum) {
  std::uint64_t seed = 0;
  for (const std::size_t num_exits : {2u, 3u, 4u, 5u, 6u}) {
    for (const bool ties : {false, true}) {
      for (const bool weighted : {false, true}) {
        const std::size_t n = num_exits == 2 ? 700 : 90 - 10 * num_exits;
        const JointCase c = joint_case(n, num_exits, ++seed, ties, weighted);
        SCOPED_TRACE(::testing::Message() << "exits " << num_exits << " ties " << ties << " seed " << seed);
        const stats::SearchResult want =
            stats::search_thresholds({c.confidences, c.exits, num_exits, c.weights}, {.threads = 1});
        ASSERT_TRUE(want.optimal);
        for (const std::int64_t cells : {std::int64_t{1}, std::int64_t{500}}) {
          on_device::JointProblem p = c.problem();
          p.grid_cells = cells;
          p.batch = 7;
          const on_device::JointAnswer got = on_device::joint_search(device(), p);
          EXPECT_EQ(static_cast<double>(got.value), want.value) << "grid of " << cells;
          EXPECT_EQ(got.value, c.count(got.point));
          EXPECT_EQ(got.upper_bound, got.value);
          EXPECT_TRUE(got.optimal);
        }
      }
    }
  }
}

TEST_F(DeviceAlgorithms, JointSearchCutsRangesOfMoreThanItsBins) {
  const JointCase c = joint_case(500, 3, 99, false, false);
  ASSERT_GT(c.values[0].size(), 300u);
  const stats::SearchResult want = stats::search_thresholds({c.confidences, c.exits, 3, {}});
  on_device::JointProblem p = c.problem();
  p.grid_cells = 1;
  const on_device::JointAnswer got = on_device::joint_search(device(), p);
  EXPECT_EQ(static_cast<double>(got.value), want.value);
  EXPECT_TRUE(got.optimal);
  EXPECT_GT(got.boxes, 1u);
  p.grid_cells = 4096;
  EXPECT_EQ(on_device::joint_search(device(), p).value, got.value);
}

TEST_F(DeviceAlgorithms, JointSearchOutOfTimeSaysWhatIsLeft) {
  const JointCase c = joint_case(300, 5, 5, false, false);
  const stats::SearchResult want = stats::search_thresholds({c.confidences, c.exits, 5, {}});
  on_device::JointProblem p = c.problem();
  p.grid_cells = 1;
  p.time_limit_s = 0;
  const on_device::JointAnswer got = on_device::joint_search(device(), p);
  EXPECT_FALSE(got.optimal);
  EXPECT_EQ(got.value, c.count(got.point));
  EXPECT_LE(static_cast<double>(got.value), want.value);
  EXPECT_GE(static_cast<double>(got.upper_bound), want.value);
  EXPECT_LE(got.upper_bound, 300);
}

TEST_F(DeviceAlgorithms, JointSearchWithoutWeightOrSamples) {
  JointCase c = joint_case(40, 4, 3, false, false);
  std::fill(c.weight.begin(), c.weight.end(), 0);
  EXPECT_EQ(on_device::joint_search(device(), c.problem()).value, 0);
  on_device::JointProblem empty;
  empty.candidates = {1, 1};
  const on_device::JointAnswer none = on_device::joint_search(device(), empty);
  EXPECT_EQ(none.value, 0);
  EXPECT_TRUE(none.optimal);
}

TEST_F(DeviceAlgorithms, WhatTheKernelsCannotTakeIsNamed) {
  const auto message = [](auto f) {
    try {
      f();
    } catch (const ValueError& error) {
      return std::string(error.what());
    }
    return std::string("nothing thrown");
  };
  on_device::JointProblem many;
  many.candidates.assign(9, 1);
  EXPECT_EQ(message([&] { on_device::joint_search(device(), many); }),
            "joint_search: 2 to 9 exits fit the device, got 10");
  const JointCase c = joint_case(4, 3, 1, false, false);
  on_device::JointProblem p = c.problem();
  p.weight = p.weight.first(2);
  EXPECT_NE(message([&] { on_device::joint_search(device(), p); }).find("4 exits, 2 weights"),
            std::string::npos);
  const std::vector<std::int32_t> heavy(4, 1 << 30);
  p.weight = heavy;
  EXPECT_NE(message([&] { on_device::joint_search(device(), p); }).find("less than 2^31, got 4294967296"),
            std::string::npos);
  const std::vector<double> some = {1, 2};
  EXPECT_NE(message([&] { on_device::kde_direct(device(), {}, some, 1); }).find("got 0"), std::string::npos);
  EXPECT_NE(
      message([&] { on_device::kde_cells(device(), some, some, 1, 1e-9, 6); }).find("at most 2^20 cells"),
      std::string::npos);
  EXPECT_NE(message([&] { on_device::segment_map(device(), some, {}); }).find("cover lengths up to 2"),
            std::string::npos);
}
#endif

TEST(DeviceAlgorithmsOnTheCpu, AreRefusedByName) {
  const std::vector<double> some = {1, 2};
  const auto message = [](auto f) {
    try {
      f();
    } catch (const ValueError& error) {
      return std::string(error.what());
    }
    return std::string("nothing thrown");
  };
  EXPECT_EQ(message([&] { on_device::kde_direct(Device::cpu(), some, some, 1); }),
            "kde_direct: a cuda device is wanted, got cpu");
  EXPECT_EQ(message([&] { on_device::kde_cells(Device::cpu(), some, some, 1, 1, 1); }),
            "kde_cells: a cuda device is wanted, got cpu");
  EXPECT_NE(message([&] {
              on_device::segment_posterior(Device::cpu(), some, {});
            }).find(": a cuda device is wanted, got cpu"),
            std::string::npos);
  EXPECT_EQ(message([&] { on_device::segment_map(Device::cpu(), some, {}); }),
            "segment_map: a cuda device is wanted, got cpu");
  EXPECT_EQ(message([&] { on_device::joint_search(Device::cpu(), {}); }),
            "joint_search: a cuda device is wanted, got cpu");
}

}  // namespace
}  // namespace offramp
