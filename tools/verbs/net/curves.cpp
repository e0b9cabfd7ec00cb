// offramp curves: what training runs did epoch by epoch; runs that differ in their seed alone are one curve.
#include "base/atomic_file.h"
#include "base/errors.h"
#include "tools/frame/run_folder.h"
#include "tools/frame/table.h"
#include "tools/report/svg_writer.h"
#include "tools/report/xy_chart.h"
#include "tools/verbs/verbs.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <numeric>
#include <set>

namespace offramp::tools {
namespace {

using Settings = std::map<std::string, std::string>;

struct Epoch {
  std::vector<double> values;  // [exits], or one loss
  double images_per_second = 0;
};

struct Run {
  Settings settings;
  std::vector<Epoch> epochs;
  std::string accuracy_of = "test";  // or held-out: the samples that `train` tried the net on
};

// Mean, least and greatest over the runs of a curve, at one epoch and exit.
struct Spread {
  double mean = 0, least = 0, greatest = 0;
};

struct Curve {
  std::string name;
  std::vector<Run> runs;
  std::vector<std::vector<Spread>> at = {};  // [epochs that every run has][exits]
};

const char* json_key(const std::string& value) {
  return value == "test" ? "test_accuracy" : value == "train" ? "train_accuracy" : "loss";
}

Run read_run(const std::filesystem::path& folder, const std::string& value) {
  Run run{.settings = run_settings(folder), .epochs = {}};
  const auto path = folder / "metrics.jsonl";
  std::ifstream in(path, std::ios::binary);
  std::string line;
  for (int number = 1; std::getline(in, line); ++number) {
    const auto json = nlohmann::json::parse(line, nullptr, false);
    if (json.is_discarded() || !json.contains("epoch"))
      continue;  // a line that a crash cut off, another event
    try {
      const auto& found = json.at(json_key(value));
      Epoch epoch;
      if (found.is_array()) {
        for (const double v : found) epoch.values.push_back(100 * v);
      } else {
        epoch.values.push_back(found);
      }
      epoch.images_per_second = json.value("images_per_second", 0.0);
      run.accuracy_of = json.value("accuracy_of", run.accuracy_of);
      if (!run.epochs.empty() && epoch.values.size() != run.epochs[0].values.size())
        throw FileError(path.string(), fmt::format("line {}: another number of exits than before", number));
      run.epochs.push_back(std::move(epoch));
    } catch (const nlohmann::json::exception&) {
      throw FileError(path.string(),
                      fmt::format("line {}: expected numbers under '{}'", number, json_key(value)));
    }
  }
  if (run.epochs.empty())
    throw FileError(path.string(), "holds no epoch; curves are of runs of `offramp train`");
  return run;
}

// What does not change the curve that is wanted, or is averaged over.
void forget_what_is_averaged(Settings& settings) {
  settings.erase("seed");
  settings.erase("train.checkpoint_every");
}

std::vector<Curve> group(std::vector<Run> runs) {
  std::vector<Curve> curves;
  for (Run& run : runs) {
    forget_what_is_averaged(run.settings);
    const auto same = std::find_if(
        curves.begin(), curves.end(), [&](const Curve& c) { return c.runs[0].settings == run.settings; });
    if (same == curves.end()) {
      curves.push_back({"", {std::move(run)}});
    } else {
      same->runs.push_back(std::move(run));
    }
  }
  // Named by the settings in which they differ; a single one by its net.
  std::set<std::string> keys;
  for (const Curve& c : curves)
    for (const auto& [key, text] : c.runs[0].settings)
      for (const Curve& other : curves) {
        const auto found = other.runs[0].settings.find(key);
        if (found == other.runs[0].settings.end() || found->second != text) keys.insert(key);
      }
  if (keys.empty()) keys.insert("net.name");
  for (Curve& c : curves) {
    std::vector<std::string> words;
    for (const auto& key : keys) {
      const auto found = c.runs[0].settings.find(key);
      std::string text = found == c.runs[0].settings.end() ? "-" : found->second;
      std::erase(text, '"');
      const bool speaks = !text.empty() && text.find_first_not_of("0123456789.-[] ,") != std::string::npos &&
                          text != "true" && text != "false";
      words.push_back(speaks ? text : key.substr(key.rfind('.') + 1) + " " + text);
    }
    c.name = fmt::format("{}", fmt::join(words, ", "));
  }
  return curves;
}

void average(Curve& curve) {
  std::size_t epochs = curve.runs[0].epochs.size();
  for (const Run& run : curve.runs) epochs = std::min(epochs, run.epochs.size());
  for (std::size_t e = 0; e < epochs; ++e) {
    std::vector<Spread> row;
    for (std::size_t k = 0; k < curve.runs[0].epochs[0].values.size(); ++k) {
      Spread s{0, curve.runs[0].epochs[e].values[k], curve.runs[0].epochs[e].values[k]};
      for (const Run& run : curve.runs) {
        const double v = run.epochs[e].values[k];
        s.mean += v / static_cast<double>(curve.runs.size());
        s.least = std::min(s.least, v);
        s.greatest = std::max(s.greatest, v);
      }
      s.mean = std::clamp(s.mean, s.least, s.greatest);  // a sum of equal values may round beyond them
      row.push_back(s);
    }
    curve.at.push_back(std::move(row));
  }
}

// Of all epochs of all runs: the middle one is little moved by what else the machine did.
double median_speed(const Curve& curve) {
  std::vector<double> speeds;
  for (const Run& run : curve.runs)
    for (const Epoch& epoch : run.epochs) speeds.push_back(epoch.images_per_second);
  std::nth_element(
      speeds.begin(), speeds.begin() + static_cast<std::ptrdiff_t>(speeds.size() / 2), speeds.end());
  return speeds[speeds.size() / 2];
}

class CurvesVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {.name = "curves",
            .group = "Measure",
            .summary = "compare training runs epoch by epoch, as a table and a picture",
            .example = "offramp curves out/f32-1 out/f32-2 out/bf16-1 out/bf16-2 --plot out/curves.svg",
            .details =
                "Runs that differ in their seed alone make one curve: their mean, and a band from the least "
                "to the greatest.\nCurves are named by the settings in which they differ. Of several curves "
                "the picture shows one exit, of a single one all of them.\nRuns that are still going on "
                "count as far as they are."};
  }

