#include "stats/exits/time_cells.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace offramp::stats {
namespace {

constexpr double kOnGrid = 0.7;         // share of the times that makes a grid
constexpr double kOnFiner = 0.8;        // of the others, that makes a finer one
constexpr double kLostByFiner = 0.01;   // of its own: more are no accident
constexpr double kFloatNoise = 2.5e-7;  // relative: seconds kept as float32
constexpr double kGridError = 0.02;     // of a step

struct Distinct {
  double value, count;
};

// Values that differ by float noise only are one.
std::vector<Distinct> distinct_values(std::span<const double> sorted) {
  std::vector<Distinct> groups;
  double first = 0;
  for (const double t : sorted) {
    if (!groups.empty() && t - first <= kFloatNoise * t) {
      groups.back().count += 1;
      continue;
    }
    first = t;
    groups.push_back({t, 1});
  }
  return groups;
}

// Times on multiples of the step; 0 where several values share a multiple, as times do that merely lie near one.
double share_on_grid(const std::vector<Distinct>& groups, double step) {
  double on = 0, all = 0, last = -1;
  std::size_t values = 0, multiples = 0;
  for (const auto& [value, count] : groups) {
    const double multiple = std::round(value / step);
    all += count;
    if (std::abs(value - step * multiple) > std::max(kGridError * step, kFloatNoise * value)) continue;
    on += count;
    ++values;
    multiples += multiple != last ? 1 : 0;
    last = multiple;
  }
  return 2 * multiples > values ? on / all : 0;
}

// What a recorder puts in an outlier's place (a mean, say) lies on no finer grid. Times off `step` that do are measurements of a
// finer clock, most of whose readings happen to lie on the wide one: exits at 20, 30, 40 and 43 us.
double finer_step(const std::vector<Distinct>& groups, double step) {
  constexpr double kExact = 1e-3;  // of the finer step
  for (const double parts : {2.0, 2.5, 4.0, 5.0, 10.0, 20.0}) {
    const double finer = step / parts;
    double on = 0, off = 0, kept = 0, lost = 0;  // lost: readings of the step that the finer one has not
    for (const auto& [value, count] : groups) {
      const auto distance = [&, v = value](double of) { return std::abs(v - of * std::round(v / of)); };
      const double noise = kFloatNoise * value;
      if (distance(step) <= std::max(kGridError * step, noise)) {
        (std::fmod(parts * std::round(value / step), 1) == 0 ? kept : lost) += count;
        continue;
      }
      (distance(finer) <= std::max(kExact * finer, noise) ? on : off) += count;
    }
    if (on + off == 0) return step;
    if (on >= kOnFiner * (on + off) && lost <= kLostByFiner * kept) return finer;
  }
  return step;
}

// 1, 2, 2.5 and 5 times powers of ten, and what the gaps between the values look like.
std::vector<double> candidate_steps(const std::vector<Distinct>& groups) {
  std::vector<double> gaps, steps;
  for (std::size_t i = 1; i < groups.size(); ++i) gaps.push_back(groups[i].value - groups[i - 1].value);
  std::sort(gaps.begin(), gaps.end());
  for (const double q : {0.0, 0.05, 0.1, 0.25, 0.5, 0.75})
    steps.push_back(gaps[static_cast<std::size_t>(q * static_cast<double>(gaps.size() - 1))]);
  const double widest = gaps.back();
  for (int power = static_cast<int>(std::floor(std::log10(steps[0]))); std::pow(10, power) <= widest; ++power)
    for (const double digit : {1.0, 2.0, 2.5, 5.0}) steps.push_back(digit * std::pow(10, power));
  std::erase_if(steps, [&](double s) { return !(s > 0) || s > widest; });
  std::sort(steps.begin(), steps.end(), std::greater<>());
  return steps;
}

}  // namespace

double clock_tick(std::span<const double> times_ns) {
  std::vector<double> sorted(times_ns.begin(), times_ns.end());
  std::sort(sorted.begin(), sorted.end());
  const std::vector<Distinct> groups = distinct_values(sorted);
  // Where hardly a value comes twice, the clock is finer than the noise and its step does not matter.
  if (groups.size() < 2 || static_cast<double>(groups.size()) > 0.5 * static_cast<double>(sorted.size()))
    return 0;
  const double median = sorted[sorted.size() / 2];
  for (const double step : candidate_steps(groups)) {
    // Few values lie on many grids; a clock that coarse would not have been used.
    if (groups.size() <= 4 && step > 0.1 * median) continue;
    if (step <= 2 * kFloatNoise * median / kGridError) break;  // any value would lie on it
    if (share_on_grid(groups, step) < kOnGrid) continue;
    // A gap between two values carries their float noise; a clock's step is a round number.
    const double digit = std::pow(10, std::floor(std::log10(step * 1.000001)));
    for (const double round : {digit, 2 * digit, 2.5 * digit, 5 * digit})
      if (std::abs(step - round) <= 1e-5 * round && share_on_grid(groups, round) >= kOnGrid)
        return finer_step(groups, round);
    return finer_step(groups, step);
  }
  return 0;
}

void put_on_grid(std::vector<double>& times_ns, double tick_ns) {
  if (!(tick_ns > 0)) return;
  const auto reading = [tick_ns](double t) { return tick_ns * std::round(t / tick_ns); };
  const auto between = std::count_if(times_ns.begin(), times_ns.end(), [&](double t) {
    return std::abs(t - reading(t)) > kGridError * tick_ns;
  });
  if (static_cast<double>(between) > (1 - kOnGrid) * static_cast<double>(times_ns.size())) return;
  for (double& t : times_ns) t = reading(t);
}

