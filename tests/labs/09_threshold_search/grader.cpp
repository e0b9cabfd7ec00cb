// Lab 9: against the exact search of stats/search, on instances where going exit by exit misses the optimum and on others.
#include "tests/labs/grading.h"

#include "docs/labs/labs.h"
#include "stats/search/threshold_search.h"

#include <limits>

namespace offramp::labs {

const char* const kLab = "lab 9, a threshold search";

void grade(std::uint64_t seed) {
  const auto search = reinterpret_cast<decltype(&best_thresholds)>(symbol("best_thresholds"));
  Random random(seed);
  for (int instance = 0; instance < 6; ++instance) {
    const int exits = instance < 4    ? 3
                      : instance == 4 ? 2
                                      : 4,
              n = exits == 4 ? random.from(4, 7) : random.from(5, 12);
    const auto count = static_cast<std::size_t>(n), width = static_cast<std::size_t>(exits - 1);
    std::vector<double> confidence(count * width), with_last(count * (width + 1));
    std::vector<int> wanted(count);
    for (std::size_t i = 0; i < count; ++i) {
      wanted[i] = random.from(1, exits);
      for (std::size_t k = 0; k < width; ++k) {
        // Some tell the exit, some do not; of the first instance many are equal.
        const double noise = random.uniform(), tells = static_cast<int>(k) + 1 >= wanted[i] ? 0.3 : 0;
        confidence[i * width + k] =
            instance == 0 ? std::floor(4 * (0.7 * noise + tells)) / 4 : 0.7 * noise + tells;
        with_last[i * (width + 1) + k] = confidence[i * width + k];
      }
    }
    Output<double> threshold(width, std::numeric_limits<double>::quiet_NaN());
    search(n, exits, confidence.data(), wanted.data(), threshold.data());
    threshold.check_guards("threshold");
    for (std::size_t k = 0; k < width; ++k)
      if (!std::isfinite(threshold[k]))
        wrong(
            "Every exit but the last has a threshold, a number; -1 where everybody leaves, 1 where nobody does.",
            "threshold {} is {}",
            k + 1,
            threshold[k]);
    const stats::SearchSamples samples{with_last, wanted, width + 1};
    const double got = stats::joint_value(samples, {threshold.data(), width}),
                 best = stats::search_thresholds(samples).value;
    if (got != best)
      wrong(
          "The count of a threshold depends on the other ones: a sample that leaves at exit 1 is not seen by exit 2. Try "
          "combinations: for each exit, every confidence that occurs there (with >, who has it stays), and everybody leaves.",
          "{} samples, {} exits: under these thresholds {} samples leave where they should; {} can",
          n,
          exits,
          got,
          best);
  }
}

}  // namespace offramp::labs
