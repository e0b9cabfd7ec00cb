#include "attacks/evasion/victim.h"

#include "base/errors.h"
#include "nets/exits/frozen.h"

namespace offramp::attacks::evasion {

Victim victim_of(std::string name, const nets::Network& net, nets::ExitPolicy policy) {
  policy.check(net.num_exits());
  if (net.options().precision != nets::Precision::kFloat32) {
    throw ValueError("evade: expected a victim in float32, " + name + " is in mixed precision");
  }
  Victim victim{.name = std::move(name),
                .net = &net,
                .device = net.device(),
                .policy = std::move(policy),
                .exit_macs = {},
                .exit_ops = {},
                .inverse_deviation = {}};
  for (const nets::Cost& cost : net.costs().exits) {
    victim.exit_macs.push_back(cost.macs);
    victim.exit_ops.push_back(cost.ops_profiler);
  }
  const auto channels = static_cast<std::size_t>(net.input().c);
  victim.inverse_deviation.assign(channels, 1.f);
  const std::vector<float>& deviation = net.options().std;
  for (std::size_t c = 0; c < deviation.size() && c < channels; ++c) {
    victim.inverse_deviation[c] = 1.f / deviation[c];
  }
  // Of a net whose weights the cache does not hold, a whole batch at a time does better.
  if (net.rows_together() < 64)
    victim.frozen = std::make_shared<const nets::FrozenNet>(net, nets::FrozenFor::kGradients);
  return victim;
}

nets::Segment LastExitNet::forward_segment(int segment, const nets::Features& x) const {
  if (segment != 0)
    throw ValueError("evade: a net of one exit has segment 0, got " + std::to_string(segment));
  nets::Features features = x;
  nets::Segment last;
  for (int s = 0; s < net_.num_exits(); ++s) {
    last = net_.forward_segment(s, features);
    features = std::move(last.features);
  }
  return {{}, std::move(last.logits)};
}

}  // namespace offramp::attacks::evasion
