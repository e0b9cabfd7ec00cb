// Lab 11: against every grouping there is (stats/padding/groupings.h).
#include "tests/labs/grading.h"

#include "docs/labs/labs.h"
#include "stats/padding/groupings.h"

#include <limits>

namespace offramp::labs {

const char* const kLab = "lab 11, padding a server";

namespace {

stats::Grouping judged(const stats::PaddedExits& exits, const std::vector<int>& group) {
  stats::Grouping out{.group = group};
  const std::size_t count = exits.times.size();
  std::vector<double> latest(count), total(count);
  for (std::size_t k = 0; k < count; ++k) {
    const auto g = static_cast<std::size_t>(group[k]);
    latest[g] = std::fmax(latest[g], exits.times[k]);
    total[g] += exits.shares[k];
  }
  for (std::size_t k = 0; k < count; ++k)
    out.delay += exits.shares[k] * (latest[static_cast<std::size_t>(group[k])] - exits.times[k]);
  for (const double t : total)
    if (t > 0) out.bits -= t * std::log2(t);
  return out;
}

}  // namespace

void grade(std::uint64_t seed) {
  const auto plan = reinterpret_cast<decltype(&plan_groups)>(symbol("plan_groups"));
  Random random(seed);
  for (int instance = 0; instance < 8; ++instance) {
    const int exits = instance == 0 ? 1 : random.from(3, 6);
    const auto count = static_cast<std::size_t>(exits);
    stats::PaddedExits padded;
    double time = 0, sum = 0, all = 0;
    for (std::size_t k = 0; k < count; ++k) {
      padded.times.push_back(time += random.between(0.2, 3));
      padded.shares.push_back(std::pow(random.between(0.05, 1), 2));
      sum += padded.shares.back();
    }
    for (double& s : padded.shares) s /= sum;
    for (const double s : padded.shares) all -= s * std::log2(s);
    const double max_bits = instance == 1 ? 0 : instance == 2 ? all + 0.1 : random.between(0, 1) * all;
    Output<int> group(count, -1);
    plan(exits, padded.times.data(), padded.shares.data(), max_bits, group.data());
    group.check_guards("group");
    std::vector<int> answer(group.data(), group.data() + count);
    for (const int g : answer)
      if (g < 0 || g >= exits)
        wrong("Groups are numbered from 0, and there are at most as many as exits.",
              "{} exits: a group is {}",
              exits,
              g);
    const stats::Grouping got = judged(padded, answer);
    stats::Grouping best{.group = {}, .delay = std::numeric_limits<double>::infinity(), .bits = 0};
    bool best_is_of_neighbours = true;
    stats::each_grouping(count, [&](const std::vector<int>& g) {
      const stats::Grouping one = judged(padded, g);
      if (one.bits > max_bits + 1e-9 || one.delay >= best.delay) return;
      best = one;
      best_is_of_neighbours = true;
      for (std::size_t k = 1; k < count; ++k)
        best_is_of_neighbours = best_is_of_neighbours && g[k] >= g[k - 1];
    });
    if (got.bits > max_bits + 1e-9)
      wrong(
          "What the time tells is the entropy of the groups: - sum of share log2 share, shares of queries, not of exits.",
          "{} exits: the groups {} tell {:.4f} bits, allowed were {:.4f}",
          exits,
          stats::to_text(got),
          got.bits,
          max_bits);
    if (got.delay > best.delay + 1e-9)
      wrong(
          best_is_of_neighbours
              ? "A cheaper one tells no more. The delay of an exit is the latest time of its group minus its own, weighted by its share."
              : "A cheaper one tells no more, and its groups are not of neighbours: two rare exits far apart may tell less together "
                "than each with its neighbour. Try all partitions.",
          "{} exits, at most {:.4f} bits: the groups {} delay by {:.4f}, {} by {:.4f}",
          exits,
          max_bits,
          stats::to_text(got),
          got.delay,
          stats::to_text(best),
          best.delay);
  }
}

}  // namespace offramp::labs
