// Audit: membership. The attacks are those of attacks/membership; the attacker knows the membership of half of the records
// and is judged on the other half. No shadow nets: those are `membership attack`'s.
#include "attacks/membership/attack.h"
#include "attacks/membership/evaluation.h"
#include "nets/data/split.h"
#include "tools/frame/interrupt.h"
#include "tools/report/figures.h"
#include "tools/verbs/audit/sections.h"
#include "tools/verbs/extract/session_listener.h"
#include "tools/verbs/inputs.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace offramp::tools::audit {
namespace {

namespace mi = attacks::membership;
constexpr std::size_t kMostOfEach = 4000, kLeastOfEach = 100;
constexpr const char* kAttacks[] = {"correctness", "confidence", "entropy", "modified-entropy"};

// `count` rows of `from`, always the same ones.
std::vector<std::int32_t> some_of(std::vector<std::int32_t> from, std::size_t count, std::uint64_t seed) {
  const auto order = data::permutation(static_cast<int>(from.size()), seed, 0xA0D17u, 0);
  std::vector<std::int32_t> out;
  for (std::size_t i = 0; i < std::min(count, from.size()); ++i)
    out.push_back(from[static_cast<std::size_t>(order[i])]);
  return out;
}

}  // namespace

Section audit_membership(Work& work, const Target& target) {
  Section s{.name = "membership", .title = "Membership"};
  if (!target.loaded) return skipped(s.name, s.title, "membership", "there is no model, only its times");
  const TrainedOn& trained = target.trained;
  if (trained.set.empty())
    return skipped(s.name,
                   s.title,
                   "membership",
                   "the model does not say what it was trained on, so nobody knows a member");
  if (target.samples.set != trained.set)
    return skipped(
        s.name, s.title, "membership", "--data is another set than the one that the model was trained on");
  if (trained.held_out <= 0)
    return skipped(
        s.name,
        s.title,
        "membership",
        "the training held no samples out (train --held-out): members have nobody of their own kind beside them");
  const nets::Network& net = *target.loaded->net;
  Samples where = target.samples;
  where.split = "train";
  where.held_out = trained.held_out;
  where.seed = trained.seed;
  Samples whole = where;
  whole.held_out = 0;
  data::ImageSet set = open_pictures(work.session, trained, whole, net.input());
  const int count = set.n;
  const mi::Samples samples(data::Dataset(std::move(set)));
  const auto non_members = some_of(where.rows(count), kMostOfEach, work.settings.seed);
  const auto members = some_of(where.others(count), non_members.size(), work.settings.seed + 1);
  if (non_members.size() < kLeastOfEach)
    return skipped(
        s.name,
        s.title,
        "membership",
        fmt::format("{} held-out samples are too few; {} at least", non_members.size(), kLeastOfEach));
  SessionListener listener(work.session);
  const mi::Records records =
      mi::collect_records(net, target.loaded->policy, samples, members, non_members, listener);
  std::vector<std::size_t> known, unknown;
  for (std::size_t i = 0; i < records.size(); ++i) (i % 2 == 0 ? known : unknown).push_back(i);
  const mi::Records shadow = mi::subset(records, known), judged = mi::subset(records, unknown);

  report::Table table{
      .columns = {{"attack", report::Align::kLeft},
                  {"exits", report::Align::kLeft},
                  {"right %"},
                  {"AUC"},
                  {"from"},
                  {"to"},
                  {"found at 1 % false alarms, %"},
                  {"control", report::Align::kLeft}},
      .caption = fmt::format(
          "{} members and {} others; thresholds learnt on half of them, judged on the other half. Right: members and others alike, 50 is chance",
          members.size(),
          non_members.size())};
  std::vector<report::RocCurve> curves;
  s.data["attacks"] = nlohmann::ordered_json::array();
  double best = 0, low = 0;
  std::string best_name;
  for (const char* name : kAttacks) {
    for (const bool told : {false, true}) {
      if (told && net.num_exits() == 1) continue;
      throw_if_interrupted();
      const mi::Evidence evidence{.shadow = shadow,
                                  .target = judged,
                                  .target_exits = told ? std::span<const std::int32_t>(judged.exit)
                                                       : std::span<const std::int32_t>{}};
      const mi::Evaluation e = mi::evaluate(name,
                                            told ? "exit told" : "original",
                                            mi::attack_of(name).run(evidence, {.seed = work.settings.seed}),
                                            judged,
                                            {.seed = work.settings.seed});
      table.rows.push_back({name,
                            told ? "told" : "-",
                            fmt::format("{:.2f}", 100 * e.accuracy.estimate),
                            fmt::format("{:.4f}", e.auc.estimate),
                            fmt::format("{:.4f}", e.auc.low),
                            fmt::format("{:.4f}", e.auc.high),
                            fmt::format("{:.2f}", 100 * e.points[0].tpr.estimate),
                            e.control.passed ? "passed" : "failed"});
      s.data["attacks"].push_back({{"attack", name},
                                   {"exit_told", told},
                                   {"accuracy", e.accuracy.estimate},
                                   {"auc", e.auc.estimate},
                                   {"auc_low", e.auc.low},
                                   {"auc_high", e.auc.high},
                                   {"tpr_at_1_percent", e.points[0].tpr.estimate},
                                   {"control_passed", e.control.passed}});
      if (e.control.passed && e.auc.estimate > best)
        best = e.auc.estimate, low = e.auc.low,
        best_name = table.rows.back()[0] + (told ? " with the exit" : "");
      if (told == (net.num_exits() > 1) && std::string(name) != "correctness") {
        report::RocCurve curve{name, {}, {}};
        for (const auto& point : e.roc.points) curve.fpr.push_back(point.fpr), curve.tpr.push_back(point.tpr);
        curves.push_back(std::move(curve));
      }
    }
  }
  s.tables.push_back(table);
  s.figures.push_back(
      {report::roc("Members found", "both axes logarithmic; the attacks that know most", curves),
       "What counts is how many members are found at few false alarms."});
  const mi::Leak leak = mi::leak_of(records);
  s.paragraphs.push_back(fmt::format(
      "Accuracy {:.2f} % on members, {:.2f} % on others; their losses are {:.4f} bits apart (Jensen-Shannon). Attacks with shadow or reference nets of their own: offramp membership train and attack.",
      100 * leak.accuracy_members,
      100 * leak.accuracy_others,
      leak.js_bits));
  s.data["js_bits"] = leak.js_bits;
  if (best_name.empty()) {
    s.findings.push_back({"membership", Kind::kOpen, "none", "every attack failed its own control"});
  } else if (low > 0.5) {
    s.findings.push_back(
        {"membership",
         Kind::kFail,
         best > 0.6    ? "error"
         : best > 0.53 ? "warning"
                       : "note",
         fmt::format("{} tells members from others: AUC {:.3f}, at least {:.3f} (8 attacks were tried)",
                     best_name,
                     best,
                     low)});
  } else {
    s.findings.push_back(
        {"membership",
         Kind::kOpen,
         "none",
         fmt::format(
             "no attack of these tells members from others (best AUC {:.3f}, from {:.3f}); {} records show no more",
             best,
             low,
             records.size())});
  }
  return s;
}

}  // namespace offramp::tools::audit
