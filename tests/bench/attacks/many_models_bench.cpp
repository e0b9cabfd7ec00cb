// How long the scores of many reference nets take: LiRA, RMIA and their kin on generated margins and exits.
//
//   many_models_bench [--records 60000] [--models 64] [--exits 4] [--rounds 3] [--seed 1] [--calibrated 0]
//
// Each record is in a random half of the nets; margins are normal around a mean of the record's own, higher with the record
// than without. --calibrated 1: also the per-record calibration, in which every net plays the target once.
#include <algorithm>
#include <random>

#include "attacks/membership/many_models.h"
#include "tests/bench/attacks/attack_bench.h"

int main(int argc, char** argv) {
  using namespace offramp;
  using namespace offramp::attacks::membership;
  bench::Flags flags = {{"--records", "60000"},
                        {"--models", "64"},
                        {"--exits", "4"},
                        {"--rounds", "3"},
                        {"--seed", "1"},
                        {"--calibrated", "0"}};
  bench::read_flags(
      argc,
      argv,
      0,
      "many_models_bench [--records 60000] [--models 64] [--exits 4] [--rounds 3] [--seed 1] [--calibrated 0]",
      flags);
  return bench::reporting_errors("many_models_bench", [&] {
    std::mt19937_64 random(static_cast<std::uint64_t>(bench::number(flags, "--seed")));
    std::normal_distribution<double> normal;
    References r{.models = bench::number(flags, "--models"),
                 .num_exits = bench::number(flags, "--exits"),
                 .records = static_cast<std::size_t>(bench::number(flags, "--records"))};
    std::vector<double> mean(r.records);
    for (double& m : mean) m = 3 + 2 * normal(random);
    std::uniform_int_distribution<std::int32_t> exit(1, r.num_exits);
    std::vector<std::vector<std::uint8_t>> in(r.records);  // half of the nets, drawn for each record
    for (auto& row : in) {
      row.assign(static_cast<std::size_t>(r.models), 0);
      std::fill_n(row.begin(), r.models / 2, std::uint8_t{1});
      std::ranges::shuffle(row, random);
    }
    for (int m = 0; m < r.models; ++m) {
      for (std::size_t i = 0; i < r.records; ++i) {
        const std::uint8_t member = in[i][static_cast<std::size_t>(m)];
        r.in.push_back(member);
        r.exit.push_back(exit(random));
        r.margin.push_back(mean[i] + normal(random) + (member ? 1 : 0));
      }
    }
    Queried target;
    std::vector<std::uint8_t> member;
    for (std::size_t i = 0; i < r.records; ++i) {
      member.push_back(i % 2);
      target.margin.push_back(mean[i] + normal(random) + (i % 2 ? 1 : 0));
      target.exit.push_back(exit(random));
    }
    nlohmann::ordered_json json = {{"records", r.records}, {"models", r.models}, {"exits", r.num_exits}};
    const auto measure = [&](const std::string& name, const auto& work) {
      std::vector<double> seconds;
      for (int k = 0; k < bench::number(flags, "--rounds"); ++k) seconds.push_back(bench::seconds_of(work));
      json["seconds"][name] = *std::ranges::min_element(seconds);
    };
    std::vector<double> scores;
    for (const ManyModelAttack& a : many_model_attacks())
      measure(a.name, [&] { scores = a.score(target, r); });
    measure("rmia", [&] { scores = rmia(rmia_ratios(target, r, .3), rmia_population_ratios(target, r), 1); });
    if (bench::number(flags, "--calibrated") != 0)
      for (const ManyModelAttack& a : many_model_attacks())
        measure(std::string(a.name) + ", calibrated", [&] { calibrated(a.score, target, member, r); });
    bench::print(json);
  });
}
