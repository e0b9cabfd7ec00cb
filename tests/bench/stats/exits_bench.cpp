// The figures of docs/results/exits.md.
//   exits_bench tables FILE.csv ..       exits found and queries right, every method beside the best thresholds
//   exits_bench calibrate FIRST COUNT    what `reliable` and the interval are worth, on synthetic traces of these seeds
//   exits_bench speed                    100,000 times
// A table has a header, the true exit in the column `No of Blocks` or `exit`, and either one time in seconds in the
// column `Time` or nanoseconds in `t1`, `t2`, ..
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "stats/exits/exit_estimation.h"
#include "tests/bench/stats/bench.h"
#include "tests/support/exit_traces.h"
#include "tests/support/noise_models.h"

namespace offramp {
namespace {

using stats::EstimationMethod;

struct Table {
  std::vector<double> ns;
  std::vector<std::size_t> exit;
  std::size_t repetitions = 1;
};

std::vector<std::string> split(const std::string& line) {
  std::vector<std::string> cells;
  std::istringstream in(line);
  for (std::string cell; std::getline(in, cell, ',');) cells.push_back(cell);
  return cells;
}

Table read_table(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) throw std::runtime_error(path + ": expected a header, found none");
  const auto head = split(line);
  std::size_t exit = head.size();
  std::vector<std::size_t> times;
  double unit = 1;
  for (std::size_t c = 0; c < head.size(); ++c) {
    if (head[c] == "No of Blocks" || head[c] == "exit") exit = c;
    if (head[c] == "Time") times.push_back(c), unit = 1e9;
    if (head[c].size() > 1 && head[c][0] == 't' && head[c][1] >= '0' && head[c][1] <= '9') times.push_back(c);
  }
  if (exit == head.size() || times.empty())
    throw std::runtime_error(path + ": expected columns `No of Blocks` or `exit`, and `Time` or t1, t2, ..");
  Table t;
  t.repetitions = times.size();
  while (std::getline(file, line)) {
    const auto cells = split(line);
    t.exit.push_back(std::stoul(cells.at(exit)));
    for (const std::size_t c : times) t.ns.push_back(unit * std::stod(cells.at(c)));
  }
  return t;
}

const char* yes(bool b) { return b ? "yes" : "no"; }

void tables(const std::vector<std::string>& paths) {
  std::printf("| table | exits | best thresholds | mixture | between | reliable | kde | changepoints |\n");
  std::printf("|---|---|---|---|---|---|---|---|\n");
  for (const std::string& path : paths) {
    const Table t = read_table(path);
    const auto run = [&](EstimationMethod m) {
      return stats::estimate_exits(t.ns, t.repetitions, {.method = m, .threads = 1});
    };
    const auto mixture = run(EstimationMethod::kMixture), kde = run(EstimationMethod::kDensity),
               cuts = run(EstimationMethod::kChangepoints);
    const auto answer = [&](const stats::ExitEstimate& e) {
      char text[64];
      std::snprintf(text, sizeof text, "%zu / %.4f", e.num_exits, test::share_equal(e.exits, t.exit));
      return std::string(text);
    };
    std::printf("| %s | %zu | %.4f | %s | %zu-%zu | %s | %s%s | %s%s |\n",
                path.substr(path.find_last_of('/') + 1).c_str(),
                *std::max_element(t.exit.begin(), t.exit.end()),
                test::best_threshold_accuracy(mixture.statistic_ns, t.exit),
                answer(mixture).c_str(),
                mixture.least_exits,
                mixture.most_exits,
                yes(mixture.reliable),
                answer(kde).c_str(),
                kde.reliable ? " (reliable)" : "",
                answer(cuts).c_str(),
                cuts.reliable ? " (reliable)" : "");
    std::fflush(stdout);
  }
}

struct Row {
  std::size_t traces = 0, right = 0, reliable = 0, reliable_right = 0, inside = 0, width = 0, kde = 0,
              kde_reliable = 0, kde_reliable_right = 0;
  double accuracy = 0, best = 0;
};

void calibrate(std::uint64_t first, std::size_t count) {
  std::vector<std::pair<double, Row>> rows;
  for (const double s : {1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0}) rows.push_back({s, {}});
  Row all, six;
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    const test::ExitTrace t = test::draw_exit_trace(seed);
    const auto e = stats::estimate_exits(t.ns, 1, {.method = EstimationMethod::kMixture, .threads = 1});
    const auto k = stats::estimate_exits(t.ns, 1, {.threads = 1});
    const auto add = [&](Row& r) {
      const bool right = e.num_exits == t.exits;
      ++r.traces;
      r.right += right;
      r.reliable += e.reliable;
      r.reliable_right += e.reliable && right;
      r.inside += e.least_exits <= t.exits && t.exits <= e.most_exits;
      r.width += e.most_exits - e.least_exits + 1;
      r.accuracy += test::share_equal(e.exits, t.true_exit);
      r.best += test::best_threshold_accuracy(t.ns, t.true_exit);
      r.kde += k.num_exits == t.exits;
      r.kde_reliable += k.reliable;
      r.kde_reliable_right += k.reliable && k.num_exits == t.exits;
    };
    for (auto& [s, row] : rows)
      if (s == t.separation) add(row);
    add(all);
    if (t.separation >= 6 && t.exits > 1) add(six);
    if (e.reliable && e.num_exits != t.exits)
      std::fprintf(stderr,
                   "seed %llu: reliable, %zu exits, %zu found\n",
                   static_cast<unsigned long long>(seed),
                   t.exits,
                   e.num_exits);
  }
  std::printf("seeds %llu to %llu\n",
              static_cast<unsigned long long>(first),
              static_cast<unsigned long long>(first + count - 1));
  std::printf(
      "| sigma | traces | right | reliable | of them right | in the interval | its width | accuracy | best thresholds | "
      "kde right | kde reliable | of them right |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n");
  const auto print = [](const std::string& name, const Row& r) {
    if (r.traces == 0) return;
    const auto n = static_cast<double>(r.traces);
    std::printf("| %s | %zu | %zu | %zu | %zu | %zu | %.1f | %.4f | %.4f | %zu | %zu | %zu |\n",
                name.c_str(),
                r.traces,
                r.right,
                r.reliable,
                r.reliable_right,
                r.inside,
                static_cast<double>(r.width) / n,
                r.accuracy / n,
                r.best / n,
                r.kde,
                r.kde_reliable,
                r.kde_reliable_right);
  };
  for (const auto& [s, row] : rows) {
    char name[16];
    std::snprintf(name, sizeof name, "%g", s);
    print(name, row);
  }
  print("all", all);
  print("6 and more, two exits or more", six);
}

