#pragma once
// Asks a black box about every image r times and records a trace; survives being killed. Each pass goes over
// all images in a fresh random order, so that slow spells of the machine hit different images in each pass
// and no image keeps the same neighbour.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "attacks/query/trace.h"
#include "stats/exit_estimation.h"

namespace offramp::attacks {

struct QueryOptions {
  int repetitions = 0;      // 0: chosen from a pilot (choose_repetitions)
  int pilot_samples = 300;  // images re-measured by the pilot
  int pilot_repetitions = 20;
  int min_repetitions = 10, max_repetitions = 200;
  int block = 250;  // queries between two writes: what a kill can lose
  std::uint64_t seed = 1;
  std::string victim = {}, images = {};  // for trace.json
};

// specs/extraction.md 2.2: r >= 36 (sigma_1 / gap)^2 puts neighbouring exits six sigma apart.
struct RepetitionChoice {
  int repetitions = 0;
  double sigma1_ns = 0;  // of one measurement, from re-measuring
  double gap_ns = 0;     // smallest gap between neighbouring exits that the pilot found; 0: one exit found
  std::string because = {};  // one line to print
};
// Bandwidth of the density of running times: half its re-measured noise (of kTimeStatistic), but at least 1.5
// % of the range of the times (0.5 % to 99.5 %). Images that leave at one exit differ by a few per cent
// however often they are measured (2 % to 3 % on small nets of ours), which the noise does not show and exits
// do not look like: sixteen exits across the range would still be 4.4 bandwidths apart.
double density_bandwidth(std::span<const double> times_ns, int repetitions);

// What stands for the repetitions of an image. Not their minimum: a core that is fast for a moment (an idle
// neighbour) makes some images' minimum faster than any other's; the 20 % quantile passes over both tails.
inline constexpr stats::TimeStatistic kTimeStatistic = stats::TimeStatistic::kQuantile20;

// times_ns [samples, repetitions]; repetitions even, at least 2.
RepetitionChoice choose_repetitions(std::span<const double> times_ns,
                                    int repetitions,
                                    const QueryOptions& options);

struct QueryProgress {
  std::int64_t done = 0, total = 0;  // queries; the pilot is not counted
  const RepetitionChoice* choice = nullptr;
};

// The trace in `folder`: read when it is there, gone on with when it was begun with the same images, seed and
// size (else FileError), started otherwise. `report` is called after every block.
Trace query_victim(BlackBox& victim,
                   const ImageSource& images,
                   const std::filesystem::path& folder,
                   const QueryOptions& options,
                   const std::function<void(const QueryProgress&)>& report = {});

// The order of the images in pass `pass`, from 0.
std::vector<std::int32_t> query_order(int count, std::uint64_t seed, int pass);

}  // namespace offramp::attacks
