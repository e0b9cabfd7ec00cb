// offramp tune: the owner's thresholds, from held-out data, written into a checkpoint (specs: training 4).
#include "tools/frame/table.h"
#include "tools/verbs/net/net_data.h"
#include "tools/verbs/verbs.h"

#include "nets/data/split.h"
#include "stats/search/threshold_choice.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

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
        .example = "offramp tune out/small --data fashion-mnist --held-out 5000 --drop 0.5",
        .details =
            "Exactly one of --drop and --budget. The thresholds go into the checkpoint, whose values stay as "
            "they are.\n--held-out N takes the N samples that train --held-out N with the same seed set "
            "aside; without it the test\nset is used, which makes the result look better than it is.",
        .run_folder = false};
  }

  void declare(Options& o) override {
    o.add("tune.checkpoint", checkpoint_, "checkpoint, or run folder of train").positional().required();
    o.add("tune.data", data_, "data set").flag("--data").required();
    o.add("tune.held_out", held_out_, "held-out samples of the training set, as in train").range(0, 1e7);
    o.add("tune.drop", drop_, "accuracy may fall this many points below the last exit's").range(0, 100);
    o.add("tune.budget", budget_, "mean cost at most this fraction of the plain net's MACs").range(0, 10);
    o.add("tune.thresholds", kind_, "one for all exits, or one per exit").choices({"one", "per-exit"});
    o.add("tune.rule", rule_, "a sample leaves at confidence .. threshold").choices({">=", ">"});
    o.add("tune.fallback", fallback_, "who answers when nobody was sure").choices({"last", "most-confident"});
  }

  int run(Session& session) override {
    if (drop_.has_value() == budget_.has_value())
      throw UsageError("tune: expected exactly one of --drop and --budget");
    const Device device = Device::by_name(session.device());
    const std::filesystem::path path = checkpoint_in(checkpoint_);
    const nets::LoadedNet loaded = nets::load_net(path, device);
    const nets::Network& net = *loaded.net;
    if (net.num_exits() < 2) throw UsageError("tune: the net has one exit, there is nothing to choose");
    NetData set(session, data_, held_out_ > 0 ? "train" : "test");
    set.fit_to(net, loaded.metadata, data_);
    if (held_out_ >= set.samples() && held_out_ > 0) {
      throw UsageError(
          fmt::format("--held-out: the training set has {} samples, got {}", set.samples(), held_out_));
    }
    std::vector<std::int32_t> rows;
    if (held_out_ > 0) rows = data::split_held_out(set.samples(), held_out_, session.seed()).held_out;
    auto source = set.evaluation(device, 250, rows);
    const nets::ExitOutputs outputs = outputs_with_progress(session, "tune", net, *source);
    const std::optional<stats::OperatingPoint> point = choose(net, outputs);
    if (!point) {
      session.log.error(drop_ ? "tune: no thresholds keep that accuracy"
                              : "tune: no thresholds stay within that budget");
      return kFailed;
    }
    nets::ExitPolicy policy{point->thresholds, nets::exit_rule_from(rule_), nets::fallback_from(fallback_)};
    write(path, policy);
    report(session, net, outputs, policy, path);
    return kDone;
  }

 private:
  std::optional<stats::OperatingPoint> choose(const nets::Network& net,
                                              const nets::ExitOutputs& outputs) const {
    const auto n = static_cast<std::size_t>(outputs.n), exits = static_cast<std::size_t>(outputs.num_exits);
    std::vector<double> confidences(n * exits), costs;
    std::vector<int> correct(n * exits);
    for (std::size_t e = 0; e < exits; ++e) {
      for (std::size_t i = 0; i < n; ++i) {
        confidences[i * exits + e] = static_cast<double>(outputs.confidence[e * n + i]);
        correct[i * exits + e] = outputs.right(static_cast<int>(e), static_cast<int>(i)) ? 1 : 0;
      }
      costs.push_back(static_cast<double>(net.costs().exits[e].macs) /
                      static_cast<double>(net.costs().plain.macs));
    }
    stats::ExitOutcomes outcomes{.confidences = confidences, .correct = correct, .costs = costs};
    outcomes.rule = rule_ == ">" ? stats::ExitRule::kGreater : stats::ExitRule::kGreaterEqual;
    outcomes.fallback =
        fallback_ == "last" ? stats::ExitFallback::kLast : stats::ExitFallback::kMostConfident;
    stats::ChoiceGoal goal;
    if (drop_) goal.min_accuracy = nets::accuracy(outputs).back() - *drop_ / 100;
    if (budget_) goal.max_mean_cost = *budget_;
    return kind_ == "one" ? stats::choose_one_threshold(outcomes, goal)
                          : stats::choose_thresholds(outcomes, goal);
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
              const std::filesystem::path& path) const {
    const nets::PolicyResult result = nets::apply(policy, outputs, net.costs());
    const double last = nets::accuracy(outputs).back();
    const std::string text = fmt::format(
        "thresholds {} {:.17g}, fallback {}\naccuracy {:.2f} % (last exit {:.2f} %), cost {:.3f} of the "
        "plain net's MACs, {:.3f} of its profiler ops\nsamples per exit {} of {}\nwritten into {}\n",
        to_text(policy.rule),
        fmt::join(policy.thresholds, ", "),
        to_text(policy.fallback),
        100 * result.accuracy,
        100 * last,
        result.relative_macs,
        result.relative_ops_profiler,
        fmt::join(result.histogram, ", "),
        outputs.n,
        path.string());
    session.answer(text,
                   {{"checkpoint", path.string()},
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
  int held_out_ = 0;
  std::optional<double> drop_, budget_;
};

}  // namespace

std::unique_ptr<Verb> make_tune_verb() { return std::make_unique<TuneVerb>(); }

}  // namespace offramp::tools
