#include "tools/verbs/extract/extract_options.h"

#include <fmt/format.h>

#include "nets/data/transform.h"
#include "nets/training/train_options.h"

namespace offramp::tools {

void QuerySettings::declare(Options& options) {
  options
      .add("query.repetitions",
           repetitions,
           "times each image is asked; 0: from re-measured noise, at least 10")
      .range(0, 10000);
  options.add("query.pilot_images", pilot_images, "images that are re-measured to know the noise")
      .range(1, 1e6);
  options.add("query.block", block, "queries between two writes to disk").range(1, 1e6).not_in_config();
}

attacks::QueryOptions QuerySettings::resolve(const Session& session,
                                             const std::string& victim,
                                             const std::string& images) const {
  return {.repetitions = repetitions,
          .pilot_samples = pilot_images,
          .block = block,
          .seed = session.seed(),
          .victim = victim,
          .images = images};
}

void FitSettings::declare(Options& options) {
  options.add(
      "fit.net", net, "backbone of the copy: " + fmt::format("{}", fmt::join(nets::net_names(), ", ")));
  options.add("fit.width_divisor", width_divisor, "channels are divided by it").range(1, 64);
  options.add("fit.precision", precision, "f32, or bf16 activations").choices({"f32", "bf16"});
  options.add("fit.pretrained", pretrained, "checkpoint of a net trained on something else, to start from");
  options.add("fit.epochs", epochs, "passes over the query images").range(1, 100000);
  options.add("fit.batch", batch, "images per step").range(1, 65536);
  options.add("fit.learning_rate", learning_rate, "of SGD; a tenth at 35, 60 and 85 % of the epochs")
      .range(1e-9, 100);
  options.add("fit.momentum", momentum, "of SGD").range(0, 0.999999);
  options.add("fit.weight_decay", weight_decay, "default: 5e-4 for VGG and WideResNet, 1e-4 else")
      .range(0, 1);
  options.add("fit.loss", loss, "direction of the KL divergence between victim and copy")
      .choices({"kl-target-first", "kl-output-first", "cross-entropy"});
  options.add("fit.lambda", lambda, "weight of the strategy loss; 0: none").range(0, 1e6);
  options.add("fit.phi1", phi1, "confidence wanted at the exit that the victim took").range(0, 1);
  options.add("fit.phi2", phi2, "confidence not wanted at exits before it").range(0, 1);
  options.add("fit.hinge_mean", hinge_mean, "mean of the strategy loss over the batch, or within each exit")
      .choices({"batch", "exit"});
  options.add("fit.no_last_exit_term", no_last_exit_term, "the last exit needs no confidence");
}

nets::NetOptions FitSettings::net_options(int classes, const data::ImageSet& images) const {
  const auto normalisation = data::compute_normalisation(images);
  nets::NetOptions o;
  o.name = net;
  o.classes = classes;
  o.channels = images.c;
  o.side = images.h;
  o.width_divisor = width_divisor;
  o.precision = precision == "bf16" ? nets::Precision::kMixed : nets::Precision::kFloat32;
  o.mean = normalisation.mean;
  o.std = normalisation.std;
  for (float& s : o.std) s = std::max(s, 1e-3f);  // an image set without contrast
  return o;
}

attacks::FitOptions FitSettings::resolve(const Session& session, attacks::FitMethod method) const {
  attacks::FitOptions o{.method = method,
                        .lambda = lambda,
                        .epochs = epochs,
                        .batch_size = batch,
                        .seed = session.seed(),
                        .learning_rate = learning_rate,
                        .momentum = momentum};
  o.weight_decay =
      weight_decay ? *weight_decay : nets::reference_options(net, nets::TrainKind::kJoint).weight_decay;
  o.loss = loss == "kl-target-first"   ? TargetLoss::kKlTargetFirst
           : loss == "kl-output-first" ? TargetLoss::kKlOutputFirst
                                       : TargetLoss::kSoftCrossEntropy;
  o.strategy = {.phi1 = static_cast<float>(phi1),
                .phi2 = static_cast<float>(phi2),
                .last_exit_term = !no_last_exit_term,
                .mean = hinge_mean == "batch" ? HingeMean::kBatch : HingeMean::kPerExit};
  return o;
}

void SearchOptionsSettings::declare(Options& options) {
  options.add("search.objective", objective, "joint: first exits that agree; separable: exit by exit")
      .choices({"joint", "separable"});
  options
      .add("search.counts",
           counts,
           "what makes a sample count: the exit, or the exit and the victim's class there")
      .choices({"exit", "class-and-exit"});
  options.add("search.time_limit", time_limit, "seconds for the proof of optimality").range(0, 1e6);
  options
      .add("search.search_first",
           first,
           "thresholds are searched on the first so many query images: name those first that resemble what "
           "the copy will meet; 0: all")
      .range(0, 1e9);
}

SearchSettings SearchOptionsSettings::resolve(const Session& session) const {
  SearchSettings s;
  s.search.objective =
      objective == "joint" ? stats::SearchObjective::kJoint : stats::SearchObjective::kSeparable;
  s.search.time_limit_s = time_limit;
  s.search.threads = static_cast<unsigned>(session.threads());
  s.class_counts = counts == "class-and-exit";
  s.first_images = first;
  return s;
}

void EstimateSettings::declare(Options& options) {
  options.add("estimate.method", method, "valleys of a density, or Bayesian changepoints")
      .choices({"kde", "changepoints"});
  options.add("estimate.known_exits", known_exits, "the number of exits where it is known; 0: unknown")
      .range(0, 16);
}

stats::EstimationOptions EstimateSettings::resolve(const Session& session) const {
  stats::EstimationOptions o;
  o.method = method == "kde" ? stats::EstimationMethod::kDensity : stats::EstimationMethod::kChangepoints;
  if (known_exits > 0) o.known_exits = static_cast<std::size_t>(known_exits);
  o.threads = static_cast<unsigned>(session.threads());
  return o;
}

std::filesystem::path victim_checkpoint(const std::filesystem::path& given) {
  if (!std::filesystem::is_directory(given)) return given;
  for (const char* name : {"victim.safetensors", "model.safetensors", "checkpoints/last.safetensors"})
    if (std::filesystem::exists(given / name)) return given / name;
  throw UsageError("victim: " + given.string() + " holds no checkpoint; name the .safetensors file");
}

}  // namespace offramp::tools
