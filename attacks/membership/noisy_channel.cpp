#include "attacks/membership/noisy_channel.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "attacks/baselines/draws.h"
#include "base/errors.h"
#include "stats/exits/exit_estimation.h"

namespace offramp::attacks::membership {
namespace {

constexpr std::uint32_t kChannelStream = 0x3E3B0007u;  // op: the query; step: the sample

double delay(const NoisyChannel& channel, std::uint64_t seed, std::size_t sample, int query) {
  const PhiloxKey key{
      seed, kChannelStream, static_cast<std::uint32_t>(query), static_cast<std::uint32_t>(sample)};
  for (std::uint64_t draw = 0;; ++draw) {
    const double z = channel.mean_ns + channel.sigma_ns * normal(key, draw);
    if (channel.form == NoisyChannel::Form::kFolded) return std::abs(z);
    if (z > 0 || channel.mean_ns + channel.sigma_ns == 0) return z;
  }
}

}  // namespace

std::vector<double> times_through(const Trace& trace,
                                  const NoisyChannel& channel,
                                  int queries,
                                  std::uint64_t seed) {
  if (queries < 1)
    throw ValueError("noisy channel: expected at least 1 query, got " + std::to_string(queries));
  if (!(channel.mean_ns >= 0) || !(channel.sigma_ns >= 0) ||
      !std::isfinite(channel.mean_ns + channel.sigma_ns))
    throw ValueError("noisy channel: mean and sigma are times of 0 or more");
  std::vector<double> out;
  const auto repetitions = static_cast<std::size_t>(trace.repetitions);
  for (std::size_t i = 0; i < static_cast<std::size_t>(trace.samples); ++i) {
    double sum = 0;
    for (int q = 0; q < queries; ++q) {
      const auto recorded = trace.times_ns[i * repetitions + static_cast<std::size_t>(q) % repetitions];
      sum += static_cast<double>(recorded) + delay(channel, seed, i, q);
    }
    out.push_back(sum / queries);
  }
  return out;
}

double least_exit_gap(const Trace& trace, const Records& target) {
  const auto times = trace.times_as_double();
  const auto per_sample = stats::time_statistic(
      times, static_cast<std::size_t>(trace.repetitions), stats::TimeStatistic::kMedian);
  std::map<std::int32_t, std::vector<double>> by_exit;
  for (std::size_t i = 0; i < per_sample.size(); ++i) by_exit[target.exit[i]].push_back(per_sample[i]);
  std::vector<double> centres;
  for (auto& [exit, of] : by_exit) {
    if (static_cast<double>(of.size()) < kLeastShare * static_cast<double>(target.size())) continue;
    const auto middle = of.begin() + static_cast<std::ptrdiff_t>(of.size() / 2);
    std::ranges::nth_element(of, middle);
    centres.push_back(*middle);
  }
  std::ranges::sort(centres);
  double gap = std::numeric_limits<double>::infinity();
  for (std::size_t i = 1; i < centres.size(); ++i) gap = std::min(gap, centres[i] - centres[i - 1]);
  return std::isfinite(gap) ? gap : 0;
}

}  // namespace offramp::attacks::membership
