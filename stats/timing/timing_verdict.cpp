#include "stats/timing/timing_verdict.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "stats/checks.h"
#include "stats/exits/time_cells.h"
#include "stats/timing/decile_differences.h"
#include "stats/timing/decile_region.h"
#include "stats/timing/weighted_deciles.h"

namespace offramp::stats {
namespace {

constexpr std::size_t kLeastAtoms = 20;     // blocks or inputs: fewer say nothing of their own spread
constexpr double kMostMeasurements = 1e12;  // of a plan: beyond it the answer is "never"

std::string ns_text(double ns) {
  std::ostringstream out;
  out.precision(4);
  out << ns << " ns";
  return out.str();
}

void check_times(const ClassifiedTimes& t, const TimingTestOptions& o) {
  require_same_size(t.ns.size(), "times", t.is_b.size(), "classes", "timing_verdict");
  if (!t.input.empty()) require_same_size(t.ns.size(), "times", t.input.size(), "inputs", "timing_verdict");
  require_finite(t.ns, "timing_verdict", "the times");
  if (!(o.limit_ns >= 0 && std::isfinite(o.limit_ns))) {
    throw ValueError("timing_verdict: the limit must be at least 0 ns, got " + to_text(o.limit_ns));
  }
  if (!(o.alpha > 0 && o.alpha < 0.5)) {
    throw ValueError("timing_verdict: alpha must lie in (0, 0.5), got " + to_text(o.alpha));
  }
  if (!(o.power > 0 && o.power < 1)) {
    throw ValueError("timing_verdict: the power must lie in (0, 1), got " + to_text(o.power));
  }
  if (o.block == std::size_t{0}) throw ValueError("timing_verdict: a block holds at least one measurement");
  if (o.alpha * static_cast<double>(o.resamples + 1) < 1) {
    throw ValueError("timing_verdict: " + std::to_string(o.resamples) +
                     " resamples cannot show a chance of " + to_text(o.alpha) + "; it takes " +
                     to_text(std::ceil(1 / o.alpha) - 1));
  }
}

// A time on a clock of `tick` is any in the half tick around it, so that deciles do not jump.
void spread_over_ticks(ClassifiedTimes& t, double tick, std::uint64_t seed) {
  if (!(tick > 0)) return;
  std::mt19937_64 rng = generator_of(seed, 0x7469636b);
  std::uniform_real_distribution<double> within(-tick / 2, tick / 2);
  for (double& ns : t.ns) ns += within(rng);
}

// What |difference| must exceed in deviations: p <= alpha exactly where it does.
double critical_value(const std::vector<double>& largest, double alpha) {
  const auto allowed =
      static_cast<std::size_t>(std::floor(alpha * static_cast<double>(largest.size() + 1) * (1 + 1e-12)));
  return largest[largest.size() - allowed];
}

// One class against itself, its measurements (or inputs) taken in turn: where this differs, the measurement does.
double control_p_value(const ClassifiedTimes& t,
                       std::uint8_t which,
                       const TimingTestOptions& options,
                       double limit) {
  ClassifiedTimes half;
  std::size_t turn = 0;
  for (std::size_t i = 0; i < t.ns.size(); ++i) {
    if ((t.is_b[i] != 0) != (which != 0)) continue;
    half.ns.push_back(t.ns[i]);
    if (t.input.empty()) {
      half.is_b.push_back(turn++ % 2);
    } else {  // an input stays on its side
      std::uint64_t number = static_cast<std::uint64_t>(t.input[i]);
      half.is_b.push_back(static_cast<std::uint8_t>(generator_of(options.seed, number)() >> 63));
      half.input.push_back(t.input[i]);
    }
  }
  const auto b = static_cast<std::size_t>(std::count(half.is_b.begin(), half.is_b.end(), 1));
  if (b < kLeastMeasurements / 2 || half.ns.size() - b < kLeastMeasurements / 2) return 1;
  return read_region(decile_region(half, options), limit).p_value;
}

// The clock's step. Where it left a handful of values the step is not known and taken for the least distance between them; where
// it left one, for that value.
double step_of_clock(const std::vector<double>& ns) {
  constexpr std::size_t kHandful = 4;
  if (const double tick = clock_tick(ns); tick > 0) return tick;
  std::vector<double> values;  // distinct
  for (const double t : ns) {
    if (std::find(values.begin(), values.end(), t) != values.end()) continue;
    values.push_back(t);
    if (values.size() > kHandful) return 0;
  }
  std::sort(values.begin(), values.end());
  double step = values.size() == 1 ? std::abs(values[0]) : std::numeric_limits<double>::infinity();
  for (std::size_t i = 1; i < values.size(); ++i) step = std::min(step, values[i] - values[i - 1]);
  return step;
}

// Below its own step a clock shows nothing.
double limit_of(const TimingTestOptions& o, double tick_ns) { return std::max(o.limit_ns, tick_ns); }

std::size_t changes_of_class(const ClassifiedTimes& t) {
  std::size_t changes = 0;
  for (std::size_t i = 1; i < t.is_b.size(); ++i) changes += (t.is_b[i] != 0) != (t.is_b[i - 1] != 0) ? 1 : 0;
  return changes;
}

// What a plan knows of further runs: how the differences of deciles scatter, and what a verdict asks of them.
struct Plan {
  DecileDifferences scatter;
  Deciles deviation{};
  double critical = 0;
};

Plan plan_from(const ClassifiedTimes& t, const DecileRegion& region, const TimingTestOptions& o) {
  return {decile_differences(t, o), region.deviation, critical_value(region.largest, o.alpha)};
}

// The share of simulated runs of n measurements a class that say `wanted`, for true differences `effect`.
double share_of_runs(const Plan& plan, const Deciles& effect, double limit, double n, TimingOutcome wanted) {
  const DecileDifferences& d = plan.scatter;
  const double shrink =
      std::sqrt((2 / n) / (1 / static_cast<double>(d.n_a) + 1 / static_cast<double>(d.n_b)));
  std::size_t said = 0;
  for (const Deciles& r : d.resampled) {
    bool leaks = false, smaller = true;
    for (std::size_t j = 0; j < kDeciles; ++j) {
      const double seen = std::abs(effect[j] + shrink * r[j]),
                   half = plan.critical * shrink * plan.deviation[j];
      leaks = leaks || seen - half > limit;
      smaller = smaller && seen + half <= limit;
    }
    said += (wanted == TimingOutcome::kLeaks ? leaks : smaller) ? 1 : 0;
  }
  return static_cast<double>(said) / static_cast<double>(d.resampled.size());
}

double needed(const Plan& plan, const Deciles& effect, double limit, double power) {
  double most = 0;
  for (const double e : effect) most = std::max(most, std::abs(e));
  if (most == limit) return std::numeric_limits<double>::infinity();
  const auto wanted = most > limit ? TimingOutcome::kLeaks : TimingOutcome::kSmaller;
  const auto enough = [&](double n) { return share_of_runs(plan, effect, limit, n, wanted) >= power; };
  double high = kLeastMeasurements;
  while (!enough(high)) {
    high *= 2;
    if (high > kMostMeasurements) return std::numeric_limits<double>::infinity();
  }
  if (high == kLeastMeasurements) return high;
  double low = high / 2;
  while (high / low > 1.01) {
    const double middle = std::sqrt(low * high);
    (enough(middle) ? high : low) = middle;
  }
  return std::ceil(high);
}

// A pilot as two classes: one class alone is its measurements in turn.
Plan pilot_plan(ClassifiedTimes pilot, const TimingTestOptions& o) {
  check_times(pilot, o);
  auto b = static_cast<std::size_t>(
      std::count_if(pilot.is_b.begin(), pilot.is_b.end(), [](auto c) { return c != 0; }));
  if (b == 0 || b == pilot.ns.size()) {
    b = 0;
    for (std::size_t i = 0; i < pilot.ns.size(); ++i) {
      pilot.is_b[i] = pilot.input.empty()
                          ? i % 2
                          : static_cast<std::uint8_t>(
                                generator_of(o.seed, static_cast<std::uint64_t>(pilot.input[i]))() >> 63);
      b += pilot.is_b[i];
    }
  }
  if (b < kLeastMeasurements || pilot.ns.size() - b < kLeastMeasurements) {
    throw DataError("power: a pilot needs " + std::to_string(kLeastMeasurements) +
                    " measurements of each class (twice that of one alone), got " +
                    std::to_string(pilot.ns.size() - b) + " and " + std::to_string(b));
  }
  spread_over_ticks(pilot, step_of_clock(pilot.ns), o.seed);
  return plan_from(pilot, decile_region(pilot, o), o);
}

Deciles everywhere(double effect) {
  Deciles d;
  d.fill(effect);
  return d;
}

}  // namespace

const char* to_text(Attacker attacker) {
  for (const auto& [value, word] : kAttackerNames)
    if (value == attacker) return word;
  return "";
}

double limit_ns(Attacker attacker) {
  switch (attacker) {
    case Attacker::kSameCore:
      return 1;
    case Attacker::kLan:
      return 100;
    case Attacker::kInternet:
      return 50000;
  }
  return 0;
}

const char* to_text(TimingOutcome outcome) {
  switch (outcome) {
    case TimingOutcome::kLeaks:
      return "leaks";
    case TimingOutcome::kSmaller:
      return "smaller";
    case TimingOutcome::kInconclusive:
      return "inconclusive";
    case TimingOutcome::kNotMeasured:
      return "could not be measured";
  }
  return "";
}

TimingVerdict timing_verdict(const ClassifiedTimes& given, const TimingTestOptions& o) {
  check_times(given, o);
  TimingVerdict v;
  for (const std::uint8_t c : given.is_b) ++(c != 0 ? v.n_b : v.n_a);
  if (v.n_a < kLeastMeasurements || v.n_b < kLeastMeasurements) {
    v.reason = "deciles take " + std::to_string(kLeastMeasurements) +
               " measurements of each class, there are " + std::to_string(v.n_a) + " and " +
               std::to_string(v.n_b);
    return v;
  }
  if (std::all_of(given.ns.begin(), given.ns.end(), [](double ns) { return ns == 0; })) {
    v.reason = "every time is 0: the clock is too coarse";
    return v;
  }
  ClassifiedTimes t = given;
  v.tick_ns = step_of_clock(t.ns);
  if (v.tick_ns > o.limit_ns && std::ranges::all_of(given.ns, [&](double ns) { return ns == given.ns[0]; })) {
    // Spread over such a step, deciles would differ by the drawing alone.
    v.reason = "every time is " + ns_text(given.ns[0]) +
               ", so the clock's step may be as large; the attacker's limit is " + ns_text(o.limit_ns);
    return v;
  }
  spread_over_ticks(t, v.tick_ns, o.seed);
  const double limit = limit_of(o, v.tick_ns);
  const DecileRegion d = decile_region(t, o);
  const RegionReading reading = read_region(d, limit);
  v.compared = true;
  v.difference = d.difference;
  v.largest = reading.largest;
  v.p_value = reading.p_value;
  v.critical = critical_value(d.largest, o.alpha);
  v.classes_drawn = d.classes_drawn;
  v.block = d.block;
  v.correlation_time = d.correlation_time;
  bool smaller = true;
  for (std::size_t j = 0; j < kDeciles; ++j) {
    const double half = std::isinf(v.critical) ? v.critical : v.critical * d.deviation[j];
    v.low[j] = d.difference[j] - half, v.high[j] = d.difference[j] + half;
    smaller = smaller && v.low[j] >= -limit && v.high[j] <= limit;
  }
  v.effect = {d.difference[v.largest], v.low[v.largest], v.high[v.largest]};

  const std::size_t changes = changes_of_class(t);
  if (d.inputs_drawn ? !d.inputs_mixed : changes < kLeastAtoms) {
    v.reason = (d.inputs_drawn ? "inputs of one class were measured before those of the other"
                               : "the classes change places " + std::to_string(changes) + " times only") +
               ": a slow spell of the machine cannot be told from the class; measure them in random order";
    return v;
  }
  if (d.atoms < kLeastAtoms ||
      (!d.classes_drawn && static_cast<double>(d.block) < 2 * (d.correlation_time - 1))) {
    v.reason = "measurements depend on each other over " +
               std::to_string(static_cast<std::int64_t>(std::ceil(d.correlation_time))) +
               " of their neighbours (drift), or are of few inputs: " + std::to_string(d.atoms) +
               " independent parts";
    return v;
  }
  v.control_p_value = std::min(control_p_value(t, 0, o, limit), control_p_value(t, 1, o, limit));
  if (v.control_p_value <= std::max(o.alpha / 10, 1 / static_cast<double>(o.resamples + 1))) {
    v.reason = "a class differs from itself by more than " + ns_text(limit) +
               ": something else than the class decides the time";
    return v;
  }
  if (v.p_value <= o.alpha) {
    v.outcome = TimingOutcome::kLeaks;
    v.reason = "decile " + std::to_string(v.largest + 1) + " differs by " + ns_text(v.effect.estimate) +
               " (" + ns_text(v.effect.low) + " to " + ns_text(v.effect.high) + "), more than " +
               ns_text(limit);
    return v;
  }
  if (v.tick_ns > o.limit_ns) {
    v.reason =
        "the clock shows steps of " + ns_text(v.tick_ns) + ", the attacker's limit is " + ns_text(o.limit_ns);
    return v;
  }
  if (smaller) {
    v.outcome = TimingOutcome::kSmaller;
    v.reason = "no decile differs by more than " + ns_text(limit);
    return v;
  }
  v.outcome = TimingOutcome::kInconclusive;
  v.more_needed = needed(plan_from(t, d, o), d.difference, limit, o.power);
  v.reason = std::isfinite(v.more_needed)
                 ? "the interval reaches over the limit of " + ns_text(limit) + "; about " +
                       to_text(v.more_needed) + " measurements of each class would decide"
                 : "the effect lies at the limit of " + ns_text(limit) + " itself";
  return v;
}

double measurements_needed(const ClassifiedTimes& pilot, double effect_ns, const TimingTestOptions& o) {
  const Plan plan = pilot_plan(pilot, o);
  const double limit = limit_of(o, step_of_clock(pilot.ns));
  if (!(std::abs(effect_ns) > limit)) return std::numeric_limits<double>::infinity();
  return needed(plan, everywhere(effect_ns), limit, o.power);
}

double power_of(const ClassifiedTimes& pilot, double effect_ns, double n, const TimingTestOptions& o) {
  if (!(n >= 1)) throw ValueError("power_of: needs at least one measurement, got " + to_text(n));
  const Plan plan = pilot_plan(pilot, o);
  const double limit = limit_of(o, step_of_clock(pilot.ns));
  const bool leaks = std::abs(effect_ns) > limit;
  if (!leaks && limit > o.limit_ns) return 0;
  return share_of_runs(
      plan, everywhere(effect_ns), limit, n, leaks ? TimingOutcome::kLeaks : TimingOutcome::kSmaller);
}

}  // namespace offramp::stats
