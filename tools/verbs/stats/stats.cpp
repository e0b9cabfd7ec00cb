// offramp stats roc, compare, divergence, queries: the toolbox on a CSV file from anywhere.
#include "base/atomic_file.h"
#include "base/errors.h"
#include "base/number_table.h"
#include "stats/checks.h"
#include "stats/divergences.h"
#include "stats/hypothesis_tests.h"
#include "stats/membership/detection_point.h"
#include "stats/roc.h"
#include "tools/report/figures.h"
#include "tools/report/svg_writer.h"
#include "tools/report/xy_chart.h"
#include "tools/verbs/interval_json.h"
#include "tools/verbs/verbs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace offramp::tools {
namespace {

void answer(Session& session, const nlohmann::ordered_json& json) {
  session.answer_json(json, session.json_file().string() + "\n");
}

// Values of `name` split by the column `member` (1 or 0).
struct Groups {
  std::vector<double> members, others;
};

Groups read_groups(const std::filesystem::path& path, const std::string& name) {
  const NumberTable table = read_number_table(path);
  const std::vector<double> values = table.numbers(name), member = table.numbers("member");
  Groups g;
  for (std::size_t i = 0; i < table.rows(); ++i) {
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

// Throws FileError naming the row of one that is infinite or none.
std::vector<double> finite_numbers(const NumberTable& table, const std::string& name) {
  std::vector<double> values = table.numbers(name);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i]))
      throw FileError(
          table.path().string(),
          fmt::format("row {}: expected a finite number as {}, found {}", i + 1, name, values[i]));
  }
  return values;
}

// Throws FileError as well where the squares of the numbers could not be summed.
std::vector<double> measurements(const NumberTable& table, const std::string& name) {
  constexpr double kLargest = 1e150;
  std::vector<double> values = finite_numbers(table, name);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::abs(values[i]) > kLargest)
      throw FileError(
          table.path().string(),
          fmt::format("row {}: expected a number of size {:g} at most as {}, found {}; give the column in "
                      "a larger unit",
                      i + 1,
                      kLargest,
                      name,
                      values[i]));
  }
  return values;
}

std::string roc_plot(const stats::Roc& roc, std::size_t members, std::size_t others) {
  std::vector<double> fpr, tpr;
  for (const stats::RocPoint& point : roc.points) {
    fpr.push_back(point.fpr);
    tpr.push_back(point.tpr);
  }
  return report::standalone_svg(report::roc(fmt::format("ROC, AUC {:.4f}", roc.auc),
                                            fmt::format("{} members, {} others", members, others),
                                            fpr,
                                            tpr));
}

// Throws FileError naming the row of a loss that is infinite, none or below 0.
void check_losses(const std::filesystem::path& path) {
  const std::vector<double> losses = finite_numbers(read_number_table(path), "loss");
  for (std::size_t i = 0; i < losses.size(); ++i) {
    if (losses[i] < 0)
      throw FileError(path.string(),
                      fmt::format("row {}: expected a loss of at least 0, found {}", i + 1, losses[i]));
  }
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
  const report::Bins bins{.low = 0, .high = kBins * width, .count = kBins};
  const auto histogram = [&](const std::vector<double>& values, const char* name, int colour) {
    auto h = report::make_histogram(fmt::format("{} ({})", name, values.size()),
                                    values,
                                    bins,
                                    1 / (width * static_cast<double>(values.size())));
    h.colour = colour;
    chart.histograms.push_back(std::move(h));
  };
  histogram(g.members, "members", 0);
  histogram(g.others, "others", 1);
  return report::standalone_svg(report::render(chart));
}

// A bootstrap knows no other scores than these: where the two groups do not overlap its interval is one point.
void warn_of_few(Session& session, const Groups& g) {
  constexpr std::size_t kFew = 30;
  if (std::min(g.members.size(), g.others.size()) < kFew)
    session.log.warn(fmt::format(
        "{} members and {} non-members: below {} of each the intervals of a bootstrap are too narrow",
        g.members.size(),
        g.others.size(),
        kFew));
}

// The threshold is chosen on the few highest non-members, and a bootstrap draws from the same few.
void warn_of_few_alarms(Session& session, double fpr, std::size_t others) {
  constexpr double kFew = 10;
  const double alarms = fpr * static_cast<double>(others);
  if (alarms >= 1 && alarms < kFew)
    session.log.warn(fmt::format(
        "at {:g} false positives the {} non-members give {:.0f}: with fewer than {:g} estimate and interval lie too "
        "high (of 1, one interval in four misses); {:.0f} non-members would do",
        fpr,
        others,
        alarms,
        kFew,
        std::ceil(kFew / fpr)));
}

class StatsRocVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {
        .name = "stats roc",
        .group = "Statistics",
        .summary = "AUC and true positives at few false ones, with bootstrap intervals",
        .example = "offramp stats roc --scores scores.csv",
        .details =
            "The CSV file has columns score (larger: more likely a member) and member (1 or 0). A false positive "
            "rate that so few\nnon-members do not resolve is refused."};
  }
  void declare(Options& options) override {
    options.add("roc.scores", scores_, "CSV file").positional().required();
    options.add("roc.plot", plot_, "SVG file of the curve").not_in_config().written();
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
                                {"auc", interval_json(stats::auc_interval(g.members, g.others, bootstrap))},
                                {"best_balanced_accuracy", stats::best_balanced_accuracy(roc)},
                                {"tpr_at_fpr", nlohmann::ordered_json::array()}};
    for (const double limit : fpr_) {
      nlohmann::ordered_json at = nlohmann::ordered_json::object();
      // The bootstrap knows no other scores than these: what they do not resolve it would call certain.
      const stats::DetectionPoint point = stats::detection_point(g.members, g.others, limit);
      if (point.refused.empty())
        at = interval_json(stats::tpr_at_fpr_interval(g.members, g.others, limit, bootstrap));
      else
        at["refused"] = point.refused;
      at["fpr"] = limit;
      warn_of_few_alarms(session, limit, g.others.size());
      json["tpr_at_fpr"].push_back(at);
    }
    warn_of_few(session, g);
    if (!plot_.empty()) {
      write_file_atomically(plot_, roc_plot(roc, g.members.size(), g.others.size()));
      json["plot"] = plot_.string();
    }
    answer(session, json);
    return kDone;
  }

 private:
  std::filesystem::path scores_, plot_;
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
  }
  int run(Session& session) override {
    const NumberTable table = read_number_table(pairs_);
    if (table.rows() < 2)
      throw FileError(
          pairs_.string(),
          fmt::format("expected at least two rows, a pair of measurements each, found {}", table.rows()));
    const std::vector<double> a = measurements(table, "a"), b = measurements(table, "b");
    const auto json_of_test = [](const stats::TestResult& r) {
      return nlohmann::ordered_json{{"statistic", r.statistic}, {"p_value", r.p_value}};
    };
    answer(session,
           {{"pairs", table.rows()},
            {"mean_a", interval_json(stats::mean_interval(a))},
            {"mean_b", interval_json(stats::mean_interval(b))},
            {"sign", json_of_test(stats::sign_test(a, b))},
            {"wilcoxon", json_of_test(stats::wilcoxon_signed_rank(a, b))},
            {"welch", json_of_test(stats::welch_t_test(a, b))}});
    return kDone;
  }

 private:
  std::filesystem::path pairs_;
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
    options.add("divergence.plot", plot_, "SVG file of both histograms").not_in_config().written();
  }
  int run(Session& session) override {
    check_losses(losses_);
    const Groups g = read_groups(losses_, "loss");
    nlohmann::ordered_json json{{"members", g.members.size()}, {"non_members", g.others.size()}};
    for (const std::size_t bins : {50, 100, 200}) {
      json[fmt::format("js_bits_{}_bins", bins)] = stats::loss_js_divergence(g.members, g.others, bins);
    }
    if (!plot_.empty()) {
      write_file_atomically(plot_, loss_plot(g, stats::loss_js_divergence(g.members, g.others, 100)));
      json["plot"] = plot_.string();
    }
    answer(session, json);
    return kDone;
  }

 private:
  std::filesystem::path losses_, plot_;
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
  }
  int run(Session& session) override {
    nlohmann::ordered_json json{{"sigma", sigma_}, {"gap", gap_}};
    try {
      json["to_distinguish_means"] = stats::repetitions_to_distinguish(sigma_, gap_);
      json["to_cluster_samples"] = stats::repetitions_to_cluster(sigma_, gap_);
    } catch (const ValueError& error) {
      throw UsageError(error.what());  // both numbers came from the command line
    }
    answer(session, json);
    return kDone;
  }

 private:
  double sigma_ = 0, gap_ = 0;
};

}  // namespace

std::unique_ptr<Verb> make_stats_roc_verb() { return std::make_unique<StatsRocVerb>(); }
std::unique_ptr<Verb> make_stats_compare_verb() { return std::make_unique<StatsCompareVerb>(); }
std::unique_ptr<Verb> make_stats_divergence_verb() { return std::make_unique<StatsDivergenceVerb>(); }
std::unique_ptr<Verb> make_stats_queries_verb() { return std::make_unique<StatsQueriesVerb>(); }

}  // namespace offramp::tools
