#include "stats/timing/decile_region.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "stats/parallel.h"
#include "stats/timing/decile_differences.h"
#include "stats/timing/weighted_deciles.h"

namespace offramp::stats {
namespace {

// A decile's deviation is read from the values this many standard errors of its rank to both sides.
constexpr double kRankErrors = 2;
// Changes of class that random order has within so many of its deviations.
constexpr double kRandomOrder = 4;

// Wald, Wolfowitz: deviations by which the runs of an order exceed those of a random one.
double excess_of_runs(const std::vector<std::uint8_t>& is_b) {
  const auto n = static_cast<double>(is_b.size());
  double b = 0, runs = 1;
  for (std::size_t i = 0; i < is_b.size(); ++i) {
    b += is_b[i] != 0 ? 1 : 0;
    runs += i > 0 && (is_b[i] != 0) != (is_b[i - 1] != 0) ? 1 : 0;
  }
  const double pairs = 2 * b * (n - b), mean = pairs / n + 1,
               variance = pairs * (pairs - n) / (n * n * std::max(1.0, n - 1));
  return variance > 0 ? (runs - mean) / std::sqrt(variance) : 0;
}
bool in_random_order(const std::vector<std::uint8_t>& is_b) {
  return std::abs(excess_of_runs(is_b)) <= kRandomOrder;
}

// All times ascending, and what each is drawn with.
struct Sample {
  std::vector<double> value;         // [n]
  std::vector<std::uint32_t> atom;   // [n]
  std::vector<std::uint8_t> atom_b;  // [atoms] as measured
  std::vector<double> place;         // [atoms] mean position of its measurements
  bool single = true;                // every atom is one measurement
};

Sample sorted_sample(const ClassifiedTimes& t) {
  const std::size_t n = t.ns.size();
  std::vector<std::uint32_t> of(n), by_time(n);
  Sample s;
  std::map<std::pair<std::int64_t, std::uint8_t>, std::uint32_t> seen;
  for (std::size_t i = 0; i < n; ++i) {
    of[i] = static_cast<std::uint32_t>(s.atom_b.size());
    if (!t.input.empty()) {
      const auto [at, fresh] = seen.try_emplace({t.input[i], t.is_b[i]}, of[i]);
      of[i] = at->second;
      if (!fresh) continue;
    }
    s.atom_b.push_back(t.is_b[i] != 0 ? 1 : 0);
  }
  s.single = s.atom_b.size() == n;
  std::vector<double> measurements(s.atom_b.size(), 0);
  s.place.assign(s.atom_b.size(), 0);
  for (std::size_t i = 0; i < n; ++i) s.place[of[i]] += static_cast<double>(i), ++measurements[of[i]];
  for (std::size_t a = 0; a < s.place.size(); ++a) s.place[a] /= measurements[a];
  std::iota(by_time.begin(), by_time.end(), 0u);
  std::stable_sort(by_time.begin(), by_time.end(), [&](auto i, auto j) { return t.ns[i] < t.ns[j]; });
  for (const std::uint32_t i : by_time) s.value.push_back(t.ns[i]), s.atom.push_back(of[i]);
  return s;
}

// Inputs measured several times, in the order of when: no class before the other. Classes by turns are as good as random
// order.
bool mixed_in_time(const Sample& s) {
  std::vector<std::uint32_t> by_place(s.place.size());
  std::iota(by_place.begin(), by_place.end(), 0u);
  std::stable_sort(by_place.begin(), by_place.end(), [&](auto a, auto b) { return s.place[a] < s.place[b]; });
  std::vector<std::uint8_t> is_b;
  for (const std::uint32_t a : by_place) is_b.push_back(s.atom_b[a]);
  return excess_of_runs(is_b) >= -kRandomOrder;
}

// Both classes' deciles and their standard deviations under labels of the atoms.
class ClassDeciles {
 public:
  explicit ClassDeciles(const Sample& sample) : sample_(sample) {
    for (auto& values : values_) values.resize(sample.value.size());
    if (!sample.single)
      for (auto& atoms : atoms_) atoms.resize(sample.value.size());
  }

  // label[atom]: the class of each.
  void read(const std::vector<std::uint8_t>& label) {
    std::size_t n[2] = {0, 0};
    for (std::size_t i = 0; i < sample_.value.size(); ++i) {
      const std::uint8_t c = label[sample_.atom[i]];
      values_[c][n[c]] = sample_.value[i];
      if (!sample_.single) atoms_[c][n[c]] = sample_.atom[i];
      ++n[c];
    }
    for (const int c : {0, 1}) read_class(c, {values_[c].data(), n[c]});
  }

  Deciles decile[2]{}, deviation[2]{};

