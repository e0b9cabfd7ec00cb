// The studies, declared. Paper values: v1, v2 = the two versions of the extraction paper; CCS = the membership paper; DyNN =
// the robustness paper (specs/extraction.md 7, membership.md 9, robustness.md 4.3 and 4.4).
#include "tools/verbs/reproduce/study.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <utility>

namespace offramp::tools::reproduce {
namespace {

using Json = nlohmann::json;
using Values = std::vector<std::pair<const char*, double>>;

// ---- reading results

std::optional<double> number(const Json& at) {
  return at.is_number() ? std::optional(at.get<double>()) : std::nullopt;
}
// The object of a list whose `key` says `value`.
const Json* find(const Json& list, const char* key, const std::string& value) {
  if (!list.is_array()) return nullptr;
  for (const Json& entry : list)
    if (entry.value(key, std::string()) == value) return &entry;
  return nullptr;
}
auto reading(const std::string& pointer, double factor = 1) {
  return [at = Json::json_pointer(pointer), factor](const Json& results) -> std::optional<double> {
    if (!results.contains(at)) return std::nullopt;
    const auto value = number(results[at]);
    return value ? std::optional(*value * factor) : std::nullopt;
  };
}
// Of the net called `net` in the table of an extraction.
auto of_net(const std::string& net, const std::string& pointer, double factor = 1) {
  return [net, inner = reading(pointer, factor)](const Json& results) -> std::optional<double> {
    const Json* row = results.contains("nets") ? find(results["nets"], "name", net) : nullptr;
    return row ? inner(*row) : std::nullopt;
  };
}
std::vector<Metric> extraction_metrics(const std::string& net, std::array<std::optional<double>, 3> paper) {
  return {{"ACC %", of_net(net, "/accuracy", 100), paper[0]},
          {"CLO %", of_net(net, "/clo_test/class_and_exit", 100), paper[1]},
          {"CC ratio", of_net(net, "/ratio_ops_profiler"), paper[2]}};
}

// ---- building

class Builder {
 public:
  explicit Builder(const Settings& settings) : s_(settings), scale_(settings.scale) {}
  std::vector<Study> take() { return std::move(studies_); }

  void study(std::string name, std::string source, std::string summary) {
    studies_.push_back({std::move(name), std::move(source), std::move(summary)});
  }
  std::string path(const std::string& id) const { return (s_.folder / id).string(); }
  const Scale& scale() const { return scale_; }
  std::string stage(const std::string& id, Words words, bool has_folder = true) {
    auto& stages = studies_.back().stages;
    for (const Stage& s : stages)
      if (s.id == id) return id;
    stages.push_back({id, std::move(words), has_folder});
    return id;
  }
  void row(std::string cell, std::string name, const std::string& stage_id, std::vector<Metric> metrics) {
    studies_.back().rows.push_back({std::move(cell), std::move(name), stage_id, std::move(metrics)});
  }

  std::string data(const std::string& set) const {
    return scale_.small ? "npz:" + path("pictures.npz") : s_.data.at(set);
  }
  // Options that name a net, under the prefix of nothing.
  Words net(const std::string& name) const {
    return scale_.small ? Words{"--net", "small-cnn", "--width-divisor", "4"} : Words{"--net", name};
  }
  int exits(int wanted) const { return wanted; }

  // A trained net, and where it has exits with thresholds that lose at most half a point on samples of its own.
  std::string victim(const std::string& name,
                     const std::string& set,
                     int num_exits,
                     const Words& more = {},
                     const std::string& mark = "") {
    const bool msdnet = name.starts_with("msdnet");
    const std::string id = fmt::format("victims/{}-{}-{}{}", name, set, num_exits, mark);
    Words words{"train",
                "--data",
                data(set),
                "--exits",
                std::to_string(num_exits),
                "--epochs",
                std::to_string(msdnet ? scale_.msdnet_epochs : scale_.victim_epochs),
                "--held-out",
                scale_.small ? "80" : "5000"};
    append(words, net(name));
    append(words, more);
    if (!scale_.small) append(words, {"--augment"});
    if (msdnet) append(words, {"--recipe", "msdnet", "--batch", scale_.small ? "16" : "64"});
    if (scale_.small) append(words, {"--batch", "16"}, msdnet);
    stage(id, words);
    if (num_exits > 1)
      stage(id + "-tuned.json",
            {"tune", path(id), scale_.small ? "--threshold" : "--drop", scale_.small ? "0.6" : "0.5"},
            false);
    return id;
  }

