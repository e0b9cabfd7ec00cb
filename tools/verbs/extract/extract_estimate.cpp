// offramp extract estimate: how many exits there are and which one each query took, from running times alone.
#include "attacks/query/trace.h"
#include "base/atomic_file.h"
#include "base/errors.h"
#include "engine/device_algorithms.h"
#include "stats/exits/exit_estimation.h"
#include "stats/kde.h"
#include "tools/report/svg_writer.h"
#include "tools/report/xy_chart.h"
#include "tools/verbs/stats/number_table.h"
#include "tools/verbs/verbs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace offramp::tools {
namespace {

using stats::EstimationMethod;
using stats::SigmaSource;
using stats::TimeStatistic;

struct RecordedTimes {
  std::vector<double> ns;  // [n, repetitions]
  std::size_t repetitions = 0;
  std::vector<std::int32_t> order;  // as a trace's; empty: not known
};

RecordedTimes read_times(const std::filesystem::path& given) {
  const std::filesystem::path path = std::filesystem::is_directory(given) ? given / "times.csv" : given;
  const NumberTable table = read_number_table(path);
  RecordedTimes times;
  if (table.find("nanoseconds")) {
    times.ns = table.column("nanoseconds");
    times.repetitions = 1;
    return times;
  }
  times.repetitions = table.numbered("t");
  if (times.repetitions == 0) {
    throw FileError(path.string(),
                    "expected a column 'nanoseconds', or 't1', 't2', .. for repetitions, found '" +
                        fmt::format("{}", fmt::join(table.header, "', '")) + "'");
  }
  times.ns.resize(table.rows * times.repetitions);
  for (std::size_t r = 0; r < times.repetitions; ++r) {
    const std::vector<double>& column = table.column("t" + std::to_string(r + 1));
    for (std::size_t i = 0; i < table.rows; ++i) times.ns[i * times.repetitions + r] = column[i];
  }
  if (const auto order = given / "order.csv"; std::filesystem::exists(order))
    times.order = attacks::read_order(
        order, static_cast<std::int64_t>(table.rows), static_cast<int>(times.repetitions));
  return times;
}

const char* name_of(SigmaSource source) {
  switch (source) {
    case SigmaSource::kGiven:
      return "given";
    case SigmaSource::kRepetitions:
      return "repetitions";
    case SigmaSource::kWithinClusters:
      return "spread within clusters";
    case SigmaSource::kTimerResolution:
      return "timer resolution";
  }
  return "";
}

// Infinity has no spelling in JSON.
nlohmann::ordered_json finite_or_null(double value) {
  return std::isfinite(value) ? nlohmann::ordered_json(value) : nlohmann::ordered_json(nullptr);
}

std::string count_of_exits(std::size_t n) { return fmt::format("{} exit{}", n, n == 1 ? "" : "s"); }

// Density of all times, a histogram per exit, the thresholds, and a tick per sample.
std::string plot(const stats::ExitEstimate& e, const std::string& title) {
  constexpr double kMicro = 1e-3;
  constexpr std::size_t kGrid = 800, kPointsPerExit = 1000, kBins = 160;
  const auto [low, high] = std::minmax_element(e.statistic_ns.begin(), e.statistic_ns.end());
  report::XyChart chart;
  chart.frame.title = title;
  chart.frame.subtitle = e.advice;
  chart.frame.x.label = "time per query [us]";
  chart.frame.y.label = "density [1/us]";
  double top = 0;
  if (e.bandwidth_ns > 0) {
    report::Series density{.name = "density", .colour = 7};
    std::vector<double> at;
    const double margin = 3 * e.bandwidth_ns;
    for (std::size_t i = 0; i < kGrid; ++i) {
      const double share = static_cast<double>(i) / static_cast<double>(kGrid - 1);
      at.push_back(std::max(*low - margin, 0.0) + (*high + 2 * margin - *low) * share);
    }
    density.y = stats::kde_binned(e.statistic_ns, at, e.bandwidth_ns);
    for (std::size_t i = 0; i < kGrid; ++i) {
      density.x.push_back(at[i] * kMicro);
      density.y[i] /= kMicro;
      top = std::max(top, density.y[i]);
    }
    chart.series.push_back(std::move(density));
  }
  // A histogram of each exit's samples, its area their share, and a strip below the axis in which every
  // single one (of many: up to kPointsPerExit an exit) has its tick, outliers included.
  const double width = (*high > *low ? *high - *low : 1) * kMicro / kBins;
  double highest = top;
  for (std::size_t k = 0; k < e.num_exits; ++k) {
    report::Histogram bars{.name = fmt::format("exit {} ({})", k + 1, e.counts[k]),
                           .colour = static_cast<int>(k % 7)};
    bars.counts.assign(kBins, 0);
    for (std::size_t i = 0; i <= kBins; ++i) {
      bars.edges.push_back(*low * kMicro + width * static_cast<double>(i));
    }
    for (std::size_t i = 0; i < e.exits.size(); ++i) {
      if (e.exits[i] != k + 1) continue;
      const double bin = (e.statistic_ns[i] - *low) * kMicro / width;
      double& height = bars.counts[std::min(static_cast<std::size_t>(bin), kBins - 1)];
      height += 1 / (width * static_cast<double>(e.exits.size()));
      highest = std::max(highest, height);
    }
    chart.histograms.push_back(std::move(bars));
  }
  chart.frame.y.min = -0.06 * highest;
  chart.frame.y.max = 1.1 * highest;
  for (std::size_t k = 0; k < e.num_exits; ++k) {
    report::Series strip{.colour = static_cast<int>(k % 7)};
    const std::size_t step = e.counts[k] / kPointsPerExit + 1;
    std::size_t seen = 0;
    for (std::size_t i = 0; i < e.exits.size(); ++i) {
      if (e.exits[i] != k + 1 || seen++ % step != 0) continue;
      const double at = e.statistic_ns[i] * kMicro;
      strip.x.insert(strip.x.end(), {at, at, std::numeric_limits<double>::quiet_NaN()});
      strip.y.insert(strip.y.end(), {-0.045 * highest, -0.015 * highest, 0});
    }
    chart.series.push_back(std::move(strip));
  }
  for (const double t : e.thresholds_ns)
    chart.rules.push_back({.at = t * kMicro, .label = fmt::format("{:.4g}", t * kMicro)});
  return report::standalone_svg(report::render(chart));
}

class ExtractEstimateVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {
        .name = "extract estimate",
        .group = "Attack",
        .summary = "number of exits and the exit of every query, from running times",
        .example = "offramp extract estimate --times out/extract-query/trace --out out/estimate.json",
        .details =
            "The times: a CSV file with a column 'nanoseconds', or 't1', 't2', .. for repetitions, or the "
            "trace folder of `extract query`.\nThe answer: JSON with exits, thresholds_ns, counts, sigma_ns "
            "and "
            "advice, to --out or to standard output; with --out also assignment.csv "
            "(index,exit,confidence) beside it."};
  }

  void declare(Options& options) override {
    options.add("estimate.times", times_, "CSV file or trace folder").positional().required();
    options.add("estimate.out", out_, "JSON file; standard output if not given").not_in_config();
    options.add("estimate.assignment", assignment_, "CSV file; assignment.csv beside --out if not given")
        .not_in_config();
    options.add("estimate.plot", plot_, "SVG file of density, thresholds and assignment").not_in_config();
    options.add("estimate.method", method_, "density (KDE valleys) or Bayesian changepoints")
        .choices({"kde", "changepoints"});
    options
        .add("estimate.statistic",
             statistic_,
             "one number from the repetitions of a sample; auto: min or q20, or q20 or median where the "
             "machine's speed was divided out, whichever repeats best")
        .choices({"auto", "min", "q20", "median", "mean"});
    options.add("estimate.raw_times",
                raw_times_,
                "take the times as they are; else a trace's order.csv tells when each was measured, and the "
                "machine's speed of that moment is divided out where that repeats better");
    options.add("estimate.exits", exits_, "keep this many exits; 0: find the number").range(0, 1e6);
    options.add("estimate.sigma_ns", sigma_, "noise of the statistic; from the repetitions if not given");
    options.add("estimate.bandwidth_ns",
                bandwidth_,
                "of the density; if not given half of sigma, and with repetitions at least 1.5 % of the "
                "range of times");
    options.add("estimate.max_valley_ratio", ratio_, "a valley above this share of its lower peak is none")
        .range(0, 1);
    options.add("estimate.min_share", share_, "smallest share of the samples that makes an exit").range(0, 1);
  }

  int run(Session& session) override {
    const RecordedTimes times = read_times(times_);
    stats::EstimationOptions how = options(session);
    if (!raw_times_) how.order = times.order;
    const stats::ExitEstimate e = stats::estimate_exits(times.ns, times.repetitions, how);
    if (assignment_.empty() && !out_.empty()) assignment_ = out_.parent_path() / "assignment.csv";
    nlohmann::ordered_json json{{"exits", e.num_exits},
                                {"thresholds_ns", e.thresholds_ns},
                                {"counts", e.counts},
                                {"sigma_ns", e.sigma_ns},
                                {"advice", e.advice},
                                {"reliable", e.reliable},
                                {"sigma_from", name_of(e.sigma_source)},
                                {"separation_sigmas", finite_or_null(e.separation_sigmas)},
                                {"repetitions", times.repetitions},
                                {"repetitions_needed", e.repetitions_needed},
                                {"drift_sigmas", e.drift_sigmas},
                                {"bandwidth_ns", e.bandwidth_ns},
                                {"centres_ns", e.centres_ns},
                                {"samples", e.exits.size()},
                                {"method", method_},
                                {"statistic", stats::name_of(e.statistic)},
                                {"speed_divided_out", e.evened},
                                {"slowness", {e.shortest, e.longest}}};
    if (!assignment_.empty()) {
      std::string rows = "index,exit,confidence\n";
      for (std::size_t i = 0; i < e.exits.size(); ++i) {
        rows += fmt::format("{},{},{}\n", i, e.exits[i], e.confidence[i]);
      }
      write_file_atomically(assignment_, rows);
      json["assignment"] = assignment_.string();
    }
    if (!plot_.empty()) {
      write_file_atomically(
          plot_,
          plot(e,
               fmt::format("{} from the times of {} queries", count_of_exits(e.num_exits), e.exits.size())));
      json["plot"] = plot_.string();
    }
    if (out_.empty()) {
      session.answer(json.dump(2) + "\n", json);
    } else {
      write_file_atomically(out_, json.dump(2) + "\n");
      session.answer(fmt::format("{}: {}; {}\n", out_.string(), count_of_exits(e.num_exits), e.advice), json);
    }
    return 0;
  }

 private:
  stats::EstimationOptions options(const Session& session) const {
    stats::EstimationOptions o;
    o.method = method_ == "kde" ? EstimationMethod::kDensity : EstimationMethod::kChangepoints;
    for (const auto statistic : {TimeStatistic::kLeastNoisy,
                                 TimeStatistic::kMinimum,
                                 TimeStatistic::kQuantile20,
                                 TimeStatistic::kMedian,
                                 TimeStatistic::kMean})
      if (statistic_ == stats::name_of(statistic)) o.statistic = statistic;
    o.sigma_ns = sigma_;
    o.bandwidth_ns = bandwidth_;
    if (exits_ > 0) o.known_exits = static_cast<std::size_t>(exits_);
    o.max_valley_ratio = ratio_;
    o.min_share = share_;
    o.threads = static_cast<unsigned>(session.threads());
    if (session.device() == "cuda") {
      o.density = [](std::span<const double> sample,
                     std::span<const double> points,
                     double bandwidth,
                     double cell_width,
                     double reach) {
        return device_algorithms::kde_cells(Device::cuda(), sample, points, bandwidth, cell_width, reach);
      };
      o.segmentation = [](std::span<const double> y,
                          const stats::NormalGammaPrior& prior,
                          const stats::LengthPrior& length) {
        device_algorithms::SegmentMap map =
            device_algorithms::segment_map(Device::cuda(),
                                           y,
                                           {.mu0 = prior.mu0,
                                            .k0 = prior.k0,
                                            .a0 = prior.a0,
                                            .b0 = prior.b0,
                                            .log_mass = length.log_mass,
                                            .log_survival = length.log_survival});
        return stats::MapSegmentation{map.log_joint, std::move(map.starts)};
      };
    }
    return o;
  }

  std::filesystem::path times_, out_, assignment_, plot_;
  std::string method_ = "kde", statistic_ = "auto";
  int exits_ = 0;
  bool raw_times_ = false;
  std::optional<double> sigma_, bandwidth_;
  double ratio_ = 0.5, share_ = 0.005;
};

}  // namespace

std::unique_ptr<Verb> make_extract_estimate_verb() { return std::make_unique<ExtractEstimateVerb>(); }

}  // namespace offramp::tools
