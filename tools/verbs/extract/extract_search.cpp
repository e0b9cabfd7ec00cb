// offramp extract search: thresholds under which a copy leaves where the victim left.
#include "base/atomic_file.h"
#include "base/errors.h"
#include "engine/device_algorithms.h"
#include "stats/search/threshold_search.h"
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

struct Confidences {
  std::vector<double> values, weights;
  std::vector<int> exits;
  std::size_t num_exits = 0;

  void keep(std::size_t rows) {
    exits.resize(rows);
    values.resize(rows * num_exits);
    if (!weights.empty()) weights.resize(rows);
  }
};

Confidences read_confidences(const std::filesystem::path& path) {
  const NumberTable table = read_number_table(path);
  Confidences c;
  c.num_exits = table.numbered("c");
  if (c.num_exits < 2) {
    throw FileError(path.string(),
                    "expected columns exit, c1, c2, .. (at least two exits) and perhaps weight, found '" +
                        fmt::format("{}", fmt::join(table.header, "', '")) + "'");
  }
  for (std::size_t i = 0; i < table.rows; ++i) {
    const double exit = table.column("exit")[i];
    if (!(exit >= 1 && exit <= static_cast<double>(c.num_exits)) || exit != std::floor(exit)) {
      throw FileError(
          path.string(),
          fmt::format("row {}: expected an exit from 1 to {}, found {}", i + 1, c.num_exits, exit));
    }
    c.exits.push_back(static_cast<int>(exit));
  }
  c.values.resize(table.rows * c.num_exits);
  for (std::size_t k = 0; k < c.num_exits; ++k) {
    const std::vector<double>& column = table.column("c" + std::to_string(k + 1));
    for (std::size_t i = 0; i < table.rows; ++i) c.values[i * c.num_exits + k] = column[i];
  }
  if (table.find("weight")) c.weights = table.column("weight");
  return c;
}

stats::RankedOptimum solve_on_device(const stats::RankedProblem& problem) {
  device_algorithms::JointProblem p;
  p.candidates = problem.candidates;
  p.position = problem.position;
  p.exit = problem.exit;
  p.weight = problem.weight;
  p.start = problem.start;
  p.time_limit_s = problem.time_limit_s;
  const device_algorithms::JointAnswer a = device_algorithms::joint_search(Device::cuda(), p);
  return {a.point, static_cast<double>(a.upper_bound), a.optimal, a.boxes};
}

