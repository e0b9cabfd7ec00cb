#include "stats/padding/padding.h"

#include "stats/checks.h"

#include <algorithm>
#include <cmath>

namespace offramp::stats {

PaddedExits checked(const PaddedExits& exits) {
  const auto& [times, shares] = exits;
  if (times.empty() || times.size() != shares.size()) {
    throw ValueError("padding: wanted one time and one share for each of at least one exit, got " +
                     std::to_string(times.size()) + " times and " + std::to_string(shares.size()) +
                     " shares");
  }
  double sum = 0;
  for (std::size_t k = 0; k < times.size(); ++k) {
    const std::string at = " (exit " + std::to_string(k + 1) + ")";
    if (!std::isfinite(times[k])) throw ValueError("padding: a time is not finite" + at);
    if (times[k] < 0) throw ValueError("padding: a time must be at least 0, got " + to_text(times[k]) + at);
    if (k > 0 && !(times[k] > times[k - 1])) {
      throw ValueError("padding: times must ascend with the exits, got " + to_text(times[k]) + " after " +
                       to_text(times[k - 1]) + at);
    }
    if (!(shares[k] > 0) || !std::isfinite(shares[k])) {
      throw ValueError("padding: a share must be above 0, got " + to_text(shares[k]) + at +
                       "; leave out an exit that nobody takes");
    }
    sum += shares[k];
  }
  if (std::abs(sum - 1) > 1e-6) {
    throw ValueError("padding: shares must sum to 1, they sum to " + to_text(sum));
  }
  PaddedExits result = exits;
  for (double& share : result.shares) share /= sum;
  return result;
}

Padding evaluate_padding(const PaddedExits& given, std::vector<double> channel) {
  const PaddedExits exits = checked(given);
  const std::size_t n = exits.times.size();
  if (channel.size() != n * n) {
    throw ValueError("padding: wanted a channel of " + std::to_string(n) + " x " + std::to_string(n) +
                     " probabilities, got " + std::to_string(channel.size()));
  }
  std::vector<double> sent(n), largest(n);
  Padding result;
  for (std::size_t k = 0; k < n; ++k) {
    double sum = 0;
    for (std::size_t j = 0; j < n; ++j) {
      const double w = channel[k * n + j];
      if (!(w >= 0) || (j < k && w != 0)) {
        throw ValueError("padding: exit " + std::to_string(k + 1) +
                         " cannot be answered at the time of exit " + std::to_string(j + 1) +
                         " with probability " + to_text(w));
      }
      sum += w;
      sent[j] += exits.shares[k] * w;
      largest[j] = std::max(largest[j], w);
      result.delay += exits.shares[k] * w * (exits.times[j] - exits.times[k]);
    }
    if (std::abs(sum - 1) > 1e-9) {
      throw ValueError("padding: the probabilities of exit " + std::to_string(k + 1) + " sum to " +
                       to_text(sum));
    }
  }
  double guess = 0;
  for (std::size_t j = 0; j < n; ++j) {
    guess += largest[j];
    for (std::size_t k = 0; k <= j; ++k) {
      const double w = channel[k * n + j];
      if (w > 0) result.bits += exits.shares[k] * w * std::log2(w / sent[j]);
    }
  }
  const auto above_rounding = [](double bits) { return bits > 1e-14 ? bits : 0; };
  result.bits = above_rounding(result.bits);
  result.min_entropy_bits = above_rounding(std::log2(guess));
  result.channel = std::move(channel);
  return result;
}

Padding no_padding(const PaddedExits& exits) {
  const std::size_t n = exits.times.size();
  std::vector<double> channel(n * n);
  for (std::size_t k = 0; k < n; ++k) channel[k * n + k] = 1;
  return evaluate_padding(exits, std::move(channel));
}

Padding constant_time(const PaddedExits& exits) {
  const std::size_t n = exits.times.size();
  std::vector<double> channel(n * n);
  for (std::size_t k = 0; k < n; ++k) channel[k * n + n - 1] = 1;
  return evaluate_padding(exits, std::move(channel));
}

}  // namespace offramp::stats
