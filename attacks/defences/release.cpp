#include "attacks/defences/release.h"

#include <cmath>

#include "base/errors.h"

namespace offramp::attacks {

std::chrono::steady_clock::time_point release_time(const Defence& defence,
                                                   const Tensor& image,
                                                   int exit,
                                                   std::chrono::steady_clock::time_point start,
                                                   std::chrono::nanoseconds slack) {
  const auto after_start = [start](double ns) { return start + std::chrono::nanoseconds(std::llround(ns)); };
  if (defence.time_guard) {
    const double clean_ns =
        std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count();
    return after_start(time_guard_release_ns(image, clean_ns, *defence.time_guard));
  }
  if (!defence.padding) throw ValueError("release_time: neither TimeGuard nor a padding");
  const PaddingPlan& plan = *defence.padding;
  const int at = deadline_of(plan, exit, draws(plan) ? input_uniform(image, plan.seed) : 0.5);
  return after_start(plan.deadlines_ns[static_cast<std::size_t>(at)]) + slack;
}

}  // namespace offramp::attacks