void speed() {
  for (const bool ticks : {false, true}) {
    test::TimeModel model{.share = {.3, .2, .2, .1, .1, .1}};
    model.gap_ns = 5 * model.sigma_ns;
    test::Times t = test::draw_times(model, 100000, 1, 1);
    for (double& ns : t.ns) ns = ticks ? 1000 * std::round(ns / 1000) : ns;
    for (const unsigned threads : {1u, 2u}) {
      const double s = bench::median_seconds(
          [&] { stats::estimate_exits(t.ns, 1, {.method = EstimationMethod::kMixture, .threads = threads}); },
          3);
      std::printf("100,000 times, %s, %u threads: %.3f s\n",
                  ticks ? "ticks of a tenth of sigma" : "no ticks",
                  threads,
                  s);
    }
  }
}

}  // namespace
}  // namespace offramp

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  try {
    if (words.size() > 1 && words[0] == "tables") {
      offramp::tables({words.begin() + 1, words.end()});
    } else if (words.size() == 3 && words[0] == "calibrate") {
      offramp::calibrate(std::stoull(words[1]), std::stoull(words[2]));
    } else if (words.size() == 1 && words[0] == "speed") {
      offramp::speed();
    } else {
      std::fprintf(stderr, "usage: exits_bench tables FILE.csv .. | calibrate FIRST COUNT | speed\n");
      return 2;
    }
  } catch (const std::exception& e) {
    std::fprintf(stderr, "error: %s\n", e.what());
    return 1;
  }
  return 0;
}
