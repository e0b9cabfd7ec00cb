#include "attacks/membership/evaluation.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "stats/intervals.h"

namespace offramp::attacks::membership {
namespace {

using Json = nlohmann::ordered_json;

Json json_of(const stats::Interval& i) {
  return {{"estimate", i.estimate}, {"low", i.low}, {"high", i.high}};
}
// JSON has no NaN.
Json number_or_null(double v) { return std::isfinite(v) ? Json(v) : Json(nullptr); }

constexpr std::size_t kMostNamed = 200;  // records listed by name

}  // namespace

Evaluation evaluate(const std::string& attack,
                    const std::string& adversary,
                    AttackOutcome outcome,
                    const Records& target,
                    const EvaluationOptions& o) {
  Evaluation e;
  e.attack = attack;
  e.adversary = adversary;
  std::vector<double> scores[2];
  std::size_t right[2] = {};
  for (std::size_t i = 0; i < outcome.record.size(); ++i) {
    const std::uint8_t member = target.member[outcome.record[i]];
    scores[member].push_back(outcome.score[i]);
    right[member] += outcome.decision[i] == member ? 1 : 0;
  }
  e.members = scores[1].size();
  e.non_members = scores[0].size();
  e.roc = stats::roc_curve(scores[1], scores[0]);
  e.auc = stats::delong_auc(scores[1], scores[0], o.auc_level);
  e.accuracy = stats::mean_rate_interval(right[1], e.members, right[0], e.non_members);
  for (const double rate : o.false_positive_rates)
    e.points.push_back(stats::detection_point(scores[1], scores[0], rate));
  e.control = stats::member_control(scores[1], 200, o.seed);
  e.outcome = std::move(outcome);
  return e;
}

void compare(Evaluation& hybrid, const Evaluation& original, const Records& target) {
  std::map<std::size_t, std::uint8_t> right;
  for (std::size_t i = 0; i < original.outcome.record.size(); ++i) {
    const std::size_t record = original.outcome.record[i];
    right[record] = original.outcome.decision[i] == target.member[record];
  }
  std::vector<double> with, without;
  for (std::size_t i = 0; i < hybrid.outcome.record.size(); ++i) {
    const std::size_t record = hybrid.outcome.record[i];
    if (const auto at = right.find(record); at != right.end()) {
      with.push_back(hybrid.outcome.decision[i] == target.member[record] ? 1 : 0);
      without.push_back(at->second);
    }
  }
  hybrid.beside_original = stats::sign_test(with, without);
}

Leak leak_of(const Records& r) {
  Leak out;
  out.exits.resize(static_cast<std::size_t>(r.num_exits));
  std::vector<double> losses[2];
  std::vector<std::vector<double>> of_exit[2];
  for (auto& side : of_exit) side.resize(out.exits.size());
  double right[2] = {};
  for (std::size_t i = 0; i < r.size(); ++i) {
    const std::uint8_t m = r.member[i];
    losses[m].push_back(r.loss[i]);
    of_exit[m][static_cast<std::size_t>(r.exit[i] - 1)].push_back(r.loss[i]);
    right[m] += r.correct(i) ? 1 : 0;
  }
  out.accuracy_members = right[1] / static_cast<double>(losses[1].size());
  out.accuracy_others = right[0] / static_cast<double>(losses[0].size());
  out.losses = stats::loss_divergence_test(losses[1], losses[0]);
  out.js_bits_50 = stats::loss_js_divergence(losses[1], losses[0], 50);
  out.js_bits_200 = stats::loss_js_divergence(losses[1], losses[0], 200);
  for (std::size_t e = 0; e < out.exits.size(); ++e) {
    out.exits[e].members = of_exit[1][e].size();
    out.exits[e].non_members = of_exit[0][e].size();
    if (out.exits[e].members > 0 && out.exits[e].non_members > 0)
      out.exits[e].losses = stats::loss_divergence_test(of_exit[1][e], of_exit[0][e]);
  }
  return out;
}

double members_first_by_chance(std::size_t named, std::size_t members, std::size_t non_members) {
  double p = 1;
  for (std::size_t i = 0; i < named; ++i)
    p *= static_cast<double>(members - i) / static_cast<double>(members + non_members - i);
  return p;
}

Json to_json(const Leak& leak) {
  Json exits = Json::array();
  for (std::size_t e = 0; e < leak.exits.size(); ++e) {
    const ExitLeak& x = leak.exits[e];
    exits.push_back({{"exit", e + 1},
                     {"members", x.members},
                     {"non_members", x.non_members},
                     {"js_bits", x.losses ? Json(x.losses->js_bits) : Json(nullptr)},
                     {"js_bits_by_chance", x.losses ? Json(x.losses->by_chance) : Json(nullptr)},
                     {"js_p_value", x.losses ? Json(x.losses->p_value) : Json(nullptr)}});
  }
  return {{"accuracy_members", leak.accuracy_members},
          {"accuracy_others", leak.accuracy_others},
          {"js_bits", leak.losses.js_bits},
          {"js_bits_by_chance", leak.losses.by_chance},
          {"js_p_value", leak.losses.p_value},
          {"js_bits_50_bins", leak.js_bits_50},
          {"js_bits_200_bins", leak.js_bits_200},
          {"exits", exits}};
}

Json to_json(const Evaluation& e, const Records& target) {
  Json json{{"attack", e.attack},
            {"adversary", e.adversary},
            {"members", e.members},
            {"non_members", e.non_members},
            {"accuracy", json_of(e.accuracy)},
            {"auc", json_of(e.auc)},
            {"control",
             {{"passed", e.control.passed},
              {"inside", e.control.inside},
              {"repetitions", e.control.repetitions},
              {"mean_auc", e.control.mean_auc}}},
            {"at_fpr", Json::array()}};
  for (const auto& p : e.points) {
    Json point{{"wanted_fpr", p.wanted_fpr}};
    if (!p.refused.empty()) {
      point["refused"] = p.refused;
    } else {
      point["tpr"] = json_of(p.tpr);
      point["fpr"] = json_of(p.fpr);
      point["members_found"] = p.members_found;
      point["false_alarms"] = p.false_alarms;
    }
    json["at_fpr"].push_back(point);
  }
  if (e.outcome.best_epoch) json["best_epoch_accuracy"] = *e.outcome.best_epoch;
  if (e.outcome.upper_bound) json["upper_bound"] = *e.outcome.upper_bound;
  if (e.outcome.queries > 0) json["queries"] = e.outcome.queries;
  if (!e.outcome.note.empty()) json["note"] = e.outcome.note;
  if (e.outcome.by_exit) {
    const auto& by = *e.outcome.by_exit;
    json["by_exit"] = {{"average", number_or_null(by.average)},
                       {"weighted", number_or_null(by.weighted)},
                       {"as_ccs_code", number_or_null(by.as_ccs_code)},
                       {"flagged", by.flagged},
                       {"exits", Json::array()}};
    for (const auto& g : by.groups)
      json["by_exit"]["exits"].push_back({{"members", g.members},
                                          {"non_members", g.non_members},
                                          {"accuracy", number_or_null(g.accuracy)},
                                          {"counted", g.counted}});
  }
  if (e.beside_original)
    json["beside_original"] = {{"statistic", e.beside_original->statistic},
                               {"p_value", e.beside_original->p_value}};
  // Members that no non-member looks like: above every non-member's score.
  double top = -std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < e.outcome.record.size(); ++i)
    if (!target.member[e.outcome.record[i]]) top = std::max(top, e.outcome.score[i]);
  std::vector<std::pair<double, std::int32_t>> named;
  for (std::size_t i = 0; i < e.outcome.record.size(); ++i)
    if (target.member[e.outcome.record[i]] && e.outcome.score[i] > top)
      named.push_back({e.outcome.score[i], target.row[e.outcome.record[i]]});
  std::ranges::sort(named, [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
  });
  json["identified"] = {{"count", named.size()},
                        {"by_chance", members_first_by_chance(named.size(), e.members, e.non_members)},
                        {"rows", Json::array()}};
  for (std::size_t i = 0; i < std::min(named.size(), kMostNamed); ++i)
    json["identified"]["rows"].push_back(named[i].second);
  // The curve, thinned to what a picture can show: every point below a false positive rate of 2 %, then each percent.
  Json fpr = Json::array(), tpr = Json::array();
  double last = -1;
  for (const auto& p : e.roc.points) {
    if (p.fpr > .02 && p.fpr - last < .01 && p.fpr < 1) continue;
    last = p.fpr;
    fpr.push_back(p.fpr);
    tpr.push_back(p.tpr);
  }
  json["roc"] = {{"fpr", fpr}, {"tpr", tpr}};
  return json;
}

}  // namespace offramp::attacks::membership
