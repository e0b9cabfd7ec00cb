// offramp membership channel: what is left of the timed attack over a network.
#include "attacks/membership/attack.h"
#include "attacks/membership/evaluation.h"
#include "attacks/membership/noisy_channel.h"
#include "base/json_file.h"
#include "stats/hypothesis_tests.h"
#include "tools/frame/table.h"
#include "tools/verbs/extract/session_listener.h"
#include "tools/verbs/interval_json.h"
#include "tools/verbs/membership/trained_folder.h"
#include "tools/verbs/verbs.h"

#include <fmt/format.h>

#include <string_view>

namespace offramp::tools {
namespace {

namespace am = attacks::membership;
using nlohmann::ordered_json;
using Form = am::NoisyChannel::Form;

std::string number_or_dash(std::size_t n) { return n == 0 ? "-" : std::to_string(n); }

class MembershipChannelVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {
        .name = "membership channel",
        .group = "Attack",
        .summary = "the timed attack over a network that delays answers, by queries averaged",
        .example = "offramp membership channel out/membership-attack --sigma-ms .1,1 --queries 1,10,100",
        .details =
            "Takes the times that membership attack measured, adds a random delay of mean --mean-ms and deviation --sigma-ms\n"
            "to each, and lets the attacker average --queries answers a sample before the exits are estimated and the attack\n"
            "is made again. Beside it stand the numbers of queries by which the two closest exits' mean times differ\n"
            "significantly (the paper's bound) and by which single samples fall apart (six deviations).\n"
            "Recorded times are used in turn, so that the clock's own noise averages out no further than there are\n"
            "repetitions. The last row of a net has no channel.",
        .run_folder = true};
  }
  void declare(Options& o) override {
    o.add("channel.attack", attack_, "folder of membership attack, with times").positional().required();
    o.add("channel.data", data_, "where the target's data set lies, if it has moved");
    o.add("channel.sigma_ms", sigma_ms_, "deviations of the delay, ms").range(0, 1e6).distinct();
    o.add("channel.mean_ms", mean_ms_, "its mean before negative ones are drawn again, ms").range(0, 1e6);
    o.add_as<std::string>(
         "channel.form",
         form_,
         [](Form f) { return f == Form::kFolded ? "folded" : "truncated"; },
         [](const std::string& word) { return word == "folded" ? Form::kFolded : Form::kTruncated; },
         "negative delays are drawn again (the paper), or lose their sign (its code)")
        .choices({"truncated", "folded"});
    o.add("channel.queries", queries_, "answers of a sample that the attacker averages")
        .range(1, 100000)
        .distinct();
    o.add("channel.exits", exits_, "numbers of exits; default: all that were timed").range(2, 16).distinct();
    o.add(
        "channel.attacks", attacks_, "which; attacks that ask more queries and white-box ones have no clock");
    o.add("channel.epochs", settings_.epochs, "of the attack nets").range(1, 100000);
  }

  int run(Session& session) override {
    settings_.seed = evaluation_.seed = session.seed();
    settings_.groups = am::ThresholdGroups::kOne;
    for (const std::string& name : attacks_)
      if (const auto needs = am::attack_of(name).needs;
          needs == am::Needs::kSignal || needs == am::Needs::kWhiteBox)
        throw UsageError("--attacks: " + name + " has no part in this: name attacks on labels or scores");
    const auto path = attack_ / "results.json";
    if (!std::filesystem::exists(path))
      throw UsageError(attack_.string() +
                       ": expected a finished run of membership attack, found no results.json");
    const auto results = read_json_file(path);
    const TrainedFolder target =
        open_trained(session, json_member<std::string>(results, "models", path), data_);
    if (exits_.empty())
      for (const int k : target.plan.exits)
        if (attacks::has_trace(trace_of(target, k))) exits_.push_back(k);
    if (exits_.empty())
      throw UsageError(attack_.string() +
                       ": nothing was timed there; membership attack does with --adversaries timed");
    for (const int k : exits_)
      if (!attacks::has_trace(trace_of(target, k)))
        throw UsageError(fmt::format("{}: {} exits were not timed there", attack_.string(), k));
    RunFolder& folder = session.folder();
    SessionListener listener(session);
    ordered_json nets = ordered_json::array();
    Table table({"net",
                 "sigma ms",
                 "queries",
                 "bound",
                 "to cluster",
                 "exits right %",
                 "attack",
                 "accuracy %",
                 "AUC"});
    for (const int k : exits_) nets.push_back(through(session, listener, target, k, table));
    const ordered_json answer{{"attack", attack_.string()},
                              {"data", target.data},
                              {"mean_ms", mean_ms_},
                              {"form", form_ == Form::kFolded ? "folded" : "truncated"},
                              {"plan", target.plan_json},
                              {"nets", nets}};
    table.write_csv(folder.file("channel.csv"));
    folder.results(answer);
    folder.done();
    session.answer(
        table.text() + "bound, to cluster: queries by which the two closest exits differ, and fall apart\n",
        answer);
    return kDone;
  }

