#include "attacks/defences/padded_victim.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "attacks/defences/time_guard.h"
#include "base/errors.h"
#include "stats/padding/padding.h"

namespace offramp::attacks {
namespace {

void check(const PaddingPlan& plan) {
  const std::size_t n = plan.deadlines_ns.size();
  // Any shares will do for the checks of times and channel.
  stats::evaluate_padding(
      {plan.deadlines_ns, std::vector<double>(n, n == 0 ? 0 : 1 / static_cast<double>(n))}, plan.channel);
  if (draws(plan)) input_uniform("", plan.seed);
}

}  // namespace

bool draws(const PaddingPlan& plan) {
  return std::any_of(plan.channel.begin(), plan.channel.end(), [](double w) { return w > 0 && w < 1; });
}

int deadline_of(const PaddingPlan& plan, int exit, double uniform) {
  const std::size_t n = plan.deadlines_ns.size();
  if (exit < 0 || static_cast<std::size_t>(exit) >= n) {
    throw ValueError("padding: the plan has " + std::to_string(n) + " exits, the victim left at exit " +
                     std::to_string(exit + 1));
  }
  const std::size_t k = static_cast<std::size_t>(exit);
  double sum = 0;
  std::size_t last = k;
  for (std::size_t j = k; j < n; ++j) {
    const double w = plan.channel[k * n + j];
    if (w <= 0) continue;
    last = j;
    sum += w;
    if (uniform < sum) break;
  }
  return static_cast<int>(last);
}

VictimFunction padded(VictimFunction plain, ExitVictim one, PaddingPlan plan) {
  check(plan);
  const bool random = draws(plan);  // before the plan moves
  return [plain = std::move(plain), one = std::move(one), plan = std::move(plan), random](
             const Tensor& images, std::span<float> probabilities) {
    const auto start = std::chrono::steady_clock::now();
    if (images.shape()[0] != 1) return plain(images, probabilities);
    const int exit = one(images, probabilities);
    const int at = deadline_of(plan, exit, random ? input_uniform(images, plan.seed) : 0.5);
    const double deadline_ns = plan.deadlines_ns[static_cast<std::size_t>(at)];
    wait_until(start + std::chrono::nanoseconds(std::llround(deadline_ns)));
  };
}

}  // namespace offramp::attacks
