// Samples a second of HopSkipJump, and the distances it finds: the peer of tests/bench/peers/torch_attacks.py --what
// boundary.
//
//   hop_skip_jump_bench CHECKPOINT IMAGES.npz [--count 0] [--iterations 10] [--threads 2] [--threshold T] [--seed 1]
//                       [--batch 500] [--exits 1]
//
// The victim answers with real early exit under its policy (--exits 0: with its last exit alone). Images that it has wrong
// are left out, as the membership attack does.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "attacks/extraction/victim.h"
#include "attacks/membership/hop_skip_jump.h"
#include "tests/bench/attacks/attack_bench.h"

int main(int argc, char** argv) {
  using namespace offramp;
  using namespace offramp::attacks;
  bench::Flags flags = {{"--count", "0"},
                        {"--iterations", "10"},
                        {"--threads", "2"},
                        {"--threshold", ""},
                        {"--seed", "1"},
                        {"--batch", "500"},
                        {"--exits", "1"}};
  const auto words =
      bench::read_flags(argc,
                        argv,
                        2,
                        "hop_skip_jump_bench CHECKPOINT IMAGES.npz [--count 0] [--iterations 10] "
                        "[--threads 2] [--threshold T] [--seed 1] [--batch 500] [--exits 1]",
                        flags);
  return bench::reporting_errors("hop_skip_jump_bench", [&] {
    const int threads = bench::number(flags, "--threads");
    const auto loaded = nets::load_net(words[0], Device::make_cpu({.threads = threads}), "f32");
    const evasion::Images all = bench::images_of(words[1], bench::number(flags, "--count"));
    nets::ExitPolicy policy = bench::policy_of(loaded, flags.at("--threshold"));
    if (bench::number(flags, "--exits") == 0)  // above 1: nobody leaves early
      policy = nets::ExitPolicy::uniform(loaded.net->num_exits(), 2.0);
    InProcessBlackBox victim(early_exit_victim(*loaded.net, policy), loaded.net->classes());
    const std::vector<std::int32_t> answers =
        victim.query(tensor_of(all, Device::cpu()), Timing::kNone).labels;
    std::vector<int> right;
    for (int i = 0; i < all.n; ++i)
      if (answers[static_cast<std::size_t>(i)] == all.labels[static_cast<std::size_t>(i)]) right.push_back(i);
    const evasion::Images images = evasion::chosen(all, right);
    std::vector<std::uint32_t> names;
    for (const std::int64_t i : images.numbers) names.push_back(static_cast<std::uint32_t>(i));

    double in_victim = 0;
    const membership::LabelsOf labels = [&](std::span<const float> values, int count) {
      std::vector<std::int32_t> out;
      in_victim += bench::seconds_of([&] {
        const Tensor x = Tensor::from<float>(
            {count, images.extent.c, images.extent.h, images.extent.w}, values, Device::cpu());
        out = victim.query(x, Timing::kNone).labels;
      });
      return out;
    };
    const membership::HopSkipJumpOptions options{
        .iterations = bench::number(flags, "--iterations"),
        .batch = bench::number(flags, "--batch"),
        .seed = static_cast<std::uint64_t>(bench::number(flags, "--seed"))};
    std::vector<membership::BoundaryPoint> points;
    const double seconds =
        bench::seconds_of([&] { points = membership::hop_skip_jump(images.pixels, names, labels, options); });
    std::vector<double> distances;
    std::int64_t queries = 0;
    for (const membership::BoundaryPoint& p : points) {
      distances.push_back(p.distance);
      queries += p.queries;
    }
    const auto n = static_cast<double>(distances.size());
    const double mean = std::accumulate(distances.begin(), distances.end(), 0.0) / n;
    double squares = 0;
    for (const double d : distances) squares += (d - mean) * (d - mean);
    bench::print({{"peer", "offramp"},
                  {"net", loaded.net->options().name},
                  {"exits", loaded.net->num_exits()},
                  {"samples", distances.size()},
                  {"iterations", options.iterations},
                  {"threads", threads},
                  {"seconds", seconds},
                  {"seconds_in_victim", in_victim},
                  {"samples_per_s", n / seconds},
                  {"queries_per_sample", static_cast<double>(queries) / n},
                  {"mean_distance", mean},
                  {"standard_error", std::sqrt(squares / (n - 1) / n)},
                  {"numbers", images.numbers},
                  {"distances", distances}});
  });
}
