#include "attacks/extraction/score.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "base/errors.h"
#include "nets/exits/early_exit.h"
#include "nets/exits/frozen.h"

namespace offramp::attacks {
namespace {

void require_same(std::size_t a, std::size_t b, const char* what) {
  if (a != b || a == 0)
    throw ValueError(std::string(what) + ": expected as many samples on both sides and at least one, got " +
                     std::to_string(a) + " and " + std::to_string(b));
}

}  // namespace

Behaviour behaviour_of(const nets::Network& net,
                       const nets::ExitPolicy& policy,
                       const data::ImageSet& images,
                       const ImagesDone& report) {
  constexpr int kBatch = 250;
  const nets::FrozenNet frozen(net);
  const ImageSource source = image_source(images);
  Behaviour all;
  std::vector<std::int32_t> indices;
  for (int first = 0; first < images.n; first += kBatch) {
    indices.resize(static_cast<std::size_t>(std::min(kBatch, images.n - first)));
    std::iota(indices.begin(), indices.end(), first);
    const auto part = nets::infer(frozen, policy, source.load(indices).to(net.device()));
    all.label.insert(all.label.end(), part.label.begin(), part.label.end());
    all.exit.insert(all.exit.end(), part.exit.begin(), part.exit.end());
    all.confidence.insert(all.confidence.end(), part.confidence.begin(), part.confidence.end());
    if (report) report(static_cast<int>(indices.size()));
  }
  return all;
}

Spending spending_of(const Behaviour& behaviour, const nets::NetCosts& costs) {
  Spending s;
  s.per_exit.assign(costs.exits.size(), 0);
  for (const auto exit : behaviour.exit) {
    if (exit < 1 || exit > static_cast<std::int32_t>(costs.exits.size()))
      throw ValueError("cost: exit " + std::to_string(exit) + " of a net with " +
                       std::to_string(costs.exits.size()));
    ++s.per_exit[static_cast<std::size_t>(exit - 1)];
  }
  for (std::size_t e = 0; e < costs.exits.size(); ++e) {
    s.macs += static_cast<double>(s.per_exit[e]) * static_cast<double>(costs.exits[e].macs);
    s.ops_profiler += static_cast<double>(s.per_exit[e]) * static_cast<double>(costs.exits[e].ops_profiler);
  }
  return s;
}

double accuracy_of(const Behaviour& behaviour, std::span<const std::int32_t> truth) {
  require_same(behaviour.label.size(), truth.size(), "accuracy");
  std::size_t right = 0;
  for (std::size_t i = 0; i < truth.size(); ++i) right += behaviour.label[i] == truth[i] ? 1 : 0;
  return static_cast<double>(right) / static_cast<double>(truth.size());
}

Agreement agreement_of(const Behaviour& victim, const Behaviour& substitute) {
  require_same(victim.label.size(), substitute.label.size(), "agreement");
  std::size_t both = 0, label = 0, exit = 0;
  for (std::size_t i = 0; i < victim.label.size(); ++i) {
    const bool same_label = victim.label[i] == substitute.label[i],
               same_exit = victim.exit[i] == substitute.exit[i];
    label += same_label ? 1 : 0;
    exit += same_exit ? 1 : 0;
    both += same_label && same_exit ? 1 : 0;
  }
  const auto n = static_cast<double>(victim.label.size());
  return {static_cast<double>(both) / n, static_cast<double>(label) / n, static_cast<double>(exit) / n};
}

ExitScore score_exits(std::span<const std::int32_t> truth,
                      int true_exits,
                      std::span<const std::int32_t> estimated,
                      int estimated_exits) {
  require_same(truth.size(), estimated.size(), "exit accuracy");
  ExitScore score;
  score.count_right = true_exits == estimated_exits;
  score.counts.assign(static_cast<std::size_t>(true_exits),
                      std::vector<std::int64_t>(static_cast<std::size_t>(estimated_exits)));
  std::size_t right = 0;
  for (std::size_t i = 0; i < truth.size(); ++i) {
    if (truth[i] < 1 || truth[i] > true_exits || estimated[i] < 1 || estimated[i] > estimated_exits)
      throw ValueError("exit accuracy: exits " + std::to_string(truth[i]) + " and " +
                       std::to_string(estimated[i]) + " of sample " + std::to_string(i) + " are not in 1.." +
                       std::to_string(true_exits) + " and 1.." + std::to_string(estimated_exits));
    ++score.counts[static_cast<std::size_t>(truth[i] - 1)][static_cast<std::size_t>(estimated[i] - 1)];
    right += truth[i] == estimated[i] ? 1 : 0;
  }
  score.accuracy = static_cast<double>(right) / static_cast<double>(truth.size());
  return score;
}

nets::ExitPolicy policy_for(const nets::ExitPolicy& victim, int num_exits) {
  nets::ExitPolicy policy = victim;
  if (static_cast<int>(victim.thresholds.size()) == num_exits - 1) return policy;
  if (victim.thresholds.empty()) throw ValueError("policy: the victim has no thresholds to take over");
  const double mean = std::accumulate(victim.thresholds.begin(), victim.thresholds.end(), 0.0) /
                      static_cast<double>(victim.thresholds.size());
  policy.thresholds.assign(static_cast<std::size_t>(num_exits - 1), mean);
  return policy;
}

}  // namespace offramp::attacks
