// Audit: how faithful a copy queries buy of a served model. The images that were timed are not asked again: their first so
// many are a trace of their own. Judged by whether the copy gives the served model's class for images it was not asked
// about; the exits that those took nobody outside knows.
#include "attacks/extraction/extraction.h"
#include "attacks/extraction/images.h"
#include "attacks/extraction/score.h"
#include "attacks/query/metered.h"
#include "tools/frame/interrupt.h"
#include "tools/report/xy_chart.h"
#include "tools/verbs/audit/sections.h"
#include "tools/verbs/extract/session_listener.h"
#include "tools/verbs/inputs.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace offramp::tools::audit {
namespace {

constexpr int kMostFirst = 500, kLeastFirst = 100, kMostJudged = 2000, kEpochsOfCopy = 20, kAtOnce = 250;
constexpr double kJudgedShare = 0.2;  // of --max-queries

// The first n samples of a trace, each time's position in its pass counted among them.
attacks::Trace first_of(const attacks::Trace& trace, int n, const data::ImageSet& images) {
  attacks::Trace part = trace;
  const auto r = static_cast<std::size_t>(trace.repetitions);
  part.samples = n;
  part.times_ns.resize(static_cast<std::size_t>(n) * r);
  part.outputs.resize(static_cast<std::size_t>(n) * static_cast<std::size_t>(trace.classes));
  part.order.assign(part.times_ns.size(), 0);
  for (std::size_t pass = 0; pass < r; ++pass) {
    std::vector<std::size_t> at(static_cast<std::size_t>(n));
    std::iota(at.begin(), at.end(), std::size_t{0});
    std::sort(at.begin(), at.end(), [&](std::size_t a, std::size_t b) {
      return trace.order[a * r + pass] < trace.order[b * r + pass];
    });
    for (std::size_t i = 0; i < at.size(); ++i) part.order[at[i] * r + pass] = static_cast<std::int32_t>(i);
  }
  part.info.images_digest = attacks::digest_of(attacks::image_source(images));
  return part;
}

// The served model's classes for images, asked once; what was answered stays on disk.
std::vector<std::int32_t> classes_of(Work& work, const Target& target, const data::ImageSet& images) {
  attacks::MeteredBlackBox box(*target.box, images.n, work.folder / "extraction-judged.safetensors");
  const attacks::ImageSource source = attacks::image_source(images);
  std::vector<std::int32_t> labels;
  Progress progress(work.session.log, "asked once", static_cast<std::uint64_t>(images.n), "img");
  for (int first = 0; first < images.n; first += kAtOnce) {
    throw_if_interrupted();
    std::vector<std::int32_t> rows(static_cast<std::size_t>(std::min(kAtOnce, images.n - first)));
    std::iota(rows.begin(), rows.end(), first);
    const auto answer = box.query(source.load(rows), attacks::Timing::kNone);
    labels.insert(labels.end(), answer.labels.begin(), answer.labels.end());
    box.flush();
    progress.update(labels.size());
  }
  return labels;
}

double share_equal(const std::vector<std::int32_t>& a, const std::vector<std::int32_t>& b) {
  std::size_t equal = 0;
  for (std::size_t i = 0; i < a.size(); ++i) equal += a[i] == b[i] ? 1 : 0;
  return static_cast<double>(equal) / static_cast<double>(a.size());
}

}  // namespace

