#include "attacks/extraction/victim.h"

#include <algorithm>

#include "nets/early_exit.h"

namespace offramp::attacks {

VictimFunction early_exit_victim(const nets::Network& net, const nets::ExitPolicy& policy) {
  policy.check(net.num_exits());
  return [&net, policy](const Tensor& images, std::span<float> probabilities) {
    const nets::EarlyExitResult result = nets::infer(net, policy, images.to(net.device()));
    std::copy(result.probabilities.begin(), result.probabilities.end(), probabilities.begin());
  };
}

}  // namespace offramp::attacks
