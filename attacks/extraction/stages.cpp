#include "attacks/extraction/stages.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "attacks/extraction/algorithms.h"
#include "base/errors.h"
#include "nets/data/transform.h"
#include "nets/families/build.h"
#include "nets/families/families.h"
#include "nets/graph/metadata_text.h"
#include "nets/graph/state_dict.h"
#include "nets/training/train_options.h"

namespace offramp::attacks {
namespace {

std::string fixed(double value, int decimals) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, "%.*f", decimals, value);
  return buffer;
}

// Counts done of a pass over `total` images, and asks whether to stop.
ImagesDone counting(Listener& listener, const char* name, std::int64_t total) {
  listener.progress(name, total, 0, "img", {});
  return [&listener, name, total, done = std::int64_t{0}](int more) mutable {
    listener.progress(name, total, done += more, "img", {});
    stop_if_requested(listener);
  };
}

std::string history_text(const std::vector<FitEpoch>& history) {
  nlohmann::json rows = nlohmann::json::array();
  for (const auto& e : history)
    rows.push_back({e.epoch, e.learning_rate, e.loss, e.strategy_loss, e.exit_loss, e.exit_agreement});
  return rows.dump();
}

std::vector<FitEpoch> history_from(const std::string& text) {
  std::vector<FitEpoch> history;
  for (const auto& row : nlohmann::json::parse(text))
    history.push_back({row.at(0), row.at(1), row.at(2), row.at(3), row.at(4), row.at(5)});
  return history;
}

void note_epoch(Listener& listener, const std::string& name, const FitEpoch& e) {
  std::string agreement;
  for (const double share : e.exit_agreement) agreement += fixed(100 * share, 2) + ' ';
  char head[64];
  std::snprintf(head, sizeof head, "epoch %3d  rate %g", e.epoch, e.learning_rate);
  listener.note("fit " + name + ": " + head + "  loss " + fixed(e.loss, 4) + "  agreement " + agreement + "%",
                {{"stage", "fit"},
                 {"net", name},
                 {"epoch", e.epoch},
                 {"learning_rate", e.learning_rate},
                 {"loss", e.loss},
                 {"strategy_loss", e.strategy_loss},
                 {"exit_loss", e.exit_loss},
                 {"exit_agreement", e.exit_agreement}});
}

// Deep nets whose every exit counts from the first step on may end up with one answer for all images. Where
// nearly all images have the same answer, that is no sign of it.
bool has_learnt_nothing(const FitEpoch& e, double constant_agreement) {
  return constant_agreement < 0.9 &&
         std::all_of(e.exit_agreement.begin(), e.exit_agreement.end(), [&](double share) {
           return share <= constant_agreement + 0.01;
         });
}

}  // namespace

Trace query_stage(BlackBox& victim,
                  const data::ImageSet& images,
                  const QueryOptions& options,
                  const std::filesystem::path& folder,
                  Listener& listener) {
  std::string because;
  Trace trace = query_victim(victim, image_source(images), folder, options, [&](const QueryProgress& p) {
    // After the pilot, and when more repetitions turn out to be needed.
    if (p.choice && p.choice->because != because) listener.note(because = p.choice->because, {});
    listener.progress(p.choice ? "query" : "pilot", p.total, p.done, "queries", {});
    stop_if_requested(listener);  // what is on disk is enough to go on
  });
  listener.note("trace: " + std::to_string(trace.samples) + " images, " + std::to_string(trace.repetitions) +
                    " repetitions",
                {{"stage", "query"}, {"images", trace.samples}, {"repetitions", trace.repetitions}});
  return trace;
}

Estimated estimate_stage(const RecordedTimes& times,
                         const EstimatePlan& plan,
                         const Device& device,
                         Listener& listener) {
  stats::EstimationOptions options = plan.options;
  options.order = {};
  if (!plan.raw_times) options.order = times.order;
  compute_on(device, options);
  Estimated result;
  result.estimate = stats::estimate_exits(times.ns, times.repetitions, options);
  result.json = estimate_json(result.estimate, options, times.repetitions);
  const stats::ExitEstimate& e = result.estimate;
  std::string counts;
  for (const std::size_t count : e.counts) counts += (counts.empty() ? "" : ", ") + std::to_string(count);
  listener.note("estimate: " + std::to_string(e.num_exits) + " exits with " + counts + " images; " + e.advice,
                {{"stage", "estimate"}, {"exits", e.num_exits}, {"counts", e.counts}});
  return result;
}

nets::NetOptions CopyPlan::complete(const data::ImageSet& images, int classes, int num_exits) const {
  nets::NetOptions o = exact_net ? net : substitute_options(net, num_exits);
  o.classes = classes;
  o.channels = images.c;
  o.side = images.h;
  const auto normalisation = data::compute_normalisation(images);  // of the attacker's own images
  o.mean = normalisation.mean;
  o.std = normalisation.std;
  for (float& s : o.std) s = std::max(s, 1e-3f);  // an image set without contrast
  return o;
}

