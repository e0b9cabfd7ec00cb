// f(W) = I(A; S) + price * delay is convex. Mirror descent with the entropy as its distance: W(j|k) is multiplied by
// exp(-g_jk / q_k), g = df/dW in nats, and normalised. A step of 1 never climbs: the Bregman divergence of I(A; S) is
// D(p_AS || p'_AS) - D(p_S || p'_S), at most D of the channels themselves (data processing). With A = K it is
// Blahut-Arimoto's step. Longer steps are tried while they gain. The certificate is Frank and Wolfe's:
// f(W) - min f <= <g, W - V> with V the best corner, row by row.
#include "stats/padding/attribute.h"

#include "stats/checks.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace offramp::stats {
namespace {

struct AttributeProblem {
  PaddedExits exits;
  std::size_t n, attributes;
  std::vector<double> joint;  // [attributes, n], sum 1
  std::vector<double> share;  // [attributes]
  double price_nats;

  AttributeProblem(const AttributeExits& given, double price)
      : exits(exits_of(given)),
        n(exits.times.size()),
        attributes(given.attributes),
        joint(given.joint),
        price_nats(price * std::numbers::ln2) {
    double sum = 0;
    for (const double p : joint) sum += p;
    for (double& p : joint) p /= sum;
    share.assign(attributes, 0);
    for (std::size_t i = 0; i < joint.size(); ++i) share[i / n] += joint[i];
  }
  // p(a, j) and p(j).
  void outputs(std::span<const double> w, std::vector<double>& each, std::vector<double>& all) const {
    each.assign(attributes * n, 0);
    all.assign(n, 0);
    for (std::size_t a = 0; a < attributes; ++a) {
      for (std::size_t k = 0; k < n; ++k) {
        for (std::size_t j = k; j < n; ++j) each[a * n + j] += joint[a * n + k] * w[k * n + j];
      }
      for (std::size_t j = 0; j < n; ++j) all[j] += each[a * n + j];
    }
  }
  double information(std::span<const double> w) const {  // I(A; S) in nats
    std::vector<double> each, all;
    outputs(w, each, all);
    double sum = 0;
    for (std::size_t a = 0; a < attributes; ++a) {
      for (std::size_t j = 0; j < n; ++j) {
        const double p = each[a * n + j];
        if (p > 0) sum += p * std::log(p / (share[a] * all[j]));
      }
    }
    return std::max(0.0, sum);
  }
  double delay(std::span<const double> w) const {
    double sum = 0;
    for (std::size_t k = 0; k < n; ++k) {
      for (std::size_t j = k; j < n; ++j)
        sum += exits.shares[k] * w[k * n + j] * (exits.times[j] - exits.times[k]);
    }
    return sum;
  }
  double value(std::span<const double> w) const { return information(w) + price_nats * delay(w); }

  // df/dW(j|k), up to a constant of each row.
  std::vector<double> gradient(std::span<const double> w) const {
    std::vector<double> each, all, g(n * n);
    outputs(w, each, all);
    for (std::size_t k = 0; k < n; ++k) {
      for (std::size_t j = k; j < n; ++j) {
        double& sum = g[k * n + j];
        sum = price_nats * exits.shares[k] * (exits.times[j] - exits.times[k]);
        for (std::size_t a = 0; a < attributes; ++a) {
          if (joint[a * n + k] == 0) continue;
          const double ratio = all[j] > 0 ? each[a * n + j] / (share[a] * all[j]) : 0;
          if (ratio > 0) sum += joint[a * n + k] * std::log(ratio);
        }
      }
    }
    return g;
  }
  double gap(std::span<const double> w, std::span<const double> g) const {
    double sum = 0;
    for (std::size_t k = 0; k < n; ++k) {
      double least = HUGE_VAL, mean = 0;
      for (std::size_t j = k; j < n; ++j) {
        least = std::min(least, g[k * n + j]);
        mean += w[k * n + j] * g[k * n + j];
      }
      sum += mean - least;
    }
    return std::max(0.0, sum);
  }
  std::vector<double> step(std::span<const double> w, std::span<const double> g, double length) const {
    std::vector<double> next(n * n);
    for (std::size_t k = 0; k < n; ++k) {
      double least = HUGE_VAL, sum = 0;
      for (std::size_t j = k; j < n; ++j) least = std::min(least, g[k * n + j]);
      for (std::size_t j = k; j < n; ++j) {
        // Not to 0: what has vanished could not come back. 1e-300 is nothing in any sum here.
        next[k * n + j] =
            std::max(1e-300, w[k * n + j] * std::exp(-length * (g[k * n + j] - least) / exits.shares[k]));
        sum += next[k * n + j];
      }
      for (std::size_t j = k; j < n; ++j) next[k * n + j] /= sum;
    }
    return next;
  }
};

constexpr double kGapNats = 1e-9 * std::numbers::ln2;

}  // namespace

