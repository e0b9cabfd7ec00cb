#include "tools/verbs/net/net_latency.h"

#include "nets/exits/early_exit.h"
#include "nets/exits/frozen.h"
#include "tools/frame/interrupt.h"

#include <algorithm>
#include <chrono>
#include <limits>

namespace offramp::tools {

std::vector<double> exit_milliseconds(const nets::Network& net, const Tensor& batch, int images) {
  const nets::FrozenNet frozen(net);
  std::vector<Tensor> singles;
  for (std::int32_t i = 0; i < std::min(images, batch.shape().n()); ++i) {
    const std::int32_t row[] = {i};
    singles.push_back(gather_rows(batch, Tensor::from<std::int32_t>({1}, row, batch.device())));
  }
  constexpr double kNever = std::numeric_limits<double>::infinity();
  constexpr int kWarmUp = 5;
  std::vector<double> medians;
  for (int e = 0; e < net.num_exits(); ++e) {
    nets::ExitPolicy policy = nets::ExitPolicy::uniform(net.num_exits(), kNever);
    if (e + 1 < net.num_exits()) policy.thresholds[static_cast<std::size_t>(e)] = -kNever;
    std::vector<double> times;
    for (int i = -kWarmUp; i < images; ++i) {
      throw_if_interrupted();
      const Tensor& x = singles[static_cast<std::size_t>(i + kWarmUp) % singles.size()];
      const auto begin = std::chrono::steady_clock::now();
      static_cast<void>(nets::infer(frozen, policy, x));
      const auto end = std::chrono::steady_clock::now();
      if (i >= 0) times.push_back(std::chrono::duration<double, std::milli>(end - begin).count());
    }
    std::nth_element(
        times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
    medians.push_back(times[times.size() / 2]);
  }
  return medians;
}

}  // namespace offramp::tools
