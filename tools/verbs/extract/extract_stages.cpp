#include "tools/verbs/extract/extract_stages.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "attacks/extraction/images.h"
#include "attacks/extraction/victim.h"
#include "base/atomic_file.h"
#include "tools/frame/interrupt.h"
#include "tools/verbs/extract/extract_files.h"

namespace offramp::tools {
namespace {

std::string history_text(const std::vector<attacks::FitEpoch>& history) {
  nlohmann::json rows = nlohmann::json::array();
  for (const auto& e : history)
    rows.push_back({e.epoch, e.learning_rate, e.loss, e.strategy_loss, e.exit_loss, e.exit_agreement});
  return rows.dump();
}

std::vector<attacks::FitEpoch> history_from(const std::string& text) {
  std::vector<attacks::FitEpoch> history;
  for (const auto& row : nlohmann::json::parse(text))
    history.push_back({row.at(0), row.at(1), row.at(2), row.at(3), row.at(4), row.at(5)});
  return history;
}

void log_epoch(Log& log, const std::string& name, const attacks::FitEpoch& e) {
  std::vector<std::string> agreement;
  for (const double share : e.exit_agreement) agreement.push_back(fmt::format("{:.2f}", 100 * share));
  log.info(fmt::format("fit {}: epoch {:>3}  rate {:g}  loss {:.4f}  agreement {} %",
                       name,
                       e.epoch,
                       e.learning_rate,
                       e.loss,
                       fmt::join(agreement, " ")),
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
bool has_learnt_nothing(const attacks::FitEpoch& e, double constant_agreement) {
  return constant_agreement < 0.9 &&
         std::all_of(e.exit_agreement.begin(), e.exit_agreement.end(), [&](double share) {
           return share <= constant_agreement + 0.01;
         });
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

std::vector<std::int32_t> as_int32(const std::vector<std::size_t>& values) {
  return {values.begin(), values.end()};
}

attacks::Trace query_stage(Session& session,
                           const std::filesystem::path& victim,
                           const data::ImageSet& images,
                           const attacks::QueryOptions& options,
                           const std::filesystem::path& folder) {
  const auto loaded = nets::load_net(victim, Device::make_cpu({.threads = 1}));
  attacks::InProcessBlackBox box(attacks::early_exit_victim(*loaded.net, loaded.policy),
                                 loaded.net->classes());
  std::unique_ptr<Progress> progress;
  std::int64_t total = 0;
  bool pilot = false;
  attacks::Trace trace = attacks::query_victim(
      box, attacks::image_source(images), folder, options, [&](const attacks::QueryProgress& p) {
        // At first, after the pilot, and when more repetitions turn out to be needed.
        if (!progress || p.total != total || pilot != !p.choice) {
          total = p.total;
          pilot = !p.choice;
          progress.reset();
          if (p.choice) session.log.info(p.choice->because);
          progress = std::make_unique<Progress>(session.log,
                                                pilot ? "pilot" : "query",
                                                static_cast<std::uint64_t>(p.total),
                                                "queries",
                                                static_cast<std::uint64_t>(p.done));
        }
        progress->update(static_cast<std::uint64_t>(p.done));
        throw_if_interrupted();  // what is on disk is enough to go on
      });
  progress.reset();
  session.log.info(fmt::format("trace: {} images, {} repetitions", trace.samples, trace.repetitions),
                   {{"stage", "query"}, {"images", trace.samples}, {"repetitions", trace.repetitions}});
  return trace;
}

stats::ExitEstimate estimate_stage(Session& session,
                                   const attacks::Trace& trace,
                                   const stats::EstimationOptions& options,
                                   const std::filesystem::path& folder) {
  const auto times = trace.times_as_double();
  stats::EstimationOptions with_order = options;
  with_order.order = trace.order;
  const auto estimate = stats::estimate_exits(times, static_cast<std::size_t>(trace.repetitions), with_order);
  write_estimate(folder / "estimate.json", estimate);
  write_assignment(folder / "assignment.csv", estimate);
  session.log.info(fmt::format("estimate: {} exits with {} images; {}",
                               estimate.num_exits,
                               fmt::join(estimate.counts, ", "),
                               estimate.advice),
                   {{"stage", "estimate"}, {"exits", estimate.num_exits}, {"counts", estimate.counts}});
  return estimate;
}

FittedNet fit_stage(Session& session,
                    const std::string& name,
                    const nets::NetOptions& net_options,
                    const attacks::FitOptions& options,
                    const std::filesystem::path& pretrained,
                    const data::ImageSet& images,
                    const attacks::FitTargets& targets,
                    const std::filesystem::path& folder) {
  FittedNet fitted;
  fitted.net = std::make_unique<nets::Network>(net_options, Device::by_name(session.device()));
  nets::initialize(*fitted.net, options.seed);
  if (!pretrained.empty()) attacks::start_from(*fitted.net, pretrained);
  attacks::Fit fit(*fitted.net, options, images, targets);
  nets::Trainer& trainer = fit.trainer();
  std::filesystem::create_directories(folder / "checkpoints");
  const auto checkpoint = folder / "checkpoints" / (name + ".safetensors");
  if (std::filesystem::exists(checkpoint)) {
    trainer.load(checkpoint);
    fitted.history = history_from(safetensors::Reader(checkpoint).metadata().at("fit.history"));
  }
  const auto save = [&] { trainer.save(checkpoint, {{"fit.history", history_text(fitted.history)}}); };
  const auto start = std::chrono::steady_clock::now();
  const auto per_epoch = static_cast<std::uint64_t>(images.n);
  const auto epochs = static_cast<std::uint64_t>(options.epochs);
  const std::uint64_t steps = static_cast<std::uint64_t>(trainer.steps_total()) / epochs;
  const auto images_done = [&] {
    const auto done = static_cast<std::uint64_t>(trainer.steps_done());
    return per_epoch * (done / steps) +
           std::min(per_epoch, (done % steps) * static_cast<std::uint64_t>(options.batch_size));
  };
  Progress progress(session.log, "fit " + name, per_epoch * epochs, "img", images_done());
  while (!trainer.done()) {
    if (const auto end = trainer.step().epoch_end) {
      const attacks::FitEpoch& epoch = fitted.history.emplace_back(attacks::fit_epoch(*end));
      save();
      log_epoch(session.log, name, epoch);
      if (epoch.epoch == 2 && has_learnt_nothing(epoch, fit.constant_agreement()))
        session.log.warn(fmt::format(
            "fit {}: after 2 epochs no exit agrees with the victim more often than the constant answer "
            "does ({:.2f} %): the training has probably collapsed; stop (Ctrl-C) and try a lower rate than "
            "{:g}",
            name,
            100 * fit.constant_agreement(),
            options.learning_rate));
    }
    progress.update(images_done(),
                    fitted.history.empty() ? nlohmann::ordered_json::object()
                                           : nlohmann::ordered_json{{"loss", fitted.history.back().loss}});
    if (interrupted()) {
      save();
      throw_if_interrupted();
    }
  }
  fitted.seconds = seconds_since(start);
  return fitted;
}

attacks::StrategyResult search_stage(Session& session,
                                     const nets::Network& net,
                                     const data::ImageSet& images,
                                     const attacks::Trace& trace,
                                     std::span<const std::int32_t> exits,
                                     const SearchSettings& settings,
                                     const std::filesystem::path& folder) {
  attacks::ExitTable table;
  {
    std::uint64_t done = 0;
    Progress progress(session.log, "confidences", static_cast<std::uint64_t>(images.n), "img");
    table = attacks::exit_table(net, images, [&](int more) {
      progress.update(done += static_cast<std::uint64_t>(more));
      throw_if_interrupted();
    });
  }
  std::vector<std::int32_t> labels;
  if (settings.class_counts)
    labels =
        attacks::labels_of(Tensor::from<float>({trace.samples, trace.classes}, trace.outputs, Device::cpu()));
  const auto searched =
      settings.first_images > 0 ? static_cast<std::size_t>(settings.first_images) : exits.size();
  if (searched > exits.size())
    throw UsageError(fmt::format(
        "search: thresholds are wanted from the first {} images, there are {}", searched, exits.size()));
  attacks::ExitTable part = table;
  part.confidence.resize(searched * static_cast<std::size_t>(table.num_exits));
  part.predicted.resize(part.confidence.size());
  if (!labels.empty()) labels.resize(searched);
  const auto result = attacks::search_strategy(part, exits.subspan(0, searched), labels, settings.search);
  write_confidences(folder / "confidences.csv", table.confidence, {exits.begin(), exits.end()}, {});
  const nlohmann::ordered_json json = {
      {"thresholds", result.policy.thresholds},
      {"objective", settings.search.objective == stats::SearchObjective::kJoint ? "joint" : "separable"},
      {"class_counts", settings.class_counts},
      {"samples", searched},
      {"value", result.search.value},
      {"upper_bound", result.search.upper_bound},
      {"optimal", result.search.optimal},
      {"seconds", result.search.seconds}};
  write_file_atomically(folder / "strategy.json", json.dump(2) + "\n");
  session.log.info(fmt::format("search: {:.0f} of {} images leave where the victim let them{}",
                               result.search.value,
                               searched,
                               result.search.optimal ? ", no thresholds do better" : ""),
                   json);
  return result;
}

std::vector<attacks::ContestantScore> score_stage(Session& session,
                                                  const std::vector<attacks::Contestant>& contestants,
                                                  const data::ImageSet& test,
                                                  const data::ImageSet* queries,
                                                  attacks::ScoreOptions options) {
  const auto total = attacks::images_to_score(contestants.size(), test, queries, options);
  std::uint64_t done = 0;
  Progress progress(session.log, "score", static_cast<std::uint64_t>(total), "img");
  options.report = [&](int images) {
    progress.update(done += static_cast<std::uint64_t>(images));
    throw_if_interrupted();
  };
  return attacks::scoreboard(contestants, test, queries, options);
}

ExtractionOutcome run_extraction(Session& session, const ExtractionPlan& plan) {
  RunFolder& run = session.folder();
  const auto& folder = run.path();
  ExtractionOutcome out;
  out.trace = query_stage(session, plan.victim, plan.queries, plan.query, folder / "trace");
  out.estimate = estimate_stage(session, out.trace, plan.estimation, folder);
  const std::vector<std::int32_t> exits = as_int32(out.estimate.exits);
  const int num_exits = static_cast<int>(out.estimate.num_exits);
  const auto substitute = attacks::substitute_options(plan.substitute, num_exits);
  const attacks::FitTargets targets{out.trace.outputs, exits};

  const Device device = Device::by_name(session.device());
  auto victim = nets::load_net(plan.victim, device);
  out.contestants.push_back({"victim", victim.net.get(), victim.policy});
  out.nets.push_back(std::move(victim.net));

  if (plan.with_knockoff) {
    auto fitted = fit_stage(
        session, "knockoff", substitute, plan.knockoff, plan.pretrained, plan.queries, targets, folder);
    const auto policy = attacks::policy_for(out.contestants[0].policy, num_exits);
    nets::save_checkpoint(folder / "knockoff.safetensors", *fitted.net, policy);
    out.contestants.push_back({"knockoff", fitted.net.get(), policy});
    out.nets.push_back(std::move(fitted.net));
    out.fit_names.push_back("knockoff");
    out.histories.push_back(std::move(fitted.history));
  }
  const auto start = plan.from_knockoff ? folder / "knockoff.safetensors" : plan.pretrained;
  auto fitted = fit_stage(session, "substitute", substitute, plan.fit, start, plan.queries, targets, folder);
  out.strategy = search_stage(session, *fitted.net, plan.queries, out.trace, exits, plan.search, folder);
  nets::save_checkpoint(folder / "substitute.safetensors", *fitted.net, out.strategy.policy);
  out.contestants.push_back({"ours", fitted.net.get(), out.strategy.policy});
  out.nets.push_back(std::move(fitted.net));
  out.fit_names.push_back("ours");
  out.histories.push_back(std::move(fitted.history));

  out.scores = score_stage(session, out.contestants, plan.test, &plan.queries, plan.score);
  out.true_exits = out.scores[0].on_queries.exit;
  out.exits = attacks::score_exits(out.true_exits, out.scores[0].num_exits, exits, num_exits);
  return out;
}

}  // namespace offramp::tools
