// The studies of membership, declared. Paper values: CCS = the paper (specs/membership.md 9).
#include "tools/verbs/reproduce/study_builder.h"

namespace offramp::tools::reproduce {
namespace {

auto of_attack(int exits, const std::string& attack, const std::string& adversary, double factor = 1) {
  return [=](const Json& results) -> std::optional<double> {
    if (!results.contains("nets")) return std::nullopt;
    for (const Json& net : results["nets"]) {
      if (net.value("exits", 0) != exits) continue;
      for (const Json& a : net["attacks"])
        if (a.value("attack", "") == attack && a.value("adversary", "") == adversary &&
            a.contains("accuracy")) {
          const std::optional<double> estimate = number(a["accuracy"]["estimate"]);
          return estimate ? std::optional(*estimate * factor) : std::nullopt;
        }
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

// Records of the smaller side at an exit (from 0).
auto records_at(int exits, int exit) {
  return [=](const Json& results) -> std::optional<double> {
    const auto count = [&](const char* who) {
      return of_membership_net(exits, fmt::format("/target/exits/{}/{}", exit, who))(results);
    };
    const auto in = count("members"), out = count("non_members");
    return in && out ? std::optional(std::min(*in, *out)) : std::nullopt;
  };
}

// A setting of membership channel: sigma in ms and queries averaged; none: without a channel.
auto through_channel(int exits, double sigma_ms, int queries, const std::string& pointer) {
  return [=, inner = reading(pointer)](const Json& results) -> std::optional<double> {
    if (!results.contains("nets")) return std::nullopt;
    for (const Json& net : results["nets"]) {
      if (net.value("exits", 0) != exits) continue;
      for (const Json& row : net["settings"])
        if (sigma_ms == 0 ? row.value("channel", "") == "none"
                          : row.value("sigma_ms", 0.) == sigma_ms && row.value("queries", 0) == queries)
          return inner(row);
    }
    return std::nullopt;
  };
}

}  // namespace

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
               {"ASR, confidence", of_attack(k, "confidence", "original")},
               {"JS bits", of_membership_net(k, "/target/js_bits")},
               {"accuracy members", of_membership_net(k, "/target/accuracy_members")},
               {"accuracy others", of_membership_net(k, "/target/accuracy_others")},
               {"JS bits, first exit", of_membership_net(k, "/target/exits/0/js_bits")},
               {"JS bits by chance, first exit", of_membership_net(k, "/target/exits/0/js_bits_by_chance")},
               {"JS bits by chance, last exit",
                of_membership_net(k, fmt::format("/target/exits/{}/js_bits_by_chance", k - 1))},
               {"JS bits, last exit", of_membership_net(k, fmt::format("/target/exits/{}/js_bits", k - 1))},
               {"records a side, first exit", records_at(k, 0)},
               {"records a side, last exit", records_at(k, k - 1)},
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
               {"ASR original, confidence", of_attack(k, "confidence", "original")},
               {"ASR told, confidence", of_attack(k, "confidence", "told")},
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
  const int most = counts.back();
  b.study("membership-channel",
          "CCS 4.2, noisy channel",
          "exits from times that a network delayed, by queries averaged");
  {
    const auto id = b.stage("membership/channel-mobilenet-cifar100",
                            {"membership",
                             "channel",
                             b.path(attacked("mobilenet", "cifar100", "", {})),
                             "--exits",
                             std::to_string(most),
                             "--sigma-ms",
                             ".1,.3,1",
                             "--queries",
                             "1,10,100",
                             "--attacks",
                             "confidence"});
    const auto row = [&](const std::string& cell, const std::string& name, double sigma, int queries) {
      b.row(cell,
            name,
            id,
            {{"exits right", through_channel(most, sigma, queries, "/exits_right")},
             {"ASR timed", through_channel(most, sigma, queries, "/attacks/0/accuracy/estimate")},
             {"bound", through_channel(most, sigma, queries, "/to_distinguish")}});
    };
    for (const double sigma : {.1, .3, 1.})
      for (const int queries : {1, 10, 100})
        row(fmt::format("sigma {:g} ms", sigma), fmt::format("{} queries", queries), sigma, queries);
    row("no channel", "as measured", 0, 0);
  }
  b.study("membership-neighbours",
          "CCS Table 2",
          "exits from times while three other nets answer on the same machine");
  for (const Set set : {Set{"cifar10", "CIFAR10"}, Set{"cifar100", "CIFAR100"}})
    for (const Net net : kNets) {
      const auto alone = attacked(net.name, set.name, "", {});
      const auto id =
          attacked(net.name, set.name, "-neighbours", {"--tenants", "3", "--adversaries", "original,timed"});
      for (const int k : counts)
        if (k > 1) {
          b.row(fmt::format("{}, {}", net.label, set.label),
                fmt::format("{} exits, alone", k),
                alone,
                {{"exits right", of_membership_net(k, "/exit_times/accuracy")}});
          b.row(fmt::format("{}, {}", net.label, set.label),
                fmt::format("{} exits, four", k),
                id,
                {{"exits right", of_membership_net(k, "/exit_times/accuracy")}});
        }
    }
}

}  // namespace offramp::tools::reproduce
