#include "attacks/membership/many_models.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "base/errors.h"
#include "stats/membership/group_thresholds.h"

namespace offramp::attacks::membership {
namespace {

constexpr std::size_t kOwnNets =
    4;  // of each side at an exit, when one has been taken away: enough for means of a record's own

// Count, sum and squares around the mean of the margins that a record gets from a kind of nets.
struct Moments {
  std::size_t n = 0;
  double mean = 0, squares = 0;
  void add(double v) {  // Welford
    ++n;
    const double d = v - mean;
    mean += d / static_cast<double>(n);
    squares += d * (v - mean);
  }
};

// Equal margins of all nets give no variance: a double of this size still has that much rounding.
double at_least_rounding(double variance, double mean) {
  const double rounding = 0x1p-40 * (1 + std::abs(mean));
  return std::max(variance, rounding * rounding);
}

double log_normal(double v, double mean, double variance) {
  const double safe = at_least_rounding(variance, mean);
  return -0.5 * std::log(safe) - (v - mean) * (v - mean) / (2 * safe);  // without ln sqrt(2 pi): it cancels
}

void check_many(const Queried& target, const References& r, const char* what) {
  if (target.margin.size() != r.records || target.exit.size() != r.records)
    throw DataError(std::string(what) + ": the target has " + std::to_string(target.margin.size()) +
                    " records, the references " + std::to_string(r.records));
  for (std::size_t i = 0; i < target.margin.size(); ++i)
    if (!std::isfinite(target.margin[i]))
      throw DataError(std::string(what) + ": margins must be finite, record " + std::to_string(i) +
                      " has one that is not");
}

struct Sides {
  std::vector<Moments> of[2];  // [out, in][record]
  double pooled[2] = {}, common = 0;
};

// `needed`: sides that must have two nets of every record (bit 0 out, bit 1 in).
Sides sides_of(const References& r, int needed, const char* what) {
  Sides s;
  for (auto& side : s.of) side.resize(r.records);
  for (int m = 0; m < r.models; ++m)
    for (std::size_t i = 0; i < r.records; ++i) s.of[r.in[r.at(m, i)]][i].add(r.margin[r.at(m, i)]);
  double squares[2] = {}, freedom[2] = {};
  for (int side = 0; side < 2; ++side) {
    for (std::size_t i = 0; i < r.records; ++i) {
      const Moments& m = s.of[side][i];
      if ((needed >> side & 1) != 0 && m.n < 2)
        throw DataError(std::string(what) + ": needs two reference nets " +
                        (side == 1 ? "trained on each record" : "not trained on each record") + ", record " +
                        std::to_string(i) + " has " + std::to_string(m.n));
      if (m.n >= 2) {
        squares[side] += m.squares;
        freedom[side] += static_cast<double>(m.n - 1);
      }
    }
    s.pooled[side] = freedom[side] > 0 ? squares[side] / freedom[side] : 0;
  }
  s.common = freedom[0] + freedom[1] > 0 ? (squares[0] + squares[1]) / (freedom[0] + freedom[1]) : 0;
  return s;
}

double variance_of(const Sides& s, const References& r, int side, std::size_t i, Variance kind) {
  const Moments& m = s.of[side][i];
  if (kind == Variance::kAuto) {
    constexpr auto kFew = static_cast<std::size_t>(kFewModels);
    const std::size_t out = s.of[0][i].n + r.withheld_of(i, 0), in = s.of[1][i].n + r.withheld_of(i, 1);
    kind = out >= kFew && (in == 0 || in >= kFew) ? Variance::kOwn : Variance::kPooled;
  }
  switch (kind) {
    case Variance::kOwn:
      return m.squares / static_cast<double>(m.n - 1);
    case Variance::kCommon:
      return s.common;
    default:
      return s.pooled[side];
  }
}

std::vector<double> offline_default(const Queried& t, const References& r) { return lira_offline(t, r); }
std::vector<double> online_default(const Queried& t, const References& r) { return lira_online(t, r); }
std::vector<double> online_and_exit(const Queried& t, const References& r) {
  std::vector<double> out = lira_online(t, r);
  const std::vector<double> exits = exit_ratio(t, r);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] += exits[i];
  return out;
}

constexpr ManyModelAttack kManyModelAttacks[] = {
    {"lira-offline", "distance of the margin from that of nets that never saw the record", offline_default},
    {"lira-online",
     "likelihood ratio of the margin, nets with the record against nets without",
     online_default},
    {"exit-ratio", "likelihood ratio of the exit alone", exit_ratio},
    {"lira-joint", "likelihood ratio of exit and margin given the exit", lira_joint},
    {"lira-online+exit", "the ratios of margin and exit as if they were independent", online_and_exit}};

}  // namespace

std::span<const ManyModelAttack> many_model_attacks() { return kManyModelAttacks; }

