// offramp extract search: thresholds under which a copy leaves where the victim left.
#include "engine/atomic_file.h"
#include "engine/errors.h"
#include "stats/threshold_search.h"
#include "tools/verbs/number_table.h"
#include "tools/verbs/verbs.h"

#include <fmt/format.h>

#include <cmath>

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
    const stats::SearchSamples samples{c.values, c.exits, c.num_exits, c.weights};
    const stats::SearchResult r = stats::search_thresholds(samples, o);
    const nlohmann::ordered_json json{{"thresholds", r.thresholds},
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
  std::filesystem::path confidences_, out_;
  std::string objective_ = "joint", others_ = "remaining";
  double time_limit_ = 0;
  int first_ = 0;
};

}  // namespace

std::unique_ptr<Verb> make_extract_search_verb() { return std::make_unique<ExtractSearchVerb>(); }

}  // namespace offramp::tools
