// Audit: membership. The attacks are those of attacks/membership; the attacker knows the membership of half of the records
// and is judged on the other half. No shadow nets: those are `membership attack`'s.
#include "attacks/extraction/images.h"
#include "attacks/membership/attack.h"
#include "attacks/membership/evaluation.h"
#include "attacks/query/metered.h"
#include "nets/data/inspect.h"
#include "nets/data/split.h"
#include "tools/frame/interrupt.h"
#include "tools/report/figures.h"
#include "tools/verbs/audit/sections.h"
#include "tools/verbs/extract/session_listener.h"
#include "tools/verbs/inputs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace offramp::tools::audit {
namespace {

namespace mi = attacks::membership;
constexpr std::size_t kMostOfEach = 4000, kLeastOfEach = 100;
constexpr std::size_t kServedAtOnce = 256;
constexpr double kServedShare = 0.1;  // of --max-queries
constexpr double kLeastProbability = 1e-30;
constexpr const char* kAttacks[] = {"correctness", "confidence", "entropy", "modified-entropy"};

// `count` rows of `from`, always the same ones.
std::vector<std::int32_t> some_of(std::vector<std::int32_t> from, std::size_t count, std::uint64_t seed) {
  const auto order = data::permutation(static_cast<int>(from.size()), seed, 0xA0D17u, 0);
  std::vector<std::int32_t> out;
  for (std::size_t i = 0; i < std::min(count, from.size()); ++i)
    out.push_back(from[static_cast<std::size_t>(order[i])]);
  return out;
}

// Every attack on one half of the records with what is known of the other half: table, figure and finding.
void judge_members(Work& work, const mi::Records& records, Section& s) {
  std::vector<std::size_t> known, unknown;
  for (std::size_t i = 0; i < records.size(); ++i) (i % 2 == 0 ? known : unknown).push_back(i);
  const mi::Records shadow = mi::subset(records, known), judged = mi::subset(records, unknown);

  // An attack that tells nothing is said to tell something with probability alpha, over all that are tried.
  const std::size_t tried = std::size(kAttacks) * (records.num_exits > 1 ? 2 : 1);
  const double level = 1 - 2 * work.settings.alpha / static_cast<double>(tried);
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
          "{} members and {} others; thresholds learnt on half of them, judged on the other half. Right: members and others alike, 50 is chance. The lower ends of all {} areas hold together with probability {:g}",
          std::count(records.member.begin(), records.member.end(), 1),
          std::count(records.member.begin(), records.member.end(), 0),
          tried,
          1 - work.settings.alpha)};
  std::vector<report::RocCurve> curves;
  s.data["auc_level"] = level;
  s.data["attacks"] = nlohmann::ordered_json::array();
  // Of the attack with the largest area, those first that are above one half for certain.
  double best = 0, low = 0;
  std::string best_name;
  for (const char* name : kAttacks) {
    for (const bool told : {false, true}) {
      if (told && records.num_exits == 1) continue;
      throw_if_interrupted();
      const mi::Evidence evidence{.shadow = shadow,
                                  .target = judged,
                                  .target_exits = told ? std::span<const std::int32_t>(judged.exit)
                                                       : std::span<const std::int32_t>{}};
      const mi::Evaluation e = mi::evaluate(name,
                                            told ? "exit told" : "original",
                                            mi::attack_of(name).run(evidence, {.seed = work.settings.seed}),
                                            judged,
                                            {.auc_level = level, .seed = work.settings.seed});
      const stats::DetectionPoint& one_percent = e.points[0];
      const bool resolved = one_percent.refused.empty();
      table.rows.push_back({name,
                            told ? "told" : "-",
                            fmt::format("{:.2f}", 100 * e.accuracy.estimate),
                            fmt::format("{:.4f}", e.auc.estimate),
                            fmt::format("{:.4f}", e.auc.low),
                            fmt::format("{:.4f}", e.auc.high),
                            resolved ? fmt::format("{:.2f}", 100 * one_percent.tpr.estimate) : "too few",
                            e.control.passed ? "passed" : "failed"});
      s.data["attacks"].push_back(
          {{"attack", name},
           {"exit_told", told},
           {"accuracy", e.accuracy.estimate},
           {"auc", e.auc.estimate},
           {"auc_low", e.auc.low},
           {"auc_high", e.auc.high},
           {"tpr_at_1_percent",
            resolved ? nlohmann::ordered_json(one_percent.tpr.estimate) : nlohmann::ordered_json(nullptr)},
           {"control_passed", e.control.passed}});
      if (e.control.passed &&
          std::pair(e.auc.low > .5, e.auc.estimate) > std::pair(low > .5, best_name.empty() ? -1 : best))
        best = e.auc.estimate, low = e.auc.low,
        best_name = table.rows.back()[0] + (told ? " with the exit" : "");
      if (told == (records.num_exits > 1) && std::string(name) != "correctness") {
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
      leak.losses.js_bits));
  s.data["js_bits"] = leak.losses.js_bits;
  s.data["js_bits_by_chance"] = leak.losses.by_chance;
  if (best_name.empty()) {
    s.findings.push_back({"membership", Kind::kOpen, "none", "every attack failed its own control"});
  } else if (low > 0.5) {
    s.findings.push_back(
        {"membership",
         Kind::kFail,
         best > 0.6    ? "error"
         : best > 0.53 ? "warning"
                       : "note",
         fmt::format("{} tells members from others: AUC {:.3f}, at least {:.3f} ({} attacks were tried)",
                     best_name,
                     best,
                     low,
                     tried)});
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
  if (!trained.contents.empty() &&
      data::fingerprint(open_set(whole.set, whole.split, whole.open)) != trained.contents)
    return skipped(
        s.name,
        s.title,
        "membership",
        "the data set is not what the model was trained on (its contents changed, or are read in another way), so "
        "nobody knows a member");
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
  judge_members(work, records, s);
  return s;
}

Section audit_served_membership(Work& work, const Target& target) {
  Section s{.name = "membership", .title = "Membership"};
  const Settings& settings = work.settings;
  if (settings.members.empty() || settings.others.empty())
    return skipped(s.name,
                   s.title,
                   "membership",
                   "nobody says who was trained on: --members and --others name labelled images");
  const nets::Extent input{target.images.c, target.images.h, target.images.w};
  mi::Records records;
  records.model = target.described;
  records.classes = target.box->classes();
  records.num_exits = 1;  // nobody tells the exit
  SessionListener listener(work.session);
  data::ImageSet sides[2];
  for (const int member : {1, 0}) {
    data::ImageSet& side = sides[member];
    for (const std::string& part : member != 0 ? settings.members : settings.others) {
      data::ImageSet set = open_labelled_images(work.session, part, input);
      if (set.class_names != target.images.class_names)
        throw UsageError(fmt::format("{}: expected the {} classes of {}, got {}",
                                     part,
                                     target.images.num_classes(),
                                     target.samples.set,
                                     set.num_classes()));
      side = side.n == 0 ? std::move(set) : data::concat(side, set);
    }
  }
  std::size_t each =
      std::min({kMostOfEach, static_cast<std::size_t>(sides[0].n), static_cast<std::size_t>(sides[1].n)});
  if (settings.max_queries > 0)
    each = std::min(each,
                    static_cast<std::size_t>(kServedShare * static_cast<double>(settings.max_queries) / 2));
  if (each < kLeastOfEach)
    return skipped(s.name,
                   s.title,
                   "membership",
                   fmt::format("{} images of each side are too few; {} at least", each, kLeastOfEach));
  // What was answered stays on disk: a killed audit asks nothing twice.
  attacks::MeteredBlackBox box(
      *target.box, static_cast<std::int64_t>(2 * each), work.folder / "membership-asked.safetensors");
  const auto total = static_cast<std::int64_t>(2 * each);
  for (const int member : {1, 0}) {
    const data::ImageSet& side = sides[member];
    std::vector<std::int32_t> all(static_cast<std::size_t>(side.n));
    std::iota(all.begin(), all.end(), 0);
    const auto rows = some_of(std::move(all), each, settings.seed + static_cast<std::uint64_t>(member));
    const attacks::ImageSource source = attacks::image_source(side);
    for (std::size_t first = 0; first < rows.size(); first += kServedAtOnce) {
      throw_if_interrupted();
      const auto part = std::span(rows).subspan(first, std::min(kServedAtOnce, rows.size() - first));
      const attacks::Answer answer = box.query(source.load(part), attacks::Timing::kNone);
      box.flush();
      const std::vector<float> scores = answer.probabilities.to_host<float>();
      for (std::size_t i = 0; i < part.size(); ++i) {
        const auto row = std::span(scores).subspan(i * static_cast<std::size_t>(records.classes),
                                                   static_cast<std::size_t>(records.classes));
        const std::int32_t label = side.labels[static_cast<std::size_t>(part[i])];
        // A float has no room near 0 and 1: what is left of the probability there is bounded.
        const double rest =
                         std::accumulate(row.begin(), row.end(), 0.0) - row[static_cast<std::size_t>(label)],
                     own = std::max<double>(row[static_cast<std::size_t>(label)], kLeastProbability);
        records.row.push_back(part[i]);
        records.member.push_back(static_cast<std::uint8_t>(member));
        records.label.push_back(label);
        records.predicted.push_back(answer.labels[i]);
        records.exit.push_back(1);
        records.loss.push_back(std::max(0.0, -std::log(own)));
        records.margin.push_back(std::log(own) - std::log(std::max(rest, kLeastProbability)));
      }
      records.scores.insert(records.scores.end(), scores.begin(), scores.end());
      listener.progress("membership", total, static_cast<std::int64_t>(records.size()), "img", {});
    }
  }
  s.paragraphs.push_back(
      "Seen from outside: by the answers alone, without the exit, and never by the net's gradients.");
  s.data["queries"] = total;
  judge_members(work, records, s);
  return s;
}

}  // namespace offramp::tools::audit