void CopyPlan::check(const data::ImageSet& images, int exits) const {
  if (nets::known_family(net.name).takes != nets::Takes::kPixels)
    throw ValueError("copy: " + net.name + " takes rows of features, the images want one of " +
                     nets::forms_that_take(nets::Takes::kPixels));
  constexpr int kAnyClasses = 10;
  static_cast<void>(nets::build(complete(images, kAnyClasses, exits)));
  if (!pretrained.empty()) static_cast<void>(nets::load_net(pretrained, Device::cpu()));
}

FitOptions CopyPlan::options(FitMethod method) const {
  FitOptions o = fit;
  o.method = method;
  o.weight_decay =
      weight_decay ? *weight_decay : nets::reference_options(net.name, nets::TrainKind::kJoint).weight_decay;
  return o;
}

FittedNet fit_stage(const std::string& name,
                    const nets::NetOptions& net_options,
                    const FitOptions& options,
                    const std::filesystem::path& start,
                    const data::ImageSet& images,
                    const FitTargets& targets,
                    const Device& device,
                    const std::filesystem::path& folder,
                    Listener& listener) {
  FittedNet fitted;
  fitted.net = std::make_unique<nets::Network>(net_options, device);
  nets::initialize(*fitted.net, options.seed);
  if (!start.empty()) start_from(*fitted.net, start);
  Fit fit(*fitted.net, options, images, targets);
  nets::Trainer& trainer = fit.trainer();
  std::filesystem::create_directories(folder / "checkpoints");
  const auto checkpoint = folder / "checkpoints" / (name + ".safetensors");
  if (std::filesystem::exists(checkpoint)) {
    trainer.load(checkpoint);
    fitted.history = history_from(safetensors::Reader(checkpoint).metadata().at("fit.history"));
  }
  const auto save = [&] { trainer.save(checkpoint, {{"fit.history", history_text(fitted.history)}}); };
  const std::int64_t per_epoch = images.n, total = per_epoch * options.epochs,
                     steps = trainer.steps_total() / options.epochs;
  const auto report = [&] {
    const std::int64_t done = trainer.steps_done();
    Listener::Fields fields = Listener::Fields::object();
    if (!fitted.history.empty()) fields["loss"] = fitted.history.back().loss;
    listener.progress("fit " + name,
                      total,
                      per_epoch * (done / steps) + std::min(per_epoch, (done % steps) * options.batch_size),
                      "img",
                      fields);
  };
  report();
  while (!trainer.done()) {
    if (const auto end = trainer.step().epoch_end) {
      const FitEpoch& epoch = fitted.history.emplace_back(fit_epoch(*end));
      save();
      note_epoch(listener, name, epoch);
      if (epoch.epoch == 2 && has_learnt_nothing(epoch, fit.constant_agreement()))
        listener.warn(
            "fit " + name +
            ": after 2 epochs no exit agrees with the victim more often than the constant answer does (" +
            fixed(100 * fit.constant_agreement(), 2) +
            " %): the training has probably collapsed; stop (Ctrl-C) and try a lower rate than " +
            nets::text::number(options.learning_rate));
    }
    report();
    if (listener.stop_requested()) {
      save();
      stop_if_requested(listener);
    }
  }
  return fitted;
}

Confidences confidence_stage(const nets::Network& net,
                             const data::ImageSet& images,
                             std::span<const std::int32_t> exits,
                             std::span<const std::int32_t> victim_labels,
                             Listener& listener) {
  const nets::ExitOutputs table = exit_table(net, images, counting(listener, "confidences", images.n));
  return confidences_of(table, exits, victim_labels);
}

Searched search_stage(Confidences confidences,
                      const SearchPlan& plan,
                      const Device& device,
                      Listener& listener) {
  confidences.keep_first(static_cast<std::size_t>(plan.first));
  stats::SearchOptions options = plan.options;
  compute_on(device, options);
  Searched result;
  result.strategy = search_strategy(confidences, options);
  result.json = strategy_json(result.strategy, confidences, options);
  // The separable search maximises a sum over exits that may count an image twice: what is told is J of its thresholds.
  const bool joint = options.objective == stats::SearchObjective::kJoint;
  const bool weighted = std::any_of(
      confidences.weights.begin(), confidences.weights.end(), [](double w) { return w != 0 && w != 1; });
  listener.note("search: " +
                    (weighted ? "a weight of " + fixed(result.strategy.joint, 1) + " of the "
                              : fixed(result.strategy.joint, 0) + " of ") +
                    std::to_string(confidences.exits.size()) +
                    (weighted ? " images leaves" : " images leave") + " where the victim let them" +
                    (joint && result.strategy.search.optimal ? ", no thresholds do better" : ""),
                result.json);
  return result;
}

std::vector<ContestantScore> score_stage(const std::vector<Contestant>& contestants,
                                         const data::ImageSet& test,
                                         const data::ImageSet* queries,
                                         ScoreOptions options,
                                         Listener& listener) {
  options.report = counting(listener, "score", images_to_score(contestants.size(), test, queries, options));
  return scoreboard(contestants, test, queries, options);
}

}  // namespace offramp::attacks
