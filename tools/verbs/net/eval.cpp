// offramp eval: what a checkpoint is worth on a data set: every exit, the policy, both costs, time per image.
#include "tools/frame/interrupt.h"
#include "tools/frame/table.h"
#include "tools/verbs/dataset/dataset_spec.h"
#include "tools/verbs/inputs.h"
#include "tools/verbs/net/net_data.h"
#include "tools/verbs/net/net_latency.h"
#include "tools/verbs/verbs.h"

#include <fmt/format.h>

namespace offramp::tools {
namespace {

using nlohmann::ordered_json;

class EvalVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {
        .name = "eval",
        .group = "Train and use nets",
        .summary = "accuracy, cost and time of every exit and of the policy",
        .example = "offramp eval out/small --threshold 0.9",
        .details =
            "The policy is the checkpoint's (see tune), or one threshold for all exits with --threshold.\n"
            "Relative costs are multiply-accumulates over those of the plain net. The data are those of the "
            "checkpoint, or of --data.\n--split auto: the test part; of a set without one the samples that "
            "training held out.\n" +
            dataset_forms(),
        .run_folder = false};
  }

  void declare(Options& o) override {
    o.add("eval.checkpoint", checkpoint_, kCheckpointOrOwn).positional().alias("eval.weights", "--weights");
    o.add("eval.data", data_, "data set; default: the checkpoint's").flag("--data");
    o.add("eval.split", split_, "which part").choices({"auto", "train", "test", "held-out", "all"});
    o.add("eval.threshold", threshold_, "one threshold for all exits instead of the checkpoint's policy")
        .range(0, 1);
    o.add("eval.rule", rule_, "of --threshold").choices({">=", ">"});
    o.add("eval.fallback", fallback_, "of --threshold: who answers when nobody was sure")
        .choices({"last", "most-confident"});
    o.add("eval.precision", precision_, "checkpoint: as it was trained")
        .choices({"checkpoint", "f32", "bf16"});
    o.add("eval.latency_images", latency_images_, "images for the time per exit, batch 1; 0: not measured")
        .range(0, 1e6);
    o.add("eval.confusion", confusion_, "confusion, scaled on the training set (runs it too)");
  }

  int run(Session& session) override {
    if (!threshold_ && (session.given("eval.rule") || session.given("eval.fallback")))
      throw UsageError("eval: --rule and --fallback are those of --threshold, which is not given");
    const Device device = Device::by_name(session.device());
    const std::filesystem::path checkpoint = checkpoint_or_own("eval", checkpoint_);
    const nets::LoadedNet loaded =
        nets::load_net(checkpoint, device, precision_ == "checkpoint" ? "" : precision_);
    const nets::Network& net = *loaded.net;
    const nets::ExitPolicy policy = policy_of(loaded);
    const TrainedOn trained = trained_on(loaded.metadata);
    const Samples samples = samples_for(session, trained, net.input(), {.set = data_, .split = split_});
    NetData set(session, trained, samples);
    set.fit_to(net, trained.class_names, samples.set);
    if (!set.note().empty()) session.log.info(set.note());
    auto source = set.evaluation(device, 250, samples.rows(set.samples()));
    const nets::ExitOutputs outputs = outputs_with_progress(session, "eval", net, *source);
    std::vector<double> milliseconds;
    if (latency_images_ > 0) {
      source->start(1, 0);
      milliseconds = exit_milliseconds(net, source->next().inputs, latency_images_);
    }
    std::string text = fmt::format("{}: {} samples\n", samples.text(), with_thousands(outputs.n));
    ordered_json object{{"checkpoint", (checkpoint_.empty() ? checkpoint : checkpoint_).string()},
                        {"data", samples.set},
                        {"split", samples.held_out > 0 ? "held-out" : samples.split},
                        {"samples", outputs.n}};
    per_exit(net, outputs, milliseconds, text, object);
    if (net.num_exits() > 1) {
      with_policy(net, policy, outputs, text, object);
      overthinking(net, outputs, text, object);
      if (confusion_) confusion(session, device, net, samples, trained.class_names, outputs, text, object);
    }
    if (const std::string note = one_class_note(outputs, set.class_names()); !note.empty()) {
      text += note + "\n";
      object["one_class"] = note;
    }
    session.answer(text, object);
    return kDone;
  }

 private:
  nets::ExitPolicy policy_of(const nets::LoadedNet& loaded) const {
    if (!threshold_) return loaded.policy;
    nets::ExitPolicy policy = nets::ExitPolicy::uniform(loaded.net->num_exits(), *threshold_);
    policy.rule = nets::exit_rule_from(rule_);
    policy.fallback = nets::fallback_from(fallback_);
    return policy;
  }

