#include "stats/padding/half_normal.h"

#include "stats/checks.h"

#include <boost/math/quadrature/gauss.hpp>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace offramp::stats {
namespace {

constexpr double kReach = 9;  // sigmas: what lies beyond is below 1e-18

// Density of |N(0, sigma^2)| at x.
double half_normal_density(double x, double sigma) {
  if (x < 0) return 0;
  const double z = x / sigma;
  return std::sqrt(2 / std::numbers::pi) / sigma * std::exp(-z * z / 2);
}

}  // namespace

DelayLeak half_normal_leak(const PaddedExits& given, double sigma, double cap) {
  if (!(sigma > 0) || !std::isfinite(sigma)) {
    throw ValueError("padding: sigma of the delay must be finite and above 0, got " + to_text(sigma));
  }
  if (std::isnan(cap)) throw ValueError("padding: the cap is not a number");
  const PaddedExits exits = checked(given);
  const std::size_t n = exits.times.size();

  // Below the cap the times have densities, smooth between neighbouring breaks.
  std::vector<double> breaks;
  for (const double t : exits.times) {
    for (int m = 0; m <= static_cast<int>(kReach); ++m) breaks.push_back(std::min(cap, t + m * sigma));
  }
  std::sort(breaks.begin(), breaks.end());
  const auto information_density = [&](double at) {
    double mixed = 0, sum = 0;
    for (std::size_t k = 0; k < n; ++k) {
      if (exits.times[k] < cap) mixed += exits.shares[k] * half_normal_density(at - exits.times[k], sigma);
    }
    for (std::size_t k = 0; k < n && mixed > 0; ++k) {
      const double own = exits.times[k] < cap ? half_normal_density(at - exits.times[k], sigma) : 0;
      if (own > 0) sum += exits.shares[k] * own * std::log2(own / mixed);
    }
    return sum;
  };
  DelayLeak leak;
  for (std::size_t i = 1; i < breaks.size(); ++i) {
    if (breaks[i] > breaks[i - 1]) {
      leak.bits += boost::math::quadrature::gauss<double, 30>::integrate(
          information_density, breaks[i - 1], breaks[i]);
    }
  }

  // At the cap they pile up; an exit later than the cap answers at its own time, which tells it exactly.
  double at_cap = 0;
  std::vector<double> own(n);
  for (std::size_t k = 0; k < n; ++k) {
    const double room = cap - exits.times[k];
    if (room < 0) {
      leak.bits -= exits.shares[k] * std::log2(exits.shares[k]);
      continue;
    }
    const double z = room / sigma;
    own[k] = std::erfc(z / std::numbers::sqrt2);
    at_cap += exits.shares[k] * own[k];
    // E min(|N|, room) = sigma sqrt(2/pi) (1 - exp(-z^2/2)) + room P(|N| > room)
    const double below = sigma * std::sqrt(2 / std::numbers::pi) * (1 - std::exp(-z * z / 2));
    leak.delay += exits.shares[k] * (below + (own[k] > 0 ? room * own[k] : 0));
  }
  for (std::size_t k = 0; k < n; ++k) {
    if (own[k] > 0) leak.bits += exits.shares[k] * own[k] * std::log2(own[k] / at_cap);
  }
  leak.bits = std::max(0.0, leak.bits);
  return leak;
}

}  // namespace offramp::stats
