#include "attacks/membership/label_only.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "attacks/membership/attack_functions.h"
#include "base/errors.h"
#include "kernels/philox.h"
#include "nets/data/split.h"

namespace offramp::attacks::membership {
namespace {

constexpr std::uint32_t kAskedStream = 0x3E3B0003u;  // step: exit and side
constexpr std::uint32_t kFlipStream = 0x3E3B0004u;   // op: column; step: row of the set

// Balanced, over all records that were asked about: an exit of four records weighs no more than these.
double accuracy_of(const AttackOutcome& o, const Records& r) {
  double right[2] = {}, all[2] = {};
  for (std::size_t i = 0; i < o.record.size(); ++i) {
    const std::uint8_t member = r.member[o.record[i]];
    all[member] += 1;
    right[member] += o.decision[i] == member ? 1 : 0;
  }
  return (right[0] / all[0] + right[1] / all[1]) / 2;
}

std::vector<double> column(const Signal& signal, int c) {
  std::vector<double> out;
  for (std::size_t i = 0; i < signal.record.size(); ++i) out.push_back(signal.at(i, c));
  return out;
}

// Thresholds and setting are those that are best on the shadow.
AttackOutcome by_signal(const Evidence& e, const AttackSettings& s, const char* name) {
  check(e, true);
  if (e.shadow_signal == nullptr || e.target_signal == nullptr)
    throw ValueError(std::string(name) + " attack: it needs what the queries of both nets said");
  const Signal &shadow = *e.shadow_signal, &target = *e.target_signal;
  if (shadow.columns != target.columns || shadow.columns < 1)
    throw ValueError(std::string(name) + " attack: the shadow was asked in " +
                     std::to_string(shadow.columns) + " settings, the target in " +
                     std::to_string(target.columns));
  const auto attack = [&](const Evidence& evidence, const Signal& from, const Signal& on, int c) {
    return decide_by_thresholds(evidence, s, from.record, column(from, c), on.record, column(on, c), false);
  };
  const auto on_itself = [&](const Records& r, const Signal& signal, int c) {
    const Evidence itself{.shadow = r,
                          .target = r,
                          .target_exits = e.hybrid() ? std::span(r.exit) : std::span<const std::int32_t>()};
    return accuracy_of(attack(itself, signal, signal, c), r);
  };
  int best = 0;
  double best_accuracy = -1, upper = 0;
  Records as_seen = e.target;  // exits as the attacker knows them
  if (e.hybrid()) as_seen.exit.assign(e.target_exits.begin(), e.target_exits.end());
  for (int c = 0; c < shadow.columns; ++c) {
    const double accuracy = on_itself(e.shadow, shadow, c);
    if (accuracy > best_accuracy) {
      best_accuracy = accuracy;
      best = c;
    }
    upper = std::max(upper, on_itself(as_seen, target, c));
  }
  AttackOutcome out = attack(e, shadow, target, best);
  out.upper_bound = upper;
  out.queries = target.queries;
  if (shadow.columns > 1)
    out.note = "setting " + std::to_string(best + 1) + " of " + std::to_string(shadow.columns);
  return out;
}

}  // namespace

std::vector<std::size_t> records_to_ask(const Records& r, int per_side, std::uint64_t seed) {
  if (per_side < 1) throw ValueError("label-only: at least 1 record a side, got " + std::to_string(per_side));
  std::map<std::pair<std::int32_t, std::uint8_t>, std::vector<std::size_t>> of;
  for (std::size_t i = 0; i < r.size(); ++i) of[{r.exit[i], r.member[i]}].push_back(i);
  std::vector<std::size_t> out;
  for (const auto& [side, records] : of) {
    const auto step = static_cast<std::uint32_t>(2 * side.first + side.second);
    const auto order = data::permutation(static_cast<int>(records.size()), seed, kAskedStream, step);
    for (std::size_t i = 0; i < std::min(records.size(), static_cast<std::size_t>(per_side)); ++i)
      out.push_back(records[static_cast<std::size_t>(order[i])]);
  }
  std::ranges::sort(out);
  return out;
}

Signal noise_robustness(BlackBox& victim,
                        const Samples& samples,
                        const Records& records,
                        std::span<const std::size_t> asked,
                        const NoiseOptions& o,
                        Listener& listener) {
  const auto* table = std::get_if<data::TableSet>(&samples.set());
  if (table == nullptr)
    throw ValueError("noise attack: it flips features of tables; for images take boundary");
  if (o.copies < 1) throw ValueError("noise attack: at least 1 copy, got " + std::to_string(o.copies));
  for (const double f : o.flips)
    if (!(f >= 0 && f <= table->d))
      throw ValueError("noise attack: flips lie from 0 to the number of features, " +
                       std::to_string(table->d));
  constexpr int kBatch = 1000;
  const auto d = static_cast<std::size_t>(table->d);
  Signal out{.record = {asked.begin(), asked.end()}, .columns = static_cast<int>(o.flips.size())};
  std::int64_t done = 0;
  for (const std::size_t i : asked) {
    const auto row = table->row(records.row[i]);
    for (const float v : row)
      if (v != 0 && v != 1)
        throw DataError("noise attack: features must be 0 or 1, row " + std::to_string(records.row[i]) +
                        " has " + std::to_string(v));
    for (std::size_t c = 0; c < o.flips.size(); ++c) {
      const auto p = static_cast<float>(o.flips[c] / static_cast<double>(d));
      const PhiloxKey key{
          o.seed, kFlipStream, static_cast<std::uint32_t>(c), static_cast<std::uint32_t>(records.row[i])};
      std::int64_t kept = 0;
      for (int first = 0; records.correct(i) && first < o.copies; first += kBatch) {
        const int count = std::min(kBatch, o.copies - first);
        std::vector<float> copies(static_cast<std::size_t>(count) * d);
        const std::uint64_t start = static_cast<std::uint64_t>(first) * d;
        for (std::size_t at = 0; at < copies.size(); ++at) {
          const float v = row[at % d];
          copies[at] = key.uniform(start + at) < p ? 1 - v : v;
        }
        const auto labels =
            victim
                .query(Tensor::from<float>({count, static_cast<std::int64_t>(d)}, copies, Device::cpu()),
                       Timing::kNone)
                .labels;
        kept += std::ranges::count(labels, records.label[i]);
        out.queries += count;
      }
      out.value.push_back(static_cast<double>(kept) / o.copies);
    }
    listener.progress(
        "noise", static_cast<std::int64_t>(asked.size()), ++done, "samples", Listener::Fields::object());
    stop_if_requested(listener);
  }
  return out;
}

AttackOutcome noise_attack(const Evidence& e, const AttackSettings& s) { return by_signal(e, s, "noise"); }
AttackOutcome boundary_attack(const Evidence& e, const AttackSettings& s) {
  return by_signal(e, s, "boundary");
}

}  // namespace offramp::attacks::membership
