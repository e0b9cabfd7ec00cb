#include "attacks/extraction/victim.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "nets/exits/early_exit.h"
#include "nets/exits/frozen.h"
#include "nets/graph/state_dict.h"

namespace offramp::attacks {

VictimFunction early_exit_victim(const nets::Network& net, const nets::ExitPolicy& policy) {
  policy.check(net.num_exits());
  const auto frozen = std::make_shared<const nets::FrozenNet>(net);
  return [frozen, policy, device = net.device()](const Tensor& images, std::span<float> probabilities) {
    const nets::EarlyExitResult result = nets::infer(*frozen, policy, images.to(device));
    std::copy(result.probabilities.begin(), result.probabilities.end(), probabilities.begin());
  };
}

ExitVictim exit_victim(const nets::Network& net, const nets::ExitPolicy& policy) {
  policy.check(net.num_exits());
  const auto frozen = std::make_shared<const nets::FrozenNet>(net);
  return [frozen, policy, device = net.device()](const Tensor& image, std::span<float> probabilities) {
    const nets::EarlyExitResult result = nets::infer(*frozen, policy, image.to(device));
    std::copy(result.probabilities.begin(), result.probabilities.end(), probabilities.begin());
    return result.exit.at(0) - 1;
  };
}

InProcessBlackBox own_victim(const std::filesystem::path& checkpoint, const Defence* defence) {
  const auto loaded = nets::load_net(checkpoint, Device::make_cpu({.threads = 1}));
  if (defence) check(*defence, loaded.net->num_exits());
  VictimFunction victim = early_exit_victim(*loaded.net, loaded.policy);
  if (defence) victim = defended(std::move(victim), exit_victim(*loaded.net, loaded.policy), *defence);
  return {std::move(victim), loaded.net->classes()};
}

}  // namespace offramp::attacks
