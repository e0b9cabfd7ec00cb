// Is there a difference in time between two classes of inputs that an attacker can use? (specs/audit.md 4.) One confidence
// region for the differences of the nine deciles, which decides every verdict: the chance that "leaks" is said of a
// difference within the attacker's limit, or "smaller" of one beyond it, is at most alpha.
//
// Measurements depend on each other. Where the classes came in random order they are drawn again, over the same times or,
// where inputs were measured several times, over whole inputs; else blocks of the common sequence of both classes are
// resampled (a slow spell hits both, and counts once). The largest studentised difference gives the region (max-t;
// decile_region.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "stats/intervals.h"
#include "stats/timing/deciles.h"

namespace offramp::stats {

// Who looks at the clock, and the smallest difference worth anything to him.
enum class Attacker { kSameCore, kLan, kInternet };
inline constexpr std::pair<Attacker, const char*> kAttackerNames[] = {
    {Attacker::kSameCore, "same-core"}, {Attacker::kLan, "lan"}, {Attacker::kInternet, "internet"}};
const char* to_text(Attacker attacker);
double limit_ns(Attacker attacker);  // 1, 100, 50,000

// Times of both classes in the order measured.
struct ClassifiedTimes {
  std::vector<double> ns;
  std::vector<std::uint8_t> is_b;  // [n] 0: class a, 1: class b
  // [n] which input was measured, any numbers; empty: each measurement is of an input of its own.
  std::vector<std::int64_t> input;
};

enum class TimingOutcome { kLeaks, kSmaller, kInconclusive, kNotMeasured };
const char* to_text(TimingOutcome outcome);  // "leaks", "smaller", "inconclusive", "could not be measured"

struct TimingTestOptions {
  double limit_ns = 100;  // Delta: differences up to it are of no use to the attacker
  double alpha = 0.01;
  std::size_t resamples = 2000;
  // Resample blocks of so many measurements in any case; default: where the order is not random, by the
  // autocorrelation and at least 10.
  std::optional<std::size_t> block = {};
  std::uint64_t seed = 1;
  unsigned threads = 0;
  double power = 0.9;  // of the planned number of measurements
};

struct TimingVerdict {
  TimingOutcome outcome = TimingOutcome::kNotMeasured;
  std::string reason;  // one sentence: what was found, or why nothing can be said
  std::size_t n_a = 0, n_b = 0;
  bool compared = false;  // the deciles were; else what follows, to the tick, says nothing
  Deciles difference{};   // decile of b - decile of a, ns
  Deciles low{}, high{};  // simultaneous at 1 - alpha
  std::size_t largest =
      0;                // index of the decile that decides: furthest beyond the limit, in its own deviations
  Interval effect;      // of that decile, signed
  double p_value = 1;   // of "every decile's difference is at most the limit"
  double critical = 0;  // half width of an interval in its deviations
  bool classes_drawn = false;   // again over the same times; false: blocks were resampled
  std::size_t block = 1;        // measurements resampled together; 1 where classes were drawn
  double correlation_time = 1;  // of what blocks were made for
  double tick_ns = 0;           // of the clock; 0: none seen
  double control_p_value = 1;   // least of both classes against themselves
  // kInconclusive: measurements of each class for `power`; infinity: the effect lies at the limit.
  double more_needed = 0;
};

// DataError: lengths differ, times that are not finite. ValueError: a setting outside its domain. A class with too few
// measurements, or classes that were not mixed in time, are kNotMeasured.
TimingVerdict timing_verdict(const ClassifiedTimes& times, const TimingTestOptions& options = {});

// How many measurements of each class find a difference of effect_ns (in every decile) beyond the limit with probability
// options.power; infinity where effect_ns does not exceed the limit, or the step of the pilot's clock. From a pilot of one class or of two: its deviations,
// scaled to other numbers, in options.resamples simulated runs. DataError: fewer than kLeastMeasurements.
inline constexpr std::size_t kLeastMeasurements =
    50;  // of each class; fewer have no ninth decile to speak of
double measurements_needed(const ClassifiedTimes& pilot,
                           double effect_ns,
                           const TimingTestOptions& options = {});
// The probability of "leaks" for n measurements of each class, and of "smaller" for an effect within the limit, which a clock
// with a wider step never says.
double power_of(const ClassifiedTimes& pilot,
                double effect_ns,
                double n,
                const TimingTestOptions& options = {});

}  // namespace offramp::stats
