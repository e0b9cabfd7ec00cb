// offramp tune: the owner's thresholds, from held-out data, written into a checkpoint (specs: training 4).
#include "tools/frame/run_lock.h"
#include "tools/frame/table.h"
#include "tools/verbs/dataset/dataset_spec.h"
#include "tools/verbs/inputs.h"
#include "tools/verbs/net/net_data.h"
#include "tools/verbs/verbs.h"

#include "base/embedded_weights.h"
#include "base/mapped_file.h"
#include "nets/exits/choose_policy.h"
#include "stats/search/threshold_choice.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace offramp::tools {
namespace {

using nlohmann::ordered_json;

class TuneVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {
        .name = "tune",
        .group = "Train and use nets",
        .summary = "choose exit thresholds by accuracy drop or budget",
        .example = "offramp tune out/small --drop 0.5",
        .details =
            "Exactly one of --drop, --budget and --threshold. The thresholds go into the checkpoint, whose values stay as "
            "they are.\nThey are chosen on the samples that train --held-out N set aside, which the checkpoint "
            "knows. Where there are none\nthe test set is used, and its accuracy then looks better than it "
            "is.\n" +
            dataset_forms(),
        .run_folder = false};
  }

  void declare(Options& o) override {
    o.add("tune.checkpoint", checkpoint_, "checkpoint, or run folder of train").positional().required();
    o.add("tune.data", data_, "data set; default: the checkpoint's").flag("--data");
    o.add("tune.held_out",
          held_out_,
          "held-out samples of the training set, as in train; 0: the test set; default: the checkpoint's")
        .range(0, 1e7);
    o.add("tune.drop", drop_, "accuracy may fall this many points below the last exit's").range(0, 100);
    o.add("tune.budget", budget_, "mean cost at most this fraction of the plain net's MACs").range(0, 10);
    o.add("tune.threshold", threshold_, "this one, for all exits").range(0, 1);
    o.add(
         "tune.thresholds",
         kind_,
         "one for all exits, one per exit, or by MSDNet's rule for a batch of given cost: shares p, p^2, .. leave")
        .choices({"one", "per-exit", "msdnet"});
    o.add("tune.rule", rule_, "a sample leaves at confidence .. threshold").choices({">=", ">"});
    o.add("tune.fallback", fallback_, "who answers when nobody was sure").choices({"last", "most-confident"});
  }

  int run(Session& session) override {
    if (drop_.has_value() + budget_.has_value() + threshold_.has_value() != 1)
      throw UsageError("tune: expected exactly one of --drop, --budget and --threshold");
    if (threshold_ && kind_ != "one")
      throw UsageError("tune: --threshold sets one for all exits; --thresholds " + kind_ +
                       " goes with --drop or --budget");
    if (kind_ == "msdnet" && rule_ != ">=")
      throw UsageError("tune: --thresholds msdnet has the rule >=; --rule goes with the others");
    const Device device = Device::by_name(session.device());
    const std::filesystem::path path = checkpoint_of(checkpoint_);
    if (embedded::is_program(MappedFile(path).bytes()))
      throw UsageError(
          "tune: " + path.string() +
          " is a program with weights, and tune writes into a checkpoint; tune the checkpoint and embed it "
          "again");
    // Till the thresholds are written: a run that goes on would write over them, or they over its file.
    RunLock lock;
    lock_run_of(path, lock);
    const nets::LoadedNet loaded = nets::load_net(path, device);
    const nets::Network& net = *loaded.net;
    if (net.num_exits() < 2) throw UsageError("tune: the net has one exit, there is nothing to choose");
    const TrainedOn trained = trained_on(loaded.metadata);
    const Samples samples = samples_for(session, trained, net.input(), wanted(trained));
    NetData set(session, trained, samples);
    set.fit_to(net, trained.class_names, samples.set);
    auto source = set.evaluation(device, 250, samples.rows(set.samples()));
    const nets::ExitOutputs outputs = outputs_with_progress(session, "tune", net, *source);
    std::optional<nets::ExitPolicy> policy;
    if (threshold_) {
      policy = nets::ExitPolicy::uniform(net.num_exits(), *threshold_);
      policy->rule = nets::exit_rule_from(rule_);
      policy->fallback = nets::fallback_from(fallback_);
    } else if (const auto choice = choose(net, outputs)) {
      policy = choice->policy;
    } else {
      session.log.error(drop_ ? "tune: no thresholds keep that accuracy" : out_of_budget(net));
      return kFailed;
    }
    write(path, *policy);
    report(session, net, outputs, *policy, path, samples);
    return kDone;
  }

 private:
  // Throws UsageError where a process is writing the run that the checkpoint is of. Other folders have no lock.
  static void lock_run_of(const std::filesystem::path& checkpoint, RunLock& lock) {
    std::filesystem::path folder = std::filesystem::canonical(checkpoint).parent_path();
    if (folder.filename() == "checkpoints") folder = folder.parent_path();
    if (std::filesystem::exists(folder / RunLock::kName)) lock.take(folder);
  }

  SamplesWanted wanted(const TrainedOn& trained) const {
    if (held_out_) return {.set = data_, .split = "auto", .held_out = held_out_};
    return {.set = data_, .split = trained.held_out > 0 ? "held-out" : "auto"};
  }

  // Costs are MACs over those of the plain net.
  std::optional<nets::PolicyChoice> choose(const nets::Network& net, const nets::ExitOutputs& outputs) const {
    std::vector<double> costs;
    for (const nets::Cost& cost : net.costs().exits) {
      costs.push_back(static_cast<double>(cost.macs) / static_cast<double>(net.costs().plain.macs));
    }
    if (kind_ == "msdnet") return choose_for_a_batch(net, outputs);
    nets::PolicyGoal goal{.max_mean_cost = budget_,
                          .thresholds = kind_ == "one" ? nets::Thresholds::kOne : nets::Thresholds::kPerExit,
                          .rule = nets::exit_rule_from(rule_),
                          .fallback = nets::fallback_from(fallback_)};
    if (drop_) goal.max_drop = *drop_ / 100;
    return nets::choose_policy(outputs, costs, goal);
  }

  // Of p = 1/20 .. 39/20 the most accurate within the budget, or the cheapest that loses no more than the drop.
  std::optional<nets::PolicyChoice> choose_for_a_batch(const nets::Network& net,
                                                       const nets::ExitOutputs& outputs) const {
    std::optional<nets::PolicyChoice> best;
    const double last = nets::accuracy(outputs).back();
    for (const double p : stats::msdnet_budgets()) {
      nets::PolicyChoice at;
      at.policy.thresholds =
          stats::msdnet_thresholds(outputs.confidence, static_cast<std::size_t>(net.num_exits()), p);
      at.policy.fallback = nets::fallback_from(fallback_);
      const nets::PolicyResult result = nets::apply(at.policy, outputs, net.costs());
      at.accuracy = result.accuracy;
      at.mean_cost = result.relative_macs;
      if (budget_ ? at.mean_cost > *budget_ : at.accuracy < last - *drop_ / 100 - 1e-9) continue;
      const bool better = !best || (budget_ ? at.accuracy > best->accuracy : at.mean_cost < best->mean_cost);
      if (better) best = at;
    }
    return best;
  }

  // Whoever leaves at exit 1 has paid for it.
  std::string out_of_budget(const nets::Network& net) const {
    return fmt::format(
        "tune: no thresholds stay within that budget: where all leave at exit 1 the cost is {:.4g} of the plain net's",
        static_cast<double>(net.costs().exits.front().macs) / static_cast<double>(net.costs().plain.macs));
  }

  // The same file with another policy: tensors (moments too) and all other metadata stay.
  static void write(const std::filesystem::path& path, const nets::ExitPolicy& policy) {
    const safetensors::Reader file(path);
    std::vector<safetensors::Source> sources;
    for (const safetensors::Entry& entry : file.entries()) {
      sources.push_back({entry.name, entry.dtype, entry.shape, file.bytes(entry)});
    }
    auto metadata = file.metadata();
    for (const auto& [key, value] : nets::to_metadata(policy)) metadata.insert_or_assign(key, value);
    safetensors::write(path, sources, metadata);
  }

  void report(Session& session,
              const nets::Network& net,
              const nets::ExitOutputs& outputs,
              const nets::ExitPolicy& policy,
              const std::filesystem::path& path,
              const Samples& samples) const {
    const nets::PolicyResult result = nets::apply(policy, outputs, net.costs());
    const double last = nets::accuracy(outputs).back();
    std::string text = fmt::format(
        "thresholds {} {:.17g}, fallback {}\n{}: accuracy {:.2f} % (last exit {:.2f} %), cost {:.3f} of the "
        "plain net's MACs, {:.3f} of its profiler ops\nsamples per exit {} of {}\nwritten into {}\n",
        to_text(policy.rule),
        fmt::join(policy.thresholds, ", "),
        to_text(policy.fallback),
        samples.text(),
        100 * result.accuracy,
        100 * last,
        result.relative_macs,
        result.relative_ops_profiler,
        fmt::join(result.histogram, ", "),
        outputs.n,
        path.string());
    const auto left =
        static_cast<std::size_t>(std::ranges::max_element(result.histogram) - result.histogram.begin());
    if (result.histogram[left] == outputs.n)
      text += fmt::format(
          "all samples leave at exit {} of {}: the other exits are not in use (--threshold sets one by hand)\n",
          left + 1,
          net.num_exits());
    session.answer(text,
                   {{"checkpoint", path.string()},
                    {"chosen_on", samples.text()},
                    {"samples", outputs.n},
                    {"thresholds", policy.thresholds},
                    {"rule", to_text(policy.rule)},
                    {"fallback", to_text(policy.fallback)},
                    {"accuracy", result.accuracy},
                    {"last_exit_accuracy", last},
                    {"histogram", result.histogram},
                    {"relative_macs", result.relative_macs},
                    {"relative_ops_profiler", result.relative_ops_profiler}});
  }

  std::filesystem::path checkpoint_;
  std::string data_, kind_ = "one", rule_ = ">=", fallback_ = "last";
  std::optional<int> held_out_;
  std::optional<double> drop_, budget_, threshold_;
};

}  // namespace

std::unique_ptr<Verb> make_tune_verb() { return std::make_unique<TuneVerb>(); }

}  // namespace offramp::tools
