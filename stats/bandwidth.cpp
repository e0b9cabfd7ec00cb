#include "stats/bandwidth.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <numbers>
#include <vector>

#include "stats/checks.h"

namespace offramp::stats {
namespace {

using std::numbers::pi;

std::vector<double> checked_sorted(std::span<const double> sample, const char* what) {
  require_some(sample, what, "the sample");
  require_finite(sample, what, "the sample");
  std::vector<double> sorted(sample.begin(), sample.end());
  std::sort(sorted.begin(), sorted.end());
  if (sorted.front() == sorted.back()) {
    throw DataError(std::string(what) + ": all " + std::to_string(sorted.size()) +
                    " values are equal, there is no spread to take a bandwidth from");
  }
  return sorted;
}

double fifth_root_of_n(std::size_t n) { return std::pow(static_cast<double>(n), -0.2); }

// min(sd, IQR / divisor); the sd alone when more than half of the sample is one value.
double robust_scale(std::span<const double> sorted, double divisor) {
  const double sd = sample_sd(sorted);
  const double iqr = (sorted_quantile(sorted, 0.75) - sorted_quantile(sorted, 0.25)) / divisor;
  return iqr > 0 ? std::min(sd, iqr) : sd;
}

void fft(std::vector<std::complex<double>>& a) {
  const std::size_t n = a.size();
  for (std::size_t i = 1, j = 0; i < n; ++i) {
    std::size_t bit = n >> 1;
    for (; j & bit; bit >>= 1) {
      j ^= bit;
    }
    j ^= bit;
    if (i < j) {
      std::swap(a[i], a[j]);
    }
  }
  for (std::size_t length = 2; length <= n; length <<= 1) {
    const double angle = -2 * pi / static_cast<double>(length);
    for (std::size_t k = 0; k < length / 2; ++k) {
      const std::complex<double> w = std::polar(1.0, angle * static_cast<double>(k));
      for (std::size_t i = k; i < n; i += length) {
        const std::complex<double> even = a[i], odd = w * a[i + length / 2];
        a[i] = even + odd;
        a[i + length / 2] = even - odd;
      }
    }
  }
}

// DCT-II, X_k = 2 sum_j x_j cos(pi k (2j+1) / (2N)), from one complex transform of the reordered input.
std::vector<double> dct2(const std::vector<double>& x) {
  const std::size_t n = x.size();
  std::vector<std::complex<double>> v(n);
  for (std::size_t i = 0; i < n / 2; ++i) {
    v[i] = x[2 * i];
    v[n - 1 - i] = x[2 * i + 1];
  }
  fft(v);
  std::vector<double> out(n);
  for (std::size_t k = 0; k < n; ++k) {
    out[k] =
        2 * (std::polar(1.0, -pi * static_cast<double>(k) / (2.0 * static_cast<double>(n))) * v[k]).real();
  }
  return out;
}

// Bisection of an increasing-through-zero sign change; 200 halvings reach the last bit.
template <class F>
double bisect(double low, double high, F f) {
  const bool low_is_positive = f(low) > 0;
  for (int i = 0; i < 200 && low < high; ++i) {
    const double middle = low + (high - low) / 2;
    if (middle == low || middle == high) {
      break;
    }
    ((f(middle) > 0) == low_is_positive ? low : high) = middle;
  }
  return low + (high - low) / 2;
}

}  // namespace

double sorted_quantile(std::span<const double> sorted, double p) {
  const double position = p * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(position);
  if (below + 1 >= sorted.size()) {
    return sorted.back();
  }
  const double part = position - static_cast<double>(below);
  return sorted[below] + part * (sorted[below + 1] - sorted[below]);
}

double sample_mean(std::span<const double> sample) {
  double sum = 0;
  for (const double x : sample) {
    sum += x;
  }
  return sum / static_cast<double>(sample.size());
}

double sample_sd(std::span<const double> sample) {
  if (sample.size() < 2) {
    return 0;
  }
  const double mean = sample_mean(sample);
  double sum = 0;
  for (const double x : sample) {
    sum += (x - mean) * (x - mean);
  }
  return std::sqrt(sum / static_cast<double>(sample.size() - 1));
}

double silverman_bandwidth(std::span<const double> sample) {
  const std::vector<double> sorted = checked_sorted(sample, "silverman_bandwidth");
  return 0.9 * robust_scale(sorted, 1.34) * fifth_root_of_n(sorted.size());
}

double scott_bandwidth(std::span<const double> sample) {
  const std::vector<double> sorted = checked_sorted(sample, "scott_bandwidth");
  return std::pow(4.0 / 3.0, 0.2) * sample_sd(sorted) * fifth_root_of_n(sorted.size());
}

double sheather_jones_bandwidth(std::span<const double> sample) {
  const std::vector<double> sorted = checked_sorted(sample, "sheather_jones_bandwidth");
  constexpr std::size_t kBins = 1000;
  const double width = (sorted.back() - sorted.front()) * 1.01 / kBins;
  std::vector<double> count(kBins), pairs(kBins);
  for (const double x : sorted) {
    count[std::min(kBins - 1, static_cast<std::size_t>((x - sorted.front()) / width))] += 1;
  }
  for (std::size_t i = 0; i < kBins; ++i) {
    pairs[0] += count[i] * (count[i] - 1) / 2;
    for (std::size_t j = 0; j < i; ++j) {
      pairs[i - j] += count[i] * count[j];
    }
  }
  const double n = static_cast<double>(sorted.size());
  // Estimates of the integrals of (f'')^2 and (f''')^2: sums over all pairs of the 4th and 6th derivative of
  // phi.
  auto pair_sum = [&](double h, auto poly, double at_zero) {
    double sum = 0;
    for (std::size_t d = 0; d < kBins; ++d) {
      const double u2 = std::pow(static_cast<double>(d) * width / h, 2);
      if (u2 > 1000) {
        break;
      }
      sum += pairs[d] * std::exp(-u2 / 2) * poly(u2);
    }
    return (2 * sum + n * at_zero) / (n * (n - 1) * std::sqrt(2 * pi));
  };
  auto fourth = [&](double h) {
    return pair_sum(
               h, [](double u2) { return (u2 - 6) * u2 + 3; }, 3.0) /
           std::pow(h, 5);
  };
  auto sixth = [&](double h) {
    return pair_sum(
               h, [](double u2) { return ((u2 - 15) * u2 + 45) * u2 - 15; }, -15.0) /
           std::pow(h, 7);
  };
  const double scale = robust_scale(sorted, 1.349);
  const double a = 1.24 * scale * std::pow(n, -1.0 / 7), b = 1.23 * scale * std::pow(n, -1.0 / 9);
  const double td = -sixth(b), sd = fourth(a);
  if (!(td > 0) || !(sd > 0)) {
    throw DataError("sheather_jones_bandwidth: the sample is too sparse for the pilot estimates (n = " +
                    std::to_string(sorted.size()) + ")");
  }
  const double alpha = 1.357 * std::pow(sd / td, 1.0 / 7);
  auto equation = [&](double h) {
    return std::pow(1 / (2 * std::sqrt(pi) * n * fourth(alpha * std::pow(h, 5.0 / 7))), 0.2) - h;
  };
  double high = 1.144 * scale * fifth_root_of_n(sorted.size());
  double low = high / 10;
  for (int i = 0; i < 60 && !(equation(low) > 0); ++i) {
    low /= 1.2;
  }
  for (int i = 0; i < 60 && !(equation(high) < 0); ++i) {
    high *= 1.2;
  }
  return bisect(low, high, equation);
}

double isj_bandwidth(std::span<const double> sample) {
  const std::vector<double> sorted = checked_sorted(sample, "isj_bandwidth");
  constexpr std::size_t kCells = 1 << 14;
  const double spread = sorted.back() - sorted.front();
  const double low = sorted.front() - spread / 10, range = spread * 1.2;
  std::vector<double> share(kCells);
  for (const double x : sorted) {  // linear binning to cell centres
    const double position = (x - low) / range * kCells - 0.5;
    const auto cell = static_cast<std::size_t>(position);
    const double part = position - static_cast<double>(cell);
    share[cell] += (1 - part) / static_cast<double>(sorted.size());
    share[cell + 1] += part / static_cast<double>(sorted.size());
  }
  std::vector<double> a2 = dct2(share);
  for (double& a : a2) {
    a = a * a / 4;
  }
  // Values that occur twice carry no second piece of information on smoothness: N counts distinct values.
  double distinct = 1;
  for (std::size_t i = 1; i < sorted.size(); ++i) {
    distinct += sorted[i] != sorted[i - 1] ? 1.0 : 0.0;
  }
  // || f^(s) ||^2 at diffusion time t: 2 pi^(2s) sum_k k^(2s) a_k^2 exp(-k^2 pi^2 t).
  auto norm = [&](int s, double t) {
    double sum = 0;
    for (std::size_t k = 1; k < kCells; ++k) {
      const double k2 = static_cast<double>(k) * static_cast<double>(k), decay = k2 * pi * pi * t;
      if (decay > 700) {
        break;
      }
      double power = k2;
      for (int i = 1; i < s; ++i) {
        power *= k2;
      }
      sum += power * a2[k] * std::exp(-decay);
    }
    return 2 * std::pow(pi, 2.0 * s) * sum;
  };
  auto equation = [&](double t) {
    double f = norm(7, t);
    for (int s = 6; s >= 2; --s) {
      double odd = 1;
      for (int i = 3; i <= 2 * s - 1; i += 2) {
        odd *= i;
      }
      const double k0 = odd / std::sqrt(2 * pi), c = (1 + std::pow(0.5, s + 0.5)) / 3;
      f = norm(s, std::pow(2 * c * k0 / (distinct * f), 2.0 / (3 + 2 * s)));
    }
    return t - std::pow(2 * distinct * std::sqrt(pi) * f, -0.4);
  };
  // The fixed point is where t - xi gamma(t) first turns from negative to positive.
  double t = 1e-10, next = t;
  while (t < 0.1) {
    next = t * 1.25;
    const double here = equation(t), there = equation(next);
    if (here < 0 && there >= 0) {
      return std::sqrt(bisect(t, next, equation)) * range;
    }
    t = next;
  }
  return silverman_bandwidth(sample);  // no fixed point (a handful of values): the rule of thumb
}

}  // namespace offramp::stats