 private:
  void read_class(int c, std::span<const double> values) {
    if (values.empty()) {  // as good as no difference
      decile[c].fill(0), deviation[c].fill(std::numeric_limits<double>::infinity());
      return;
    }
    decile[c] = deciles_of_sorted(values);
    const auto n = static_cast<double>(values.size());
    const auto at_rank = [&](double rank) {
      const auto last = static_cast<std::ptrdiff_t>(values.size()) - 1;
      return values[static_cast<std::size_t>(
          std::clamp<std::ptrdiff_t>(static_cast<std::ptrdiff_t>(std::ceil(rank)) - 1, 0, last))];
    };
    for (std::size_t d = 0; d < kDeciles; ++d) {
      const double p = 0.1 * static_cast<double>(d + 1);
      const double reach = kRankErrors * (sample_.single ? std::sqrt(n * p * (1 - p))
                                                         : rank_error(c, values, decile[c][d], p));
      deviation[c][d] = (at_rank(n * p + reach) - at_rank(n * p - reach)) / (2 * kRankErrors);
    }
  }
  // Standard deviation of the number of values up to q: measurements of one input count as one draw.
  double rank_error(int c, std::span<const double> values, double q, double p) {
    sum_.assign(sample_.atom_b.size(), 0);
    for (std::size_t i = 0; i < values.size(); ++i) sum_[atoms_[c][i]] += (values[i] <= q ? 1 : 0) - p;
    return std::sqrt(std::inner_product(sum_.begin(), sum_.end(), sum_.begin(), 0.0));
  }

  const Sample& sample_;
  std::vector<double> values_[2], sum_;
  std::vector<std::uint32_t> atoms_[2];
};

struct Studentised {
  Deciles difference{}, deviation{};

  double largest() const {
    double most = 0;
    for (std::size_t d = 0; d < kDeciles; ++d)
      most = std::max(most, excess_in_deviations(difference[d], deviation[d], 0));
    return most;
  }
};

Studentised studentised(const Sample& sample, const std::vector<std::uint8_t>& label) {
  ClassDeciles of(sample);
  of.read(label);
  Studentised s;
  for (std::size_t d = 0; d < kDeciles; ++d) {
    const double a = of.deviation[0][d], b = of.deviation[1][d];
    s.difference[d] = of.decile[1][d] - of.decile[0][d];
    s.deviation[d] = std::sqrt(a * a + b * b);
  }
  return s;
}

DecileRegion by_drawn_classes(const Sample& sample, const TimingTestOptions& o) {
  const Studentised seen = studentised(sample, sample.atom_b);
  DecileRegion out;
  out.classes_drawn = true;
  out.difference = seen.difference, out.deviation = seen.deviation;
  out.atoms = sample.atom_b.size();
  const auto of_b = static_cast<std::size_t>(std::count(sample.atom_b.begin(), sample.atom_b.end(), 1));
  out.largest.resize(o.resamples);
  WorkerPool pool(o.threads);
  pool.run(o.resamples, [&](std::size_t r) {
    std::mt19937_64 rng = generator_of(o.seed, r);
    std::vector<std::uint32_t> order(out.atoms);
    std::iota(order.begin(), order.end(), 0u);
    std::vector<std::uint8_t> label(out.atoms, 0);
    for (std::size_t i = 0; i < of_b; ++i) {  // the first places of a shuffle
      std::swap(order[i], order[i + draw_below(rng, out.atoms - i)]);
      label[order[i]] = 1;
    }
    out.largest[r] = studentised(sample, label).largest();
  });
  std::sort(out.largest.begin(), out.largest.end());
  return out;
}

}  // namespace

double excess_in_deviations(double difference, double deviation, double limit) {
  const double beyond = std::abs(difference) - limit;
  if (deviation > 0) return beyond / deviation;
  return beyond > 0 ? std::numeric_limits<double>::infinity() : -std::numeric_limits<double>::infinity();
}

RegionReading read_region(const DecileRegion& region, double limit) {
  RegionReading r;
  double most = -std::numeric_limits<double>::infinity();
  for (std::size_t j = 0; j < kDeciles; ++j) {
    const double e = excess_in_deviations(region.difference[j], region.deviation[j], limit);
    if (e > most || (j == 4 && e == most)) most = e, r.largest = j;
  }
  if (most <= 0) return r;
  const auto hits =
      region.largest.end() - std::lower_bound(region.largest.begin(), region.largest.end(), most);
  r.p_value = static_cast<double>(hits + 1) / static_cast<double>(region.largest.size() + 1);
  return r;
}

DecileRegion decile_region(const ClassifiedTimes& t, const TimingTestOptions& o) {
  const Sample sample = sorted_sample(t);
  if (!o.block && (!sample.single || in_random_order(t.is_b))) {
    DecileRegion drawn = by_drawn_classes(sample, o);
    drawn.inputs_drawn = !sample.single;
    drawn.inputs_mixed = sample.single || mixed_in_time(sample);
    return drawn;
  }
  const DecileDifferences d = decile_differences(t, o);
  return {.difference = d.difference,
          .deviation = d.deviation,
          .largest = d.largest(o.seed),
          .classes_drawn = false,
          .block = d.block,
          .atoms = d.atoms,
          .correlation_time = d.correlation_time};
}

}  // namespace offramp::stats