// A row an exit: confidences of the samples that should leave there and of those that should go on, and the
// threshold between them. Samples that left earlier never arrive and are not shown.
std::string plot(const Confidences& c, const std::vector<double>& thresholds, const std::string& title) {
  constexpr std::size_t kPointsPerRow = 400;
  report::XyChart chart;
  chart.frame.title = title;
  chart.frame.subtitle = fmt::format("of each exit and kind at most {} samples are drawn", kPointsPerRow);
  chart.frame.x.label = "confidence of the copy";
  chart.frame.y.label = "exit";
  chart.frame.y.min = 0.4;
  chart.frame.y.max = static_cast<double>(c.num_exits) - 0.4;
  chart.frame.height = 160 + 80 * static_cast<double>(c.num_exits - 1);
  report::Series leave{.name = "left here", .draw = report::Draw::kPoints, .colour = 0};
  report::Series stay{.name = "left later", .draw = report::Draw::kPoints, .colour = 1};
  report::Series limit{.name = "threshold", .colour = 7};
  constexpr double kGap = std::numeric_limits<double>::quiet_NaN();
  for (std::size_t k = 0; k + 1 < c.num_exits; ++k) {
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
        kind->x.push_back(c.values[i * c.num_exits + k]);
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
        .example = "offramp extract search --confidences out/fit/confidences.csv --out out/strategy.json",
        .details =
            "The CSV file has columns exit (the victim's, from 1), c1 .. cK (the copy's confidence at each "
            "exit) and "
            "perhaps weight (0: does not count).\nThe answer: JSON with thresholds (a sample leaves at the "
            "first exit "
            "whose confidence is > its threshold), objective, value, upper_bound, optimal and seconds, to "
            "--out or to "
            "standard output. optimal is false only when --time-limit ended the search: then nothing beats "
            "upper_bound."};
  }

  void declare(Options& options) override {
    options.add("search.confidences", confidences_, "CSV file").positional().required();
    options.add("search.out", out_, "JSON file; standard output if not given").not_in_config();
    options.add("search.plot", plot_, "SVG file of confidences and thresholds, a row an exit")
        .not_in_config();
    options
        .add("search.objective",
             objective_,
             "samples that leave where the victim left, or each exit by itself")
        .choices({"joint", "separable"});
    options
        .add("search.others",
             others_,
             "separable: who should stay at an exit, those that leave later or all others")
        .choices({"remaining", "all"});
    options.add("search.time_limit", time_limit_, "seconds; 0: none").range(0, 1e9);
    options
        .add("search.first",
             first_,
             "only the first so many rows count: those that resemble what the copy will meet; 0: all")
        .range(0, 1e9);
  }

  int run(Session& session) override {
    Confidences c = read_confidences(confidences_);
    if (static_cast<std::size_t>(first_) > c.exits.size())
      throw UsageError(fmt::format("{}: thresholds are wanted from the first {} rows, there are {}",
                                   confidences_.string(),
                                   first_,
                                   c.exits.size()));
    if (first_ > 0) c.keep(static_cast<std::size_t>(first_));
    stats::SearchOptions o;
    o.objective = objective_ == "joint" ? stats::SearchObjective::kJoint : stats::SearchObjective::kSeparable;
    o.others = others_ == "all" ? stats::SeparableOthers::kAll : stats::SeparableOthers::kRemaining;
    if (time_limit_ > 0) o.time_limit_s = time_limit_;
    o.threads = static_cast<unsigned>(session.threads());
    if (session.device() == "cuda") o.solver = solve_on_device;
    const stats::SearchSamples samples{c.values, c.exits, c.num_exits, c.weights};
    const stats::SearchResult r = stats::search_thresholds(samples, o);
    nlohmann::ordered_json json{{"thresholds", r.thresholds},
                                {"objective", objective_},
                                {"value", r.value},
                                {"upper_bound", r.upper_bound},
                                {"optimal", r.optimal},
                                {"seconds", r.seconds},
                                {"time_limit_reached", r.time_limit_reached},
                                {"nodes", r.nodes},
                                {"joint_value", stats::joint_value(samples, r.thresholds)},
                                {"samples", c.exits.size()},
                                {"exits", c.num_exits}};
    if (!plot_.empty()) {
      write_file_atomically(plot_,
                            plot(c,
                                 r.thresholds,
                                 fmt::format("{} objective: {} of {} samples",
                                             objective_ == "joint" ? "Joint" : "Separable",
                                             r.value,
                                             c.exits.size())));
      json["plot"] = plot_.string();
    }
    if (out_.empty()) {
      session.answer(json.dump(2) + "\n", json);
    } else {
      write_file_atomically(out_, json.dump(2) + "\n");
      session.answer(
          fmt::format("{}: {} {} of {} in {:.3g} s{}\n",
                      out_.string(),
                      objective_,
                      r.value,
                      c.exits.size(),
                      r.seconds,
                      r.optimal ? ", proven optimal" : fmt::format(", at most {} possible", r.upper_bound)),
          json);
    }
    return 0;
  }

 private:
  std::filesystem::path confidences_, out_, plot_;
  std::string objective_ = "joint", others_ = "remaining";
  double time_limit_ = 0;
  int first_ = 0;
};

}  // namespace

std::unique_ptr<Verb> make_extract_search_verb() { return std::make_unique<ExtractSearchVerb>(); }

}  // namespace offramp::tools