  Words queries(const std::string& set, int count, bool related) const {
    if (scale_.small) return {"--images", fmt::format("npz:{}@train[0:{}]", path("pictures.npz"), count)};
    const int own = related ? count / 10 : 0;  // v1: 10,000 of 100,000 are the victim's training pictures
    Words words;
    if (own > 0) words = {"--images", fmt::format("{}[0:{}]", s_.data.at(set) + "@train", own)};
    append(words, {"--images", fmt::format("{}@train[0:{}]", s_.data.at("unrelated"), count - own)});
    return words;
  }
  Words copy(const std::string& net) const {
    Words words{"--epochs",
                std::to_string(scale_.copy_epochs),
                "--repetitions",
                std::to_string(scale_.repetitions),
                "--timed-images",
                std::to_string(scale_.timed_images)};
    // Every exit of the strategy loss has weight 1, those of the baseline begin near 0: a smaller step.
    if (!scale_.small)
      append(words, {"--learning-rate", net == "resnet-56" ? "0.01" : "0.03", "--knockoff-rate", "0.1"});
    if (scale_.small) append(words, {"--batch", "16", "--learning-rate", "0.05"});
    return words;
  }
  // One extraction; `mark` tells it from others of the same victim.
  std::string extraction(const std::string& victim_id,
                         const std::string& set,
                         const std::string& copy_net,
                         const std::string& mark,
                         const Words& more,
                         bool related = true,
                         int count = 0) {
    const std::string id =
        fmt::format("extractions/{}-by-{}{}", victim_id.substr(victim_id.find('/') + 1), copy_net, mark);
    Words words{"extract", "run", path(victim_id)};
    append(words, queries(set, count > 0 ? count : scale_.queries, related));
    append(words, net(copy_net));
    append(words, copy(copy_net));
    append(words, more);
    return stage(id, words);
  }
  static void append(Words& to, const Words& more, bool unless = false) {
    if (!unless) to.insert(to.end(), more.begin(), more.end());
  }

