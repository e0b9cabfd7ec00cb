#pragma once
// Membership attacks with many reference nets (specs/audit.md 1): LiRA (Carlini et al., arXiv 2112.03570), online and offline,
// RMIA (Zarifzadeh et al., ICML 2024), and LiRA jointly with the exit that an answer left by. The attacker has scores of the
// target, the true classes, and nets trained on halves of a pool that holds the records in question.
//
// All but RMIA work on the margin ln(p_y / (1 - p_y)), in double from the logits of the exit taken.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "attacks/membership/records.h"

namespace offramp::attacks::membership {

// What the reference nets say of n records, [models, n].
struct References {
  int models = 0, num_exits = 1;
  std::size_t records = 0;
  std::vector<double> margin = {};
  std::vector<std::int32_t> exit = {};  // from 1
  std::vector<std::uint8_t> in = {};    // 1: that net was trained on that record
  std::size_t at(int model, std::size_t record) const {
    return static_cast<std::size_t>(model) * records + record;
  }
  // Without one net: what is left when that one plays the target.
  References without(int model) const;
  // [records] `in` of the net that plays the target; empty: it is none of these. Which moments are a record's own is decided as if
  // it were still there, so that its scores are made as the target's.
  std::vector<std::uint8_t> withheld = {};
  std::size_t withheld_of(std::size_t record, int side) const {
    return !withheld.empty() && withheld[record] == side ? 1 : 0;
  }
};
// Aligned to `rows` by the records' rows. Throws DataError where a net lacks a row, ValueError for no nets or nets of another
// number of exits or classes.
References references_of(std::span<const Records> nets, std::span<const std::int32_t> rows);

// What is asked about: the target's margins and exits, or a reference's that plays it.
struct Queried {
  std::vector<double> margin = {};
  std::vector<std::int32_t> exit = {};
};
Queried queried_of(const Records& records);
Queried queried_of(const References& references, int model);

enum class Variance {
  kAuto,    // of each record from kFewModels nets a side on, else pooled
  kOwn,     // of each record, ddof 1
  kPooled,  // one for all records, of in and out each
  kCommon,  // one for all records and both sides
};
inline constexpr int kFewModels = 32;

// (phi - mean of out) / deviation of out: needs no net that was trained on the record.
std::vector<double> lira_offline(const Queried& target,
                                 const References& references,
                                 Variance variance = Variance::kAuto);
// ln N(phi; in) - ln N(phi; out).
std::vector<double> lira_online(const Queried& target,
                                const References& references,
                                Variance variance = Variance::kAuto);
// ln P_in(e) - ln P_out(e) of the exit alone: counts of the record's own nets, 1/2 added to each.
std::vector<double> exit_ratio(const Queried& target, const References& references);
// ln [P_in(e) N(phi; in | e)] - ln [P_out(e) N(phi; out | e)]. Moments given the exit are pooled over the records of that exit;
// where both sides of a record have at least 5 nets there, the means are its own and the variances pooled around such means.
std::vector<double> lira_joint(const Queried& target, const References& references);

// All of them throw DataError where a record lacks two nets of a side it needs (three of one's own variance do not help), and
// give finite scores otherwise: a variance of 0 is raised to that of a rounding.

// RMIA. `probability` [n] of the true class by the target; reference [models, n]. offline_a: Pr = ((1 + a) Pr_out + 1 - a) / 2
// from nets that were not trained on the record; the population's means are exact, of all its nets.
struct RmiaOptions {
  double gamma = 1;
  double offline_a = 0.3;
};
double rmia_prior(std::span<const double> out_probabilities, double a);
// [n] share of the population with ratio(x) / ratio(z) >= gamma. The population are records that no net was trained on.
std::vector<double> rmia(std::span<const double> ratios,
                         std::span<const double> population_ratios,
                         double gamma);
// ratio = p_target / Pr for each record.
std::vector<double> rmia_ratios(const Queried& target, const References& references, double a);
std::vector<double> rmia_population_ratios(const Queried& target, const References& references);

// What pooling hides (a threshold for all mixes easy and hard records): each reference net in turn plays the target for the
// others, which gives every record its own scores as a non-member. Each record needs three nets that were trained on it and
// three that were not.
struct Calibrated {
  double level = 0;  // 1 / (nets without the record + 1): the smallest false positive rate that they resolve
  std::size_t members = 0, members_found = 0, non_members = 0, false_alarms = 0;
  // Of largest balanced accuracy over all nets that played the target, whose members the attacker knows.
  double threshold = 0;
};
using ManyModelScore = std::vector<double> (*)(const Queried&, const References&);
// A record is called a member iff its score is above all of its own as a non-member.
Calibrated calibrated(ManyModelScore score,
                      const Queried& target,
                      std::span<const std::uint8_t> member,
                      const References& references);

struct ManyModelAttack {
  const char* name;
  const char* summary;
  ManyModelScore score;
};
std::span<const ManyModelAttack> many_model_attacks();  // all but RMIA, which needs a population

}  // namespace offramp::attacks::membership
