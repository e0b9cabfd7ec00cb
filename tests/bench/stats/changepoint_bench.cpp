// Exact Bayesian changepoints and optimal segmentations of the doubles in FILE: changepoint_bench FILE
// [threads] Prints one JSON object, an FMA probe of the clock before and after. log_q and map visit every
// pair, the pruned forms what the bound leaves.
#include <cmath>
#include <cstdlib>
#include <ctime>

#include "stats/changepoint.h"
#include "stats/segmentation.h"
#include "tests/bench/stats/bench.h"

int main(int argc, char** argv) {
  using namespace offramp;
  if (argc < 2) {
    std::fprintf(stderr, "usage: changepoint_bench FILE [threads]\n");
    return 2;
  }
  const std::vector<double> y = bench::read_doubles(argv[1]);
  const unsigned threads = argc > 2 ? static_cast<unsigned>(std::atoi(argv[2])) : 2;
  const stats::NormalGammaPrior prior;
  const stats::LengthPrior length = stats::LengthPrior::constant(y.size());
  const stats::ChangepointOptions options = {.threads = threads, .prune = false};
  std::size_t q_visited = 0, map_visited = 0;
  const stats::ChangepointOptions q_pruned = {.threads = threads, .visited_pairs = &q_visited};
  const stats::ChangepointOptions map_pruned = {.threads = threads, .visited_pairs = &map_visited};
  const std::size_t least = y.size() > 30000 ? 1 : 5;
  const double pairs = static_cast<double>(y.size()) * static_cast<double>(y.size() + 1) / 2;
  const double before = bench::fma_probe(threads);
  std::vector<double> q;
  // CPU seconds of all threads stand beside the wall clock: on a shared machine only they mean something.
  std::size_t runs = 0;
  const std::clock_t cpu_before = std::clock();
  const double sum = bench::median_seconds(
      [&] {
        q = stats::changepoint_log_q(y, prior, length, options);
        ++runs;
      },
      least);
  const double cpu =
      static_cast<double>(std::clock() - cpu_before) / CLOCKS_PER_SEC / static_cast<double>(runs);
  stats::MapSegmentation map;
  const double best =
      bench::median_seconds([&] { map = stats::map_segmentation(y, prior, length, options); }, least);
  std::vector<double> q_short;
  std::size_t q_runs = 0, map_runs = 0;
  const double sum_pruned = bench::median_seconds(
      [&] {
        q_short = stats::changepoint_log_q(y, prior, length, q_pruned);
        ++q_runs;
      },
      least);
  double off = 0;
  for (std::size_t i = 0; i < q.size(); ++i) {
    off = std::max(off, std::abs(q[i] - q_short[i]));
  }
  const double best_pruned = bench::median_seconds(
      [&] {
        const stats::MapSegmentation same = stats::map_segmentation(y, prior, length, map_pruned);
        if (same.starts != map.starts || same.log_joint != map.log_joint) {
          std::fprintf(stderr, "changepoint_bench: pruning changed the MAP segmentation\n");
          std::exit(1);
        }
        ++map_runs;
      },
      least);
  const double after = bench::fma_probe(threads);
  std::printf(
      "{\"n\": %zu, \"threads\": %u, \"fma_gflops_before\": %.0f, \"fma_gflops_after\": %.0f, "
      "\"log_q_ms\": %.5g, \"log_q_gpairs\": %.3g, \"log_q_gpairs_per_cpu_second\": %.3g, \"log_evidence\": "
      "%.12g, \"map_ms\": %.5g, "
      "\"map_gpairs\": %.3g, \"map_segments\": %zu, \"log_q_pruned_ms\": %.5g, \"log_q_visited\": %.3g, "
      "\"log_q_largest_change\": %.2g, \"map_pruned_ms\": %.5g, \"map_visited\": %.3g",
      y.size(),
      threads,
      before,
      after,
      sum * 1e3,
      pairs / sum * 1e-9,
      pairs / cpu * 1e-9,
      q[0],
      best * 1e3,
      pairs / best * 1e-9,
      map.starts.size(),
      sum_pruned * 1e3,
      static_cast<double>(q_visited) / static_cast<double>(q_runs) / pairs,
      off,
      best_pruned * 1e3,
      static_cast<double>(map_visited) / static_cast<double>(map_runs) / pairs);
  if (std::is_sorted(y.begin(), y.end())) {
    stats::Segmentation s;
    const double penalty = 2.0;
    const double queue = bench::median_seconds([&] { s = stats::segment_sorted(y, penalty); });
    std::printf(", \"sorted_ms\": %.4g, \"sorted_segments\": %zu, \"sorted_squares\": %.10g",
                queue * 1e3,
                s.starts.size(),
                s.squares);
    const double fixed = bench::median_seconds([&] { s = stats::segment_sorted_into(y, 4); });
    std::printf(", \"sorted_into_4_ms\": %.4g", fixed * 1e3);
  } else {
    stats::Segmentation s;
    const double pelt = bench::median_seconds([&] { s = stats::segment_pelt(y, 20); });
    std::printf(", \"pelt_ms\": %.4g, \"pelt_segments\": %zu, \"pelt_squares\": %.10g",
                pelt * 1e3,
                s.starts.size(),
                s.squares);
  }
  std::printf("}\n");
}