 private:
  const Settings& s_;
  Scale scale_;
  std::vector<Study> studies_;
};

struct Net {
  const char *name, *label;
};
constexpr std::array<Net, 3> kNets{{{"vgg-16", "VGG"}, {"resnet-56", "ResNet"}, {"mobilenet", "MobileNet"}}};
struct Set {
  const char *name, *label;
};
constexpr std::array<Set, 4> kSets{
    {{"cifar10", "CIFAR10"}, {"gtsrb", "GTSRB"}, {"svhn", "SVHN"}, {"fmnist", "FMNIST"}}};

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
      const auto id = b.extraction(victim, "cifar10", kNets[c].name, "-backbones", {"--no-knockoff"});
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
  variants("extraction-ablation",
           "v1 5.3, E3",
           "without strategy loss, without search, separable search, true exits",
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
           "weight of the strategy loss, and its two confidences",
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

// ---- membership

auto of_attack(int exits, const std::string& attack, const std::string& adversary, double factor = 1) {
  return [=](const Json& results) -> std::optional<double> {
    if (!results.contains("nets")) return std::nullopt;
    for (const Json& net : results["nets"]) {
      if (net.value("exits", 0) != exits) continue;
      for (const Json& a : net["attacks"])
        if (a.value("attack", "") == attack && a.value("adversary", "") == adversary &&
            a.contains("accuracy"))
          return number(a["accuracy"]["estimate"]).value_or(0) * factor;
    }
    return std::nullopt;
  };
}
auto of_membership_net(int exits, const std::string& pointer) {
  return [=, inner = reading(pointer)](const Json& results) -> std::optional<double> {
    if (!results.contains("nets")) return std::nullopt;
    for (const Json& net : results["nets"])
      if (net.value("exits", 0) == exits) return inner(net);
    return std::nullopt;
  };
}

// Share of non-members among those that leave at an exit (from 0).
auto others_at(int exits, int exit) {
  return [=](const Json& results) -> std::optional<double> {
    const auto count = [&](const char* who) {
      return of_membership_net(exits, fmt::format("/target/exits/{}/{}", exit, who))(results).value_or(0);
    };
    const double in = count("members"), out = count("non_members");
    return in + out > 0 ? std::optional(out / (in + out)) : std::nullopt;
  };
}

void membership_studies(Builder& b) {
  const bool small = b.scale().small;
  const std::vector<int> counts = small ? std::vector<int>{1, 3} : std::vector<int>{1, 2, 3, 4, 5, 6};
  const auto models = [&](const std::string& net, const std::string& set) {
    const std::string id = fmt::format("membership/models-{}-{}", net, set);
    Words words{"membership",
                "train",
                "--data",
                b.data(set),
                "--exits",
                fmt::format("{}", fmt::join(counts, ",")),
                "--epochs",
                std::to_string(b.scale().membership_epochs)};
    Builder::append(words, b.net(net));
    if (small) Builder::append(words, {"--batch", "16", "--placement", "equal-cost"});
    return b.stage(id, words);
  };
  const auto attacked =
      [&](const std::string& net, const std::string& set, const std::string& mark, const Words& more) {
        const auto trained = models(net, set);
        Words words{"membership",
                    "attack",
                    b.path(trained),
                    "--attacks",
                    "score-top3,confidence",
                    "--repetitions",
                    std::to_string(small ? 4 : 10),
                    "--epochs",
                    small ? "2" : "50"};
        Builder::append(words, more);
        return b.stage(fmt::format("membership/attack-{}-{}{}", net, set, mark), words);
      };
  b.study("membership-exits",
          "CCS Section 3",
          "attacks on plain nets and nets of 2 to 6 exits; losses of members and others");
  for (const Set set : {Set{"cifar10", "CIFAR10"}, Set{"cifar100", "CIFAR100"}})
    for (const Net net : kNets) {
      const auto id = attacked(net.name, set.name, "", {});
      for (const int k : counts)
        b.row(fmt::format("{}, {}", net.label, set.label),
              fmt::format("{} exits", k),
              id,
              {{"ASR", of_attack(k, "score-top3", "original")},
               {"JS bits", of_membership_net(k, "/target/js_bits")},
               {"accuracy members", of_membership_net(k, "/target/accuracy_members")},
               {"accuracy others", of_membership_net(k, "/target/accuracy_others")},
               {"JS bits, first exit", of_membership_net(k, "/target/exits/0/js_bits")},
               {"JS bits, last exit", of_membership_net(k, fmt::format("/target/exits/{}/js_bits", k - 1))},
               {"others, first exit", others_at(k, 0)},
               {"others, last exit", others_at(k, k - 1)}});
    }
  b.study("membership-hybrid",
          "CCS Section 4",
          "the same attacks with the exit as a feature: told, and read from running times");
  for (const Set set : {Set{"cifar10", "CIFAR10"}, Set{"cifar100", "CIFAR100"}})
    for (const Net net : kNets) {
      const auto id = attacked(net.name, set.name, "", {});
      for (const int k : counts) {
        if (k == 1) continue;
        b.row(fmt::format("{}, {}", net.label, set.label),
              fmt::format("{} exits", k),
              id,
              {{"ASR original", of_attack(k, "score-top3", "original")},
               {"ASR told", of_attack(k, "score-top3", "told")},
               {"ASR timed", of_attack(k, "score-top3", "timed")},
               {"exits right", of_membership_net(k, "/exit_times/accuracy")}});
      }
    }
  b.study(
      "membership-shadow", "CCS 4, other shadows", "shadow nets of another architecture than the target's");
  {
    const auto target = models("resnet-56", "cifar100"), shadow = models("vgg-16", "cifar100");
    const auto id = attacked("resnet-56", "cifar100", "-shadow-vgg", {"--shadow", b.path(shadow)});
    static_cast<void>(target);
    for (const int k : counts)
      if (k > 1)
        b.row("ResNet by VGG, CIFAR100",
              fmt::format("{} exits", k),
              id,
              {{"ASR original", of_attack(k, "score-top3", "original")},
               {"ASR told", of_attack(k, "score-top3", "told")}});
  }
}

// ---- robustness

auto of_evade(const std::string& attack, const std::string& pointer, double factor = 1) {
  return [=, inner = reading(pointer, factor)](const Json& results) -> std::optional<double> {
    const Json* row = results.contains("attacks") ? find(results["attacks"], "attack", attack) : nullptr;
    return row ? inner(*row) : std::nullopt;
  };
}
// Mean over the cells of a transfer that go this way between different nets.
auto mean_of_cells(const std::string& attack,
                   const std::string& way,
                   const std::string& pointer,
                   double factor = 1) {
  return [=, inner = reading(pointer, factor)](const Json& results) -> std::optional<double> {
    double sum = 0;
    int n = 0;
    if (!results.contains("cells")) return std::nullopt;
    for (const Json& cell : results["cells"]) {
      if (cell.value("attack", "") != attack || cell.value("way", "") != way) continue;
      if (cell.value("surrogate", "") == cell.value("target", "")) continue;
      if (const auto value = inner(cell)) sum += *value, ++n;
    }
    return n > 0 ? std::optional(sum / n) : std::nullopt;
  };
}
auto of_direction(const std::string& attack, const std::string& pointer, double factor = 1) {
  return [=, inner = reading(pointer, factor)](const Json& results) -> std::optional<double> {
    const Json* row =
        results.contains("directions") ? find(results["directions"], "attack", attack) : nullptr;
    return row ? inner(*row) : std::nullopt;
  };
}

// DyNN Table 1 and 2: success of alpha = .001 .01 .1 1 20 40. [set][net]
constexpr double kEarly[2][3][6] = {
    {{0, 0, 0, 35, 10, 4}, {7, 32, 73, 81, 49, 32}, {0, 0, 11, 4, 0, 0}},
    {{1, 5, 48, 82, 86, 70}, {46, 74, 92, 96, 96, 93}, {0, 16, 74, 97, 92, 77}}};
constexpr std::array<const char*, 6> kAlphas{"0.001", "0.01", "0.1", "1", "20", "40"};

void robustness_studies(Builder& b) {
  const std::string count = std::to_string(b.scale().examples);
  const std::array<Set, 2> sets{{{"cifar10", "CIFAR10"}, {"cifar100", "CIFAR100"}}};
  const auto sdn = [&](const Net& net, const Set& set) {
    return b.scale().small ? b.victim(net.name, set.name, 4)
                           : b.victim(net.name,
                                      set.name,
                                      std::string(net.name) == "mobilenet" ? 6 : 7,
                                      {"--placement", "sdn"},
                                      "-sdn");
  };
  b.study("robustness-transfer",
          "DyNN RQ1 to RQ4",
          "examples between nets with and without exits; what they do to exits");
  for (const Set& set : sets) {
    Words words{"evade", "transfer", "--attack", "fgsm", "--attack", "pgd", "--count", count};
    for (const Net& net : kNets) {
      const auto dynamic = sdn(net, set), plain = b.victim(net.name, set.name, 1);
      for (const auto& id : {dynamic, plain})
        Builder::append(words, {"--surrogate", b.path(id), "--target", b.path(id)});
    }
    const auto id = b.stage(fmt::format("robustness/transfer-{}", set.name), words);
    for (const std::string attack : {"fgsm", "pgd"})
      b.row(set.label,
            attack,
            id,
            {{"D2S - S2D points", of_direction(attack, "/d2s_minus_s2d/estimate", 100)},
             {"D2S - S2D low", of_direction(attack, "/d2s_minus_s2d/low", 100)},
             {"D2S successes per 1e12 MACs", of_direction(attack, "/d2s_successes_per_1e12_macs")},
             {"S2D successes per 1e12 MACs", of_direction(attack, "/s2d_successes_per_1e12_macs")},
             {"Delta D2D", mean_of_cells(attack, "D2D", "/exit_change/mean")},
             {"cost increase D2D %", mean_of_cells(attack, "D2D", "/exit_change/cost_increase", 100)},
             {"correlation", mean_of_cells(attack, "D2D", "/exit_change/correlation_last_confidence")}});
  }
  b.study("robustness-early-attack",
          "DyNN Tables 1 and 2",
          "Early Attack: early exits wrong, the last one unchanged, by alpha");
  for (std::size_t s = 0; s < sets.size(); ++s)
    for (std::size_t n = 0; n < kNets.size(); ++n) {
      Words words{"evade",
                  "attack",
                  b.path(sdn(kNets[n], sets[s])),
                  "--attack",
                  "early-attack",
                  "--alpha",
                  b.scale().small ? "0.1,1" : "0.001,0.01,0.1,1,20,40",
                  "--count",
                  b.scale().small ? count : "100"};
      if (b.scale().small) Builder::append(words, {"--steps", "20"});
      const auto id = b.stage(fmt::format("robustness/early-{}-{}", kNets[n].name, sets[s].name), words);
      std::vector<Metric> metrics;
      for (std::size_t a = 0; a < kAlphas.size(); ++a)
        metrics.push_back(
            {fmt::format("success %, alpha {}", kAlphas[a]),
             of_evade(fmt::format("early-attack-{}", kAlphas[a]), "/early/early_success/share", 100),
             kEarly[s][n][a]});
      b.row(fmt::format("{}, {}", kNets[n].label, sets[s].label), "Early Attack", id, metrics);
    }
  b.study("robustness-early-transfer", "DyNN Table 3", "Early Attack examples of one net on another");
  for (const Set& set : sets) {
    Words words{"evade",
                "transfer",
                "--attack",
                "early-attack",
                "--alpha",
                "1",
                "--count",
                b.scale().small ? count : "100"};
    if (b.scale().small) Builder::append(words, {"--steps", "20"});
    for (const Net& net : kNets) {
      const auto id = sdn(net, set);
      Builder::append(words, {"--surrogate", b.path(id), "--target", b.path(id)});
    }
    const auto id = b.stage(fmt::format("robustness/early-transfer-{}", set.name), words);
    b.row(set.label,
          "mean of pairs",
          id,
          {{"T1 %",
            mean_of_cells("early-attack-1", "D2D", "/early/t1/share", 100),
            set.name == sets[0].name ? 81.5 : 57.83},
           {"T2",
            mean_of_cells("early-attack-1", "D2D", "/early/t2"),
            set.name == sets[0].name ? 1.257 : 1.942}});
  }
  b.study("robustness-exit-count", "DyNN finding 9", "Early Attack against more exits");
  for (const int k : {3, 4, 5, 6}) {
    Words words{"evade",
                "attack",
                b.path(b.victim("resnet-56", "cifar10", k)),
                "--attack",
                "early-attack",
                "--alpha",
                "1",
                "--count",
                b.scale().small ? count : "100"};
    if (b.scale().small) Builder::append(words, {"--steps", "20"});
    const auto id = b.stage(fmt::format("robustness/early-count-{}", k), words);
    b.row(fmt::format("{} exits", k),
          "Early Attack",
          id,
          {{"success %", of_evade("early-attack-1", "/early/early_success/share", 100)}});
  }
  b.study("robustness-slowdown", "DeepSloth", "no exit sure: efficacy of early exit under slowdown attacks");
  for (const Net& net : kNets) {
    Words words{"evade", "slowdown", b.path(sdn(net, sets[0])), "--norm", "linf", "--count", count};
    if (b.scale().small) Builder::append(words, {"--steps", "5", "--training-images", "20", "--window", "4"});
    const auto id = b.stage(fmt::format("robustness/slowdown-{}", net.name), words);
    b.row(net.label, "clean", id, {{"efficacy", of_evade("clean", "/efficacy")}});
    b.row(net.label, "sloth-linf-sample", id, {{"efficacy", of_evade("sloth-linf-sample", "/efficacy")}});
  }
}

}  // namespace

const std::vector<Scale>& scales() {
  static const std::vector<Scale> all = {{.name = "smoke",
                                          .small = true,
                                          .victim_epochs = 3,
                                          .copy_epochs = 2,
                                          .msdnet_epochs = 2,
                                          .queries = 120,
                                          .repetitions = 4,
                                          .es_rounds = 2,
                                          .es_steps = 2,
                                          .timed_images = 10,
                                          .membership_epochs = 3,
                                          .examples = 20},
                                         {.name = "short",
                                          .victim_epochs = 30,
                                          .copy_epochs = 20,
                                          .msdnet_epochs = 60,
                                          .queries = 20000,
                                          .membership_epochs = 30,
                                          .examples = 200},
                                         {.name = "full"}};
  return all;
}

std::vector<Study> studies(const Settings& settings) {
  Builder b(settings);
  extraction_studies(b);
  membership_studies(b);
  robustness_studies(b);
  return b.take();
}

}  // namespace offramp::tools::reproduce