  void declare(Options& options) override {
    options.add("curves.runs", runs_, "folders of `offramp train`").positional().required();
    options
        .add("curves.value",
             value_,
             "accuracy on the test set (or the held-out samples) or the training set, or the training loss")
        .choices({"test", "train", "loss"});
    options.add("curves.exit", exit_, "the exit to draw, from 1; 0: the last one, or all of a single curve")
        .range(0, 1000);
    options.add("curves.plot", plot_, "SVG file").not_in_config().written();
    options.add("curves.csv", csv_, "every point: curve, epoch, exit, mean, least, greatest")
        .not_in_config()
        .written();
  }

  int run(Session& session) override {
    std::vector<Run> runs;
    for (auto folder = runs_.begin(); folder != runs_.end(); ++folder)
      for (auto before = runs_.begin(); before != folder; ++before)
        if (std::error_code none; std::filesystem::equivalent(*before, *folder, none))
          throw UsageError(*folder + ": is given twice, and would count as two runs");
    for (const auto& folder : runs_) runs.push_back(read_run(folder, value_));
    accuracy_of_ = runs.front().accuracy_of;
    for (const Run& one : runs)
      if (one.accuracy_of != accuracy_of_) accuracy_of_ = "test or held-out";
    std::vector<Curve> curves = group(std::move(runs));
    for (Curve& curve : curves) average(curve);
    for (const Curve& curve : curves)
      if (static_cast<std::size_t>(exit_) > curve.at[0].size())
        throw UsageError(
            fmt::format("--exit {}: the runs of '{}' have {}", exit_, curve.name, curve.at[0].size()));
    if (!csv_.empty()) points(curves).write_csv(csv_);
    if (!plot_.empty()) write_file_atomically(plot_, report::standalone_svg(report::render(chart(curves))));
    session.answer(summary(curves), as_json(curves));
    return kDone;
  }

 private:
  bool is_loss() const { return value_ == "loss"; }
  std::string exit_name(std::size_t k) const { return is_loss() ? "loss" : fmt::format("exit {}", k + 1); }
  std::string quantity() const {
    return value_ == "test"    ? accuracy_of_ + " accuracy, %"
           : value_ == "train" ? "training accuracy, %"
                               : "training loss";
  }

