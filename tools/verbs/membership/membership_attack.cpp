// offramp membership attack: who was trained on, asked of the nets of `membership train`.
#include "attacks/membership/attack.h"
#include "attacks/membership/evaluation.h"
#include "attacks/membership/many_models.h"
#include "base/errors.h"
#include "nets/data/text.h"
#include "tools/frame/table.h"
#include "tools/verbs/extract/session_listener.h"
#include "tools/verbs/membership/asked_nets.h"
#include "tools/verbs/membership/attack_rows.h"
#include "tools/verbs/membership/reference_attacks.h"
#include "tools/verbs/membership/target_times.h"
#include "tools/verbs/membership/trained_folder.h"
#include "tools/verbs/verbs.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace offramp::tools {
namespace {

namespace am = attacks::membership;
using nlohmann::ordered_json;

enum class Adversary { kOriginal, kTold, kTimed };
constexpr std::pair<Adversary, const char*> kAdversaries[] = {
    {Adversary::kOriginal, "original"}, {Adversary::kTold, "told"}, {Adversary::kTimed, "timed"}};

std::string attack_lines() {
  std::string text;
  for (const am::Attack& a : am::attacks()) text += fmt::format("  {:<17} {}\n", a.name, a.summary);
  text +=
      "Where membership train made reference nets, also (they see the target's scores, and all but exit ones ignore exits):\n";
  for (const am::ManyModelAttack& a : am::many_model_attacks())
    text += fmt::format("  {:<17} {}\n", a.name, a.summary);
  text +=
      fmt::format("  {:<17} {}\n", "rmia", "likelihood ratio to records of a population, here shadow-test");
  return text;
}

class MembershipAttackVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {
        .name = "membership attack",
        .group = "Attack",
        .summary = "tell members from non-members, with and without the exits",
        .example =
            "offramp membership attack --models out/membership-train --adversaries original,told,timed",
        .details =
            "Attacks learn on a shadow net, whose members they know, and are judged on the target:\n" +
            attack_lines() +
            "Adversaries: original sees no exits; told is told the exit of every answer (the paper's adversary 1);\n"
            "timed estimates it from running times (adversary 2). With --shadow DIR the shadow is another run's, of\n"
            "another net or data set (adversary 3). Read accuracy beside the members found at few false alarms: an\n"
            "attack that names ten members for certain is worse than one that is right 55 times in a hundred.\n"
            "Then: offramp membership report.",
        .run_folder = true};
  }
  void declare(Options& o) override {
    o.add("attack.models", models_, "folder of membership train").positional().required();
    o.add("attack.shadow", shadow_, "folder with the shadows, where they are another run's");
    o.add("attack.data", data_, "where the target's data set lies, if it has moved");
    o.add("attack.shadow_data", shadow_data_, "the same of the shadow's");
    o.add("attack.exits", exits_, "numbers of exits to attack; default: all that were planned")
        .range(1, 16)
        .distinct();
    const auto joined_words = [](const std::vector<std::string>& words) {
      return fmt::format("{}", fmt::join(words, ","));
    };
    const auto words_of = [](const std::string& text) {
      std::vector<std::string> words;
      if (!text.empty())
        for (const auto word : data::split_fields(text, ',')) words.emplace_back(data::trimmed(word));
      return words;
    };
    o.add_as<std::string>(
        "attack.attacks",
        attacks_,
        joined_words,
        words_of,
        "which, with commas; default: all but noise and boundary, which ask many more queries. Of those with reference "
        "nets all, unless some are named");
    o.add_as<std::string>(
        "attack.adversaries", adversaries_, joined_words, words_of, "what is known of exits, with commas");
    o.add(
         "attack.tau",
         tau_,
         "confidence that the exits of all nets ask for; default: what membership train chose for each number of exits")
        .range(0, 1);
    o.add("attack.epochs", settings_.epochs, "of the attack nets").range(1, 100000);
    o.add_as<std::string>(
         "attack.thresholds",
         settings_.groups,
         [](am::ThresholdGroups g) { return g == am::ThresholdGroups::kClass ? "class" : "one"; },
         [](const std::string& w) {
           return w == "class" ? am::ThresholdGroups::kClass : am::ThresholdGroups::kOne;
         },
         "of threshold attacks that see no exits: one a class, or one")
        .choices({"class", "one"});
    o.add_as<std::string>(
         "attack.status",
         settings_.status,
         [](am::StatusInput s) { return s == am::StatusInput::kCorrect ? "correct" : "label"; },
         [](const std::string& w) {
           return w == "label" ? am::StatusInput::kLabel : am::StatusInput::kCorrect;
         },
         "input of the gradient attack: whether the class is right (the paper's code), or the true class")
        .choices({"correct", "label"});
    o.add_as<std::string>(
         "attack.empty_exit",
         settings_.empty,
         [](stats::EmptyGroup g) { return g == stats::EmptyGroup::kCommon ? "common" : "previous"; },
         [](const std::string& w) {
           return w == "previous" ? stats::EmptyGroup::kPrevious : stats::EmptyGroup::kCommon;
         },
         "threshold of an exit without members or non-members: that of all records, or of the exit before (code)")
        .choices({"common", "previous"});
    o.add_as<std::string>(
         "attack.search",
         settings_.search,
         [](stats::ThresholdSearch s) { return s == stats::ThresholdSearch::kBalanced ? "best" : "grid"; },
         [](const std::string& w) {
           return w == "grid" ? stats::ThresholdSearch::kArtGrid : stats::ThresholdSearch::kBalanced;
         },
         "of thresholds: the best there is, or the ART library's grid of 99 (label-only attacks)")
        .choices({"best", "grid"});
    o.add("attack.per_side",
          questions_.per_side,
          "label-only: members, and non-members, asked about at each exit")
        .range(1, 1e6);
    o.add("attack.copies", questions_.noise.copies, "noise: changed copies of a sample").range(1, 1e6);
    o.add("attack.flips", questions_.noise.flips, "noise: expected number of flipped features");
    o.add("attack.iterations",
          questions_.boundary.iterations,
          "boundary: of HopSkipJump; the paper has 10, 50 come closer")
        .range(1, 1000);
    o.add("attack.clip_to_data",
          questions_.boundary.clip_to_data,
          "boundary: images are clipped to the values of those asked about (code) instead of 0 to 1");
    o.add("attack.repetitions", times_.query.repetitions, "timed: measurements of a sample").range(2, 10000);
    o.add("attack.defence",
          times_.defence,
          "timed: defence.json of defend plan --choose, put before the target");
    o.add(
         "attack.tenants",
         times_.tenants,
         "timed: other targets of the run that answer queries on this machine meanwhile (the paper: 3 a GPU)")
        .range(0, 64);
    o.add("attack.gamma", with_references_.rmia.gamma, "rmia: how much likelier than a population record")
        .range(1e-6, 1e6);
    o.add("attack.offline_a",
          with_references_.rmia.offline_a,
          "rmia: slope of the prior that nets without the record give")
        .range(0, 1);
    o.add("attack.fpr",
          with_references_.evaluation.false_positive_rates,
          "false positive rates that members are counted at")
        .range(0, 1);
  }

  int run(Session& session) override {
    settings_.seed = questions_.noise.seed = questions_.boundary.seed = with_references_.evaluation.seed =
        times_.query.seed = session.seed();
    choose_attacks();
    for (const std::string& word : adversaries_)
      if (std::ranges::none_of(kAdversaries, [&](const auto& known) { return word == known.second; }))
        throw UsageError("--adversaries: expected original, told or timed, got " + in_quotes(word));
    TrainedFolder target = open_trained(session, models_, data_);
    target.tau = tau_;
    std::optional<TrainedFolder> other;
    if (!shadow_.empty()) other.emplace(open_trained(session, shadow_, shadow_data_)).tau = tau_;
    const TrainedFolder& shadow = other ? *other : target;
    if (exits_.empty()) exits_ = target.plan.exits;
    if (adversaries_.empty())
      throw UsageError("--adversaries: expected original, told or timed, got nothing");
    if (questions_.noise.flips.empty())
      throw UsageError("--flips: expected numbers of flipped features, got none");
    for (const int k : exits_) {
      static_cast<void>(target.spec(am::Role::kTarget, k));
      static_cast<void>(shadow.spec(am::Role::kShadow, k));
    }
    check_references(target);
    check_attacks(target);
    check_defence();
    RunFolder& folder = session.folder();
    if (!times_.defence.empty()) folder.bind(times_.defence);
    SessionListener listener(session);
    ordered_json nets = ordered_json::array();
    Table table({"net", "attack", "exits", "accuracy %", "AUC", "found at 1 %", "at 0"});
    bool controls = true;
    for (const int k : exits_)
      nets.push_back(attack_net(session, folder, listener, target, shadow, k, table, controls));
    ordered_json results{{"models", models_.string()},
                         {"data", target.data},
                         {"plan", target.plan_json},
                         {"controls_passed", controls},
                         {"nets", nets}};
    if (other) results["shadow_plan"] = other->plan_json;
    table.write_csv(folder.file("attacks.csv"));
    folder.results(results);
    folder.done();
    session.answer(
        (controls ? std::string() : std::string(kControlFailed)) + table.text() +
            "accuracy: balanced, with a 95 % interval; found: share of members at that false positive rate\n",
        results);
    return kDone;
  }

 private:
  // What the data or the nets do not allow, before anything is trained or asked.
  void check_attacks(const TrainedFolder& target) const {
    const bool pictures = std::holds_alternative<data::ImageSet>(target.samples->set());
    for (const std::string& name : with_shadow_) {
      if (pictures && name == "noise")
        throw UsageError("--attacks noise flips features of tables; for images take boundary");
      if (!pictures && name == "boundary")
        throw UsageError("--attacks boundary moves pixels of images; for tables take noise");
    }
    const bool only_plain = std::ranges::all_of(exits_, [](int k) { return k == 1; });
    // Attacks with reference nets ask for no adversary.
    if (only_plain && target.plan.references == 0 &&
        std::ranges::find(adversaries_, "original") == adversaries_.end())
      throw UsageError("--adversaries: told and timed know exits, and these nets have one; take original");
  }

  // A plan serves one number of exits.
  void check_defence() const {
    if (times_.defence.empty()) return;
    const attacks::Defence defence = attacks::read_defence(times_.defence);
    for (const int k : exits_) {
      if (k == 1) continue;
      try {
        attacks::check(defence, k);
      } catch (const ValueError& error) {
        throw UsageError(fmt::format("--defence {}: {}; name the net that it is for with --exits",
                                     times_.defence.string(),
                                     error.what()));
      }
    }
  }

  static constexpr const char* kControlFailed =
      "CONTROL FAILED: members against members gives an AUC other than 0.5; do not trust what follows\n";

  // The names of --attacks, divided into those that a shadow teaches and those with reference nets.
  void choose_attacks() {
    std::vector<std::string> of_references = {"rmia"}, known;
    for (const am::ManyModelAttack& a : am::many_model_attacks()) of_references.emplace_back(a.name);
    for (const am::Attack& a : am::attacks()) known.emplace_back(a.name);
    for (const std::string& name : attacks_) {
      if (std::ranges::find(of_references, name) != of_references.end()) {
        with_references_.names.push_back(name);
      } else if (std::ranges::find(known, name) != known.end()) {
        with_shadow_.push_back(name);
      } else {
        throw UsageError(fmt::format("--attacks: unknown attack {}; known: {}; with reference nets: {}",
                                     in_quotes(name),
                                     fmt::join(known, ", "),
                                     fmt::join(of_references, ", ")));
      }
    }
    named_references_ = !with_references_.names.empty();
    if (!named_references_) with_references_.names = of_references;
    if (!attacks_.empty()) return;
    for (const am::Attack& a : am::attacks())
      if (a.needs != am::Needs::kSignal) with_shadow_.emplace_back(a.name);
  }

  // Who names an attack that cannot be made is told so, before anybody is asked.
  void check_references(const TrainedFolder& target) const {
    if (!named_references_) return;
    if (!wants(Adversary::kOriginal))
      throw UsageError(fmt::format("--attacks {}: sees scores of the target, as --adversaries original does",
                                   with_references_.names.front()));
    if (std::ranges::none_of(exits_, [&](int k) { return !target.references(k).empty(); }))
      throw UsageError(fmt::format(
          "--attacks {}: {} has no reference nets of {} exits; offramp membership train --references N makes them",
          with_references_.names.front(),
          models_.string(),
          fmt::join(exits_, " or ")));
  }

  bool wants(Adversary adversary) const {
    for (const auto& [value, word] : kAdversaries)
      if (value == adversary) return std::ranges::find(adversaries_, word) != adversaries_.end();
    return false;
  }

  ordered_json attack_net(Session& session,
                          RunFolder& folder,
                          SessionListener& listener,
                          const TrainedFolder& target,
                          const TrainedFolder& shadow,
                          int k,
                          Table& table,
                          bool& controls) {
    const Device device = Device::by_name(session.device());
    const auto &target_spec = target.spec(am::Role::kTarget, k),
               &shadow_spec = shadow.spec(am::Role::kShadow, k);
    folder.bind(am::model_path(target.path, target_spec.name));
    folder.bind(am::model_path(shadow.path, shadow_spec.name));
    const am::OpenedModel of_target = target.open(target_spec, device),
                          of_shadow = shadow.open(shadow_spec, device);
    am::Records on_target = records_of(folder, target, target_spec, of_target, listener);
    const am::Records on_shadow = records_of(folder, shadow, shadow_spec, of_shadow, listener);
    ordered_json json{{"net", target_spec.name},
                      {"exits", k},
                      {"threshold", of_target.trained.threshold},
                      {"relative_macs", relative_macs(on_target, of_target.loaded.net->costs())},
                      {"target", am::to_json(am::leak_of(on_target))},
                      {"shadow", am::to_json(am::leak_of(on_shadow))},
                      {"attacks", ordered_json::array()}};
    std::optional<am::EstimatedExits> timed;
    if (k > 1 && wants(Adversary::kTimed) && !with_shadow_.empty())
      timed = time_target(session, folder, listener, target, k, times_, on_target, on_shadow, json);
    for (const std::string& name : with_shadow_) {
      const am::Attack& attack = am::attack_of(name);
      std::optional<am::Signal> on_t, on_s;
      if (attack.needs == am::Needs::kSignal) {
        on_t = signal_of(name, questions_, folder, target, of_target, on_target, listener);
        on_s = signal_of(name, questions_, folder, shadow, of_shadow, on_shadow, listener);
      }
      std::optional<am::Evaluation> original;
      for (const auto& [adversary, word] : kAdversaries) {
        if (!wants(adversary) || (adversary != Adversary::kOriginal && k == 1)) continue;
        // The paper's timed adversary has scores or labels; one who sees gradients needs no clock.
        if (adversary == Adversary::kTimed && attack.needs == am::Needs::kWhiteBox) continue;
        attacks::stop_if_requested(listener);
        am::Evidence evidence{.shadow = on_shadow,
                              .target = on_target,
                              .shadow_signal = on_s ? &*on_s : nullptr,
                              .target_signal = on_t ? &*on_t : nullptr};
        if (adversary == Adversary::kTold) evidence.target_exits = on_target.exit;
        if (adversary == Adversary::kTimed) evidence.target_exits = timed->exits;
        ordered_json row;
        try {
          am::Evaluation e = am::evaluate(
              name, word, attack.run(evidence, settings_), on_target, with_references_.evaluation);
          if (original) am::compare(e, *original, on_target);
          row = am::to_json(e, on_target);
          controls = controls && e.control.passed;
          add_row(table, target_spec.name, e);
          session.log.info(fmt::format("{} {} {}: accuracy {:.2f} %, AUC {:.4f}",
                                       target_spec.name,
                                       name,
                                       word,
                                       100 * e.accuracy.estimate,
                                       e.auc.estimate));
          if (adversary == Adversary::kOriginal) original.emplace(std::move(e));
        } catch (const NumericError& error) {
          row = failed_row(session, target_spec.name, name, word, error);
        } catch (const DataError& error) {  // too few records for it
          row = failed_row(session, target_spec.name, name, word, error);
        } catch (const ValueError& error) {  // this attack does not apply to these nets
          row = failed_row(session, target_spec.name, name, word, error);
        }
        json["attacks"].push_back(row);
      }
    }
    if (const auto references = target.references(k); !references.empty() && wants(Adversary::kOriginal))
      controls = attack_with_references(session,
                                        folder,
                                        listener,
                                        target,
                                        of_target,
                                        on_target,
                                        references,
                                        with_references_,
                                        json["attacks"],
                                        table) &&
                 controls;
    return json;
  }

  std::filesystem::path models_, shadow_;
  std::string data_, shadow_data_;
  std::optional<double> tau_;
  std::vector<int> exits_;
  std::vector<std::string> attacks_, adversaries_ = {"original", "told", "timed"};
  std::vector<std::string> with_shadow_;  // of attacks_, or the default
  ReferenceAttacks with_references_;      // names: of attacks_, or the default
  bool named_references_ = false;
  am::AttackSettings settings_;
  SignalQuestions questions_;
  TargetTimes times_;
};

}  // namespace

std::unique_ptr<Verb> make_membership_attack_verb() { return std::make_unique<MembershipAttackVerb>(); }

}  // namespace offramp::tools
