#include "attacks/extraction/exit_times.h"

#include <algorithm>
#include <numeric>

#include "attacks/extraction/victim.h"
#include "attacks/query/pilot.h"
#include "base/errors.h"
#include "nets/exits/early_exit.h"
#include "nets/exits/frozen.h"

namespace offramp::attacks {
namespace {

// A policy under which every sample leaves at `exit`: confidences lie in (0, 1].
nets::ExitPolicy forced(int num_exits, int exit) {
  nets::ExitPolicy policy = nets::ExitPolicy::uniform(num_exits, 2);
  if (exit < num_exits - 1) policy.thresholds[static_cast<std::size_t>(exit)] = -1;
  return policy;
}

}  // namespace

ExitTimes exit_times(const nets::Network& net, const ImageSource& images, const ExitTimeOptions& options) {
  if (images.count < 1 || options.images < 1 || options.repetitions < 1) {
    throw ValueError("exit times: at least one image and one repetition are wanted");
  }
  const int exits = net.num_exits();
  std::vector<InProcessBlackBox> boxes;
  for (int e = 0; e < exits; ++e) {
    boxes.emplace_back(
        [victim = early_exit_victim(net, forced(exits, e)), &also = options.also](
            const Tensor& image, std::span<float> probabilities) {
          victim(image, probabilities);
          if (also) also(image);
        },
        net.classes());
  }
  ExitTimes times{std::vector<std::vector<double>>(static_cast<std::size_t>(exits))};
  for (int pass = 0; pass < options.repetitions; ++pass) {
    std::vector<std::int32_t> order = shuffled(images.count, options.seed, static_cast<std::uint32_t>(pass));
    order.resize(static_cast<std::size_t>(std::min(images.count, options.images)));
    const Tensor batch = images.load(order);
    for (int e = 0; e < exits; ++e) {
      const Answer answer = boxes[static_cast<std::size_t>(e)].query(batch, Timing::kPerQuery);
      auto& own = times.ns[static_cast<std::size_t>(e)];
      own.insert(own.end(), answer.nanoseconds.begin(), answer.nanoseconds.end());
    }
  }
  return times;
}

std::vector<int> exits_taken(const nets::Network& net,
                             const nets::ExitPolicy& policy,
                             const ImageSource& images) {
  constexpr int kBatch = 128;
  policy.check(net.num_exits());
  const nets::FrozenNet frozen(net);
  std::vector<int> exits;
  for (int first = 0; first < images.count; first += kBatch) {
    std::vector<std::int32_t> rows(static_cast<std::size_t>(std::min(kBatch, images.count - first)));
    std::iota(rows.begin(), rows.end(), first);
    const nets::EarlyExitResult result = nets::infer(frozen, policy, images.load(rows).to(net.device()));
    for (const std::int32_t exit : result.exit) exits.push_back(exit - 1);
  }
  return exits;
}

}  // namespace offramp::attacks
