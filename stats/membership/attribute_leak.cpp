#include "stats/membership/attribute_leak.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <random>
#include <string>

#include "stats/checks.h"

namespace offramp::stats {
namespace {

// Random order of 0 .. n-1: swaps of a generator of its own, the same for any thread count.
std::vector<std::size_t> shuffled_order(std::size_t n, std::mt19937_64& rng) {
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  for (std::size_t i = n; i-- > 1;) std::swap(order[i], order[rng() % (i + 1)]);
  return order;
}

// Whether the commonest attribute of a sample's observation, counted on the other folds, is the sample's own. An observation
// that they lack gets their commonest attribute. Ties go to the smallest value.
std::vector<double> right_guesses(std::span<const std::size_t> observed,
                                  std::span<const std::size_t> attribute,
                                  std::size_t folds,
                                  std::uint64_t seed) {
  std::mt19937_64 rng(seed);
  const auto order = shuffled_order(observed.size(), rng);
  std::vector<double> right(observed.size());
  using Counts = std::map<std::size_t, std::size_t>;
  const auto commonest = [](const Counts& counts) {
    return std::ranges::max_element(counts, {}, [](const auto& entry) { return entry.second; })->first;
  };
  for (std::size_t fold = 0; fold < folds; ++fold) {
    std::map<std::size_t, Counts> of;
    Counts all;
    for (std::size_t k = 0; k < order.size(); ++k) {
      if (k % folds == fold) continue;
      ++of[observed[order[k]]][attribute[order[k]]];
      ++all[attribute[order[k]]];
    }
    for (std::size_t k = fold; k < order.size(); k += folds) {
      const std::size_t i = order[k];
      const auto found = of.find(observed[i]);
      right[i] = commonest(found == of.end() ? all : found->second) == attribute[i] ? 1 : 0;
    }
  }
  return right;
}

}  // namespace

AttributeLeak attribute_leak(std::span<const std::size_t> observed,
                             std::span<const std::size_t> attribute,
                             const AttributeLeakOptions& o) {
  require_same_size(observed.size(), "observations", attribute.size(), "attributes", "attribute_leak");
  if (o.folds < 2 || o.permutations == 0 || o.resamples == 0) {
    throw ValueError("attribute_leak: needs at least two folds, one permutation and one resample");
  }
  if (observed.size() < o.folds) {
    throw DataError("attribute_leak: needs at least " + std::to_string(o.folds) + " samples, got " +
                    std::to_string(observed.size()));
  }
  const std::size_t n = observed.size();
  AttributeLeak out;
  out.samples = n;
  out.information = mutual_information(observed, attribute);

  std::vector<std::size_t> permuted(n);
  std::mt19937_64 rng(o.seed);
  std::size_t hits = 0;
  const double reach =
      out.information.plug_in - 1e-12 * (1 + out.information.plug_in);  // rounding of the sums
  for (std::size_t r = 0; r < o.permutations; ++r) {
    const auto order = shuffled_order(n, rng);
    for (std::size_t i = 0; i < n; ++i) permuted[i] = attribute[order[i]];
    hits += mutual_information(observed, permuted).plug_in >= reach ? 1 : 0;
  }
  out.p_value = (static_cast<double>(hits) + 1) / (static_cast<double>(o.permutations) + 1);

  const BootstrapOptions bootstrap_options{.resamples = o.resamples, .seed = o.seed, .threads = o.threads};
  const Interval percentile = bootstrap(
      n,
      [&](std::span<const std::size_t> index) {
        std::vector<std::size_t> x, y;
        for (const std::size_t i : index) {
          x.push_back(observed[i]);
          y.push_back(attribute[i]);
        }
        return mutual_information(x, y).corrected;
      },
      bootstrap_options);
  const double estimate = out.information.corrected,
               most = std::min(out.information.of_first, out.information.of_labels);
  // Resamples are drawn from the sample, whose information is the plug-in: the estimates lie about that, as ours about the truth.
  const double reflected = estimate + out.information.plug_in;
  out.corrected = {estimate,
                   std::clamp(reflected - percentile.high, 0.0, estimate),
                   std::clamp(reflected - percentile.low, estimate, std::max(estimate, most))};
  // Resamples repeat rows: of values that are nearly all unlike they say less than the sample did, reflected more. So what
  // the permutations leave possible stays so. Where the estimate is all there is, nothing above it could be reflected.
  if (out.p_value > 1 - bootstrap_options.level) out.corrected.low = 0;
  if (estimate >= most) out.corrected.low = std::min(out.corrected.low, percentile.low);

  std::map<std::size_t, std::size_t> counts;
  for (const std::size_t a : attribute) ++counts[a];
  for (const auto& [value, count] : counts)
    out.commonest = std::max(out.commonest, static_cast<double>(count) / static_cast<double>(n));
  const auto right = right_guesses(observed, attribute, o.folds, o.seed);
  const auto share = [&](std::span<const std::size_t> index) {
    double sum = 0;
    for (const std::size_t i : index) sum += right[i];
    return sum / static_cast<double>(index.size());
  };
  out.accuracy = bootstrap(n, share, bootstrap_options);
  out.gain = {out.accuracy.estimate / out.commonest,
              out.accuracy.low / out.commonest,
              out.accuracy.high / out.commonest};

  for (const auto& [value, count] : counts) {
    AttributeValueLeak v{.value = value, .samples = count};
    std::vector<std::size_t> is;
    for (std::size_t i = 0; i < n; ++i) {
      is.push_back(attribute[i] == value ? 1 : 0);
      v.recall += is.back() == 1 ? right[i] : 0;
    }
    v.recall /= static_cast<double>(count);
    v.information_bits = mutual_information(observed, is).corrected;
    out.values.push_back(v);
  }
  return out;
}

}  // namespace offramp::stats
