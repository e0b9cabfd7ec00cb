// Images a second of an attack on the answers of a net: the peer of tests/bench/peers/torch_attacks.py --what pgd.
//
//   evasion_bench CHECKPOINT IMAGES.npz [--attack pgd] [--batch 128] [--count 0] [--rounds 3] [--threads 2]
//                 [--shares 0] [--frozen 1]
//
// Through the last exit, whole net. --shares 1: also through the exits that the images take, with thresholds under which
// about as many of the clean images leave at every exit; printed are the measured saving, the one that MACs promise, and
// their ratio. --frozen 0: gradients through the net as it trains, weights and batch norms by themselves.
#include <algorithm>
#include <numeric>

#include "attacks/evasion/harness.h"
#include "tests/bench/attacks/attack_bench.h"

namespace {

using namespace offramp;
using namespace offramp::attacks::evasion;

double mean_macs(const Examples& e) {
  return std::accumulate(e.macs.begin(), e.macs.end(), 0.0) / static_cast<double>(e.macs.size());
}

// Thresholds under which the surest of those left leave at each exit, an equal share of all images.
nets::ExitPolicy even_policy(const Victim& victim, const Images& images) {
  const Judgement judged = judge(victim, images);
  const auto exits = static_cast<std::size_t>(victim.num_exits());
  std::vector<int> left(static_cast<std::size_t>(images.n));
  std::iota(left.begin(), left.end(), 0);
  nets::ExitPolicy policy{.thresholds = {}, .rule = nets::ExitRule::kAbove};
  for (std::size_t e = 0; e + 1 < exits; ++e) {
    const auto confidence = [&](int i) {
      return judged.outputs.confidence[judged.outputs.at(i, static_cast<int>(e))];
    };
    std::ranges::sort(left, [&](int a, int b) { return confidence(a) > confidence(b); });
    const std::size_t leave = left.size() / (exits - e);
    policy.thresholds.push_back(leave < left.size() ? confidence(left[leave]) : 0);
    left.erase(left.begin(), left.begin() + static_cast<std::ptrdiff_t>(leave));
  }
  return policy;
}

}  // namespace

int main(int argc, char** argv) {
  bench::Flags flags = {{"--attack", "pgd"},
                        {"--batch", "128"},
                        {"--count", "0"},
                        {"--rounds", "3"},
                        {"--threads", "2"},
                        {"--shares", "0"},
                        {"--frozen", "1"}};
  const auto words =
      bench::read_flags(argc,
                        argv,
                        2,
                        "evasion_bench CHECKPOINT IMAGES.npz [--attack pgd] [--batch 128] [--count 0] "
                        "[--rounds 3] [--threads 2] [--shares 0] [--frozen 1]",
                        flags);
  return bench::reporting_errors("evasion_bench", [&] {
    const int threads = bench::number(flags, "--threads"), rounds = bench::number(flags, "--rounds");
    const auto loaded = nets::load_net(words[0], Device::make_cpu({.threads = threads}), "f32");
    const Images images = bench::images_of(words[1], bench::number(flags, "--count"));
    Victim victim = victim_of(words[0], *loaded.net, nets::ExitPolicy::uniform(loaded.net->num_exits(), 0.9));
    if (bench::number(flags, "--frozen") == 0) victim.frozen = nullptr;
    if (bench::number(flags, "--shares") != 0) victim.policy = even_policy(victim, images);
    const Attack& attack = attack_named(flags.at("--attack"));
    Settings whole = attack.defaults, taken = attack.defaults;
    whole.path = {Through::kOneExit, victim.num_exits() - 1};
    const CraftOptions options{.batch = bench::number(flags, "--batch")};
    craft(victim, attack, part(images, 0, std::min(images.n, options.batch)), whole, options);  // warm

    std::vector<double> whole_s, taken_s;
    Examples made, made_taken;
    for (int r = 0; r < rounds; ++r) {
      whole_s.push_back(bench::seconds_of([&] { made = craft(victim, attack, images, whole, options); }));
      if (bench::number(flags, "--shares") != 0)
        taken_s.push_back(
            bench::seconds_of([&] { made_taken = craft(victim, attack, images, taken, options); }));
    }
    const double best = *std::ranges::min_element(whole_s);
    const Judgement before = judge(victim, images), after = judge(victim, made.images);
    int right = 0, fooled = 0;
    for (std::size_t i = 0; i < before.n(); ++i) {
      const bool was_right = before.last_label(i) == images.labels[i];
      right += was_right ? 1 : 0;
      fooled += was_right && after.last_label(i) != images.labels[i] ? 1 : 0;
    }
    nlohmann::ordered_json json = {{"peer", "offramp"},
                                   {"attack", attack.name},
                                   {"net", loaded.net->options().name},
                                   {"exits", victim.num_exits()},
                                   {"images", images.n},
                                   {"batch", options.batch},
                                   {"threads", threads},
                                   {"seconds", whole_s},
                                   {"images_per_s", images.n / best},
                                   {"right", right},
                                   {"fooled", fooled}};
    if (!taken_s.empty()) {
      const double saved = best / *std::ranges::min_element(taken_s);
      const double promised = mean_macs(made) / mean_macs(made_taken);
      json["taken_seconds"] = taken_s;
      json["measured_saving"] = saved;
      json["macs_saving"] = promised;
      json["efficiency"] = saved / promised;
    }
    bench::print(json);
  });
}
