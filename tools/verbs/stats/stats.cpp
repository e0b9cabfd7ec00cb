// offramp stats roc, compare, divergence, queries: the toolbox on a CSV file from anywhere.
#include "base/atomic_file.h"
#include "base/errors.h"
#include "stats/checks.h"
#include "stats/divergences.h"
#include "stats/hypothesis_tests.h"
#include "stats/roc.h"
#include "tools/report/svg_writer.h"
#include "tools/report/xy_chart.h"
#include "tools/verbs/stats/number_table.h"
#include "tools/verbs/verbs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace offramp::tools {
namespace {

nlohmann::ordered_json json_of(const stats::Interval& i) {
  return {{"estimate", i.estimate}, {"low", i.low}, {"high", i.high}};
}

// --out of the stats verbs: JSON to a file, or to standard output.
void answer(Session& session, const std::filesystem::path& out, const nlohmann::ordered_json& json) {
  if (out.empty()) {
    session.answer(json.dump(2) + "\n", json);
  } else {
    write_file_atomically(out, json.dump(2) + "\n");
    session.answer(out.string() + "\n", json);
  }
}

// Values of `name` split by the column `member` (1 or 0).
struct Groups {
  std::vector<double> members, others;
};

Groups read_groups(const std::filesystem::path& path, const std::string& name) {
  const NumberTable table = read_number_table(path);
  const std::vector<double>&values = table.column(name), &member = table.column("member");
  Groups g;
  for (std::size_t i = 0; i < table.rows; ++i) {
    if (member[i] != 0 && member[i] != 1) {
      throw FileError(path.string(),
                      fmt::format("row {}: expected member 0 or 1, found {}", i + 1, member[i]));
    }
    if (std::isnan(values[i])) {
      throw FileError(path.string(), fmt::format("row {}: expected a number as {}, found nan", i + 1, name));
    }
    (member[i] == 1 ? g.members : g.others).push_back(values[i]);
  }
  if (g.members.empty() || g.others.empty()) {
    throw FileError(
        path.string(),
        fmt::format("expected rows of members (member 1) and of non-members (member 0), found {} and {}",
                    g.members.size(),
                    g.others.size()));
  }
  return g;
}

// Both axes logarithmic: what counts is how many members are found at few false alarms. Points that lie
// closer than the line is wide are left out.
std::string roc_plot(const stats::Roc& roc, std::size_t members, std::size_t others) {
  constexpr double kStep = 0.01;  // decades
  report::XyChart chart;
  chart.frame.title = fmt::format("ROC, AUC {:.4f}", roc.auc);
  chart.frame.subtitle = fmt::format("{} members, {} others", members, others);
  chart.frame.height = 460;
  chart.frame.x = {.label = "false positive rate", .log = true, .max = 1.0};
  chart.frame.y = {.label = "true positive rate", .log = true, .max = 1.0};
  report::Series curve{.name = "score", .colour = 0};
  for (const stats::RocPoint& point : roc.points) {
    if (!(point.fpr > 0 && point.tpr > 0)) continue;
    const bool last = &point == &roc.points.back();
    if (!last && !curve.x.empty() &&
        std::hypot(std::log10(point.fpr / curve.x.back()), std::log10(point.tpr / curve.y.back())) < kStep) {
      continue;
    }
    curve.x.push_back(point.fpr);
    curve.y.push_back(point.tpr);
  }
  const double least = curve.x.empty() ? 0.1 : curve.x.front();
  report::Series chance{.name = "guessing", .x = {least, 1}, .y = {least, 1}, .colour = 7, .dash = 1};
  chart.series = {std::move(curve), std::move(chance)};
  return report::standalone_svg(report::render(chart));
}

// Losses of both groups on one scale; the last bin takes what lies above the 99.5 % quantile, as in the
// divergence.
std::string loss_plot(const Groups& g, double js_bits) {
  constexpr int kBins = 100;
  std::vector<double> pooled = g.members;
  pooled.insert(pooled.end(), g.others.begin(), g.others.end());
  std::sort(pooled.begin(), pooled.end());
  const double top = pooled[static_cast<std::size_t>(0.995 * static_cast<double>(pooled.size() - 1))];
  const double width = (top > 0 ? top : 1) / kBins;
  report::XyChart chart;
  chart.frame.title = fmt::format("Losses of members and others, JS divergence {:.4f} bit", js_bits);
  chart.frame.subtitle = "100 bins up to the 99.5 % quantile; the last takes what lies above";
  chart.frame.x.label = "loss";
  chart.frame.y.label = "density";
  const auto histogram = [&](const std::vector<double>& values, const char* name, int colour) {
    report::Histogram h{.name = fmt::format("{} ({})", name, values.size()), .colour = colour};
    h.counts.assign(kBins, 0);
    for (int i = 0; i <= kBins; ++i) h.edges.push_back(i * width);
    for (const double v : values) {
      const auto bin = static_cast<std::size_t>(std::clamp(v / width, 0.0, kBins - 1.0));
      h.counts[bin] += 1 / (width * static_cast<double>(values.size()));
    }
    chart.histograms.push_back(std::move(h));
  };
  histogram(g.members, "members", 0);
  histogram(g.others, "others", 1);
  return report::standalone_svg(report::render(chart));
}

class StatsRocVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {.name = "stats roc",
            .group = "Statistics",
            .summary = "AUC and true positives at few false ones, with bootstrap intervals",
            .example = "offramp stats roc --scores scores.csv",
            .details = "The CSV file has columns score (larger: more likely a member) and member (1 or 0)."};
  }
  void declare(Options& options) override {
    options.add("roc.scores", scores_, "CSV file").positional().required();
    options.add("roc.out", out_, "JSON file; standard output if not given").not_in_config();
    options.add("roc.plot", plot_, "SVG file of the curve").not_in_config();
    options.add("roc.fpr", fpr_, "limits of the false positive rate").range(0, 1);
    options.add("roc.resamples", resamples_, "of the bootstrap").range(1, 1e6);
    options.add("roc.level", level_, "of the intervals").range(0.01, 0.9999);
  }
  int run(Session& session) override {
    const Groups g = read_groups(scores_, "score");
    const stats::BootstrapOptions bootstrap{static_cast<std::size_t>(resamples_),
                                            level_,
                                            session.seed(),
                                            static_cast<unsigned>(session.threads())};
    const stats::Roc roc = stats::roc_curve(g.members, g.others);
    nlohmann::ordered_json json{{"members", g.members.size()},
                                {"non_members", g.others.size()},
                                {"auc", json_of(stats::auc_interval(g.members, g.others, bootstrap))},
                                {"best_balanced_accuracy", stats::best_balanced_accuracy(roc)},
                                {"tpr_at_fpr", nlohmann::ordered_json::array()}};
    for (const double limit : fpr_) {
      nlohmann::ordered_json at = json_of(stats::tpr_at_fpr_interval(g.members, g.others, limit, bootstrap));
      at["fpr"] = limit;
      json["tpr_at_fpr"].push_back(at);
    }
    if (!plot_.empty()) {
      write_file_atomically(plot_, roc_plot(roc, g.members.size(), g.others.size()));
      json["plot"] = plot_.string();
    }
    answer(session, out_, json);
    return 0;
  }

 private:
  std::filesystem::path scores_, out_, plot_;
  std::vector<double> fpr_ = {0.001, 0.01, 0.1};
  int resamples_ = 2000;
  double level_ = 0.95;
};

class StatsCompareVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {.name = "stats compare",
            .group = "Statistics",
            .summary = "is a faster than b: sign, Wilcoxon and Welch tests of paired timings",
            .example = "offramp stats compare --pairs timings.csv",
            .details =
                "The CSV file has columns a and b, one pair of measurements a row. p-values are two-sided."};
  }
  void declare(Options& options) override {
    options.add("compare.pairs", pairs_, "CSV file").positional().required();
    options.add("compare.out", out_, "JSON file; standard output if not given").not_in_config();
  }
  int run(Session& session) override {
    const NumberTable table = read_number_table(pairs_);
    const std::vector<double>&a = table.column("a"), &b = table.column("b");
    const auto json_of_test = [](const stats::TestResult& r) {
      return nlohmann::ordered_json{{"statistic", r.statistic}, {"p_value", r.p_value}};
    };
    answer(session,
           out_,
           {{"pairs", table.rows},
            {"mean_a", json_of(stats::mean_interval(a))},
            {"mean_b", json_of(stats::mean_interval(b))},
            {"sign", json_of_test(stats::sign_test(a, b))},
            {"wilcoxon", json_of_test(stats::wilcoxon_signed_rank(a, b))},
            {"welch", json_of_test(stats::welch_t_test(a, b))}});
    return 0;
  }

 private:
  std::filesystem::path pairs_, out_;
};

class StatsDivergenceVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {.name = "stats divergence",
            .group = "Statistics",
            .summary = "Jensen-Shannon divergence of the losses of members and non-members",
            .example = "offramp stats divergence --losses losses.csv",
            .details =
                "The CSV file has columns loss (>= 0) and member (1 or 0). In bits, with 50, 100 and 200 "
                "equal bins up to the 99.5 % quantile; the last bin takes what lies above."};
  }
  void declare(Options& options) override {
    options.add("divergence.losses", losses_, "CSV file").positional().required();
    options.add("divergence.out", out_, "JSON file; standard output if not given").not_in_config();
    options.add("divergence.plot", plot_, "SVG file of both histograms").not_in_config();
  }
  int run(Session& session) override {
    const Groups g = read_groups(losses_, "loss");
    nlohmann::ordered_json json{{"members", g.members.size()}, {"non_members", g.others.size()}};
    for (const std::size_t bins : {50, 100, 200}) {
      json[fmt::format("js_bits_{}_bins", bins)] = stats::loss_js_divergence(g.members, g.others, bins);
    }
    if (!plot_.empty()) {
      write_file_atomically(plot_, loss_plot(g, stats::loss_js_divergence(g.members, g.others, 100)));
      json["plot"] = plot_.string();
    }
    answer(session, out_, json);
    return 0;
  }

 private:
  std::filesystem::path losses_, out_, plot_;
};

class StatsQueriesVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {.name = "stats queries",
            .group = "Statistics",
            .summary = "how many repetitions tell two exits apart through a noisy channel",
            .example = "offramp stats queries --sigma 5 --gap 3"};
  }
  void declare(Options& options) override {
    options.add("queries.sigma", sigma_, "noise of one measurement").required();
    options.add("queries.gap", gap_, "distance of the two mean times, in the same unit").required();
    options.add("queries.out", out_, "JSON file; standard output if not given").not_in_config();
  }
  int run(Session& session) override {
    nlohmann::ordered_json json{{"sigma", sigma_}, {"gap", gap_}};
    try {
      json["to_distinguish_means"] = stats::repetitions_to_distinguish(sigma_, gap_);
      json["to_cluster_samples"] = stats::repetitions_to_cluster(sigma_, gap_);
    } catch (const ValueError& error) {
      throw UsageError(error.what());  // both numbers came from the command line
    }
    answer(session, out_, json);
    return 0;
  }

 private:
  double sigma_ = 0, gap_ = 0;
  std::filesystem::path out_;
};

}  // namespace

std::unique_ptr<Verb> make_stats_roc_verb() { return std::make_unique<StatsRocVerb>(); }
std::unique_ptr<Verb> make_stats_compare_verb() { return std::make_unique<StatsCompareVerb>(); }
std::unique_ptr<Verb> make_stats_divergence_verb() { return std::make_unique<StatsDivergenceVerb>(); }
std::unique_ptr<Verb> make_stats_queries_verb() { return std::make_unique<StatsQueriesVerb>(); }

}  // namespace offramp::tools
