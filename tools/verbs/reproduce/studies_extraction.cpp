// The studies of extraction, declared. Paper values: v1, v2 = the two versions of the paper (specs/extraction.md 7).
#include "tools/verbs/reproduce/study_builder.h"

namespace offramp::tools::reproduce {
namespace {

std::vector<Metric> extraction_metrics(const std::string& net, std::array<std::optional<double>, 3> paper) {
  return {{"ACC %", of_net(net, "/accuracy", 100), paper[0]},
          {"CLO %", of_net(net, "/clo_test/class_and_exit", 100), paper[1]},
          {"CC ratio", of_net(net, "/ratio_ops_profiler"), paper[2]}};
}

// v2 Table 1: ACC of the victim; then ACC, CLO, CC ratio of Knock, Noise, ESA, Ours. [net][set]
struct MainCell {
  double victim;
  std::array<std::array<double, 3>, 4> rows;
};
// clang-format off
constexpr MainCell kMain[3][4] = {
  {{91.75, {{{88.25, 31.09, 1.41}, {33.74, 21.34, 1.56}, {82.43, 27.45, 1.45}, {88.33, 63.27, 1.04}}}},
   {97.13, {{{95.78, 24.40, 1.72}, {45.21, 16.78, 1.42}, {86.17, 18.76, 1.68}, {95.42, 71.76, 1.15}}}},
   {95.68, {{{91.99, 23.01, 1.47}, {50.03, 38.12, 1.64}, {87.29, 32.89, 1.37}, {91.41, 64.85, 0.98}}}},
   {94.40, {{{91.48, 29.75, 1.36}, {38.56, 30.45, 1.32}, {90.92, 20.34, 1.29}, {91.69, 57.49, 1.16}}}}},
  {{89.39, {{{86.22, 34.69, 1.28}, {31.89, 12.89, 1.49}, {83.74, 38.12, 1.56}, {86.88, 58.90, 1.03}}}},
   {96.66, {{{92.19, 18.18, 1.80}, {53.12, 25.67, 1.62}, {85.65, 15.67, 1.61}, {92.00, 64.30, 1.20}}}},
   {95.11, {{{92.34, 32.77, 1.34}, {42.45, 35.21, 1.47}, {89.11, 23.98, 1.41}, {92.53, 56.39, 1.05}}}},
   {93.34, {{{90.81, 18.87, 1.42}, {34.28, 18.56, 1.38}, {88.02, 30.21, 1.43}, {90.26, 51.65, 1.15}}}}},
  {{88.75, {{{83.35, 41.92, 1.39}, {49.76, 31.09, 1.53}, {82.79, 17.54, 1.44}, {83.39, 59.72, 1.05}}}},
   {96.77, {{{91.35, 30.77, 1.49}, {52.01, 14.23, 1.46}, {80.34, 25.87, 1.54}, {91.87, 69.42, 1.28}}}},
   {93.72, {{{90.52, 41.86, 1.41}, {36.45, 29.76, 1.35}, {86.44, 19.23, 1.36}, {89.37, 62.44, 1.11}}}},
   {93.08, {{{89.43, 27.19, 1.30}, {30.87, 33.89, 1.47}, {84.58, 28.65, 1.50}, {89.37, 59.60, 1.07}}}}}};
constexpr double kExitAccuracy[3][4] = {{99.8, 99.9, 99.9, 99.8}, {100, 99.8, 100, 99.9}, {99.8, 100, 99.9, 99.8}};
// v2 Table 3. [copy][victim]
constexpr double kBackbones[3][3][3] = {
  {{88.33, 63.27, 1.04}, {86.47, 58.86, 1.08}, {86.54, 61.70, 1.05}},
  {{87.70, 53.59, 1.06}, {88.68, 64.24, 1.03}, {86.76, 55.52, 1.05}},
  {{82.68, 50.04, 1.06}, {82.49, 57.81, 1.08}, {83.39, 59.72, 1.05}}};
// clang-format on
constexpr std::array<std::pair<const char*, const char*>, 4> kRows{
    {{"knockoff", "Knock"}, {"noise-bernoulli", "Noise"}, {"es-opt", "ESA"}, {"ours", "Ours"}}};

Words three_baselines(const Scale& scale) {
  return {"--baselines",
          "noise-bernoulli,es-opt",
          "--rounds",
          std::to_string(scale.es_rounds),
          "--steps",
          std::to_string(scale.es_steps)};
}

void extraction_tables(Builder& b, bool v1) {
  b.study(v1 ? "extraction-v1" : "extraction-v2",
          v1 ? "v1 Table 1" : "v2 Table 1",
          v1 ? "three thefts beside ours, a tenth of the queries related, changepoints and joint search"
             : "three thefts beside ours, unrelated queries, density and separable search");
  for (std::size_t n = 0; n < kNets.size(); ++n)
    for (std::size_t d = 0; d < kSets.size(); ++d) {
      const std::string cell = fmt::format("{}, {}", kNets[n].label, kSets[d].label);
      const auto victim = b.victim(kNets[n].name, kSets[d].name, 4);
      Words more = three_baselines(b.scale());
      Builder::append(more, {"--paper", v1 ? "v1" : "v2"});
      const auto id = b.extraction(victim, kSets[d].name, kNets[n].name, v1 ? "-v1" : "-v2", more, v1);
      const MainCell& paper = kMain[n][d];
      b.row(cell, "Victim", id, extraction_metrics("victim", {paper.victim, {}, {}}));
      for (std::size_t r = 0; r < kRows.size(); ++r)
        b.row(cell,
              kRows[r].second,
              id,
              extraction_metrics(kRows[r].first, {paper.rows[r][0], paper.rows[r][1], paper.rows[r][2]}));
    }
  if (!v1) return;
  constexpr double kMsdnet[2][3][3] = {{{91.33, 0, 0}, {88.42, 36.24, 1.19}, {88.72, 62.31, 1.05}},
                                       {{97.22, 0, 0}, {94.14, 26.44, 1.43}, {94.33, 68.20, 1.25}}};
  for (std::size_t d = 0; d < 2; ++d) {
    const std::string cell = fmt::format("MSDNet, {}", kSets[d].label);
    const auto victim = b.victim("msdnet-4", kSets[d].name, 4);
    const auto id = b.extraction(victim, kSets[d].name, "msdnet-4", "-v1", {"--paper", "v1"}, true);
    b.row(cell, "Victim", id, extraction_metrics("victim", {kMsdnet[d][0][0], {}, {}}));
    b.row(cell,
          "Knock",
          id,
          extraction_metrics("knockoff", {kMsdnet[d][1][0], kMsdnet[d][1][1], kMsdnet[d][1][2]}));
    b.row(
        cell, "Ours", id, extraction_metrics("ours", {kMsdnet[d][2][0], kMsdnet[d][2][1], kMsdnet[d][2][2]}));
  }
}

}  // namespace

void extraction_studies(Builder& b) {
  b.study("extraction-exits", "v2 Table 2", "how well running times tell the exits");
  for (std::size_t n = 0; n < kNets.size(); ++n)
    for (std::size_t d = 0; d < kSets.size(); ++d) {
      const auto victim = b.victim(kNets[n].name, kSets[d].name, 4);
      Words more = three_baselines(b.scale());
      Builder::append(more, {"--paper", "v2"});
      const auto id = b.extraction(victim, kSets[d].name, kNets[n].name, "-v2", more, false);
      b.row(fmt::format("{}, {}", kNets[n].label, kSets[d].label),
            "Ours",
            id,
            {{"exits right %", reading("/exit_accuracy", 100), kExitAccuracy[n][d]}});
    }
  extraction_tables(b, false);
  extraction_tables(b, true);

  b.study("extraction-backbones",
          "v2 Table 3, v1 Table 2",
          "copies of another backbone than the victim's, CIFAR10");
  for (std::size_t c = 0; c < 3; ++c)
    for (std::size_t v = 0; v < 3; ++v) {
      const auto victim = b.victim(kNets[v].name, "cifar10", 4);
      // The paper's ratio is to the victim with the copy's backbone; this one is to the victim that was attacked.
      const auto id = b.extraction(
          victim, "cifar10", kNets[c].name, "-backbones", {"--no-knockoff", "--paper", "v2"}, false);
      b.row(fmt::format("{} from {}", kNets[c].label, kNets[v].label),
            "Ours",
            id,
            extraction_metrics("ours",
                               {kBackbones[c][v][0],
                                kBackbones[c][v][1],
                                c == v ? std::optional(kBackbones[c][v][2]) : std::nullopt}));
    }

  const auto variants = [&](const char* name,
                            const char* source,
                            const char* summary,
                            const std::vector<std::pair<std::string, Words>>& all,
                            const char* net = "vgg-16") {
    b.study(name, source, summary);
    const auto victim = b.victim(net, "cifar10", 4);
    for (const auto& [label, words] : all) {
      std::string mark = "-" + std::string(name).substr(11) + "-" + label;
      for (char& c : mark)
        if (c == ' ' || c == '/') c = '_';
      const auto id = b.extraction(victim, "cifar10", net, mark, words);
      std::array<std::optional<double>, 3> paper{};
      if (label == "lambda 0.5") paper = {88.75, 63.68, {}};
      if (label == "lambda 5") paper = {88.19, 67.04, {}};
      auto metrics = extraction_metrics("ours", paper);
      b.row(label, "Ours", id, std::move(metrics));
    }
  };
  variants(
      "extraction-ablation",
      "v1 5.3, E3",
      "without strategy loss, without search, separable search, true exits; with our own estimator of exits",
      {{"whole", {"--no-knockoff"}},
       {"no strategy loss", {"--no-knockoff", "--lambda", "0"}},
       {"no search", {"--no-knockoff", "--no-search"}},
       {"separable", {"--no-knockoff", "--objective", "separable"}},
       {"true exits", {"--no-knockoff", "--true-exits"}}});
  {
    // Both searches on the very same confidences: those of the whole method.
    const std::string whole = "extractions/vgg-16-cifar10-4-by-vgg-16-ablation-whole";
    for (const char* objective : {"joint", "separable"}) {
      const auto id =
          b.stage(fmt::format("{}-search-{}.json", whole, objective),
                  {"extract", "search", b.path(whole + "/confidences.csv"), "--objective", objective},
                  false);
      b.row("search alone", objective, id, {{"J", reading("/joint_value")}});
    }
  }
  variants("extraction-lambda",
           "v1 5.3, E4",
           "weight of the strategy loss, and its two confidences; with our own search and estimator of exits",
           {{"lambda 0.5", {"--no-knockoff", "--lambda", "0.5"}},
            {"lambda 1", {"--no-knockoff", "--lambda", "1"}},
            {"lambda 2", {"--no-knockoff", "--lambda", "2"}},
            {"lambda 5", {"--no-knockoff", "--lambda", "5"}},
            {"phi .9/.9", {"--no-knockoff", "--phi1", "0.9", "--phi2", "0.9"}},
            {"phi .99/.9", {"--no-knockoff", "--phi1", "0.99", "--phi2", "0.9"}},
            {"phi .9/.8", {"--no-knockoff", "--phi1", "0.9", "--phi2", "0.8"}}});
  variants("extraction-answers",
           "not in the papers",
           "what the victim gives away: all probabilities, some, rounded, the label",
           {{"full", {}},
            {"top-3", {"--answers", "top-3"}},
            {"rounded-1", {"--answers", "rounded-1"}},
            {"label", {"--answers", "label"}}});

  b.study("extraction-queries", "not in the papers", "fidelity against the number of queries");
  {
    const auto victim = b.victim("vgg-16", "cifar10", 4);
    for (const int share : {20, 10, 5, 2, 1}) {
      const int count = b.scale().queries / share;
      const auto id =
          b.extraction(victim, "cifar10", "vgg-16", fmt::format("-queries-{}", count), {}, true, count);
      b.row(fmt::format("{} queries", count), "Knock", id, extraction_metrics("knockoff", {}));
      b.row(fmt::format("{} queries", count), "Ours", id, extraction_metrics("ours", {}));
    }
  }
  b.study("extraction-exit-count", "v1 5.3, v2 3.3", "victims of 3, 4, 5 and 6 exits");
  for (const int k : {3, 4, 5, 6}) {
    const auto victim = b.victim("vgg-16", "cifar10", k);
    const auto id = b.extraction(victim, "cifar10", "vgg-16", "-count", {"--no-knockoff"});
    b.row(fmt::format("{} exits", k), "Ours", id, extraction_metrics("ours", {}));
  }
}

}  // namespace offramp::tools::reproduce
