#include "attacks/baselines/bandit.h"

#include <algorithm>
#include <cmath>

#include "base/errors.h"

namespace offramp::attacks {

GradientBandit::GradientBandit(int actions)
    : preferences_(static_cast<std::size_t>(std::max(actions, 0))),
      probabilities_(preferences_.size(), actions > 0 ? 1.0 / actions : 0),
      chosen_(preferences_.size()) {
  if (actions < 1) throw ValueError("bandit: at least one action is wanted");
}

int GradientBandit::draw(double uniform) const {
  double sum = 0;
  for (std::size_t z = 0; z < probabilities_.size(); ++z) {
    sum += probabilities_[z];
    if (uniform < sum) return static_cast<int>(z);
  }
  return static_cast<int>(probabilities_.size()) - 1;  // the sum fell short of 1 by rounding
}

void GradientBandit::update(int action, double reward) {
  const auto z = static_cast<std::size_t>(action);
  ++updates_;
  mean_reward_ += (reward - mean_reward_) / static_cast<double>(updates_);
  ++chosen_[z];
  const double step = (reward - mean_reward_) / static_cast<double>(chosen_[z]);
  for (std::size_t i = 0; i < preferences_.size(); ++i)
    preferences_[i] += i == z ? step * (1 - probabilities_[i]) : -step * probabilities_[i];
  const double top = *std::max_element(preferences_.begin(), preferences_.end());
  double sum = 0;
  for (std::size_t i = 0; i < preferences_.size(); ++i) {
    probabilities_[i] = std::exp(preferences_[i] - top);
    sum += probabilities_[i];
  }
  for (double& p : probabilities_) p /= sum;
}

RewardMeter::RewardMeter(Reward reward, int classes)
    : reward_(reward), mean_answer_(static_cast<std::size_t>(classes)) {}

double RewardMeter::of(std::span<const float> victim, std::span<const float> copy) {
  const double t = static_cast<double>(++answers_);
  double first = 0, second = 0, diversity = 0, loss = 0;
  for (std::size_t c = 0; c < victim.size(); ++c) {
    const auto v = static_cast<double>(victim[c]);
    if (v > first) {
      second = first;
      first = v;
    } else {
      second = std::max(second, v);
    }
    mean_answer_[c] += (v - mean_answer_[c]) / t;
    diversity += std::max(0.0, v - mean_answer_[c]);
    loss -= v * std::log(std::max(static_cast<double>(copy[c]), 1e-30));
  }
  if (reward_ == Reward::kCertainty) return first - second;
  if (reward_ == Reward::kDiversity) return diversity;
  if (reward_ == Reward::kLoss) return loss;
  const double rewards[3] = {first - second, diversity, loss};
  double sum = 0;
  for (int i = 0; i < 3; ++i) {
    mean_[i] += (rewards[i] - mean_[i]) / t;
    variance_[i] += (std::pow(rewards[i] - mean_[i], 2) - variance_[i]) / t;
    if (answers_ == 1) {
      sum += std::clamp(rewards[i], 0.0, 1.0);
    } else if (variance_[i] > 0) {  // all equal so far: no surprise
      sum += (rewards[i] - mean_[i]) / std::sqrt(variance_[i]);
    }
  }
  return sum / 3;
}

}  // namespace offramp::attacks