Section audit_served_extraction(Work& work, const Target& target, const Measured& m) {
  Section s{.name = "extraction", .title = "Extraction"};
  const bool given = !work.settings.queries.empty();
  const int half = target.images.n / 2;
  const nets::Extent input{target.images.c, target.images.h, target.images.w};
  const data::ImageSet queries =
      given ? open_query_images(work.session, work.settings.queries, input) : rows_of(target.images, 0, half);
  const int first_judged = given ? 0 : half;
  int judged = std::min(kMostJudged, target.images.n - first_judged);
  const std::int64_t most = work.settings.max_queries;
  if (most > 0) judged = std::min(judged, static_cast<int>(kJudgedShare * static_cast<double>(most)));
  const int known = given ? 0 : std::min(half, static_cast<int>(m.inputs()));
  const int first = given ? kMostFirst : std::min(kMostFirst, std::max(known, kLeastFirst));
  if (queries.n < first || judged < kLeastFirst)
    return skipped(s.name,
                   s.title,
                   "extraction",
                   fmt::format("{} query images and {} to judge by are too few ({} and {} at least)",
                               queries.n,
                               judged,
                               first,
                               kLeastFirst));
  const data::ImageSet test = rows_of(target.images, first_judged, judged);
  const std::vector<std::int32_t> truth = classes_of(work, target, test);
  const int repetitions = static_cast<int>(m.repetitions);
  const double each_s =
      std::accumulate(m.ns.begin(), m.ns.end(), 0.0) / static_cast<double>(m.ns.size()) / 1e9;
  std::int64_t asked = judged;

  report::Table table{
      .columns =
          {{"queries"}, {"copy", report::Align::kLeft}, {"accuracy %"}, {"same class %"}, {"exits found"}},
      .caption = fmt::format(
          "Copies ({}, whatever the served net is), {} epochs on {}, judged on {} other images, which the served model gets right in {:.2f} %. Every query image is asked {} times for its time",
          work.settings.copy_net,
          kEpochsOfCopy,
          given ? joined(work.settings.queries) : "half of " + target.images_text,
          judged,
          100 * share_equal(truth, test.labels),
          repetitions)};
  report::Series with_exits{.name = "with the exits", .draw = report::Draw::kLineAndPoints},
      knockoff{.name = "Knockoff", .draw = report::Draw::kLineAndPoints};
  s.data["steps"] = nlohmann::ordered_json::array();
  double last_seconds = 0, best = 0;
  int done = 0, best_queries = 0;
  SessionListener listener(work.session);
  for (int n = first; n <= queries.n; n = n < queries.n ? std::min(2 * n, queries.n) : queries.n + 1) {
    const double begin = work.budget.used();
    const bool new_questions = n > known;
    const std::int64_t cost = new_questions ? questions(n, repetitions) : 0;
    const double seconds = (done > 0 ? last_seconds * n / done : 0) + static_cast<double>(cost) * each_s;
    if ((done > 0 || new_questions) && seconds > work.budget.left()) {
      s.paragraphs.push_back(
          fmt::format("{} queries would take about {:.0f} s, {:.0f} s of the time are left (--budget).",
                      n,
                      seconds,
                      std::max(0.0, work.budget.left())));
      break;
    }
    if (most > 0 && work.asked + asked + cost > most) {
      s.paragraphs.push_back(
          fmt::format("{} query images would be {} questions more than --max-queries has left.",
                      n,
                      work.asked + asked + cost - most));
      break;
    }
    attacks::ExtractionPlan plan;
    plan.folder = work.folder / fmt::format("extraction-{}", n);
    std::filesystem::create_directories(plan.folder);
    plan.black_box = target.box.get();
    plan.queries = rows_of(queries, 0, n);
    if (!new_questions && !attacks::has_trace(plan.folder / "trace"))
      attacks::write_trace(plan.folder / "trace", first_of(*m.trace, n, plan.queries));
    plan.query.repetitions = repetitions;
    plan.query.seed = work.settings.seed;
    plan.query.victim = target.described;
    plan.query.images = given ? joined(work.settings.queries) : target.images_text;
    plan.copy.net.name = work.settings.copy_net;
    plan.copy.fit.epochs = kEpochsOfCopy;
    plan.copy.fit.learning_rate = 0.03;
    plan.copy.fit.seed = work.settings.seed;
    plan.knockoff_learning_rate = 0.1;
    plan.search.options.time_limit_s = 10;
    const attacks::ExtractionOutcome outcome = attacks::run_extraction(plan, listener);
    for (const attacks::Contestant& copy : outcome.contestants) {
      const bool ours = copy.name == "ours";
      const attacks::Behaviour behaviour = attacks::behaviour_of(*copy.net, copy.policy, test);
      const double same = share_equal(behaviour.label, truth),
                   right = attacks::accuracy_of(behaviour, test.labels);
      table.rows.push_back({std::to_string(n),
                            ours ? "with the exits" : "Knockoff",
                            fmt::format("{:.2f}", 100 * right),
                            fmt::format("{:.2f}", 100 * same),
                            std::to_string(outcome.estimate.num_exits)});
      s.data["steps"].push_back({{"queries", n},
                                 {"copy", copy.name},
                                 {"accuracy", right},
                                 {"same_class", same},
                                 {"exits_found", outcome.estimate.num_exits}});
      if (same > best) best = same, best_queries = n;
      (ours ? with_exits : knockoff).x.push_back(n);
      (ours ? with_exits : knockoff).y.push_back(100 * same);
    }
    asked += cost;
    // What asking took is in `cost` the next time.
    last_seconds = std::max(0.0, work.budget.used() - begin - static_cast<double>(cost) * each_s);
    done = n;
  }
  s.data["queries"] = asked;
  s.data["judged"] = judged;
  if (done == 0) {
    s.findings.push_back(
        {"extraction", Kind::kOpen, "none", "no copy was made: neither time nor queries were left for one"});
    return s;
  }
  s.tables.push_back(table);
  add_fidelity(s,
               {with_exits, knockoff},
               {"the served model",
                judged,
                best_queries,
                best,
                "more queries, training and other nets (--copy-net) may"});
  return s;
}

}  // namespace offramp::tools::audit
