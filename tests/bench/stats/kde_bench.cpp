// KDE of the doubles in FILE at the points in POINTS: kde_bench FILE POINTS bandwidth [threads]
// Prints one JSON object: milliseconds and the largest error over the largest density, against the direct
// sum.
#include <cmath>
#include <cstdlib>

#include "stats/kde.h"
#include "tests/bench/stats/bench.h"

int main(int argc, char** argv) {
  using namespace offramp;
  if (argc < 4) {
    std::fprintf(stderr, "usage: kde_bench FILE POINTS bandwidth [threads]\n");
    return 2;
  }
  const std::vector<double> sample = bench::read_doubles(argv[1]), points = bench::read_doubles(argv[2]);
  const double h = std::atof(argv[3]);
  const unsigned threads = argc > 4 ? static_cast<unsigned>(std::atoi(argv[4])) : 2;
  std::vector<double> exact, f;
  const double direct =
      bench::median_seconds([&] { exact = stats::kde_direct(sample, points, h, threads); }, 3);
  const double peak = *std::max_element(exact.begin(), exact.end());
  const auto error = [&] {
    double worst = 0;
    for (std::size_t i = 0; i < f.size(); ++i) worst = std::max(worst, std::abs(f[i] - exact[i]) / peak);
    return worst;
  };
  std::printf("{\"n\": %zu, \"points\": %zu, \"threads\": %u, \"direct_ms\": %.4g, \"gpairs\": %.3g",
              sample.size(),
              points.size(),
              threads,
              direct * 1e3,
              static_cast<double>(sample.size() * points.size()) / direct * 1e-9);
  const double sorting = bench::median_seconds([&] {
    std::vector<double> sorted = sample;
    std::sort(sorted.begin(), sorted.end());
    f = stats::kde_truncated(sorted, points, h, 1e-9, threads);
  });
  std::printf(", \"sort_truncated_ms\": %.4g, \"sort_truncated_error\": %.2g", sorting * 1e3, error());
  for (const double tolerance : {1e-4, 3e-5, 1e-6, 1e-9}) {
    const double time =
        bench::median_seconds([&] { f = stats::kde_binned(sample, points, h, tolerance, threads); });
    std::printf(
        ", \"binned_%.0e_ms\": %.4g, \"binned_%.0e_error\": %.2g", tolerance, time * 1e3, tolerance, error());
  }
  std::printf("}\n");
}