double TimeCells::total() const { return std::accumulate(count.begin(), count.end(), 0.0); }

TimeCells count_cells(std::span<const double> times_ns, double tick_ns, std::size_t most_cells) {
  TimeCells cells;
  cells.tick_ns = tick_ns;
  std::vector<std::uint32_t> order(times_ns.size());
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    return times_ns[a] < times_ns[b] || (times_ns[a] == times_ns[b] && a < b);
  });
  std::vector<Distinct> values;  // on the grid, ascending
  cells.cell_of.assign(times_ns.size(), TimeCells::kNone);
  std::vector<std::uint32_t> value_of(times_ns.size(), TimeCells::kNone);
  const auto collect = [&] {
    values.clear();
    cells.replaced = 0;
    for (const std::uint32_t i : order) {
      double t = times_ns[i];
      value_of[i] = TimeCells::kNone;
      if (tick_ns > 0) {
        const double on = tick_ns * std::round(t / tick_ns);
        if (std::abs(t - on) > std::max(kGridError * tick_ns, kFloatNoise * t)) {
          ++cells.replaced;
          continue;
        }
        t = on;
      }
      if (values.empty() || values.back().value != t) values.push_back({t, 0});
      values.back().count += 1;
      value_of[i] = static_cast<std::uint32_t>(values.size() - 1);
    }
  };
  collect();
  if (static_cast<double>(cells.replaced) > (1 - kOnGrid) * static_cast<double>(times_ns.size()))
    cells.tick_ns = tick_ns = 0, collect();  // a statistic between the clock's values

  // On a fine clock a value that comes very much more often than the others was not measured either.
  if (!(tick_ns > 0)) {
    const double usual = static_cast<double>(times_ns.size()) / static_cast<double>(values.size());
    std::vector<Distinct> kept;
    std::vector<std::uint32_t> new_index(values.size(), TimeCells::kNone);
    double dropped = 0;
    for (std::size_t v = 0; v < values.size(); ++v) {
      if (values[v].count >= std::max(8.0, 10 * usual)) {
        dropped += values[v].count;
        continue;
      }
      new_index[v] = static_cast<std::uint32_t>(kept.size());
      kept.push_back(values[v]);
    }
    if (dropped > 0 && dropped <= (1 - kOnGrid) * static_cast<double>(times_ns.size())) {
      cells.replaced = static_cast<std::size_t>(dropped);
      values = std::move(kept);
      for (std::uint32_t& v : value_of) v = v == TimeCells::kNone ? v : new_index[v];
    }
  }

  // The narrowest width that needs no more than most_cells.
  const auto cut = [&](double width) {
    std::vector<std::uint32_t> starts;
    for (std::size_t v = 0; v < values.size(); ++v)
      if (starts.empty() || values[v].value - values[starts.back()].value >= width)
        starts.push_back(static_cast<std::uint32_t>(v));
    return starts;
  };
  double width = tick_ns > 0 ? 0.5 * tick_ns : 0;
  std::vector<std::uint32_t> starts = cut(width);
  if (starts.size() > most_cells) {
    double few = values.back().value - values.front().value, many = std::max(width, 1e-12 * few);
    while (few - many > 1e-3 * few) {
      const double middle = std::sqrt(many * few);
      (cut(middle).size() > most_cells ? many : few) = middle;
    }
    width = few;
    starts = cut(width);
  }
  // A value alone stands for half a step to either side: of the clock, or of what merging blurred anyway.
  double step = tick_ns;
  if (!(step > 0)) {
    step = width;
    if (!(step > 0) && values.size() > 1)
      step = (values.back().value - values.front().value) / static_cast<double>(8 * values.size());
    if (!(step > 0)) step = std::max(std::abs(values.front().value) * 1e-9, 1e-9);
  }
  cells.unit_ns = step;
  cells.origin_ns = values[values.size() / 2].value;
  std::vector<std::uint32_t> cell_of_value(values.size());
  for (std::size_t c = 0; c < starts.size(); ++c) {
    const std::size_t end = c + 1 < starts.size() ? starts[c + 1] : values.size();
    double count = 0;
    for (std::size_t v = starts[c]; v < end; ++v) {
      count += values[v].count;
      cell_of_value[v] = static_cast<std::uint32_t>(c);
    }
    const double margin = tick_ns > 0 ? 0.5 : 0.05;  // of a step: a fine clock's values are points
    double low = (values[starts[c]].value - cells.origin_ns) / step - margin;
    double high = (values[end - 1].value - cells.origin_ns) / step + margin;
    if (tick_ns <= 0) {  // equal widths where merged: what a cell could have held
      const double grow = std::max(0.0, 1 - (high - low)) / 2;
      low -= grow, high += grow;
    }
    if (!cells.high.empty() && low < cells.high.back()) {
      const double before = values[starts[c] - 1].value, after = values[starts[c]].value;
      low = cells.high.back() = (0.5 * (before + after) - cells.origin_ns) / step;
    }
    cells.low.push_back(low);
    cells.high.push_back(high);
    cells.count.push_back(count);
  }
  for (std::size_t i = 0; i < value_of.size(); ++i)
    if (value_of[i] != TimeCells::kNone) cells.cell_of[i] = cell_of_value[value_of[i]];
  return cells;
}

}  // namespace offramp::stats
