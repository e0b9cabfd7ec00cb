// The studies of robustness, declared. Paper values: DyNN = the paper (specs/robustness.md 4.3 and 4.4).
#include "tools/verbs/reproduce/study_builder.h"

namespace offramp::tools::reproduce {
namespace {

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

}  // namespace

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
             {"Delta S2D", mean_of_cells(attack, "S2D", "/exit_change/mean")},
             {"cost increase S2D %", mean_of_cells(attack, "S2D", "/exit_change/cost_increase", 100)},
             {"correlation", mean_of_cells(attack, "S2D", "/exit_change/correlation_last_confidence")}});
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
            set.name == sets[0].name ? 1.257 : 1.942},
           {"half of the inner exits",
            [half = b.scale().small ? 1.5 : 3.0](const Json&) { return std::optional(half); }}});
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

}  // namespace offramp::tools::reproduce