 private:
  std::filesystem::path trace_of(const TrainedFolder& target, int k) const {
    return attack_ / "traces" / target.spec(am::Role::kTarget, k).name;
  }
  am::Records records_of(const TrainedFolder& trained, am::Role role, int k) const {
    return am::read_records(attack_ / "records" / (trained.spec(role, k).name + ".safetensors"));
  }

  ordered_json through(
      Session& session, SessionListener& listener, const TrainedFolder& target, int k, Table& table) {
    const am::Records on_target = records_of(target, am::Role::kTarget, k),
                      on_shadow = records_of(target, am::Role::kShadow, k);
    const attacks::Trace trace = attacks::read_trace(trace_of(target, k));
    const double gap = am::least_exit_gap(trace, on_target);
    ordered_json rows = ordered_json::array();
    const auto attacked =
        [&](const am::EstimatedExits& seen, double sigma_ms, int queries, const char* what) {
          // 0: no two exits with times of their own, or no channel.
          const bool bounded = gap > 0 && std::string_view(what) == "noisy";
          const std::size_t bound = bounded ? stats::repetitions_to_distinguish(1e6 * sigma_ms, gap) : 0,
                            cluster = bounded ? stats::repetitions_to_cluster(1e6 * sigma_ms, gap) : 0;
          ordered_json row{{"sigma_ms", sigma_ms},
                           {"queries", queries},
                           {"channel", what},
                           {"to_distinguish", bounded ? ordered_json(bound) : ordered_json(nullptr)},
                           {"to_cluster", bounded ? ordered_json(cluster) : ordered_json(nullptr)},
                           {"exits_right", seen.accuracy},
                           {"clusters", seen.found},
                           {"attacks", ordered_json::array()}};
          for (const std::string& name : attacks_) {
            attacks::stop_if_requested(listener);
            const am::Evidence evidence{.shadow = on_shadow, .target = on_target, .target_exits = seen.exits};
            const am::Evaluation e = am::evaluate(
                name, "timed", am::attack_of(name).run(evidence, settings_), on_target, evaluation_);
            row["attacks"].push_back(
                {{"attack", name}, {"accuracy", interval_json(e.accuracy)}, {"auc", e.auc.estimate}});
            table.row({on_target.model,
                       std::string_view(what) == "none" ? "-" : fmt::format("{:g}", sigma_ms),
                       std::to_string(queries),
                       number_or_dash(bound),
                       number_or_dash(cluster),
                       fmt::format("{:.2f}", 100 * seen.accuracy),
                       name,
                       fmt::format("{:.2f} [{:.2f}, {:.2f}]",
                                   100 * e.accuracy.estimate,
                                   100 * e.accuracy.low,
                                   100 * e.accuracy.high),
                       fmt::format("{:.4f}", e.auc.estimate)});
          }
          rows.push_back(row);
        };
    const auto total = static_cast<std::int64_t>(sigma_ms_.size() * queries_.size());
    for (const double sigma_ms : sigma_ms_)
      for (const int queries : queries_) {
        const am::NoisyChannel channel{.form = form_, .mean_ns = 1e6 * mean_ms_, .sigma_ns = 1e6 * sigma_ms};
        const auto times = am::times_through(trace, channel, queries, session.seed());
        attacked(am::estimate_exits_of(times, 1, {}, on_shadow, on_target, session.threads()),
                 sigma_ms,
                 queries,
                 "noisy");
        listener.progress(on_target.model,
                          total,
                          static_cast<std::int64_t>(rows.size()),
                          "settings",
                          {{"exits_right", rows.back()["exits_right"]}});
      }
    attacked(
        am::estimate_exits_of(trace, on_shadow, on_target, session.threads()), 0, trace.repetitions, "none");
    return {{"net", on_target.model}, {"exits", k}, {"repetitions", trace.repetitions}, {"settings", rows}};
  }

  std::filesystem::path attack_;
  std::string data_;
  std::vector<double> sigma_ms_ = {0.1, 0.3, 1};
  double mean_ms_ = 2;
  Form form_ = Form::kTruncated;
  std::vector<int> queries_ = {1, 3, 10, 40, 100}, exits_;
  std::vector<std::string> attacks_ = {"modified-entropy"};
  am::AttackSettings settings_;
  am::EvaluationOptions evaluation_;
};

}  // namespace

std::unique_ptr<Verb> make_membership_channel_verb() { return std::make_unique<MembershipChannelVerb>(); }

}  // namespace offramp::tools
