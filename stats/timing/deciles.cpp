#include "stats/timing/deciles.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "stats/checks.h"
#include "stats/parallel.h"
#include "stats/timing/weighted_deciles.h"

namespace offramp::stats {
namespace {

// |difference of deciles| of two samples of size n drawn from `sorted`, `resamples` times: [kDeciles][resamples].
std::vector<std::vector<double>> within_class(const std::vector<double>& sorted,
                                              std::size_t n,
                                              const DecileTestOptions& options,
                                              std::uint64_t salt,
                                              WorkerPool& pool) {
  std::vector<std::vector<double>> differences(kDeciles, std::vector<double>(options.resamples));
  pool.run(options.resamples, [&](std::size_t r) {
    std::mt19937_64 rng = generator_of(options.seed + salt, r);
    std::vector<std::uint32_t> times(sorted.size());
    Deciles drawn[2];
    for (Deciles& d : drawn) {
      std::fill(times.begin(), times.end(), 0);
      for (std::size_t i = 0; i < n; ++i) ++times[draw_below(rng, sorted.size())];
      d = deciles_of_counts(sorted, times, n);
    }
    for (std::size_t d = 0; d < kDeciles; ++d) differences[d][r] = std::abs(drawn[0][d] - drawn[1][d]);
  });
  return differences;
}

// Type-2 quantile of any level.
double type2_quantile(std::vector<double>& values, double level) {
  std::sort(values.begin(), values.end());
  const double np = static_cast<double>(values.size()) * level, whole = std::round(np);
  const bool jumps = std::abs(np - whole) < 1e-9 * static_cast<double>(values.size());
  const auto rank = static_cast<std::size_t>(jumps ? whole : std::ceil(np));
  const std::size_t i = std::clamp<std::size_t>(rank, 1, values.size()) - 1;
  return jumps && i + 1 < values.size() ? 0.5 * (values[i] + values[i + 1]) : values[i];
}

std::vector<double> sorted_sample(std::span<const double> sample, const char* name) {
  require_some(sample, "deciles", name);
  require_finite(sample, "deciles", name);
  std::vector<double> sorted(sample.begin(), sample.end());
  std::sort(sorted.begin(), sorted.end());
  return sorted;
}

}  // namespace

Deciles deciles(std::span<const double> sample) {
  const std::vector<double> sorted = sorted_sample(sample, "the sample");
  const std::vector<std::uint32_t> once(sorted.size(), 1);
  return deciles_of_counts(sorted, once, sorted.size());
}

DecileTest decile_test(std::span<const double> a, std::span<const double> b, const DecileTestOptions& o) {
  if (!(o.alpha > 0 && o.alpha < 1) || o.resamples == 0) {
    throw ValueError("decile_test: needs alpha in (0, 1) and at least one resample, got " + to_text(o.alpha) +
                     " and " + std::to_string(o.resamples));
  }
  const std::vector<double> sa = sorted_sample(a, "class a"), sb = sorted_sample(b, "class b");
  const std::size_t n = std::min(sa.size(), sb.size());
  WorkerPool pool(o.threads);
  auto of_a = within_class(sa, n, o, 0, pool), of_b = within_class(sb, n, o, 0x5bd1e995, pool);
  const Deciles da = deciles(sa), db = deciles(sb);
  DecileTest t;
  for (std::size_t d = 0; d < kDeciles; ++d) {
    const double level = 1 - o.alpha / static_cast<double>(kDeciles);
    t.difference[d] = std::abs(da[d] - db[d]);
    t.threshold[d] = std::max(type2_quantile(of_a[d], level), type2_quantile(of_b[d], level));
    t.flagged[d] = t.difference[d] > t.threshold[d];
    t.leaks = t.leaks || t.flagged[d];
  }
  return t;
}

}  // namespace offramp::stats