  std::string summary(const std::vector<Curve>& curves) const {
    std::size_t widest = 0;
    for (const Curve& c : curves) widest = std::max(widest, c.at[0].size());
    std::vector<std::string> header = {"curve", "runs", "epoch"};
    for (std::size_t k = 0; k < widest; ++k) header.push_back(exit_name(k));
    header.push_back("images/s");
    Table table(header);
    for (const Curve& c : curves) {
      std::vector<std::string> cells = {c.name, std::to_string(c.runs.size()), std::to_string(c.at.size())};
      for (std::size_t k = 0; k < widest; ++k) {
        if (k >= c.at.back().size()) {
          cells.emplace_back("");
          continue;
        }
        const Spread& s = c.at.back()[k];
        const int digits = is_loss() ? 4 : 2;
        cells.push_back(
            c.runs.size() == 1
                ? fmt::format("{:.{}f}", s.mean, digits)
                : fmt::format(
                      "{:.{}f} ({:.{}f}-{:.{}f})", s.mean, digits, s.least, digits, s.greatest, digits));
      }
      cells.push_back(fmt::format("{:.0f}", median_speed(c)));
      table.row(cells);
    }
    return quantity() + " after the last epoch of each curve; several runs: mean (least-greatest)\n" +
           table.text();
  }

  nlohmann::ordered_json as_json(const std::vector<Curve>& curves) const {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const Curve& c : curves) {
      nlohmann::ordered_json epochs = nlohmann::ordered_json::array();
      for (const auto& row : c.at) {
        nlohmann::ordered_json exits = nlohmann::ordered_json::array();
        for (const Spread& s : row)
          exits.push_back({{"mean", s.mean}, {"least", s.least}, {"greatest", s.greatest}});
        epochs.push_back(std::move(exits));
      }
      list.push_back({{"curve", c.name},
                      {"runs", c.runs.size()},
                      {"images_per_second", median_speed(c)},
                      {"epochs", std::move(epochs)}});
    }
    return {{"value", json_key(value_)}, {"unit", is_loss() ? "" : "%"}, {"curves", std::move(list)}};
  }

  Table points(const std::vector<Curve>& curves) const {
    Table table({"curve", "epoch", "exit", "mean", "least", "greatest"});
    for (const Curve& c : curves)
      for (std::size_t e = 0; e < c.at.size(); ++e)
        for (std::size_t k = 0; k < c.at[e].size(); ++k) {
          const Spread& s = c.at[e][k];
          table.row({c.name,
                     std::to_string(e + 1),
                     std::to_string(k + 1),
                     fmt::format("{}", s.mean),
                     fmt::format("{}", s.least),
                     fmt::format("{}", s.greatest)});
        }
    return table;
  }

  report::XyChart chart(const std::vector<Curve>& curves) const {
    report::XyChart out;
    out.frame.x.label = "epoch";
    out.frame.y.label = quantity();
    const auto add = [&](const Curve& c, std::size_t k, std::string name, int colour) {
      report::Series series{.name = std::move(name), .colour = colour};
      for (std::size_t e = 0; e < c.at.size(); ++e) {
        series.x.push_back(static_cast<double>(e + 1));
        series.y.push_back(c.at[e][k].mean);
        if (c.runs.size() == 1) continue;
        series.low.push_back(c.at[e][k].least);
        series.high.push_back(c.at[e][k].greatest);
      }
      out.series.push_back(std::move(series));
    };
    if (curves.size() == 1 && exit_ == 0) {
      out.frame.title = curves[0].name;
      for (std::size_t k = 0; k < curves[0].at[0].size(); ++k)
        add(curves[0], k, exit_name(k), static_cast<int>(k % 8));
    } else {
      out.frame.title = is_loss()    ? "loss"
                        : exit_ == 0 ? "last exit"
                                     : exit_name(static_cast<std::size_t>(exit_ - 1));
      for (std::size_t i = 0; i < curves.size(); ++i)
        add(curves[i],
            exit_ == 0 ? curves[i].at[0].size() - 1 : static_cast<std::size_t>(exit_ - 1),
            curves[i].name,
            static_cast<int>(i % 8));
    }
    for (const Curve& c : curves)
      if (c.runs.size() > 1) out.frame.subtitle = "mean of several runs, band from the least to the greatest";
    return out;
  }

  std::vector<std::string> runs_;
  std::string value_ = "test", accuracy_of_ = "test";
  int exit_ = 0;
  std::filesystem::path plot_, csv_;
};

}  // namespace

std::unique_ptr<Verb> make_curves_verb() { return std::make_unique<CurvesVerb>(); }

}  // namespace offramp::tools
