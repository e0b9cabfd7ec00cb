// offramp extract search: thresholds under which a copy leaves where the victim left.
#include "attacks/extraction/stages.h"
#include "base/atomic_file.h"
#include "tools/report/svg_writer.h"
#include "tools/report/xy_chart.h"
#include "tools/verbs/extract/options.h"
#include "tools/verbs/extract/session_listener.h"
#include "tools/verbs/verbs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace offramp::tools {
namespace {

// A row an exit: confidences of the samples that should leave there and of those that should go on, and the
// threshold between them. Samples that left earlier never arrive and are not shown.
std::string plot(const attacks::Confidences& c,
                 const std::vector<double>& thresholds,
                 const std::string& title) {
  constexpr std::size_t kPointsPerRow = 400;
  report::XyChart chart;
  chart.frame.title = title;
  chart.frame.subtitle = fmt::format("of each exit and kind at most {} samples are drawn", kPointsPerRow);
  chart.frame.x.label = "confidence of the copy";
  chart.frame.y.label = "exit";
  chart.frame.y.min = 0.4;
  chart.frame.y.max = c.num_exits - 0.4;
  chart.frame.height = 160 + 80 * (c.num_exits - 1);
  report::Series leave{.name = "left here", .draw = report::Draw::kPoints, .colour = 0};
  report::Series stay{.name = "left later", .draw = report::Draw::kPoints, .colour = 1};
  report::Series limit{.name = "threshold", .colour = 7};
  constexpr double kGap = std::numeric_limits<double>::quiet_NaN();
  const auto width = static_cast<std::size_t>(c.num_exits);
  for (std::size_t k = 0; k + 1 < width; ++k) {
    const int exit = static_cast<int>(k) + 1;
    for (report::Series* kind : {&leave, &stay}) {
      const auto belongs = [&](int e) { return kind == &leave ? e == exit : e > exit; };
      const auto count = static_cast<std::size_t>(std::count_if(c.exits.begin(), c.exits.end(), belongs));
      const std::size_t step = count / kPointsPerRow + 1;
      std::size_t seen = 0;
      for (std::size_t i = 0; i < c.exits.size(); ++i) {
        if (!belongs(c.exits[i]) || seen++ % step != 0) continue;
        // two strips a row, spread by the golden ratio so that points do not hide each other
        const double spread = 0.05 + 0.3 * std::fmod(static_cast<double>(i) * 0.6180339887498949, 1.0);
        kind->x.push_back(c.values[i * width + k]);
        kind->y.push_back(exit + (kind == &leave ? spread : -spread));
      }
    }
    limit.x.insert(limit.x.end(), {thresholds[k], thresholds[k], kGap});
    limit.y.insert(limit.y.end(), {exit - 0.4, exit + 0.4, kGap});
  }
  chart.series = {std::move(leave), std::move(stay), std::move(limit)};
  return report::standalone_svg(report::render(chart));
}

class ExtractSearchVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {
        .name = "extract search",
        .group = "Attack",
        .summary = "thresholds that make a copy leave where the victim left, with a proof of optimality",
        .example = "offramp extract search --confidences out/fit/confidences.csv --json out/strategy.json",
        .details =
            "The CSV file has columns exit (the victim's, from 1), c1 .. cK (the copy's confidence at each "
            "exit) and perhaps weight (0: does not count).\nThe answer: JSON with thresholds (a sample leaves "
            "at the first exit whose confidence is > its threshold), objective, value, upper_bound, optimal, "
            "seconds and more, to --json or to standard output. optimal is false only when --time-limit ended "
            "the search: then nothing beats upper_bound."};
  }

  void declare(Options& options) override {
    options.add("search.confidences", confidences_, "CSV file").positional().required();
    options.add("search.plot", plot_, "SVG file of confidences and thresholds, a row an exit")
        .not_in_config()
        .written();
    tools::declare(options, plan_);
  }

  int run(Session& session) override {
    attacks::Confidences c = attacks::read_confidences(confidences_);
    if (static_cast<std::size_t>(plan_.first) > c.exits.size())
      throw UsageError(fmt::format("{}: thresholds are wanted from the first {} rows, there are {}",
                                   confidences_.string(),
                                   plan_.first,
                                   c.exits.size()));
    c.keep_first(static_cast<std::size_t>(plan_.first));
    set_session(session, plan_);
    SessionListener listener(session);
    const auto searched = attacks::search_stage(c, plan_, Device::by_name(session.device()), listener);
    const stats::SearchResult& r = searched.strategy.search;
    nlohmann::ordered_json json = searched.json;
    const bool joint = plan_.options.objective == stats::SearchObjective::kJoint;
    if (!plot_.empty()) {
      write_file_atomically(plot_,
                            plot(c,
                                 r.thresholds,
                                 fmt::format("{} objective: {} of {} samples",
                                             joint ? "Joint" : "Separable",
                                             searched.strategy.joint,
                                             c.exits.size())));
      json["plot"] = plot_.string();
    }
    session.answer_json(
        json,
        fmt::format("{}: {} {} of {} in {:.3g} s{}\n",
                    session.json_file().string(),
                    joint ? "joint" : "separable",
                    searched.strategy.joint,
                    c.exits.size(),
                    r.seconds,
                    !joint      ? fmt::format(", each exit by itself; the sum over exits is {}", r.value)
                    : r.optimal ? ", proven optimal"
                                : fmt::format(", at most {} possible", r.upper_bound)));
    return kDone;
  }

 private:
  std::filesystem::path confidences_, plot_;
  attacks::SearchPlan plan_;
};

}  // namespace

std::unique_ptr<Verb> make_extract_search_verb() { return std::make_unique<ExtractSearchVerb>(); }

}  // namespace offramp::tools
