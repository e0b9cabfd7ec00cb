#pragma once
// Losses of one sample's logits at one exit, in double, with their gradients. Each adds weight * loss and returns it; an
// attack that ascends makes the victim wrong with the first two, one that descends keeps it unsure with the third.
#include <cstdint>
#include <span>
#include <vector>

#include "attacks/evasion/gradient.h"

namespace offramp::attacks::evasion {

using Logits = std::span<const float>;
using LogitGradient = std::span<double>;  // added to

std::vector<double> softmax_of(Logits z);

// -ln softmax(z)_label.
double cross_entropy(Logits z, std::int32_t label, double weight, LogitGradient d);
// Difference of logits ratio (Croce, Hein 2020): -(z_y - max_{i != y} z_i) / (z_(1) - z_(3) + 1e-12), z_(k) the k-th
// largest. Does not change with the scale of the logits. Needs three classes.
double difference_of_logits_ratio(Logits z, std::int32_t label, double weight, LogitGradient d);
// Cross entropy to the uniform distribution (DeepSloth): -(1/C) sum_c ln(p_c + 1e-9).
double uniform_cross_entropy(Logits z, double weight, LogitGradient d);
// Early Attack's last exit (DyNN 6): L1 = -sum_{j != p} max(y_p - y_j, 0), y = softmax(z). `classes`: how many, from the
// first, the sum looks at (the authors' code: 10).
double hold_prediction(Logits z, std::int32_t p, int classes, double weight, LogitGradient d);
// Early Attack's other exits, one term of L2: y_p.
double leave_prediction(Logits z, std::int32_t p, double weight, LogitGradient d);

enum class LossKind { kCrossEntropy, kDlr };
double apply(LossKind kind, Logits z, std::int32_t label, double weight, LogitGradient d);
// The loss of each sample's true label wherever the path looks, times `weight`. `labels` must outlive it.
LogitLoss labelled(LossKind kind, std::span<const std::int32_t> labels, double weight = 1);

}  // namespace offramp::attacks::evasion
