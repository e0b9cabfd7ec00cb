#include "tools/verbs/extract/options.h"

#include <fmt/format.h>

#include <functional>
#include <limits>

#include "attacks/extraction/names.h"

namespace offramp::tools {

void declare(Options& options, attacks::QueryOptions& query) {
  options
      .add(
          "query.repetitions",
          query.repetitions,
          "times each image is asked; 0: from re-measured noise, at least 10; a server 40 to 400, until its exits are promised")
      .range(0, 10000);
  options.add("query.pilot_images", query.pilot_samples, "images that are re-measured to know the noise")
      .range(1, 1e6);
  options.add("query.block", query.block, "queries between two writes to disk").range(1, 1e6).not_in_config();
}

void declare(Options& options, attacks::EstimatePlan& estimate) {
  stats::EstimationOptions& o = estimate.options;
  options.add_choice(
      "estimate.method",
      o.method,
      attacks::kEstimationMethods,
      "exits that share the shape of the noise (mixture), valleys of a density (kde), or Bayesian "
      "changepoints");
  options.add_choice(
      "estimate.statistic",
      o.statistic,
      attacks::kTimeStatistics,
      "one number from the repetitions of a sample; auto: min or q20, or q20 or median where the "
      "machine's speed was divided out, whichever repeats best");
  options.add("estimate.raw_times",
              estimate.raw_times,
              "take the times as they are; else a trace's order.csv tells when each was measured, and the "
              "machine's speed of that moment is divided out where that repeats better");
  options
      .add_as<std::int64_t>(
          "estimate.exits",
          o.known_exits,
          [](const auto& known) { return static_cast<std::int64_t>(known.value_or(0)); },
          [](std::int64_t n) { return n > 0 ? std::optional<std::size_t>(n) : std::nullopt; },
          "keep this many exits; 0: find the number")
      .range(0, 1e6)
      .alias("estimate.known_exits", "--known-exits");
  options.add("estimate.sigma_ns", o.sigma_ns, "noise of the statistic; from the repetitions if not given");
  options.add("estimate.bandwidth_ns",
              o.bandwidth_ns,
              "kde: of the density; if not given half of sigma, and with repetitions at least 1.5 % of the "
              "range of times");
  options
      .add("estimate.max_valley_ratio",
           o.max_valley_ratio,
           "kde: a valley above this share of its lower peak is none")
      .range(0, 1);
  options
      .add("estimate.min_share",
           o.min_share,
           "kde, changepoints: smallest share of the samples that makes an exit")
      .range(0, 1);
}

void declare(Options& options, attacks::CopyPlan& copy) {
  nets::NetOptions& net = copy.net;
  attacks::FitOptions& fit = copy.fit;
  options.add(
      "fit.net", net.name, "backbone of the copy: " + fmt::format("{}", fmt::join(nets::net_names(), ", ")));
  options.add("fit.width_divisor", net.width_divisor, "channels are divided by it").range(1, 64);
  options
      .add_as<std::string>(
          "fit.precision",
          net.precision,
          [](nets::Precision p) { return nets::to_text(p); },
          nets::precision_from,
          "f32, or bf16 activations")
      .choices({"f32", "bf16"});
  options.add(
      "fit.pretrained", copy.pretrained, "checkpoint of a net trained on something else, to start from");
  options
      .add_as<std::string>(
          "fit.augment",
          fit.augmentation,
          [](const data::Augmentation& a) {
            return a.crop_pad == 0 ? "none" : a.flip ? "flips-crops" : "crops";
          },
          [](const std::string& text) {
            return data::Augmentation{.flip = text == "flips-crops", .crop_pad = text == "none" ? 0 : 4};
          },
          "train on the images moved by up to 4 pixels (crops) and half of them mirrored too; the answers stay those to the "
          "images as they are")
      .choices({"none", "crops", "flips-crops"});
  options.add("fit.epochs", fit.epochs, "passes over the query images").range(1, 100000);
  options.add("fit.batch", fit.batch_size, "images per step").range(1, 65536);
  options.add("fit.learning_rate", fit.learning_rate, "of SGD; a tenth at 35, 60 and 85 % of the epochs")
      .range(1e-9, 100);
  options.add("fit.momentum", fit.momentum, "of SGD").range(0, 0.999999);
  options.add("fit.weight_decay", copy.weight_decay, "default: 5e-4 for VGG and WideResNet, 1e-4 else")
      .range(0, 1);
  options.add_choice(
      "fit.loss", fit.loss, attacks::kFitLosses, "direction of the KL divergence between victim and copy");
  options.add("fit.lambda", fit.lambda, "weight of the strategy loss; 0: none").range(0, 1e6);
  options.add("fit.phi1", fit.strategy.phi1, "confidence wanted at the exit that the victim took")
      .range(0, 1);
  options.add("fit.phi2", fit.strategy.phi2, "confidence not wanted at exits before it").range(0, 1);
  options.add_choice("fit.hinge_mean",
                     fit.strategy.mean,
                     attacks::kHingeMeans,
                     "mean of the strategy loss over the batch, or within each exit");
  options.add_as<bool>("fit.no_last_exit_term",
                       fit.strategy.last_exit_term,
                       std::logical_not<>(),
                       std::logical_not<>(),
                       "the last exit needs no confidence");
}

void declare(Options& options, attacks::SearchPlan& search) {
  options.add_choice("search.objective",
                     search.options.objective,
                     attacks::kSearchObjectives,
                     "samples that leave where the victim left, or each exit by itself");
  options.add_choice("search.others",
                     search.options.others,
                     attacks::kSeparableOthers,
                     "separable: who should stay at an exit, those that leave later or all others");
  constexpr double kNone = std::numeric_limits<double>::infinity();
  options
      .add_as<double>(
          "search.time_limit",
          search.options.time_limit_s,
          [](double s) { return s == kNone ? 0 : s; },
          [](double s) { return s == 0 ? kNone : s; },
          "seconds for the proof of optimality; 0: as long as it takes")
      .range(0, 1e9);
  options
      .add("search.first",
           search.first,
           "only the first so many samples count: name those first that resemble what the copy will meet; "
           "0: all")
      .range(0, 1e9)
      .alias("search.search_first", "--search-first");
}

void declare_answers(Options& options, const std::string& group, std::string& form) {
  options.add(
      group + ".answers",
      form,
      "what the victim shows: full probabilities, top-K, rounded-DIGITS, or label; what is not told is spread "
      "evenly");
}

void set_session(const Session& session, attacks::QueryOptions& query) { query.seed = session.seed(); }
void set_session(const Session& session, attacks::EstimatePlan& estimate) {
  estimate.options.threads = static_cast<unsigned>(session.threads());
}
void set_session(const Session& session, attacks::CopyPlan& copy) { copy.fit.seed = session.seed(); }
void set_session(const Session& session, attacks::SearchPlan& search) {
  search.options.threads = static_cast<unsigned>(session.threads());
}

}  // namespace offramp::tools