  static void per_exit(const nets::Network& net,
                       const nets::ExitOutputs& outputs,
                       const std::vector<double>& milliseconds,
                       std::string& text,
                       ordered_json& object) {
    const std::vector<double> right = nets::accuracy(outputs), loss = nets::mean_loss(outputs);
    const nets::NetCosts& costs = net.costs();
    std::vector<std::string> header = {"exit", "accuracy %", "loss", "MACs", "profiler ops", "relative"};
    if (!milliseconds.empty()) header.push_back("ms/image");
    Table table(header);
    ordered_json exits = ordered_json::array();
    for (std::size_t e = 0; e < right.size(); ++e) {
      const double relative =
          static_cast<double>(costs.exits[e].macs) / static_cast<double>(costs.plain.macs);
      std::vector<std::string> row = {std::to_string(e + 1),
                                      fmt::format("{:.2f}", 100 * right[e]),
                                      fmt::format("{:.4f}", loss[e]),
                                      with_thousands(costs.exits[e].macs),
                                      with_thousands(costs.exits[e].ops_profiler),
                                      fmt::format("{:.3f}", relative)};
      ordered_json exit{{"exit", e + 1},
                        {"accuracy", right[e]},
                        {"loss", loss[e]},
                        {"macs", costs.exits[e].macs},
                        {"ops_profiler", costs.exits[e].ops_profiler},
                        {"relative_macs", relative}};
      if (!milliseconds.empty()) {
        row.push_back(fmt::format("{:.3f}", milliseconds[e]));
        exit["milliseconds"] = milliseconds[e];
      }
      table.row(row);
      exits.push_back(exit);
    }
    text += table.text();
    object["exits"] = exits;
  }

  static void with_policy(const nets::Network& net,
                          const nets::ExitPolicy& policy,
                          const nets::ExitOutputs& outputs,
                          std::string& text,
                          ordered_json& object) {
    if (policy.thresholds.empty()) {
      text += "no policy: the checkpoint has no thresholds (offramp tune), and --threshold was not given\n";
      return;
    }
    const nets::PolicyResult result = nets::apply(policy, outputs, net.costs());
    Table table({"policy exit", "threshold", "samples", "share %"});
    for (std::size_t e = 0; e < result.histogram.size(); ++e) {
      table.row({std::to_string(e + 1),
                 e < policy.thresholds.size()
                     ? fmt::format("{} {:.6g}", to_text(policy.rule), policy.thresholds[e])
                     : std::string(to_text(policy.fallback)),
                 with_thousands(result.histogram[e]),
                 fmt::format("{:.2f}", 100.0 * static_cast<double>(result.histogram[e]) / outputs.n)});
    }
    text += table.text();
    text += fmt::format(
        "policy: accuracy {:.2f} %, mean MACs {} ({:.3f} of the plain net), profiler ops {} ({:.3f})\n",
        100 * result.accuracy,
        with_thousands(static_cast<std::int64_t>(result.mean_macs)),
        result.relative_macs,
        with_thousands(static_cast<std::int64_t>(result.mean_ops_profiler)),
        result.relative_ops_profiler);
    object["policy"] = {{"thresholds", policy.thresholds},
                        {"rule", to_text(policy.rule)},
                        {"fallback", to_text(policy.fallback)},
                        {"accuracy", result.accuracy},
                        {"histogram", result.histogram},
                        {"mean_macs", result.mean_macs},
                        {"mean_ops_profiler", result.mean_ops_profiler},
                        {"relative_macs", result.relative_macs},
                        {"relative_ops_profiler", result.relative_ops_profiler}};
  }

  static void overthinking(const nets::Network& net,
                           const nets::ExitOutputs& outputs,
                           std::string& text,
                           ordered_json& object) {
    const nets::Overthinking o = nets::overthinking(outputs, net.costs().exit_fraction_macs);
    text += fmt::format(
        "overthinking: right at some exit {:.2f} %; an oracle would pay {:.3f}; {} samples right before and "
        "wrong at the end ({:.1f} % of its errors)\n",
        100 * o.cumulative_accuracy.back(),
        o.oracle_cost,
        with_thousands(o.destructive),
        100 * o.destructive_share);
    object["overthinking"] = {{"cumulative_accuracy", o.cumulative_accuracy},
                              {"oracle_cost", o.oracle_cost},
                              {"destructive", o.destructive},
                              {"destructive_per_exit", o.destructive_per_exit},
                              {"destructive_share", o.destructive_share},
                              {"confidence_destructive", o.confidence_destructive},
                              {"confidence_right", o.confidence_right}};
  }

  void confusion(Session& session,
                 const Device& device,
                 const nets::Network& net,
                 const Samples& samples,
                 const std::vector<std::string>& classes,
                 const nets::ExitOutputs& outputs,
                 std::string& text,
                 ordered_json& object) const {
    NetData train(samples.set, "train", samples.open);
    train.fit_to(net, classes, samples.set);
    auto source = train.evaluation(device, 250, samples.others(train.samples()));
    const nets::ConfusionScale scale =
        nets::confusion_scale(nets::confusion(outputs_with_progress(session, "confusion", net, *source)));
    const nets::ConfusionSummary summary = nets::confusion_summary(outputs, scale);
    text += fmt::format(
        "confusion: {:.3f} on samples that the end gets right, {:.3f} on its errors (in deviations of the "
        "training set)\n",
        summary.right,
        summary.wrong);
    object["confusion"] = {{"mean", scale.mean},
                           {"deviation", scale.deviation},
                           {"right", summary.right},
                           {"wrong", summary.wrong}};
  }

  std::filesystem::path checkpoint_;
  std::string data_, split_ = "auto", rule_ = ">=", fallback_ = "last", precision_ = "checkpoint";
  std::optional<double> threshold_;
  int latency_images_ = 100;
  bool confusion_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_eval_verb() { return std::make_unique<EvalVerb>(); }

}  // namespace offramp::tools
