#pragma once
// How often each image must be asked: chosen from a pilot that re-measures a few hundred images, and raised while the
// trace itself is noisier than that (specs/extraction.md 2.2).
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "attacks/query/black_box.h"
#include "stats/exits/exit_estimation.h"

namespace offramp::attacks {

struct QueryOptions {
  // 0: chosen from a pilot (choose_repetitions), and raised while the trace itself is noisier than that
  // (more_repetitions)
  int repetitions = 0;
  int pilot_samples = 300;  // images re-measured by the pilot
  int pilot_repetitions = 20;
  int min_repetitions = 10, max_repetitions = 200;
  bool until_promised = false;  // raised also while the estimate does not promise its number of exits
  int block = 250;              // queries between two writes: what a kill can lose
  // Every pass but the first asks near-duplicates: pixels moved by up to this much, uniformly, and kept in [0, 1]; each
  // image differently in each pass. 0: the images themselves. Defeats a delay that belongs to the input
  // (attacks/defences); the pilot asks the images themselves.
  double near_duplicates = 0;
  std::uint64_t seed = 1;
  std::string victim = {}, images = {};       // for trace.json
  std::vector<std::string> image_parts = {};  // the same, one by one
  int side = 0, channels = 0;                 // of the images, for trace.json; 0: not known
};

// specs/extraction.md 2.2: r >= 36 (sigma_1 / gap)^2 puts neighbouring exits six sigma apart. sigma_1 is what
// is left when the machine's speed is divided out, where that is less.
struct RepetitionChoice {
  int repetitions = 0;
  double sigma1_ns = 0;  // of one measurement, from re-measuring
  double gap_ns = 0;     // smallest gap between neighbouring exits that the pilot found; 0: one exit found
  std::string because = {};  // one line to print
};
// times_ns [samples, repetitions]; repetitions even, at least 2; order: as EstimationOptions.
RepetitionChoice choose_repetitions(std::span<const double> times_ns,
                                    int repetitions,
                                    const QueryOptions& options,
                                    stats::MeasurementOrder order = {});

// The same after `repetitions` passes over all images, when the machine may have become busier than it was in
// the pilot: six times the noise of the statistic that the estimate will use must fit into the smallest gap
// that the pilot or these times show. Returns `chosen` where it does, where nothing more is allowed, and
// where one exit is all that was ever seen; with until_promised, half as many more while the number of exits is no
// promise. times_ns [samples, repetitions]; ValueError as measured_noise.
RepetitionChoice more_repetitions(std::span<const double> times_ns,
                                  int repetitions,
                                  const RepetitionChoice& chosen,
                                  const QueryOptions& options,
                                  stats::MeasurementOrder order = {});

// Asks for the times of options.pilot_samples images, options.pilot_repetitions times each. `report` is called after
// every pass with the queries done and their number.
RepetitionChoice run_pilot(BlackBox& victim,
                           const ImageSource& images,
                           const QueryOptions& options,
                           const std::function<void(std::int64_t done, std::int64_t total)>& report);

// A permutation of 0 .. count - 1; other steps of a seed give others.
std::vector<std::int32_t> shuffled(int count, std::uint64_t seed, std::uint32_t step);

}  // namespace offramp::attacks
