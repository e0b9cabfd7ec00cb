#include "attacks/evasion/losses.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "base/errors.h"

namespace offramp::attacks::evasion {
namespace {

// d += weight * J^T u, J the Jacobian of softmax: p_k (u_k - sum_j p_j u_j).
void through_softmax(std::span<const double> p, std::span<const double> u, double weight, LogitGradient d) {
  const double mean = std::inner_product(p.begin(), p.end(), u.begin(), 0.0);
  for (std::size_t k = 0; k < p.size(); ++k) d[k] += weight * p[k] * (u[k] - mean);
}

}  // namespace

std::vector<double> softmax_of(Logits z) {
  const double top = *std::max_element(z.begin(), z.end());
  std::vector<double> p(z.size());
  double sum = 0;
  for (std::size_t k = 0; k < z.size(); ++k) sum += p[k] = std::exp(static_cast<double>(z[k]) - top);
  for (double& v : p) v /= sum;
  return p;
}

double cross_entropy(Logits z, std::int32_t label, double weight, LogitGradient d) {
  const auto y = static_cast<std::size_t>(label);
  const double top = *std::max_element(z.begin(), z.end());
  double sum = 0;
  for (const float v : z) sum += std::exp(static_cast<double>(v) - top);
  double others = 0;  // p_y - 1 is minus their sum: exact where p_y rounds to 1
  for (std::size_t k = 0; k < z.size(); ++k) {
    if (k == y) continue;
    const double p = std::exp(static_cast<double>(z[k]) - top) / sum;
    d[k] += weight * p;
    others += p;
  }
  d[y] -= weight * others;
  return weight * (std::log(sum) + top - static_cast<double>(z[y]));
}

double difference_of_logits_ratio(Logits z, std::int32_t label, double weight, LogitGradient d) {
  if (z.size() < 3) {
    throw ValueError("evade: the difference of logits ratio needs three classes, the victim has " +
                     std::to_string(z.size()));
  }
  const auto y = static_cast<std::size_t>(label);
  std::vector<std::size_t> order(z.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::partial_sort(order.begin(), order.begin() + 3, order.end(), [&](std::size_t a, std::size_t b) {
    return z[a] > z[b] || (z[a] == z[b] && a < b);
  });
  const std::size_t rival = order[0] == y ? order[1] : order[0];
  const double above = static_cast<double>(z[y]) - static_cast<double>(z[rival]);
  const double spread = static_cast<double>(z[order[0]]) - static_cast<double>(z[order[2]]) + 1e-12;
  d[y] -= weight / spread;
  d[rival] += weight / spread;
  const double of_spread = weight * above / (spread * spread);
  d[order[0]] += of_spread;
  d[order[2]] -= of_spread;
  return -weight * above / spread;
}

double uniform_cross_entropy(Logits z, double weight, LogitGradient d) {
  constexpr double kGuard = 1e-9;  // of the published code
  const std::vector<double> p = softmax_of(z);
  const auto classes = static_cast<double>(p.size());
  double loss = 0;
  std::vector<double> u(p.size());
  for (std::size_t k = 0; k < p.size(); ++k) {
    loss -= std::log(p[k] + kGuard) / classes;
    u[k] = -1 / (classes * (p[k] + kGuard));
  }
  through_softmax(p, u, weight, d);
  return weight * loss;
}

double hold_prediction(Logits z, std::int32_t p, int classes, double weight, LogitGradient d) {
  const std::vector<double> y = softmax_of(z);
  const auto kept = static_cast<std::size_t>(p);
  std::vector<double> u(y.size(), 0);
  double loss = 0;
  for (std::size_t j = 0; j < std::min(y.size(), static_cast<std::size_t>(classes)); ++j) {
    if (j == kept || y[kept] <= y[j]) continue;
    loss -= y[kept] - y[j];
    u[kept] -= 1;
    u[j] += 1;
  }
  through_softmax(y, u, weight, d);
  return weight * loss;
}

double leave_prediction(Logits z, std::int32_t p, double weight, LogitGradient d) {
  const std::vector<double> y = softmax_of(z);
  std::vector<double> u(y.size(), 0);
  u[static_cast<std::size_t>(p)] = 1;
  through_softmax(y, u, weight, d);
  return weight * y[static_cast<std::size_t>(p)];
}

double apply(LossKind kind, Logits z, std::int32_t label, double weight, LogitGradient d) {
  return kind == LossKind::kDlr ? difference_of_logits_ratio(z, label, weight, d)
                                : cross_entropy(z, label, weight, d);
}

LogitLoss labelled(LossKind kind, std::span<const std::int32_t> labels, double weight) {
  return [kind, labels, weight](int sample, int, Logits z, LogitGradient d) {
    return apply(kind, z, labels[static_cast<std::size_t>(sample)], weight, d);
  };
}

}  // namespace offramp::attacks::evasion