PaddedExits exits_of(const AttributeExits& exits) {
  const std::size_t n = exits.times.size();
  if (exits.attributes < 1 || exits.joint.size() != exits.attributes * n) {
    throw ValueError("padding: wanted shares of " + std::to_string(exits.attributes) + " attributes x " +
                     std::to_string(n) + " exits, got " + std::to_string(exits.joint.size()));
  }
  PaddedExits result{exits.times, std::vector<double>(n)};
  for (std::size_t a = 0; a < exits.attributes; ++a) {
    double share = 0;
    for (std::size_t k = 0; k < n; ++k) {
      const double p = exits.joint[a * n + k];
      if (!(p >= 0) || !std::isfinite(p)) {
        throw ValueError("padding: a share must be at least 0, got " + to_text(p) + " (attribute " +
                         std::to_string(a + 1) + ", exit " + std::to_string(k + 1) + ")");
      }
      share += p;
      result.shares[k] += p;
    }
    if (!(share > 0)) throw ValueError("padding: attribute " + std::to_string(a + 1) + " has no queries");
  }
  return checked(result);
}

double attribute_bits(const AttributeExits& exits, std::span<const double> channel) {
  const AttributeProblem problem(exits, 0);
  evaluate_padding(problem.exits, {channel.begin(), channel.end()});  // for its checks
  return problem.information(channel) / std::numbers::ln2;
}

Padding optimal_attribute_padding(const AttributeExits& exits, double price, int max_steps) {
  if (!(price >= 0) || !std::isfinite(price)) {
    throw ValueError("padding: the price of a delay must be finite and at least 0, got " + to_text(price));
  }
  const AttributeProblem problem(exits, price);
  const std::size_t n = problem.n;
  std::vector<double> w(n * n);
  for (std::size_t k = 0; k < n; ++k) {
    for (std::size_t j = k; j < n; ++j) w[k * n + j] = 1.0 / static_cast<double>(n - k);
  }
  double value = problem.value(w), length = 1, gap = HUGE_VAL;
  for (int i = 0; i < max_steps; ++i) {
    const std::vector<double> g = problem.gradient(w);
    gap = problem.gap(w, g);
    if (gap <= kGapNats) break;
    std::vector<double> next = problem.step(w, g, length);
    double reached = problem.value(next);
    while (length > 1 && !(reached < value)) {
      length = std::max(1.0, length / 4);
      next = problem.step(w, g, length);
      reached = problem.value(next);
    }
    w = std::move(next);
    value = reached;
    length = std::min(length * 1.5, 1e9);
  }
  Padding result = evaluate_padding(problem.exits, w);
  result.bits = problem.information(w) / std::numbers::ln2;
  gap = problem.gap(w, problem.gradient(w));
  result.lower_bound_bits = std::max(0.0, result.bits - gap / std::numbers::ln2);
  return result;
}

std::vector<Grouping> attribute_grouping_frontier(const AttributeExits& given) {
  const PaddedExits exits = exits_of(given);
  std::vector<Grouping> all;
  each_grouping(exits.times.size(), [&](const std::vector<int>& group) {
    Grouping grouping{group, 0, 0};
    const Padding padding = padding_of(exits, grouping);
    grouping.delay = padding.delay;
    grouping.bits = attribute_bits(given, padding.channel);
    all.push_back(std::move(grouping));
  });
  return undominated(std::move(all), exits.times.back() - exits.times.front());
}

}  // namespace offramp::stats
