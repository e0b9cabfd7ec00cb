// Records a second of the score and gradient attack, last-layer gradients written out: the peer of
// tests/bench/peers/torch_attacks.py --what records.
//
//   records_bench CHECKPOINT IMAGES.npz [--count 0] [--rounds 3] [--threads 2] [--threshold T]
#include <algorithm>
#include <cmath>
#include <numeric>

#include "attacks/membership/records.h"
#include "tests/bench/attacks/attack_bench.h"

int main(int argc, char** argv) {
  using namespace offramp;
  using namespace offramp::attacks;
  bench::Flags flags = {{"--count", "0"}, {"--rounds", "3"}, {"--threads", "2"}, {"--threshold", ""}};
  const auto words = bench::read_flags(
      argc,
      argv,
      2,
      "records_bench CHECKPOINT IMAGES.npz [--count 0] [--rounds 3] [--threads 2] [--threshold T]",
      flags);
  return bench::reporting_errors("records_bench", [&] {
    const int threads = bench::number(flags, "--threads");
    const auto loaded = nets::load_net(words[0], Device::make_cpu({.threads = threads}), "f32");
    const evasion::Images images = bench::images_of(words[1], bench::number(flags, "--count"));
    data::ImageSet set{.n = images.n, .h = images.extent.h, .w = images.extent.w, .c = images.extent.c};
    for (const float v : images.pixels)
      set.pixels.push_back(static_cast<std::uint8_t>(std::lround(v * 255.0f)));
    set.labels = images.labels;
    for (int c = 0; c < loaded.net->classes(); ++c) set.class_names.push_back(std::to_string(c));
    const membership::Samples samples{std::move(set)};
    std::vector<std::int32_t> rows(static_cast<std::size_t>(images.n));
    std::iota(rows.begin(), rows.end(), 0);
    const std::span<const std::int32_t> all = rows;
    const nets::ExitPolicy policy = bench::policy_of(loaded, flags.at("--threshold"));

    Listener nobody;
    std::vector<double> seconds, forward_seconds;
    membership::Records records;
    double checksum = 0;
    for (int r = 0; r < bench::number(flags, "--rounds"); ++r) {
      checksum = 0;
      double forward = 0;
      seconds.push_back(bench::seconds_of([&] {
        forward = bench::seconds_of([&] {
          records = membership::collect_records(
              *loaded.net, policy, samples, all.first(all.size() / 2), all.subspan(all.size() / 2), nobody);
        });
        if (records.feature_size == 0) return;
        for (std::size_t i = 0; i < records.size(); ++i)
          for (const double g : membership::last_layer_gradient(records, i)) checksum += g * g;
      }));
      forward_seconds.push_back(forward);
    }
    std::vector<int> exits(static_cast<std::size_t>(loaded.net->num_exits()));
    for (const std::int32_t e : records.exit) ++exits[static_cast<std::size_t>(e - 1)];
    bench::print({{"peer", "offramp"},
                  {"net", loaded.net->options().name},
                  {"exits", loaded.net->num_exits()},
                  {"records", records.size()},
                  {"leaving", exits},
                  {"threads", threads},
                  {"seconds", seconds},
                  {"seconds_in_net", forward_seconds},
                  {"records_per_s", static_cast<double>(records.size()) / *std::ranges::min_element(seconds)},
                  {"feature_size", records.feature_size},
                  {"mean_loss",
                   std::accumulate(records.loss.begin(), records.loss.end(), 0.0) /
                       static_cast<double>(records.size())},
                  {"gradient_squares", checksum}});
  });
}