References References::without(int model) const {
  References out{.models = models - 1, .num_exits = num_exits, .records = records};
  out.withheld.assign(in.begin() + static_cast<std::ptrdiff_t>(at(model, 0)),
                      in.begin() + static_cast<std::ptrdiff_t>(at(model, 0) + records));
  for (int m = 0; m < models; ++m) {
    if (m == model) continue;
    const auto first = static_cast<std::ptrdiff_t>(at(m, 0)),
               last = static_cast<std::ptrdiff_t>(at(m, 0) + records);
    out.margin.insert(out.margin.end(), margin.begin() + first, margin.begin() + last);
    out.exit.insert(out.exit.end(), exit.begin() + first, exit.begin() + last);
    out.in.insert(out.in.end(), in.begin() + first, in.begin() + last);
  }
  return out;
}

References references_of(std::span<const Records> nets, std::span<const std::int32_t> rows) {
  if (nets.empty()) throw ValueError("references: there are no reference nets; train some with --references");
  References out{
      .models = static_cast<int>(nets.size()), .num_exits = nets[0].num_exits, .records = rows.size()};
  for (const Records& net : nets) {
    if (net.classes != nets[0].classes || net.num_exits != nets[0].num_exits)
      throw ValueError("references: expected nets of one shape, found " + std::to_string(net.num_exits) +
                       " exits and " + std::to_string(net.classes) + " classes beside " +
                       std::to_string(nets[0].num_exits) + " and " + std::to_string(nets[0].classes));
    std::map<std::int32_t, std::size_t> of_row;
    for (std::size_t i = 0; i < net.size(); ++i) of_row[net.row[i]] = i;
    for (const std::int32_t row : rows) {
      const auto found = of_row.find(row);
      if (found == of_row.end())
        throw DataError("references: " + (net.model.empty() ? std::string("a net") : net.model) +
                        " was not asked about row " + std::to_string(row));
      out.margin.push_back(net.margin[found->second]);
      out.exit.push_back(net.exit[found->second]);
      out.in.push_back(net.member[found->second]);
    }
  }
  return out;
}

Queried queried_of(const Records& records) { return {records.margin, records.exit}; }
Queried queried_of(const References& r, int model) {
  const auto first = static_cast<std::ptrdiff_t>(r.at(model, 0));
  const auto last = first + static_cast<std::ptrdiff_t>(r.records);
  return {{r.margin.begin() + first, r.margin.begin() + last},
          {r.exit.begin() + first, r.exit.begin() + last}};
}

std::vector<double> lira_offline(const Queried& target, const References& r, Variance variance) {
  check_many(target, r, "lira-offline");
  const Sides s = sides_of(r, 1, "lira-offline");
  std::vector<double> out;
  for (std::size_t i = 0; i < r.records; ++i) {
    const double mean = s.of[0][i].mean;
    out.push_back((target.margin[i] - mean) /
                  std::sqrt(at_least_rounding(variance_of(s, r, 0, i, variance), mean)));
  }
  return out;
}

std::vector<double> lira_online(const Queried& target, const References& r, Variance variance) {
  check_many(target, r, "lira-online");
  const Sides s = sides_of(r, 3, "lira-online");
  std::vector<double> out;
  for (std::size_t i = 0; i < r.records; ++i)
    out.push_back(log_normal(target.margin[i], s.of[1][i].mean, variance_of(s, r, 1, i, variance)) -
                  log_normal(target.margin[i], s.of[0][i].mean, variance_of(s, r, 0, i, variance)));
  return out;
}

std::vector<double> exit_ratio(const Queried& target, const References& r) {
  check_many(target, r, "exit-ratio");
  std::vector<double> out;
  for (std::size_t i = 0; i < r.records; ++i) {
    double here[2] = {}, all[2] = {};
    for (int m = 0; m < r.models; ++m) {
      const int side = r.in[r.at(m, i)];
      all[side] += 1;
      here[side] += r.exit[r.at(m, i)] == target.exit[i] ? 1 : 0;
    }
    const double half = .5 * r.num_exits;
    out.push_back(std::log((here[1] + .5) / (all[1] + half)) - std::log((here[0] + .5) / (all[0] + half)));
  }
  return out;
}

std::vector<double> lira_joint(const Queried& target, const References& r) {
  check_many(target, r, "lira-joint");
  std::vector<double> out = exit_ratio(target, r);
  const auto exits = static_cast<std::size_t>(r.num_exits);
  // [side][exit]: all margins there, and those around the means of records that have nets enough.
  std::vector<Moments> all[2];
  std::vector<double> squares[2], freedom[2];
  std::vector<std::vector<Moments>> own[2];  // [side][record][exit]
  for (int side = 0; side < 2; ++side) {
    all[side].resize(exits);
    squares[side].assign(exits, 0);
    freedom[side].assign(exits, 0);
    own[side].assign(r.records, std::vector<Moments>(exits));
  }
  for (int m = 0; m < r.models; ++m) {
    for (std::size_t i = 0; i < r.records; ++i) {
      const auto e = static_cast<std::size_t>(r.exit[r.at(m, i)] - 1);
      const int side = r.in[r.at(m, i)];
      all[side][e].add(r.margin[r.at(m, i)]);
      own[side][i][e].add(r.margin[r.at(m, i)]);
    }
  }
  for (int side = 0; side < 2; ++side)
    for (const auto& record : own[side])
      for (std::size_t e = 0; e < exits; ++e)
        if (record[e].n >= kOwnNets) {
          squares[side][e] += record[e].squares;
          freedom[side][e] += static_cast<double>(record[e].n - 1);
        }
  for (std::size_t i = 0; i < r.records; ++i) {
    const auto e = static_cast<std::size_t>(target.exit[i] - 1);
    if (all[0][e].n < 2 || all[1][e].n < 2)
      continue;  // nothing is known of margins there: the exit alone speaks
    // The net that was taken away to be asked left here too.
    const bool by_itself =
        own[0][i][e].n + r.withheld_of(i, 0) > kOwnNets && own[1][i][e].n + r.withheld_of(i, 1) > kOwnNets;
    double density[2];
    for (int side = 0; side < 2; ++side) {
      const Moments& m = by_itself ? own[side][i][e] : all[side][e];
      const double variance =
          by_itself ? squares[side][e] / freedom[side][e] : m.squares / static_cast<double>(m.n - 1);
      density[side] = log_normal(target.margin[i], m.mean, variance);
    }
    out[i] += density[1] - density[0];
  }
  return out;
}

