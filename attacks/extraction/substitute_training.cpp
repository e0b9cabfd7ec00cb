#include "attacks/extraction/substitute_training.h"

#include <algorithm>

#include "base/errors.h"

namespace offramp::attacks {
namespace {

std::unique_ptr<nets::Objective> checked_objective(const nets::Network& net,
                                                   const FitOptions& options,
                                                   const data::ImageSet& images,
                                                   const FitTargets& targets) {
  nets::check(train_options(options), net);
  if (images.n < 1) throw ValueError("fit: there are no images");
  if (net.input() != nets::Extent{images.c, images.h, images.w})
    throw ShapeError("fit: the net takes " + nets::to_string(net.input()) + ", the images are " +
                     nets::to_string({images.c, images.h, images.w}));
  const auto n = static_cast<std::size_t>(images.n), classes = static_cast<std::size_t>(net.classes());
  if (targets.probabilities.size() != n * classes)
    throw ValueError("fit: expected " + std::to_string(n) + " x " + std::to_string(classes) +
                     " probabilities, got " + std::to_string(targets.probabilities.size()));
  return make_objective(options, targets, net);
}

// The class of the largest probability in each row.
std::vector<std::int32_t> classes_of(std::span<const float> probabilities, int classes) {
  std::vector<std::int32_t> labels;
  const auto width = static_cast<std::size_t>(classes);
  for (std::size_t at = 0; at < probabilities.size(); at += width) {
    const auto row = probabilities.subspan(at, width);
    labels.push_back(static_cast<std::int32_t>(std::max_element(row.begin(), row.end()) - row.begin()));
  }
  return labels;
}

}  // namespace

FitEpoch fit_epoch(const nets::EpochReport& report) {
  return {.epoch = report.epoch,
          .learning_rate = report.learning_rate,
          .loss = report.loss,
          .strategy_loss = report.strategy_loss,
          .exit_loss = report.exit_loss,
          .exit_agreement = report.exit_accuracy};
}

Fit::Fit(nets::Network& net,
         const FitOptions& options,
         const data::ImageSet& images,
         const FitTargets& targets)
    : objective_(checked_objective(net, options, images, targets)),
      classes_(net.classes()),
      labels_(classes_of(targets.probabilities, classes_)),
      source_(images,
              options.augmentation,
              nets::LoaderSource::training(options.batch_size, options.seed),
              net.device(),
              labels_),
      trainer_(net, train_options(options), *objective_, source_, options.steps) {}

double Fit::constant_agreement() const {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(classes_));
  for (const auto label : labels_) ++counts[static_cast<std::size_t>(label)];
  return static_cast<double>(*std::max_element(counts.begin(), counts.end())) /
         static_cast<double>(labels_.size());
}

nets::NetOptions substitute_options(nets::NetOptions base, int estimated_exits) {
  base.num_exits = estimated_exits;
  base.placement = nets::Placement::kEqualCost;
  base.exits_after.clear();
  // A family with exits of its own is named after their number: msdnet-4, msdnet-growing-5.
  if (base.name.starts_with("msdnet-"))
    base.name = base.name.substr(0, base.name.rfind('-') + 1) + std::to_string(estimated_exits);
  return base;
}

int start_from(nets::Network& net, const std::filesystem::path& checkpoint) {
  const nets::LoadedNet other = nets::load_net(checkpoint, net.device());
  int taken = 0;
  for (auto& entry : net.parameters().entries()) {
    if (entry.info.name.starts_with("normalize.")) continue;  // of the queries, not of the other net's pixels
    const auto* source = other.net->parameters().find(entry.info.name);
    if (source == nullptr || source->value.shape() != entry.value.shape()) continue;
    Tensor to = entry.value;
    to.device().copy(to.raw(), source->value.raw(), to.bytes());
    ++taken;
  }
  if (taken == 0)
    throw ValueError("fit: no parameter of " + checkpoint.string() + " fits the substitute " +
                     in_quotes(net.options().name));
  return taken;
}

}  // namespace offramp::attacks
