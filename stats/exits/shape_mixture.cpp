#include "stats/exits/shape_mixture.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

namespace offramp::stats {
namespace {

constexpr double kReachSigmas = 9;  // beyond it a part's mass is below 1e-18
constexpr double kTiny = 1e-300;

double density(double z) { return std::exp(-0.5 * z * z) / std::sqrt(2 * std::numbers::pi); }
// Of the nearer side, so that differences far out keep their digits.
double upper_tail(double z) { return 0.5 * std::erfc(z / std::numbers::sqrt2); }

}  // namespace

std::size_t ShapeMixture::parameters() const {
  const std::size_t k = exits(), j = parts();
  std::size_t count = (k - 1) + k + (j - 1) + j + 1;  // shares, locations; offsets, widths; background
  count += (family.own_weights ? k : 1) * (j - 1);
  count += family.free_scale ? k - 1 : 0;
  return count;
}

double ShapeMixture::mean(std::size_t k) const {
  double sum = 0;
  for (std::size_t j = 0; j < parts(); ++j) sum += weight[k * parts() + j] * offset[j];
  return location[k] + scale[k] * sum;
}

double ShapeMixture::spread(std::size_t k) const {
  double first = 0, second = 0;
  for (std::size_t j = 0; j < parts(); ++j) {
    const double w = weight[k * parts() + j];
    first += w * offset[j];
    second += w * (offset[j] * offset[j] + width[j] * width[j]);
  }
  return scale[k] * std::sqrt(std::max(second - first * first, 0.0));
}

ShapeFit::ShapeFit(const TimeCells& cells, double least_width) : cells_(cells), least_width_(least_width) {
  const std::size_t u = cells.count.size();
  count_ = cells.count;
  total_ = cells.total();
  // Outliers: a Cauchy distribution about the middle of the times, as wide as their central 98 %.
  const auto quantile = [&](double q) {
    double below = 0;
    std::size_t c = 0;
    while (c + 1 < u && (below += count_[c]) < q * total_) ++c;
    return 0.5 * (cells.low[c] + cells.high[c]);
  };
  centre_ = 0.5 * (quantile(0.01) + quantile(0.99));
  reach_ = std::max(0.5 * (quantile(0.99) - quantile(0.01)), cells.high[0] - cells.low[0]);
  for (std::size_t c = 0; c < u; ++c) {
    const double a = (cells.low[c] - centre_) / reach_, b = (cells.high[c] - centre_) / reach_;
    background_.push_back(std::atan2(b - a, 1 + a * b) / std::numbers::pi);
  }
  inside_.resize(u);
  ratio_.resize(u);
}

void ShapeFit::set_counts(std::span<const double> counts) {
  count_.assign(counts.begin(), counts.end());
  total_ = std::accumulate(count_.begin(), count_.end(), 0.0);
}

ShapeMixture ShapeFit::start(std::span<const std::size_t> exit_of_cell,
                             std::size_t exits,
                             ShapeFamily family) const {
  const std::size_t u = count_.size(), parts = family.parts;
  ShapeMixture m;
  m.family = family;
  m.share.assign(exits, 0);
  m.location.assign(exits, 0);
  m.scale.assign(exits, 0);
  std::vector<double> middle(u);
  double inside = 0;
  for (std::size_t c = 0; c < u; ++c) {
    middle[c] = 0.5 * (cells_.low[c] + cells_.high[c]);
    if (exit_of_cell[c] >= exits) continue;
    inside += count_[c];
    m.share[exit_of_cell[c]] += count_[c];
    m.location[exit_of_cell[c]] += count_[c] * middle[c];
  }
  for (std::size_t k = 0; k < exits; ++k) m.location[k] /= m.share[k];
  for (std::size_t c = 0; c < u; ++c) {
    if (exit_of_cell[c] >= exits) continue;
    const double d = middle[c] - m.location[exit_of_cell[c]];
    m.scale[exit_of_cell[c]] += count_[c] * d * d;
  }
  double pooled = 0;
  for (std::size_t k = 0; k < exits; ++k) {
    pooled += m.scale[k];
    m.scale[k] = std::max(std::sqrt(m.scale[k] / m.share[k]), 2 * least_width_);
    m.share[k] /= inside;
  }
  pooled = std::max(std::sqrt(pooled / inside), 2 * least_width_);
  if (!family.free_scale) std::fill(m.scale.begin(), m.scale.end(), pooled);
  // The shape: the standardised times cut at quantiles.
  std::vector<std::pair<double, double>> z;
  for (std::size_t c = 0; c < u; ++c) {
    const std::size_t k = exit_of_cell[c];
    if (k >= exits) continue;
    z.emplace_back((middle[c] - m.location[k]) / m.scale[k], count_[c]);
  }
  std::sort(z.begin(), z.end());
  const std::vector<double> cut = parts == 1   ? std::vector<double>{1.0}
                                  : parts == 2 ? std::vector<double>{0.6, 1.0}
                                               : std::vector<double>{0.45, 0.9, 1.0};
  m.offset.assign(parts, 0);
  m.width.assign(parts, 0);
  std::vector<double> weight(parts, 0);
  double below = 0;
  std::vector<std::size_t> part_of;
  for (const auto& [value, count] : z) {
    std::size_t j = 0;
    while (j + 1 < parts && below + 0.5 * count > cut[j] * inside) ++j;
    below += count;
    part_of.push_back(j);
    weight[j] += count;
    m.offset[j] += count * value;
  }
  for (std::size_t j = 0; j < parts; ++j)
    if (weight[j] > 0) m.offset[j] /= weight[j];
  for (std::size_t i = 0; i < z.size(); ++i) {
    const double d = z[i].first - m.offset[part_of[i]];
    m.width[part_of[i]] += z[i].second * d * d;
  }
  for (std::size_t j = 0; j < parts; ++j) {
    m.width[j] = weight[j] > 0 ? std::max(std::sqrt(m.width[j] / weight[j]), 0.2) : 1;
    weight[j] = std::max(weight[j] / inside, 0.01);
  }
  const double sum = std::accumulate(weight.begin(), weight.end(), 0.0);
  for (std::size_t k = 0; k < exits; ++k)
    for (const double w : weight) m.weight.push_back(w / sum);
  return m;
}

// Mass of a normal in each cell in reach, and there the integrals of x and x^2 (about its own location).
void ShapeFit::part_masses(double location, double width, std::size_t part) {
  const std::size_t u = count_.size();
  const double from = location - kReachSigmas * width, to = location + kReachSigmas * width;
  const auto begin = static_cast<std::size_t>(std::upper_bound(cells_.high.begin(), cells_.high.end(), from) -
                                              cells_.high.begin());
  const auto end = static_cast<std::size_t>(std::lower_bound(cells_.low.begin(), cells_.low.end(), to) -
                                            cells_.low.begin());
  begin_[part] = begin;
  end_[part] = std::max(begin, end);
  double *mass = &mass_[part * u], *first = &first_[part * u], *second = &second_[part * u];
  double edge = 0, tail = 0, f = 0, z = 0;
  bool known = false;
  for (std::size_t c = begin; c < end_[part]; ++c) {
    if (!known || cells_.low[c] != edge) {
      z = (cells_.low[c] - location) / width;
      tail = upper_tail(std::abs(z));
      f = density(z);
    }
    const double a = z, tail_a = tail, f_a = f;
    z = (cells_.high[c] - location) / width;
    tail = upper_tail(std::abs(z));
    f = density(z);
    edge = cells_.high[c];
    known = true;
    const double p = a >= 0 ? tail_a - tail : z <= 0 ? tail - tail_a : 1 - tail - tail_a;
    mass[c] = std::max(p, 0.0);
    const double e1 = width * (f_a - f), e2 = width * width * (p + a * f_a - z * f);
    // Far out the differences lose their digits: the cell's middle serves there.
    if (p > 1e-9) {
      first[c] = e1;
      second[c] = e2;
    } else {
      const double x = 0.5 * (cells_.low[c] + cells_.high[c]) - location;
      first[c] = mass[c] * x;
      second[c] = mass[c] * x * x;
    }
  }
}

double ShapeFit::expect(const ShapeMixture& m) {
  const std::size_t u = count_.size(), exits = m.exits(), parts = m.parts(), all = exits * parts;
  mass_.resize(all * u);
  first_.resize(all * u);
  second_.resize(all * u);
  begin_.resize(all);
  end_.resize(all);
  for (std::size_t c = 0; c < u; ++c) inside_[c] = m.background * background_[c] + kTiny;
  for (std::size_t k = 0; k < exits; ++k) {
    for (std::size_t j = 0; j < parts; ++j) {
      const std::size_t part = k * parts + j;
      part_masses(
          m.location[k] + m.scale[k] * m.offset[j], std::max(m.scale[k] * m.width[j], least_width_), part);
      const double w = (1 - m.background) * m.share[k] * m.weight[part];
      for (std::size_t c = begin_[part]; c < end_[part]; ++c) inside_[c] += w * mass_[part * u + c];
    }
  }
  double log_likelihood = 0;
  background_count_ = 0;
  for (std::size_t c = 0; c < u; ++c) {
    log_likelihood += count_[c] * std::log(inside_[c]);
    ratio_[c] = count_[c] / inside_[c];
    background_count_ += ratio_[c] * m.background * background_[c];
  }
  n_.assign(all, 0);
  sum_.assign(all, 0);
  sum_squares_.assign(all, 0);
  for (std::size_t part = 0; part < all; ++part) {
    const double w = (1 - m.background) * m.share[part / parts] * m.weight[part];
    double n = 0, s = 0, ss = 0;
    for (std::size_t c = begin_[part]; c < end_[part]; ++c) {
      n += ratio_[c] * mass_[part * u + c];
      s += ratio_[c] * first_[part * u + c];
      ss += ratio_[c] * second_[part * u + c];
    }
    n_[part] = w * n;
    const double at = m.location[part / parts] + m.scale[part / parts] * m.offset[part % parts];
    // Mean and variance of the part's share of the times.
    const double mean = n > 0 ? s / n : 0;
    sum_[part] = at + mean;
    sum_squares_[part] = n > 0 ? std::max(ss / n - mean * mean, 0.0) : 0;
  }
  return log_likelihood;
}

// With N, x, V = expected count, mean and variance of part (k, j); each line maximises in its own variables.
void ShapeFit::maximise(ShapeMixture& m) const {
  const std::size_t exits = m.exits(), parts = m.parts();
  constexpr double kLeast = 1e-9;
  double all = 0;
  std::vector<double> of_part(parts, kLeast);
  for (std::size_t k = 0; k < exits; ++k) {
    double n = kLeast;
    for (std::size_t j = 0; j < parts; ++j) n += n_[k * parts + j], of_part[j] += n_[k * parts + j];
    m.share[k] = n;
    all += n;
  }
  m.background = std::clamp(background_count_ / total_, 1e-5, kMostBackground);
  for (std::size_t k = 0; k < exits; ++k) {
    for (std::size_t j = 0; j < parts; ++j)
      m.weight[k * parts + j] = m.family.own_weights ? (n_[k * parts + j] + kLeast) /
                                                           (m.share[k] + kLeast * static_cast<double>(parts))
                                                     : of_part[j] / all;
    m.share[k] /= all;
  }
  for (std::size_t k = 0; k < exits; ++k) {
    double top = 0, bottom = kTiny;
    for (std::size_t j = 0; j < parts; ++j) {
      const double w = n_[k * parts + j] / (m.width[j] * m.width[j]);
      top += w * (sum_[k * parts + j] - m.scale[k] * m.offset[j]);
      bottom += w;
    }
    if (bottom > 1e-12) m.location[k] = top / bottom;
  }
  for (std::size_t j = 0; j < parts; ++j) {
    double n = kLeast, first = 0, second = 0;
    for (std::size_t k = 0; k < exits; ++k) {
      const std::size_t part = k * parts + j;
      first += n_[part] * (sum_[part] - m.location[k]) / m.scale[k];
      n += n_[part];
    }
    m.offset[j] = first / n;
    for (std::size_t k = 0; k < exits; ++k) {
      const std::size_t part = k * parts + j;
      const double z = (sum_[part] - m.location[k]) / m.scale[k] - m.offset[j];
      second += n_[part] * (sum_squares_[part] / (m.scale[k] * m.scale[k]) + z * z);
    }
    m.width[j] = std::sqrt(std::max(second / n, 1e-8));
  }
  if (m.family.free_scale) {
    for (std::size_t k = 0; k < exits; ++k) {
      double a = 0, b = 0, n = kLeast;
      for (std::size_t j = 0; j < parts; ++j) {
        const std::size_t part = k * parts + j;
        const double e = sum_[part] - m.location[k], w = n_[part] / (m.width[j] * m.width[j]);
        a += w * (sum_squares_[part] + e * e);
        b += w * e * m.offset[j];
        n += n_[part];
      }
      const double s = (-b + std::sqrt(b * b + 4 * n * a)) / (2 * n);
      if (s > 0) m.scale[k] = s;
    }
  }
  // The same mixture again, with scales about 1 and a shape about 0.
  double mean_log = 0, mean = 0;
  for (std::size_t k = 0; k < exits; ++k) mean_log += m.share[k] * std::log(m.scale[k]);
  for (std::size_t j = 0; j < parts; ++j) mean += of_part[j] / all * m.offset[j];
  const double c = std::exp(mean_log);
  for (std::size_t k = 0; k < exits; ++k) {
    m.location[k] += m.scale[k] * mean;
    m.scale[k] /= c;
  }
  for (std::size_t j = 0; j < parts; ++j) {
    m.offset[j] = (m.offset[j] - mean) * c;
    m.width[j] *= c;
  }
}

void ShapeFit::run(ShapeMixture& m, std::size_t most_steps, double least_gain) {
  double last = expect(m);
  ShapeMixture best = m;
  for (std::size_t step = 0; step < most_steps; ++step) {
    maximise(m);
    const double now = expect(m);
    if (now > last) best = m, best.log_likelihood = now;
    if (now - last < least_gain) {
      last = std::max(last, now);
      break;
    }
    last = now;
  }
  best.log_likelihood = last;
  m = std::move(best);
}

double ShapeFit::log_range() const { return std::log(std::numbers::pi * reach_); }

double ShapeFit::log_likelihood(const ShapeMixture& m) { return expect(m); }

std::vector<bool> ShapeFit::outliers(const ShapeMixture& m) {
  expect(m);
  std::vector<bool> out;
  for (std::size_t c = 0; c < count_.size(); ++c)
    out.push_back(2 * m.background * background_[c] > inside_[c]);
  return out;
}

std::vector<double> ShapeFit::responsibilities(const ShapeMixture& m) {
  expect(m);
  const std::size_t u = count_.size(), exits = m.exits(), parts = m.parts();
  std::vector<double> r(u * exits, 0);
  for (std::size_t part = 0; part < exits * parts; ++part) {
    const double w = m.share[part / parts] * m.weight[part];
    for (std::size_t c = begin_[part]; c < end_[part]; ++c)
      r[c * exits + part / parts] += w * mass_[part * u + c];
  }
  for (std::size_t c = 0; c < u; ++c) {
    double sum = 0;
    for (std::size_t k = 0; k < exits; ++k) sum += r[c * exits + k];
    if (sum > 1e-200) {
      for (std::size_t k = 0; k < exits; ++k) r[c * exits + k] /= sum;
      continue;
    }
    // Out of everyone's reach: the exit that is nearest in its own spread.
    const double x = 0.5 * (cells_.low[c] + cells_.high[c]);
    std::size_t nearest = 0;
    double least = 0;
    for (std::size_t k = 0; k < exits; ++k) {
      const double z = std::abs(x - m.mean(k)) / std::max(m.spread(k), least_width_);
      if (k == 0 || z < least) nearest = k, least = z;
      r[c * exits + k] = 0;
    }
    r[c * exits + nearest] = 1;
  }
  return r;
}

}  // namespace offramp::stats