double rmia_prior(std::span<const double> out_probabilities, double a) {
  if (!(a >= 0 && a <= 1)) throw ValueError("rmia: a lies from 0 to 1, got " + std::to_string(a));
  if (out_probabilities.empty())
    throw DataError("rmia: a record has no reference net that was not trained on it");
  double sum = 0;
  for (const double p : out_probabilities) sum += p;
  return ((1 + a) * sum / static_cast<double>(out_probabilities.size()) + (1 - a)) / 2;
}

namespace {
double probability(double margin) {
  return margin > 0 ? 1 / (1 + std::exp(-margin)) : std::exp(margin) / (1 + std::exp(margin));
}
}  // namespace

std::vector<double> rmia_ratios(const Queried& target, const References& r, double a) {
  check_many(target, r, "rmia");
  std::vector<double> out, without;
  for (std::size_t i = 0; i < r.records; ++i) {
    without.clear();
    for (int m = 0; m < r.models; ++m)
      if (!r.in[r.at(m, i)]) without.push_back(probability(r.margin[r.at(m, i)]));
    out.push_back(probability(target.margin[i]) / rmia_prior(without, a));
  }
  return out;
}

std::vector<double> rmia_population_ratios(const Queried& target, const References& r) {
  check_many(target, r, "rmia");
  std::vector<double> out;
  for (std::size_t i = 0; i < r.records; ++i) {
    double sum = 0;
    for (int m = 0; m < r.models; ++m) sum += probability(r.margin[r.at(m, i)]);
    const double mean = std::max(sum / r.models, std::numeric_limits<double>::min());
    out.push_back(probability(target.margin[i]) / mean);
  }
  return out;
}

std::vector<double> rmia(std::span<const double> ratios,
                         std::span<const double> population_ratios,
                         double gamma) {
  if (!(gamma > 0)) throw ValueError("rmia: gamma must be above 0, got " + std::to_string(gamma));
  if (population_ratios.empty()) throw DataError("rmia: the population is empty");
  std::vector<double> sorted(population_ratios.begin(), population_ratios.end());
  std::ranges::sort(sorted);
  std::vector<double> out;
  for (const double ratio : ratios) {
    // ratio / z >= gamma, by the product: a z of 0 is dominated by everybody.
    const auto end =
        std::partition_point(sorted.begin(), sorted.end(), [&](double z) { return ratio >= gamma * z; });
    out.push_back(static_cast<double>(end - sorted.begin()) / static_cast<double>(sorted.size()));
  }
  return out;
}

Calibrated calibrated(ManyModelScore score,
                      const Queried& target,
                      std::span<const std::uint8_t> member,
                      const References& r) {
  if (member.size() != r.records)
    throw DataError("calibrated: expected a membership for each of " + std::to_string(r.records) +
                    " records, got " + std::to_string(member.size()));
  std::vector<double> highest(r.records, -std::numeric_limits<double>::infinity());
  std::vector<int> nulls(r.records, 0);
  std::vector<double> known[2];
  for (int m = 0; m < r.models; ++m) {
    const std::vector<double> scores = score(queried_of(r, m), r.without(m));
    for (std::size_t i = 0; i < r.records; ++i) {
      known[r.in[r.at(m, i)]].push_back(scores[i]);
      if (r.in[r.at(m, i)]) continue;
      highest[i] = std::max(highest[i], scores[i]);
      ++nulls[i];
    }
  }
  const std::vector<double> scores = score(target, r);
  const int fewest = *std::ranges::min_element(nulls);
  if (fewest < 1) throw DataError("calibrated: a record has no reference net that was not trained on it");
  Calibrated out{.level = 1.0 / (fewest + 1)};
  out.threshold = stats::balanced_threshold(known[1], known[0]).threshold;
  for (std::size_t i = 0; i < r.records; ++i) {
    const bool called = scores[i] > highest[i];
    ++(member[i] ? out.members : out.non_members);
    if (called) ++(member[i] ? out.members_found : out.false_alarms);
  }
  return out;
}

}  // namespace offramp::attacks::membership
