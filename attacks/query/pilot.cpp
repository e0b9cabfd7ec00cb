#include "attacks/query/pilot.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <utility>
#include <vector>

#include "base/errors.h"
#include "kernels/philox.h"
#include "stats/bandwidth.h"

namespace offramp::attacks {
namespace {

constexpr std::uint32_t kOrderStream = 0xA77AC001u;  // step = pass
constexpr std::uint32_t kPilotStep = 0xffffffffu;

double smallest_gap(const stats::ExitEstimate& estimate) {
  double gap = 0;
  for (std::size_t e = 1; e < estimate.num_exits; ++e) {
    const double step = estimate.centres_ns[e] - estimate.centres_ns[e - 1];
    gap = gap == 0 ? step : std::min(gap, step);
  }
  return gap;
}

}  // namespace

std::vector<std::int32_t> shuffled(int count, std::uint64_t seed, std::uint32_t step) {
  std::vector<std::int32_t> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  const PhiloxKey key{seed, kOrderStream, 0, step};
  for (std::size_t i = order.size(); i-- > 1;)  // Fisher-Yates, as nets/data/split.h
    std::swap(order[i], order[static_cast<std::size_t>((std::uint64_t{key.word(i)} * (i + 1)) >> 32)]);
  return order;
}

RepetitionChoice choose_repetitions(std::span<const double> times_ns,
                                    int repetitions,
                                    const QueryOptions& options,
                                    stats::MeasurementOrder order) {
  if (repetitions < 2 || repetitions % 2 != 0)
    throw ValueError("choose_repetitions: needs an even number of repetitions, at least 2, got " +
                     std::to_string(repetitions));
  RepetitionChoice choice;
  // Pairs of single measurements: the noise of one. Its outliers, however many, do not follow the law of
  // averages that the choice rests on.
  const auto noise_of_one = [](std::span<const double> times) {
    return stats::measured_noise(times, 2, stats::TimeStatistic::kMinimum, 0.5);
  };
  const auto r = static_cast<std::size_t>(repetitions);
  choice.sigma1_ns = noise_of_one(times_ns);
  if (!order.empty() && r >= stats::kLeastForSpeed)
    choice.sigma1_ns =
        std::min(choice.sigma1_ns, noise_of_one(stats::even_out_speed(times_ns, r, order).times_ns));
  const auto pilot = stats::estimate_exits(times_ns, r, {.order = order});
  choice.gap_ns = smallest_gap(pilot);
  char text[240];
  if (choice.gap_ns > 0) {
    const double ratio = choice.sigma1_ns / choice.gap_ns;
    const double needed = std::ceil(std::min(36 * ratio * ratio, 1e6));
    choice.repetitions =
        std::clamp(static_cast<int>(needed), options.min_repetitions, options.max_repetitions);
    std::snprintf(
        text,
        sizeof text,
        "%d repetitions: one measurement has noise %.0f ns, neighbouring exits are at least %.0f ns "
        "apart, six sigma need %.0f",
        choice.repetitions,
        choice.sigma1_ns,
        choice.gap_ns,
        needed);
  } else {
    choice.repetitions = options.min_repetitions;
    std::snprintf(text,
                  sizeof text,
                  "%d repetitions: one measurement has noise %.0f ns, the pilot saw a single exit",
                  choice.repetitions,
                  choice.sigma1_ns);
  }
  choice.because = text;
  return choice;
}

RepetitionChoice more_repetitions(std::span<const double> times_ns,
                                  int repetitions,
                                  const RepetitionChoice& chosen,
                                  const QueryOptions& options,
                                  stats::MeasurementOrder order) {
  if (repetitions < 2 || repetitions >= options.max_repetitions) return chosen;
  const auto so_far =
      stats::estimate_exits(times_ns, static_cast<std::size_t>(repetitions), {.order = order});
  if (options.until_promised && !so_far.reliable) {
    RepetitionChoice choice = chosen;
    choice.repetitions = std::min(std::max(repetitions + 10, repetitions * 3 / 2), options.max_repetitions);
    choice.because = std::to_string(choice.repetitions) + " repetitions: after " +
                     std::to_string(repetitions) + " the number of exits, " +
                     std::to_string(so_far.num_exits) + ", is no promise";
    return choice;
  }
  double gap = smallest_gap(so_far);
  if (gap == 0 || (chosen.gap_ns > 0 && chosen.gap_ns < gap)) gap = chosen.gap_ns;
  if (gap == 0 || 6 * so_far.sigma_ns <= gap) return chosen;
  const double ratio = 6 * so_far.sigma_ns / gap;
  RepetitionChoice choice = chosen;
  // Ten more at least: the noise that decides is itself an estimate, and every look at it costs a pass
  // anyway.
  choice.repetitions =
      static_cast<int>(std::clamp(std::ceil(repetitions * ratio * ratio),
                                  static_cast<double>(std::min(repetitions + 10, options.max_repetitions)),
                                  static_cast<double>(options.max_repetitions)));
  choice.gap_ns = gap;
  char text[240];
  std::snprintf(
      text,
      sizeof text,
      "%d repetitions: after %d the noise of a query (%s of its times) is still %.0f ns, neighbouring "
      "exits are at least %.0f ns apart",
      choice.repetitions,
      repetitions,
      stats::name_of(so_far.statistic),
      so_far.sigma_ns,
      gap);
  choice.because = text;
  return choice;
}

RepetitionChoice run_pilot(BlackBox& victim,
                           const ImageSource& images,
                           const QueryOptions& options,
                           const std::function<void(std::int64_t done, std::int64_t total)>& report) {
  auto chosen = shuffled(images.count, options.seed, kPilotStep);
  chosen.resize(static_cast<std::size_t>(std::min(images.count, options.pilot_samples)));
  const std::size_t r = static_cast<std::size_t>(options.pilot_repetitions);
  std::vector<double> times(chosen.size() * r);
  std::vector<std::int32_t> positions(times.size());
  for (std::size_t pass = 0; pass < r; ++pass) {
    const auto order = shuffled(
        static_cast<int>(chosen.size()), options.seed, kPilotStep - 1 - static_cast<std::uint32_t>(pass));
    std::vector<std::int32_t> indices;
    for (const auto place : order) indices.push_back(chosen[static_cast<std::size_t>(place)]);
    const Answer answer = victim.query(images.load(indices), Timing::kPerQuery);
    for (std::size_t i = 0; i < order.size(); ++i) {
      const std::size_t at = static_cast<std::size_t>(order[i]) * r + pass;
      times[at] = static_cast<double>(answer.nanoseconds[i]);
      positions[at] = static_cast<std::int32_t>(i);
    }
    if (report)
      report(static_cast<std::int64_t>((pass + 1) * chosen.size()), static_cast<std::int64_t>(times.size()));
  }
  return choose_repetitions(times, options.pilot_repetitions, options, positions);
}

}  // namespace offramp::attacks
