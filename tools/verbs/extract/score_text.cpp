#include "tools/verbs/extract/score_text.h"

#include "tools/frame/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <set>

namespace offramp::tools {
namespace {

int used_exits(const std::vector<std::int32_t>& exits) {
  return static_cast<int>(std::set<std::int32_t>(exits.begin(), exits.end()).size());
}

bool says_one_class(const attacks::Behaviour& behaviour) {
  return std::ranges::adjacent_find(behaviour.label, std::ranges::not_equal_to{}) == behaviour.label.end();
}

// What the table does not show at once: a victim whose exits are not in use, a copy that says one thing.
std::string notes(const std::vector<attacks::ContestantScore>& scores) {
  std::string text;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const attacks::ContestantScore& s = scores[i];
    const bool one_exit = used_exits(s.on_test.exit) == 1;
    if (s.num_exits == 1)
      text += fmt::format("{}: the net has a single exit\n", s.name);
    else if (one_exit)
      text += fmt::format(
          "{}: all test images leave at exit {} of {}\n", s.name, s.on_test.exit.front(), s.num_exits);
    if (i == 0 && one_exit && s.num_exits > 1 && used_exits(s.on_queries.exit) <= 1)
      text +=
          "victim: one exit is in use, so running time tells nothing; offramp tune --threshold sets another\n";
    if (says_one_class(s.on_test) && (i == 0 || !says_one_class(scores[0].on_test)))
      text += fmt::format("{}: says class {} for every test image: it has learned nothing, or collapsed\n",
                          s.name,
                          s.on_test.label.front());
  }
  return text;
}

// "4 true", or with how many of them the queries used.
std::string exits_of_victim(const attacks::ExtractionOutcome& o, const std::string& word) {
  const int used = used_exits(o.true_exits), all = o.scores.front().num_exits;
  return fmt::format(
      "{}{}{}", all, word, used < all ? fmt::format(", of which the queries used {}", used) : "");
}

std::string hundredths(double share) { return fmt::format("{:.2f}", 100 * share); }

nlohmann::ordered_json agreement_json(const attacks::Agreement& a) {
  return {{"class_and_exit", a.class_and_exit}, {"class", a.only_class}, {"exit", a.only_exit}};
}

// null: not measured.
nlohmann::ordered_json number_or_null(bool measured, double value) {
  return measured ? nlohmann::ordered_json(value) : nlohmann::ordered_json(nullptr);
}

}  // namespace

std::string scores_text(const std::vector<attacks::ContestantScore>& scores) {
  Table table({"",
               "ACC %",
               "CLO %",
               "class %",
               "exit %",
               "CLO query %",
               "CC Gops",
               "CC ratio",
               "MAC ratio",
               "us/image",
               "time ratio"});
  for (const auto& s : scores)
    table.row({s.name,
               hundredths(s.accuracy),
               hundredths(s.test.class_and_exit),
               hundredths(s.test.only_class),
               hundredths(s.test.only_exit),
               s.queried() ? hundredths(s.queries.class_and_exit) : std::string("-"),
               fmt::format("{:.2f}", s.spending.ops_profiler * 1e-9),
               fmt::format("{:.3f}", s.ratio_ops_profiler),
               fmt::format("{:.3f}", s.ratio_macs),
               s.timed() ? fmt::format("{:.1f}", s.mean_ns * 1e-3) : std::string("-"),
               s.timed() ? fmt::format("{:.3f}", s.ratio_time) : std::string("-")});
  return table.text() + notes(scores);
}

std::string score_text(const attacks::ExtractionOutcome& o) {
  return scores_text(o.scores) +
         fmt::format("exits: {} estimated, {}; right for {} % of the {} query images\n",
                     o.estimate.num_exits,
                     exits_of_victim(o, " true"),
                     hundredths(o.exits.accuracy),
                     with_thousands(o.trace.samples));
}

nlohmann::ordered_json scores_json(const std::vector<attacks::ContestantScore>& scores) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const auto& s : scores)
    rows.push_back(
        {{"name", s.name},
         {"exits", s.num_exits},
         {"accuracy", s.accuracy},
         {"clo_test", agreement_json(s.test)},
         {"clo_queries", s.queried() ? agreement_json(s.queries) : nlohmann::ordered_json(nullptr)},
         {"macs", s.spending.macs},
         {"ops_profiler", s.spending.ops_profiler},
         {"ns_per_image", number_or_null(s.timed(), s.mean_ns)},
         {"ratio_macs", s.ratio_macs},
         {"ratio_ops_profiler", s.ratio_ops_profiler},
         {"ratio_time", number_or_null(s.timed(), s.ratio_time)},
         {"left_at_exit", s.spending.per_exit},
         {"share_of_plain_cost", s.spending.ops_profiler / s.plain_ops_profiler}});
  return rows;
}

nlohmann::ordered_json score_json(const attacks::ExtractionOutcome& o) {
  return {{"nets", scores_json(o.scores)},
          {"exit_accuracy", o.exits.accuracy},
          {"exit_count_right", o.exits.count_right},
          {"exit_confusion", o.exits.counts},
          {"repetitions", o.trace.repetitions},
          {"repetitions_because", o.trace.info.repetitions_because},
          {"queries", o.trace.samples},
          {"queries_by_net", o.queries},
          {"thresholds", o.strategy.policy.thresholds},
          {"search_value", o.strategy.search.value},
          {"search_joint_value", o.strategy.joint},
          {"search_optimal", o.strategy.search.optimal}};
}

std::string verdict(const attacks::ExtractionOutcome& o) {
  const auto& victim = o.scores.front();
  const auto& ours = o.scores.back();
  std::string text = fmt::format(
      "{} (the victim has {}), and {} % "
      "of the "
      "queries were put to the exit they really took. ",
      o.exits_told ? "Its owner told the exits"
      : o.number_told
          ? fmt::format("Told that there are {} exits, its answers and its running time gave their places",
                        o.estimate.num_exits)
          : fmt::format("From nothing but its answers and its running time, {} exits were found",
                        o.estimate.num_exits),
      exits_of_victim(o, ""),
      hundredths(o.exits.accuracy));
  text += fmt::format(
      "The copy is right on {} % of the test images where the victim is right on {} %, it says the same and "
      "leaves at "
      "the same exit for {} % of them, and costs {:.2f} times what the victim costs. ",
      hundredths(ours.accuracy),
      hundredths(victim.accuracy),
      hundredths(ours.test.class_and_exit),
      ours.ratio_ops_profiler);
  const auto other = std::ranges::find(o.scores, "knockoff", &attacks::ContestantScore::name);
  if (other != o.scores.end()) {
    const auto& knockoff = *other;
    text += fmt::format(
        "An ordinary theft that ignores the exits (Knockoff) reaches {} % and agrees in class and exit on {} "
        "%, at {:.2f} "
        "times the victim's cost.",
        hundredths(knockoff.accuracy),
        hundredths(knockoff.test.class_and_exit),
        knockoff.ratio_ops_profiler);
  } else {
    text += fmt::format("Without early exit the victim would cost {:.2f} times as much.",
                        victim.plain_ops_profiler / victim.spending.ops_profiler);
  }
  return text;
}

}  // namespace offramp::tools
