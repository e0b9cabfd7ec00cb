// Audit: how faithful a copy so many queries buy (attacks/extraction), with growing numbers of queries while there is time.
#include "attacks/extraction/extraction.h"
#include "tools/report/xy_chart.h"
#include "tools/verbs/audit/sections.h"
#include "tools/verbs/extract/session_listener.h"
#include "tools/verbs/inputs.h"

#include <fmt/format.h>

#include <numeric>

namespace offramp::tools::audit {
namespace {

constexpr int kFirstQueries = 500, kEpochs = 20;

}  // namespace

data::ImageSet rows_of(const data::ImageSet& set, int first, int count) {
  std::vector<std::int32_t> rows(static_cast<std::size_t>(count));
  std::iota(rows.begin(), rows.end(), first);
  return data::subset(set, rows);
}

void add_fidelity(Section& s, const std::vector<report::Series>& series, const Fidelity& f) {
  report::XyChart chart;
  chart.frame.title = "What queries buy";
  chart.frame.subtitle =
      fmt::format("agreement of the copy with {} on {} images it was not asked about", f.victim, f.judged);
  chart.frame.x.label = "query images";
  chart.frame.x.log = true;
  chart.frame.y.label = "agreement, %";
  chart.series = series;
  s.figures.push_back({report::render(chart), "Extraction fidelity against the number of query images."});
  s.data["best_same_class"] = f.best;
  if (f.best >= 0.8) {
    s.findings.push_back({"extraction",
                          Kind::kFail,
                          f.best >= 0.95 ? "error" : "warning",
                          fmt::format("{} query images buy a copy that agrees with {} on {:.1f} % of others",
                                      f.queries,
                                      f.victim,
                                      100 * f.best)});
  } else {
    s.findings.push_back(
        {"extraction",
         Kind::kOpen,
         "none",
         fmt::format("{} query images buy a copy that agrees on {:.1f} %: no faithful one yet; {}",
                     f.queries,
                     100 * f.best,
                     f.advice)});
  }
}

Section audit_extraction(Work& work, const Target& target) {
  Section s{.name = "extraction", .title = "Extraction"};
  if (!target.loaded) return skipped(s.name, s.title, "extraction", "there is no model, only its times");
  const nets::Network& net = *target.loaded->net;
  const bool given = !work.settings.queries.empty();
  const int half = target.images.n / 2;
  data::ImageSet queries = given ? open_query_images(work.session, work.settings.queries, net.input())
                                 : rows_of(target.images, 0, half);
  const data::ImageSet test = given ? target.images : rows_of(target.images, half, target.images.n - half);
  if (queries.n < kFirstQueries || test.n < 100)
    return skipped(s.name,
                   s.title,
                   "extraction",
                   fmt::format("{} query images and {} to judge by are too few ({} and 100 at least)",
                               queries.n,
                               test.n,
                               kFirstQueries));

  report::Table table{
      .columns = {{"queries"},
                  {"copy", report::Align::kLeft},
                  {"accuracy %"},
                  {"same class %"},
                  {"same class and exit %"},
                  {"cost ratio"},
                  {"exits found"}},
      .caption = fmt::format(
          "Copies of the model's own kind, {} epochs on {}, judged on {} other images. Every query image is asked 10 times for its time. Cost: MACs of the copy to the victim's",
          kEpochs,
          given ? joined(work.settings.queries) : "half of " + target.images_text,
          test.n)};
  report::Series agree{.name = "same class", .draw = report::Draw::kLineAndPoints},
      both{.name = "same class and exit", .draw = report::Draw::kLineAndPoints};
  s.data["steps"] = nlohmann::ordered_json::array();
  double last_seconds = 0, best = 0;
  int asked = 0, best_queries = 0;
  SessionListener listener(work.session);
  for (int n = kFirstQueries; n <= queries.n;
       n = n < queries.n ? std::min(2 * n, queries.n) : queries.n + 1) {
    const double begin = work.budget.used();
    if (asked > 0 && last_seconds * n / asked > work.budget.left()) {
      s.paragraphs.push_back(
          fmt::format("{} queries would take about {:.0f} s, {:.0f} s of the time are left (--budget).",
                      n,
                      last_seconds * n / asked,
                      std::max(0.0, work.budget.left())));
      break;
    }
    attacks::ExtractionPlan plan;
    plan.folder = work.folder / fmt::format("extraction-{}", n);
    std::filesystem::create_directories(plan.folder);
    plan.victim = target.checkpoint;
    plan.black_box = target.box.get();
    plan.queries = rows_of(queries, 0, n);
    plan.test = test;
    plan.query.repetitions = 10;
    plan.query.seed = work.settings.seed;
    plan.query.victim = target.name;
    plan.query.images = given ? joined(work.settings.queries) : target.images_text;
    plan.copy.net.name = net.options().name;
    plan.copy.net.width_divisor = net.options().width_divisor;
    plan.copy.net.form = net.options().form;
    plan.copy.fit.epochs = kEpochs;
    plan.copy.fit.learning_rate = 0.03;
    plan.copy.fit.seed = work.settings.seed;
    plan.knockoff_learning_rate = 0.1;
    plan.search.options.time_limit_s = 10;
    plan.score = {.timed_images = 0, .seed = work.settings.seed};
    const attacks::ExtractionOutcome outcome = attacks::run_extraction(plan, listener);
    for (std::size_t c = 1; c < outcome.scores.size(); ++c) {
      const auto& score = outcome.scores[c];
      table.rows.push_back({std::to_string(n),
                            score.name == "ours" ? "with the exits" : "Knockoff",
                            fmt::format("{:.2f}", 100 * score.accuracy),
                            fmt::format("{:.2f}", 100 * score.test.only_class),
                            fmt::format("{:.2f}", 100 * score.test.class_and_exit),
                            fmt::format("{:.3f}", score.ratio_macs),
                            std::to_string(outcome.estimate.num_exits)});
      s.data["steps"].push_back({{"queries", n},
                                 {"copy", score.name},
                                 {"accuracy", score.accuracy},
                                 {"same_class", score.test.only_class},
                                 {"same_class_and_exit", score.test.class_and_exit},
                                 {"ratio_macs", score.ratio_macs},
                                 {"exits_found", outcome.estimate.num_exits}});
      if (score.test.only_class > best) best = score.test.only_class, best_queries = n;
    }
    const auto& ours = outcome.scores.back();
    agree.x.push_back(n), agree.y.push_back(100 * ours.test.only_class);
    both.x.push_back(n), both.y.push_back(100 * ours.test.class_and_exit);
    s.data["victim_accuracy"] = outcome.scores.front().accuracy;
    last_seconds = work.budget.used() - begin;
    asked = n;
  }
  s.tables.push_back(table);
  add_fidelity(
      s,
      {agree, both},
      {"the model", test.n, best_queries, best, "more queries and training may (offramp extract run)"});
  return s;
}

}  // namespace offramp::tools::audit
