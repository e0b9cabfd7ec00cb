#pragma once
// References of kernels/losses.h.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/losses.h"
#include "kernels/ref/softmax.h"

namespace offramp::ref {

// row_loss[rows]; dlogits[rows, classes] or null gets scale * gradient.
template <class Real>
void cross_entropy(int rows,
                   int classes,
                   const Real* logits,
                   const std::int32_t* labels,
                   Real* row_loss,
                   Real scale,
                   Real* dlogits) {
  for (int r = 0; r < rows; ++r) {
    const std::int64_t row = std::int64_t{r} * classes;
    const Real lse = log_sum_exp(classes, logits + row);
    row_loss[r] = lse - logits[row + labels[r]];
    for (int k = 0; dlogits != nullptr && k < classes; ++k)
      dlogits[row + k] = scale * (std::exp(logits[row + k] - lse) - (k == labels[r] ? 1 : 0));
  }
}

template <class Real>
void target_loss(TargetLoss kind,
                 int rows,
                 int classes,
                 const Real* logits,
                 const Real* target,
                 Real* row_loss,
                 Real scale,
                 Real* dlogits) {
  for (int r = 0; r < rows; ++r) {
    const std::int64_t row = std::int64_t{r} * classes;
    const Real lse = log_sum_exp(classes, logits + row);
    Real loss = 0;
    for (int k = 0; k < classes; ++k) {
      const Real v = target[row + k], log_p = logits[row + k] - lse, p = std::exp(log_p);
      if (kind == TargetLoss::kSoftCrossEntropy) loss -= v * log_p;
      if (kind == TargetLoss::kKlTargetFirst) loss += v > 0 ? v * (std::log(v) - log_p) : Real{0};
      if (kind == TargetLoss::kKlOutputFirst) loss += p * (log_p - std::log(std::max(v, Real(1e-8))));
    }
    row_loss[r] = loss;
    for (int k = 0; dlogits != nullptr && k < classes; ++k) {
      const Real v = target[row + k], log_p = logits[row + k] - lse, p = std::exp(log_p);
      const Real gradient =
          kind == TargetLoss::kKlOutputFirst ? p * (log_p - std::log(std::max(v, Real(1e-8))) - loss) : p - v;
      dlogits[row + k] = scale * gradient;
    }
  }
}

// confidence[num_exits, n]; dconfidence[num_exits, n] or null.
template <class Real>
void strategy_loss(int num_exits,
                   int n,
                   const Real* confidence,
                   const std::int32_t* exits,
                   const StrategyParams& p,
                   Real* loss,
                   Real* dconfidence) {
  std::vector<int> leaves_at(static_cast<std::size_t>(num_exits) + 1, 0);
  for (int i = 0; i < n; ++i) ++leaves_at[static_cast<std::size_t>(exits[i])];
  for (int i = 0; dconfidence != nullptr && i < num_exits * n; ++i) dconfidence[i] = 0;
  *loss = 0;
  for (int i = 0; i < n; ++i) {
    const int e = exits[i];
    const Real weight = Real{1} / (p.mean == HingeMean::kBatch ? n : leaves_at[static_cast<std::size_t>(e)]);
    for (int j = 1; j <= e; ++j) {
      const int at = (j - 1) * n + i;
      const Real c = confidence[at];
      const Real hinge = j < e ? c - static_cast<Real>(p.phi2) : static_cast<Real>(p.phi1) - c;
      if (hinge <= 0 || (j == num_exits && !p.last_exit_term)) continue;
      *loss += weight * hinge;
      if (dconfidence != nullptr) dconfidence[at] = j < e ? weight : -weight;
    }
  }
}

// What kernels/losses.h's MultiExitLoss says, put together from the parts. Pointers as there; logits and
// dlogits are arrays of num_exits pointers, dlogits and its entries may be null.
template <class Real>
void multi_exit_loss(int num_exits,
                     int n,
                     int classes,
                     TargetLoss kind,
                     const Real* const* logits,
                     const std::int32_t* labels,
                     const Real* target,
                     const Real* exit_weight,
                     Real lambda,
                     const StrategyParams& strategy,
                     const std::int32_t* exits,
                     Real* loss,
                     Real* const* dlogits) {
  const auto rows = static_cast<std::size_t>(n), width = static_cast<std::size_t>(classes);
  std::vector<Real> confidence(static_cast<std::size_t>(num_exits) * rows), dconfidence(confidence.size());
  std::vector<std::int32_t> argmax(confidence.size());
  for (int i = 0; i < num_exits; ++i) {
    const std::size_t at = static_cast<std::size_t>(i) * rows;
    row_confidence(n, classes, logits[i], confidence.data() + at, argmax.data() + at);
  }
  loss[1 + num_exits] = 0;
  if (lambda != 0) {
    strategy_loss(num_exits, n, confidence.data(), exits, strategy, loss + 1 + num_exits, dconfidence.data());
  }
  loss[0] = lambda * loss[1 + num_exits];
  for (int i = 0; i < num_exits; ++i) {
    std::vector<Real> row_loss(rows), gradient(rows * width);
    const Real scale = exit_weight[i] / n;
    if (kind == TargetLoss::kCrossEntropy) {
      cross_entropy(n, classes, logits[i], labels, row_loss.data(), scale, gradient.data());
    } else {
      target_loss(kind, n, classes, logits[i], target, row_loss.data(), scale, gradient.data());
    }
    loss[1 + i] = 0;
    for (const Real l : row_loss) loss[1 + i] += l / n;
    loss[0] += exit_weight[i] * loss[1 + i];
    const std::size_t at = static_cast<std::size_t>(i) * rows;
    for (std::size_t r = 0; r < rows; ++r) dconfidence[at + r] *= lambda;
    row_confidence_backward(n,
                            classes,
                            logits[i],
                            confidence.data() + at,
                            argmax.data() + at,
                            dconfidence.data() + at,
                            gradient.data(),
                            Write::kAccumulate);
    if (dlogits != nullptr && dlogits[i] != nullptr) std::copy(gradient.begin(), gradient.end(), dlogits[i]);
  }
}

}  // namespace offramp::ref
