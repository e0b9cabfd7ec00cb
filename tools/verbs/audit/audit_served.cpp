// Audit: a served model, known by its answers and their times alone.
#include "attacks/extraction/images.h"
#include "attacks/extraction/stages.h"
#include "attacks/query/pilot.h"
#include "attacks/query/remote.h"
#include "base/json_file.h"
#include "stats/exits/exit_estimation.h"
#include "tools/verbs/audit/sections.h"
#include "tools/verbs/extract/session_listener.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace offramp::tools::audit {
namespace {

constexpr double kTimedShare = 0.3;    // of the budget
constexpr double kQueriesShare = 0.6;  // of --max-queries
constexpr std::int64_t kMostTimed = 2000, kEnoughTimed = 200, kLeastTimed = 50;
constexpr int kPilotImages = 20, kPilotPasses = 3;
constexpr int kBlock = 250;
const int kWarmUp = attacks::RemoteOptions{}.warm_up;

double median_of(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// Chosen once: a clock never says the same twice, and an audit that goes on takes what it began with.
TimedPlan plan_of(const Work& work, const Target& target, const attacks::ImageSource& all) {
  const std::filesystem::path file = work.folder / "timed_inputs.json";
  if (std::filesystem::exists(file)) {
    const nlohmann::json json = read_json_file(file);
    const TimedPlan kept{json_member<std::int64_t>(json, "inputs", file),
                         json_member<int>(json, "repetitions", file)};
    if (kept.inputs >= 1 && kept.inputs <= all.count && kept.repetitions >= 2) return kept;
    throw FileError(file.string(),
                    fmt::format("expected 1 to {} inputs and 2 repetitions or more, got {} and {}",
                                all.count,
                                kept.inputs,
                                kept.repetitions));
  }
  std::vector<std::int32_t> rows(static_cast<std::size_t>(std::min(kPilotImages, all.count)));
  std::iota(rows.begin(), rows.end(), 0);
  const Tensor images = all.load(rows);
  std::vector<double> ns;
  for (int pass = 0; pass < kPilotPasses; ++pass)
    for (const std::int64_t t : target.box->query(images, attacks::Timing::kPerQuery).nanoseconds)
      ns.push_back(static_cast<double>(t));
  const TimedPlan plan = timed_plan(
      median_of(ns) / 1e9, kTimedShare * work.budget.total(), all.count, work.settings.max_queries);
  write_json_file(file, {{"inputs", plan.inputs}, {"repetitions", plan.repetitions}});
  return plan;
}

}  // namespace

std::int64_t questions(std::int64_t inputs, int repetitions) {
  return repetitions * (inputs + kWarmUp * ((inputs + kBlock - 1) / kBlock));
}

TimedPlan timed_plan(double each_s, double room_s, std::int64_t count, std::int64_t max_queries) {
  TimedPlan plan;
  for (const int repetitions : {40, 20, 10}) {
    plan.repetitions = repetitions;
    plan.inputs =
        std::min({count,
                  kMostTimed,
                  std::max(kLeastTimed, static_cast<std::int64_t>(room_s / (each_s * repetitions)))});
    const double most = kQueriesShare * static_cast<double>(max_queries);
    while (max_queries > 0 && plan.inputs > 0 &&
           static_cast<double>(questions(plan.inputs, repetitions)) > most)
      --plan.inputs;
    if (plan.inputs >= std::min(count, kEnoughTimed)) return plan;
  }
  if (plan.inputs < std::min(count, kLeastTimed))
    throw UsageError(fmt::format(
        "--max-queries {}: too few for {} inputs {} times each; {} at least",
        max_queries,
        kLeastTimed,
        plan.repetitions,
        std::ceil(static_cast<double>(questions(kLeastTimed, plan.repetitions)) / kQueriesShare)));
  return plan;
}

Measured measure_served(Work& work, const Target& target) {
  const TimedPlan plan = plan_of(work, target, attacks::image_source(target.images));
  std::vector<std::int32_t> rows(static_cast<std::size_t>(plan.inputs));
  std::iota(rows.begin(), rows.end(), 0);
  const data::ImageSet images = data::subset(target.images, rows);
  SessionListener listener(work.session);
  attacks::QueryOptions query;
  query.repetitions = plan.repetitions;
  query.block = kBlock;
  query.seed = work.settings.seed;
  query.victim = target.described;
  query.images = target.images_text;
  Measured m;
  m.trace = attacks::query_stage(*target.box, images, query, work.folder / "trace", listener);
  m.ns = m.trace->times_as_double();
  m.repetitions = static_cast<std::size_t>(m.trace->repetitions);
  m.order = m.trace->order;
  const stats::ExitEstimate estimate = exits_shown(m, work.settings.threads);
  m.exit.assign(estimate.exits.begin(), estimate.exits.end());
  m.exits_estimated = true;
  m.attribute.assign(images.labels.begin(), images.labels.end());
  m.attribute_name = "class";
  m.attribute_names = images.class_names;
  return m;
}

Section audit_served_model(const Target& target, const Measured& m) {
  Section s{.name = "model", .title = "The model"};
  const attacks::Trace& trace = *m.trace;
  const std::size_t n = m.inputs();
  const std::vector<std::int32_t> answered =
      attacks::labels_of(Tensor::from<float>({trace.samples, trace.classes}, trace.outputs, Device::cpu()));
  struct Group {
    std::int64_t inputs = 0, right = 0;
    std::vector<double> ns;
  };
  std::vector<Group> groups(static_cast<std::size_t>(*std::max_element(m.exit.begin(), m.exit.end())));
  Group all;
  for (std::size_t i = 0; i < n; ++i) {
    Group& group = groups[static_cast<std::size_t>(m.exit[i]) - 1];
    for (Group* to : {&group, &all}) {
      ++to->inputs;
      to->right += answered[i] == target.images.labels[i] ? 1 : 0;
      const auto first = m.ns.begin() + static_cast<std::ptrdiff_t>(i * m.repetitions);
      to->ns.insert(to->ns.end(), first, first + static_cast<std::ptrdiff_t>(m.repetitions));
    }
  }
  report::Table table{
      .columns = {{"exit, estimated", report::Align::kLeft},
                  {"inputs"},
                  {"share %"},
                  {"accuracy %"},
                  {"ms, median"}},
      .caption = fmt::format(
          "{}. {} inputs, one a request, {} times each. The time has network and server in it; the exits are those that the times show",
          target.described,
          n,
          m.repetitions)};
  s.data["exits"] = nlohmann::ordered_json::array();
  const auto row = [&](const std::string& name, const Group& group) {
    const double share = static_cast<double>(group.inputs) / static_cast<double>(n),
                 right = static_cast<double>(group.right) / static_cast<double>(group.inputs),
                 ms = median_of(group.ns) / 1e6;
    table.rows.push_back({name,
                          std::to_string(group.inputs),
                          fmt::format("{:.1f}", 100 * share),
                          fmt::format("{:.2f}", 100 * right),
                          fmt::format("{:.4f}", ms)});
    return nlohmann::ordered_json{{"share", share}, {"accuracy", right}, {"milliseconds", ms}};
  };
  for (std::size_t e = 0; e < groups.size(); ++e)
    if (groups[e].inputs > 0) s.data["exits"].push_back(row(std::to_string(e + 1), groups[e]));
  const auto whole = row("all", all);
  table.strong_rows.push_back(table.rows.size() - 1);
  s.tables.push_back(table);
  s.data["accuracy"] = whole.at("accuracy");
  s.data["milliseconds"] = whole.at("milliseconds");
  s.data["images"] = n;
  s.data["repetitions"] = m.repetitions;
  s.data["served"] = target.described;
  s.data["queries"] = questions(static_cast<std::int64_t>(n), static_cast<int>(m.repetitions)) +
                      kPilotPasses * (std::min<std::int64_t>(kPilotImages, target.images.n) + kWarmUp);
  s.paragraphs.push_back(
      "MACs, the accuracy of each exit by itself and other thresholds are not seen from outside: offramp audit of the checkpoint has them.");
  return s;
}

}  // namespace offramp::tools::audit
