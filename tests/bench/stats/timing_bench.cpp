// The timing verdict on data that are known: false alarms, and what is found (docs/results/verdicts.md).
//   timing_bench null RUNS [FILE.csv COLUMN ..]   alarms at 1 %, 5 % and 9 % on noise without a difference: that of
//                                        tests/stats/traces, of this machine's own clock, and of columns of CSV files
//                                        in seconds; band: 99 % of a binomial
//   timing_bench series RUNS             the same on generated series whose times depend on each other
//   timing_bench power SVG               planned and seen power against the number of measurements
#include <boost/math/distributions/binomial.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "base/atomic_file.h"
#include "base/number_table.h"
#include "stats/exits/time_cells.h"
#include "stats/timing/decile_region.h"
#include "tests/support/timing_series.h"
#include "tools/report/svg_writer.h"
#include "tools/report/xy_chart.h"

namespace offramp {
namespace {

using Draw = std::function<stats::ClassifiedTimes(std::uint64_t seed)>;
constexpr double kAlphas[] = {0.01, 0.05, 0.09};

double p_without_limit(const stats::ClassifiedTimes& t, std::uint64_t seed) {
  const stats::TimingTestOptions o{.limit_ns = 0, .resamples = 999, .seed = seed, .threads = 0};
  return stats::read_region(stats::decile_region(t, o), 0).p_value;
}

void null_runs(const char* name, int runs, const Draw& draw) {
  int alarms[3] = {};
  for (int r = 1; r <= runs; ++r) {
    const double p = p_without_limit(draw(static_cast<std::uint64_t>(r)), static_cast<std::uint64_t>(r));
    for (int a = 0; a < 3; ++a) alarms[a] += p <= kAlphas[a] ? 1 : 0;
  }
  std::printf("| %s | %d |", name, runs);
  for (int a = 0; a < 3; ++a) {
    const boost::math::binomial binomial(runs, kAlphas[a]);
    std::printf(
        " %d (%.0f to %.0f)%s |",
        alarms[a],
        boost::math::quantile(binomial, .005),
        boost::math::quantile(boost::math::complement(binomial, .005)),
        alarms[a] > boost::math::quantile(boost::math::complement(binomial, .005)) ? " **over**" : "");
  }
  std::printf("\n");
  std::fflush(stdout);
}

// Times of a small fixed loop by this machine's clock, as busy as it is.
std::vector<double> own_noise() {
  std::vector<double> ns;
  volatile double sink = 1;
  for (int i = 0; i < 20000; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    for (int k = 0; k < 2000; ++k) sink = sink * 1.0000001;
    ns.push_back(std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - begin).count());
  }
  return ns;
}

// As timing_verdict does with times on a clock.
stats::ClassifiedTimes spread(stats::ClassifiedTimes t, std::uint64_t seed) {
  const double tick = stats::clock_tick(t.ns);
  std::mt19937_64 rng(seed);
  std::uniform_real_distribution<double> within(-tick / 2, tick / 2);
  for (double& ns : t.ns) ns += within(rng);
  return t;
}

constexpr char kHeading[] =
    "| noise | runs | alarms at 1 % (band) | at 5 % | at 9 % |\n|---|---|---|---|---|\n";

void run_null(int runs, char** files, int count) {
  std::printf("%s", kHeading);
  const std::string trace = OFFRAMP_SOURCE_DIR "/tests/stats/traces/small-cnn-fashion-mnist-cpu-busy.csv";
  for (const int exit : {1, 2, 3, 4}) {
    const auto noise = test::recorded_noise(trace, exit);
    null_runs(("small CNN, busy machine, exit " + std::to_string(exit)).c_str(), runs, [&](std::uint64_t s) {
      return test::relabelled(noise, 500, 0, s);
    });
  }
  const auto own = own_noise();
  null_runs("a loop on this machine", runs, [&](std::uint64_t s) {
    return spread(test::relabelled(own, 500, 0, s), s);
  });
  for (int i = 0; i + 1 < count; i += 2) {
    std::vector<double> noise = read_number_table(files[i]).numbers(files[i + 1]);
    for (double& t : noise) t *= 1e9;
    null_runs(std::filesystem::path(files[i]).stem().c_str(), runs, [&](std::uint64_t s) {
      return spread(test::relabelled(noise, 500, 0, s), s);
    });
  }
}

void run_series(int runs) {
  std::printf("%s", kHeading);
  for (const double rho : {0.0, .5, .8}) {
    for (const auto order : {test::ClassOrder::kRandom, test::ClassOrder::kRuns}) {
      char name[99];
      std::snprintf(name,
                    sizeof name,
                    "AR(1) %.1f, %s",
                    rho,
                    order == test::ClassOrder::kRandom ? "random order" : "runs of 100");
      null_runs(
          name, runs, [&](std::uint64_t s) { return test::correlated_times(1000, 300, rho, 0, order, s); });
    }
  }
}

void run_power(const char* svg) {
  constexpr int kRuns = 100;
  const auto noise =
      test::recorded_noise(OFFRAMP_SOURCE_DIR "/tests/stats/traces/small-cnn-fashion-mnist-cpu-busy.csv", 1);
  const stats::ClassifiedTimes pilot = test::relabelled(noise, 500, 0, 1);
  const stats::TimingTestOptions o{
      .limit_ns = stats::limit_ns(stats::Attacker::kLan), .alpha = .01, .resamples = 499};
  report::XyChart chart;
  chart.frame.title = "How many measurements find a difference";
  chart.frame.subtitle =
      "recorded noise of a busy machine, LAN attacker (100 ns), alpha 1 %; lines: planned from 500 a class; points: 100 runs";
  chart.frame.x.label = "measurements of each class";
  chart.frame.x.log = true;
  chart.frame.y.label = "share of runs that say \"leaks\"";
  std::printf("| effect ns | n each | planned | seen |\n|---|---|---|---|\n");
  int colour = 0;
  for (const double effect : {100.0, 400.0, 800.0, 1600.0}) {
    report::Series planned{.name = std::to_string(static_cast<int>(effect)) + " ns", .colour = colour},
        seen{.draw = report::Draw::kPoints, .colour = colour};
    ++colour;
    for (const std::size_t n : {100, 200, 400, 800, 1600}) {
      int found = 0;
      for (int r = 0; r < kRuns; ++r) {
        const auto t = test::relabelled(noise, n, effect, 1000 + static_cast<std::uint64_t>(r));
        found += stats::timing_verdict(t, o).outcome == stats::TimingOutcome::kLeaks ? 1 : 0;
      }
      const double plan =
          effect > o.limit_ns ? stats::power_of(pilot, effect, static_cast<double>(n), o) : NAN;
      const auto share = stats::wilson_interval(static_cast<std::size_t>(found), kRuns);
      std::printf("| %.0f | %zu | %.3f | %.3f |\n", effect, n, plan, share.estimate);
      std::fflush(stdout);
      planned.x.push_back(static_cast<double>(n)), planned.y.push_back(plan);
      seen.x.push_back(static_cast<double>(n)), seen.y.push_back(share.estimate);
      seen.low.push_back(share.low), seen.high.push_back(share.high);
    }
    if (effect > o.limit_ns) {
      chart.series.push_back(planned);
    } else {
      seen.name = planned.name;
    }
    chart.series.push_back(seen);
  }
  write_file_atomically(svg, report::standalone_svg(report::render(chart)));
}

}  // namespace
}  // namespace offramp

int main(int argc, char** argv) {
  const std::string what = argc > 2 ? argv[1] : "";
  try {
    if (what == "null") {
      offramp::run_null(std::atoi(argv[2]), argv + 3, argc - 3);
      return 0;
    }
    if (what == "series") {
      offramp::run_series(std::atoi(argv[2]));
      return 0;
    }
    if (what == "power") {
      offramp::run_power(argv[2]);
      return 0;
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "timing_bench: %s\n", error.what());
    return 1;
  }
  std::fprintf(stderr, "usage: timing_bench null RUNS [FILE.csv COLUMN ..] | series RUNS | power SVG\n");
  return 2;
}
