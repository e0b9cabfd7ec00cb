// Joint threshold search on the generator of the measured prototypes: threshold_search_bench [n] [threads]
// [limit_s] One line per (exits, kind, seed): seconds, nodes, value, bound, proven or not.
#include <cstdio>
#include <cstdlib>

#include "stats/search/threshold_search.h"
#include "tests/support/threshold_data.h"

int main(int argc, char** argv) {
  using namespace offramp;
  const std::size_t n = argc > 1 ? static_cast<std::size_t>(std::atoll(argv[1])) : 100000;
  const unsigned threads = argc > 2 ? static_cast<unsigned>(std::atoi(argv[2])) : 2;
  const double limit = argc > 3 ? std::atof(argv[3]) : 60;
  std::printf("n = %zu, %u threads, limit %g s\n", n, threads, limit);
  std::printf(
      "%5s %5s %5s %9s %7s %9s %9s  %s\n", "exits", "kind", "seed", "seconds", "nodes", "value", "bound", "");
  for (const std::size_t num_exits : {3u, 4u, 5u, 6u}) {
    for (const int kind : {0, 2}) {
      for (const std::uint64_t seed : {1u, 2u, 3u}) {
        const test::ThresholdData data = test::draw_network(n, num_exits, kind, seed);
        const stats::SearchResult r =
            stats::search_thresholds(data.samples(), {.time_limit_s = limit, .threads = threads});
        std::printf("%5zu %5d %5llu %9.3f %7zu %9.0f %9.0f  %s\n",
                    num_exits,
                    kind,
                    static_cast<unsigned long long>(seed),
                    r.seconds,
                    r.nodes,
                    r.value,
                    r.upper_bound,
                    r.optimal ? "proven" : "open");
        std::fflush(stdout);
      }
    }
  }
}
