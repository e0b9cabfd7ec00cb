#include "attacks/defences/time_guard.h"

#include <boost/math/special_functions/erf.hpp>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numbers>
#include <thread>
#include <utility>

#include "base/errors.h"

namespace offramp::attacks {
namespace {

using Clock = std::chrono::steady_clock;

void check(const TimeGuardOptions& options) {
  if (!(options.sigma_ns > 0) || !std::isfinite(options.sigma_ns)) {
    throw ValueError("TimeGuard: sigma must be finite and above 0");
  }
  if (!(options.cap_ns > 0)) throw ValueError("TimeGuard: the cap must be above 0");
  input_uniform("", options.seed);  // for its checks
}

}  // namespace

double time_guard_release_ns(const Tensor& input, double clean_ns, const TimeGuardOptions& options) {
  if (clean_ns >= options.cap_ns) return clean_ns;
  // |z| of a standard normal z has the quantile sqrt(2) erf^-1(u).
  const double u = input_uniform(input, options.seed);
  const double delay = options.sigma_ns * std::numbers::sqrt2 * boost::math::erf_inv(u);
  return std::min(options.cap_ns, clean_ns + delay);
}

void wait_until(Clock::time_point deadline) {
  constexpr auto kSpin = std::chrono::microseconds(200);  // a sleep may end this late
  if (const auto now = Clock::now(); deadline - now > kSpin)
    std::this_thread::sleep_for(deadline - now - kSpin);
  while (Clock::now() < deadline) {
  }
}

VictimFunction time_guarded(VictimFunction victim, const TimeGuardOptions& options) {
  check(options);
  return [victim = std::move(victim), options](const Tensor& images, std::span<float> probabilities) {
    const auto start = Clock::now();
    victim(images, probabilities);
    const auto ready = Clock::now();
    if (images.shape()[0] != 1) return;
    const double clean_ns = std::chrono::duration<double, std::nano>(ready - start).count();
    const double release_ns = time_guard_release_ns(images, clean_ns, options);
    wait_until(start + std::chrono::nanoseconds(static_cast<std::int64_t>(release_ns)));
  };
}

}  // namespace offramp::attacks
