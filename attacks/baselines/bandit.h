#pragma once
// The gradient bandit of Knockoff's adaptive policy (specs/extraction.md 6.1; Orekondy et al. 2019): which class of
// pictures to ask about next, learnt from rewards.
//
//   preferences H = 0, pi = softmax(H); after action z with reward r, the t-th:
//   rbar += (r - rbar) / t;  a = 1 / N(z);  H(z) += a (r - rbar)(1 - pi(z));  H(z') -= a (r - rbar) pi(z'), z' != z.
#include <cstdint>
#include <span>
#include <vector>

namespace offramp::attacks {

class GradientBandit {
 public:
  explicit GradientBandit(int actions);  // ValueError: none
  const std::vector<double>& probabilities() const { return probabilities_; }
  const std::vector<double>& preferences() const { return preferences_; }
  int draw(double uniform) const;  // uniform in [0,1)
  void update(int action, double reward);

 private:
  std::vector<double> preferences_, probabilities_;
  std::vector<std::int64_t> chosen_;
  double mean_reward_ = 0;
  std::int64_t updates_ = 0;
};

enum class Reward { kCertainty, kDiversity, kLoss, kAll };

// Rewards of the answers in the order that they come; keeps the running mean of the answers and, for kAll, running means
// and variances of the three.
class RewardMeter {
 public:
  RewardMeter(Reward reward, int classes);
  // victim, copy: probabilities of the victim and, after its step on the image, of the copy. [classes]
  //   certainty = top1 - top2 of v; diversity = sum_c max(0, v_c - vbar_c), vbar updated first; loss = CE(v, p).
  //   all: mean of the three, each standardised by its running mean and variance (updated first); the first time
  //   clipped to [0,1] instead.
  double of(std::span<const float> victim, std::span<const float> copy);

 private:
  Reward reward_;
  std::vector<double> mean_answer_;
  double mean_[3] = {}, variance_[3] = {};
  std::int64_t answers_ = 0;
};

}  // namespace offramp::attacks
