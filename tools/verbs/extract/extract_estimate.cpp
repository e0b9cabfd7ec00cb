// offramp extract estimate: how many exits there are and which one each query took, from running times alone.
#include "attacks/extraction/stages.h"
#include "base/atomic_file.h"
#include "stats/kde.h"
#include "tools/report/figures.h"
#include "tools/report/svg_writer.h"
#include "tools/verbs/extract/options.h"
#include "tools/verbs/extract/session_listener.h"
#include "tools/verbs/verbs.h"

#include <fmt/format.h>

#include <algorithm>

namespace offramp::tools {
namespace {

std::string count_of_exits(std::size_t n) { return fmt::format("{} exit{}", n, n == 1 ? "" : "s"); }

std::string plot(const stats::ExitEstimate& e, const std::string& title) {
  constexpr std::size_t kGrid = 800;
  const auto [low, high] = std::minmax_element(e.statistic_ns.begin(), e.statistic_ns.end());
  report::TimeDensity figure;
  figure.title = title;
  figure.subtitle = e.advice;
  figure.x_label = "time per query [us]";
  figure.begin_ns = *low;
  figure.end_ns = *high;
  figure.bins = 160;
  figure.ticks = true;
  figure.times_ns = e.statistic_ns;
  for (const std::size_t exit : e.exits) figure.exit.push_back(static_cast<int>(exit));
  for (std::size_t k = 0; k < e.num_exits; ++k)
    figure.exit_names.push_back(fmt::format("exit {} ({})", k + 1, e.counts[k]));
  figure.thresholds_ns = e.thresholds_ns;
  // The mixture has no bandwidth: half the narrowest exit's spread shows the same peaks.
  const double bandwidth = e.spreads_ns.empty()
                               ? e.bandwidth_ns
                               : 0.5 * *std::min_element(e.spreads_ns.begin(), e.spreads_ns.end());
  if (bandwidth > 0 && *high > *low) {
    const double margin = 3 * bandwidth;
    for (std::size_t i = 0; i < kGrid; ++i) {
      const double share = static_cast<double>(i) / static_cast<double>(kGrid - 1);
      figure.curve_ns.push_back(std::max(*low - margin, 0.0) + (*high + 2 * margin - *low) * share);
    }
    figure.curve = stats::kde_binned(e.statistic_ns, figure.curve_ns, bandwidth);
    figure.curve_name = "density";
  }
  return report::standalone_svg(report::time_density(figure));
}

class ExtractEstimateVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {
        .name = "extract estimate",
        .group = "Attack",
        .summary = "number of exits and the exit of every query, from running times",
        .example = "offramp extract estimate --times out/extract-query/trace --json out/estimate.json",
        .details =
            "The times: a CSV file with a column 'nanoseconds', or 't1', 't2', .. for repetitions, or the "
            "trace folder of `extract query`.\nThe answer: JSON with exits, thresholds_ns, counts, sigma_ns, "
            "advice and more, to --json or to standard output; with --json also assignment.csv "
            "(index,exit,confidence) beside it."};
  }

  void declare(Options& options) override {
    plan_.options.method = stats::EstimationMethod::kMixture;  // takes anybody's timings
    options.add("estimate.times", times_, "CSV file or trace folder").positional().required();
    options.add("estimate.assignment", assignment_, "CSV file; assignment.csv beside --json if not given")
        .not_in_config()
        .written();
    options.add("estimate.plot", plot_, "SVG file of density, thresholds and assignment")
        .not_in_config()
        .written();
    tools::declare(options, plan_);
  }

  int run(Session& session) override {
    if (assignment_.empty() && !session.json_file().empty()) {
      assignment_ = session.json_file().parent_path() / "assignment.csv";
      session.may_write("--assignment, by default beside --json", assignment_);
    }
    set_session(session, plan_);
    SessionListener listener(session);
    const attacks::RecordedTimes times = attacks::read_times(times_);
    const auto estimated = attacks::estimate_stage(times, plan_, Device::by_name(session.device()), listener);
    const stats::ExitEstimate& e = estimated.estimate;
    nlohmann::ordered_json json = estimated.json;
    if (!assignment_.empty()) {
      attacks::write_assignment(assignment_, e, times.index);
      json["assignment"] = assignment_.string();
    }
    if (!plot_.empty()) {
      write_file_atomically(
          plot_,
          plot(e,
               fmt::format("{} from the times of {} queries", count_of_exits(e.num_exits), e.exits.size())));
      json["plot"] = plot_.string();
    }
    session.answer_json(
        json,
        fmt::format("{}: {}; {}\n", session.json_file().string(), count_of_exits(e.num_exits), e.advice));
    return kDone;
  }

 private:
  std::filesystem::path times_, assignment_, plot_;
  attacks::EstimatePlan plan_;
};

}  // namespace

std::unique_ptr<Verb> make_extract_estimate_verb() { return std::make_unique<ExtractEstimateVerb>(); }

}  // namespace offramp::tools
