#include "stats/padding/groupings.h"

#include "stats/checks.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace offramp::stats {
namespace {

// Delay and bits of a grouping; exits checked.
Grouping judged(const PaddedExits& exits, std::vector<int> group) {
  const std::size_t n = group.size();
  std::vector<double> share(n), latest(n);
  for (std::size_t k = 0; k < n; ++k) {
    const auto g = static_cast<std::size_t>(group[k]);
    share[g] += exits.shares[k];
    latest[g] = exits.times[k];  // times ascend
  }
  Grouping result;
  for (std::size_t k = 0; k < n; ++k) {
    result.delay += exits.shares[k] * (latest[static_cast<std::size_t>(group[k])] - exits.times[k]);
  }
  for (const double s : share) {
    if (s > 0) result.bits -= s * std::log2(s);
  }
  result.bits = std::max(0.0, result.bits);
  result.group = std::move(group);
  return result;
}

// Calls take(group) for every partition: restricted growth strings, each exit in a group that is there or in the next.
template <class Take>
void each_partition(std::vector<int>& group, std::size_t k, int groups, bool neighbours, const Take& take) {
  if (k == group.size()) return take(group);
  const int first = neighbours ? std::max(0, groups - 1) : 0;
  for (int g = first; g <= groups; ++g) {
    group[k] = g;
    each_partition(group, k + 1, std::max(groups, g + 1), neighbours, take);
  }
}

}  // namespace

std::string to_text(const Grouping& grouping) {
  const std::size_t n = grouping.group.size();
  const int groups = n == 0 ? 0 : *std::max_element(grouping.group.begin(), grouping.group.end()) + 1;
  std::string text;
  for (int g = 0; g < groups; ++g) {
    if (g > 0) text += '|';
    bool first = true;
    for (std::size_t k = 0; k < n; ++k) {
      if (grouping.group[k] != g) continue;
      if (!first && n > 9) text += ',';
      text += std::to_string(k + 1);
      first = false;
    }
  }
  return text;
}

Padding padding_of(const PaddedExits& exits, const Grouping& grouping) {
  const std::size_t n = exits.times.size();
  if (grouping.group.size() != n) {
    throw ValueError("padding: a grouping of " + std::to_string(grouping.group.size()) + " exits for " +
                     std::to_string(n));
  }
  std::vector<double> channel(n * n);
  for (std::size_t k = 0; k < n; ++k) {
    std::size_t last = k;
    for (std::size_t j = k; j < n; ++j) {
      if (grouping.group[j] == grouping.group[k]) last = j;
    }
    channel[k * n + last] = 1;
  }
  return evaluate_padding(exits, std::move(channel));
}

Grouping parse_grouping(const std::string& text, const PaddedExits& given) {
  const PaddedExits exits = checked(given);
  const std::size_t n = exits.times.size();
  const auto wrong = [&](const std::string& why) {
    return ValueError("padding: expected groups that name each of the exits 1 to " + std::to_string(n) +
                      " once, such as 1|23|4 (more than 9 exits: 1|2,3|4), got '" + text + "': " + why);
  };
  std::vector<int> group(n, -1);
  int current = 0;
  const bool digits = n <= 9 && text.find(',') == std::string::npos;
  for (std::size_t i = 0; i < text.size();) {
    if (text[i] == '|') {
      ++current;
      ++i;
      continue;
    }
    if (text[i] == ',') {
      ++i;
      continue;
    }
    std::size_t exit = 0;
    const char* end = digits ? text.data() + i + 1 : text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data() + i, end, exit);
    if (error != std::errc{}) throw wrong("no number at '" + text.substr(i) + "'");
    if (exit < 1 || exit > n) throw wrong("there is no exit " + std::to_string(exit));
    if (group[exit - 1] >= 0) throw wrong("exit " + std::to_string(exit) + " stands twice");
    group[exit - 1] = current;
    i = static_cast<std::size_t>(stop - text.data());
  }
  std::vector<int> number(static_cast<std::size_t>(current) + 1, -1);
  int next = 0;
  for (std::size_t k = 0; k < n; ++k) {
    if (group[k] < 0) throw wrong("exit " + std::to_string(k + 1) + " is missing");
    int& renamed = number[static_cast<std::size_t>(group[k])];
    if (renamed < 0) renamed = next++;
    group[k] = renamed;
  }
  return judged(exits, std::move(group));
}

void each_grouping(std::size_t num_exits, const std::function<void(const std::vector<int>&)>& take) {
  std::vector<int> group(num_exits);
  each_partition(group, 0, 0, num_exits > kMaxPartitioned, take);
}

std::vector<Grouping> undominated(std::vector<Grouping> all, double time_span) {
  // Equal within rounding counts as equal: the sums of two partitions come in different orders.
  const double same_delay = 1e-12 * time_span, same_bits = 1e-12;
  std::sort(all.begin(), all.end(), [](const Grouping& a, const Grouping& b) {
    return a.delay != b.delay ? a.delay < b.delay : a.bits < b.bits;
  });
  std::vector<Grouping> frontier;
  for (Grouping& grouping : all) {
    if (!frontier.empty() && grouping.bits >= frontier.back().bits - same_bits) continue;
    if (!frontier.empty() && grouping.delay <= frontier.back().delay + same_delay) frontier.pop_back();
    frontier.push_back(std::move(grouping));
  }
  return frontier;
}

std::vector<Grouping> grouping_frontier(const PaddedExits& given) {
  const PaddedExits exits = checked(given);
  std::vector<Grouping> all;
  each_grouping(exits.times.size(), [&](const std::vector<int>& g) { all.push_back(judged(exits, g)); });
  return undominated(std::move(all), exits.times.back() - exits.times.front());
}

}  // namespace offramp::stats
