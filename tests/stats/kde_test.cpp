#include "stats/kde.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <random>

#include "tests/stats/expect_message.h"

namespace offramp::stats {
namespace {

// The formula, in long double, sharing nothing with the library.
std::vector<double> reference(const std::vector<double>& t, const std::vector<double>& x, double h) {
  std::vector<double> f;
  for (const double at : x) {
    long double sum = 0;
    for (const double ti : t) {
      const long double u = (static_cast<long double>(at) - ti) / h;
      sum += std::exp(-u * u / 2);
    }
    f.push_back(static_cast<double>(sum / (std::sqrt(2 * std::numbers::pi_v<long double>) * t.size() * h)));
  }
  return f;
}

std::vector<double> mixture(std::size_t n, std::uint64_t seed) {
  std::mt19937_64 rng(seed);
  std::normal_distribution<double> normal;
  std::vector<double> t;
  for (std::size_t i = 0; i < n; ++i) {
    t.push_back(i % 4 == 0 ? 5 + 0.3 * normal(rng) : normal(rng));
  }
  return t;
}

std::vector<double> grid(double low, double high, std::size_t count) {
  std::vector<double> x;
  for (std::size_t i = 0; i < count; ++i) {
    x.push_back(low + (high - low) * static_cast<double>(i) / static_cast<double>(count - 1));
  }
  return x;
}

double peak(const std::vector<double>& f) { return *std::max_element(f.begin(), f.end()); }

const std::vector<double> kKdeSpecData = {1, 2, 2.5, 7, 7.2};

TEST(Kde, CheckValuesOfTheSpec) {  // specs/extraction.md 2.3, printed to 8-9 digits
  const std::vector<double> x = {0, 1.5, 2, 7.1, 4.75};
  const std::vector<double> printed = {.021650513, .215172966, .277961589, .312834155, 1.3806e-5};
  const std::vector<double> half_last_digit = {5e-10, 5e-10, 5e-10, 5e-10, 5e-10};
  const std::vector<double> f = kde_direct(kKdeSpecData, x, 0.5);
  for (std::size_t i = 0; i < x.size(); ++i) {
    EXPECT_NEAR(f[i], printed[i], half_last_digit[i]) << "x = " << x[i];
  }
}

TEST(Kde, DirectMatchesTheFormula) {
  for (const std::size_t n : {1u, 2u, 7u, 8u, 9u, 100u, 1003u}) {
    const std::vector<double> t = mixture(n, n), x = grid(-6, 9, 77);
    const std::vector<double> f = kde_direct(t, x, 0.37), want = reference(t, x, 0.37);
    for (std::size_t i = 0; i < x.size(); ++i) {
      // u^2/2 <= 500 carries four roundings and moves a kernel by as much of itself; n additions follow.
      const double bound = (4 * 500.0 + static_cast<double>(n)) * std::numeric_limits<double>::epsilon();
      ASSERT_NEAR(f[i], want[i], bound * want[i] + std::numeric_limits<double>::min())
          << "n = " << n << " x = " << x[i];
    }
  }
}

TEST(Kde, TruncatedAndBinnedKeepTheirStatedErrorAgainstDirect) {
  for (const std::size_t n : {1u, 50u, 5000u, 140000u}) {
    std::vector<double> t = mixture(n, 3 * n + 1);
    const std::vector<double> x = grid(-5, 8, 301);
    for (const double h : {0.02, 0.2, 3.0}) {
      const std::vector<double> want = kde_direct(t, x, h);
      // The peak on the grid is at most the true one, so the bound is the stricter for it.
      const double high = peak(want);
      for (const double tolerance : {1e-3, 1e-6, 1e-9}) {
        const std::vector<double> binned = kde_binned(t, x, h, tolerance);
        std::vector<double> sorted = t;
        std::sort(sorted.begin(), sorted.end());
        const std::vector<double> truncated = kde_truncated(sorted, x, h, tolerance);
        for (std::size_t i = 0; i < x.size(); ++i) {
          ASSERT_NEAR(binned[i], want[i], tolerance * high)
              << "binned n " << n << " h " << h << " x " << x[i];
          ASSERT_NEAR(truncated[i], want[i], tolerance * high)
              << "truncated n " << n << " h " << h << " x " << x[i];
        }
      }
    }
  }
}

TEST(Kde, FourthDerivativeOfTheKernelIsDominatedByNeighbouringKernels) {
  // What BinnedDensity's bound rests on: |phi''''(v)| <= 3.3 phi(u) + 1.1 (phi(u-2) + phi(u+2)) for |u - v|
  // <= d, d = w/2h at the coarsest tolerance tested. The weights sum to 5.5, and 5.5/24 < 1/4.
  const auto phi = [](double u) { return std::exp(-u * u / 2); };
  for (const double d : {0.0, 0.05, 0.1, 0.15}) {
    for (double u = -12; u <= 12; u += 1e-3) {
      for (const double v : {u - d, u + d}) {
        const double fourth = std::abs((v * v - 6) * v * v + 3) * phi(v);
        ASSERT_LE(fourth, 3.3 * phi(u) + 1.1 * (phi(u - 2) + phi(u + 2))) << "u = " << u << " d = " << d;
      }
    }
  }
}

TEST(Kde, IsIndependentOfOrderShiftAndScale) {
  std::vector<double> t = mixture(500, 9), x = grid(-4, 7, 50);
  const std::vector<double> f = kde_direct(t, x, 0.25);
  std::vector<double> t2 = t, x2 = x;
  std::shuffle(t2.begin(), t2.end(), std::mt19937_64(4));
  for (double& v : t2) v = 1024 + 2 * v;
  for (double& v : x2) v = 1024 + 2 * v;
  const std::vector<double> g = kde_direct(t2, x2, 0.5);
  for (std::size_t i = 0; i < f.size(); ++i) {
    // Shifting by 1024 rounds at 2^-43; u moves by that over h, a kernel by u times it.
    ASSERT_NEAR(2 * g[i], f[i], 20 * std::ldexp(1.0, -43) / 0.5 * peak(f));
  }
}

TEST(Kde, SameBitsForAnyThreadCount) {
  const std::vector<double> t = mixture(200000, 5), x = grid(-4, 7, 999);
  for (const double tolerance : {1e-4, 1e-8}) {
    EXPECT_EQ(kde_binned(t, x, 0.05, tolerance, 1), kde_binned(t, x, 0.05, tolerance, 3));
  }
  EXPECT_EQ(kde_direct(kKdeSpecData, x, 0.05, 1), kde_direct(kKdeSpecData, x, 0.05, 3));
}

TEST(Kde, AHugeRangeFallsBackToSorting) {
  std::vector<double> t = mixture(1000, 6);
  t.push_back(1e9);
  const std::vector<double> x = grid(-4, 7, 40);
  const std::vector<double> want = kde_direct(t, x, 0.1), f = kde_binned(t, x, 0.1, 1e-6);
  for (std::size_t i = 0; i < x.size(); ++i) {
    ASSERT_NEAR(f[i], want[i], 1e-6 * peak(want));
  }
  EXPECT_MESSAGE(BinnedDensity(t, 0.1, 1e-6), "bandwidths, more than 2^20 cells");
}

TEST(Kde, BadInputIsNamed) {
  const std::vector<double> none, nan = {1, std::nan(""), 2}, one = {1}, down = {2, 1};
  EXPECT_MESSAGE(kde_direct(none, one, 1), "kde_direct: the sample must hold at least one value");
  EXPECT_MESSAGE(kde_direct(nan, one, 1), "the sample must be finite, got nan at index 1");
  EXPECT_MESSAGE(kde_direct(one, nan, 1), "points must be finite, got nan at index 1");
  EXPECT_MESSAGE(kde_direct(one, one, 0), "the bandwidth must be positive and finite, got 0");
  EXPECT_MESSAGE(kde_binned(one, one, -1), "the bandwidth must be positive and finite, got -1");
  EXPECT_MESSAGE(kde_binned(one, one, 1, 0), "the tolerance must lie in (0, 1), got 0");
  EXPECT_MESSAGE(kde_truncated(down, one, 1), "the sample must be in ascending order");
  const std::vector<double> infinite(20, std::numeric_limits<double>::infinity());
  EXPECT_MESSAGE(kde_binned(infinite, one, 1), "must be finite, got inf at index 0");
}

}  // namespace
}  // namespace offramp::stats
