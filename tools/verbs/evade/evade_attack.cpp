// offramp evade attack: make adversarial examples for one net and judge them on it.
#include "tools/frame/table.h"
#include "tools/verbs/evade/text.h"
#include "tools/verbs/verbs.h"

#include <fmt/format.h>

namespace offramp::tools::evade {
namespace {

using namespace attacks::evasion;
using nlohmann::ordered_json;

class EvadeAttackVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {
        .name = "evade attack",
        .group = "Attack",
        .summary = "adversarial examples for a net with exits, and what they do to its answers and exits",
        .example =
            "offramp evade attack out/mobilenet --data cifar10:DIR --attack fgsm --attack pgd --eps 8/255",
        .details =
            "White box and untargeted, on pixels of [0,1]. The gradient goes through the exit that the image takes\n"
            "(--through): nothing behind it is computed, and the cost of an example is counted so. Success is read\n"
            "from a fresh forward pass of the float32 image: the answer under the policy is not the true label;\n"
            "for early-attack: the last exit keeps its class and every other exit loses it.\n"
            "Writes examples/ATTACK.npz (x, y, index, exit, macs), images.csv and plots/.\n" +
            attack_list(),
        .run_folder = true};
  }

  void declare(Options& o) override {
    o.add("attack.victim", checkpoint_, "checkpoint, or run folder of train; PATH@last: its last exit alone")
        .positional()
        .required();
    evade::declare(o, "attack", images_);
    o.add("attack.attacks", names_, "which; several: --attack A --attack B").flag("--attack");
    evade::declare(o, "attack", attack_);
    evade::declare(o, "attack", policy_);
  }

  int run(Session& session) override {
    const std::vector<AttackRun> runs = attack_runs(names_, attack_, session.seed());
    const Device device = Device::by_name(session.device());
    const OpenVictim open = open_victim(checkpoint_, device, policy_);
    const Victim& victim = open.victim;
    for (const AttackRun& each : runs) {
      settings_for(each, attack_, victim);
      if (each.attack->needs_internal_exits && !victim.is_dynamic()) {
        throw UsageError(fmt::format(
            "{}: needs a net with internal classifiers, {} has one exit", each.name, checkpoint_));
      }
    }
    const Images images = open_images(session, images_, open, device);
    RunFolder& folder = session.folder();
    folder.bind(open.file);
    folder.keep_metrics(
        [](const nlohmann::json&) { return false; });  // a resumed run writes all its lines again
    const std::filesystem::path examples = folder.folder("examples");
    const Judgement clean = judge(victim, images);
    const VictimFlags flags = flags_of(victim, part(images, 0, 20));
    if (const std::string warning = warning_of(flags, checkpoint_); !warning.empty())
      session.log.warn(warning);

    Table table({"attack",
                 "success %",
                 "wrong %",
                 "PSNR dB",
                 "mean L2",
                 "exit change",
                 "cost change %",
                 "MACs/example"});
    Table rows({"attack",
                "index",
                "label",
                "clean",
                "clean_exit",
                "attacked",
                "attacked_exit",
                "made_at_exit",
                "l2",
                "linf"});
    ordered_json results{{"victim", json_of(open)},
                         {"images", images.n},
                         {"flags", json_of(flags)},
                         {"attacks", ordered_json::array()}};
    const Rate clean_error = transfer_of(clean, clean, clean, clean).clean_error;
    results["clean_error"] = json_of(clean_error);
    std::vector<ExitSeries> exits = {{"clean", exit_histogram(clean)}};
    std::vector<DeltaSeries> deltas;
    for (const AttackRun& each : runs) {
      const MadeExamples made = make_examples(session,
                                              examples / (each.name + ".npz"),
                                              each.name,
                                              victim,
                                              *each.attack,
                                              images,
                                              settings_for(each, attack_, victim),
                                              attack_.batch);
      const Judgement attacked = judge(victim, made.examples.images);
      const Transfer transfer = transfer_of(clean, attacked, clean, attacked);
      const EarlyTransfer early = early_transfer(clean, attacked);
      const ExitChange change = exit_change(victim, clean, attacked);
      const Rate& success = each.attack->norm == Norm::kNone ? early.success : transfer.fooled;
      table.row({each.name,
                 percent_with_interval(success),
                 percent(transfer.unconditional),
                 fmt::format("{:.2f}", made.psnr_db),
                 fmt::format("{:.3f}", made.l2),
                 fmt::format("{:+.2f}", change.mean),
                 fmt::format("{:+.1f}", 100 * change.cost_increase),
                 fmt::format("{:.3g}", made.mean_macs)});
      ordered_json json = json_of(each);
      json["examples"] = json_of(made);
      json["success"] = json_of(success);
      json["wrong"] = json_of(transfer.unconditional);
      json["made_at_exit"] = made_at(made.examples, victim);
      json["exit_change"] = json_of(change);
      json["first_modified"] = json_of(first_modified(clean, attacked));
      json["early"] = json_of(early);
      results["attacks"].push_back(json);
      folder.metric(json);
      add_rows(rows, each.name, images, made.examples, clean, attacked);
      exits.push_back({each.name, exit_histogram(attacked)});
      deltas.push_back({each.name, change.delta});
    }
    rows.write_csv(folder.file("images.csv"));
    if (victim.is_dynamic()) {
      write_plot(folder, "exits", exit_bars("Where images leave", exits));
      write_plot(folder,
                 "exit_change",
                 delta_density("Exits of examples against clean images", deltas, victim.num_exits()));
    }
    folder.results(results);
    folder.done();
    session.answer(
        table.text() +
            fmt::format(
                "{} images, {} % of them wrong when clean; success: of those that are right when clean "
                "(early-attack: of all), 95 % interval; cost change: mean MACs, of the whole net's\n",
                images.n,
                percent(clean_error)),
        results);
    return kDone;
  }

 private:
  static std::vector<int> made_at(const Examples& examples, const Victim& victim) {
    std::vector<int> counts(static_cast<std::size_t>(victim.num_exits()), 0);
    for (const std::int32_t e : examples.exit) ++counts[static_cast<std::size_t>(e)];
    return counts;
  }

  static void add_rows(Table& rows,
                       const std::string& name,
                       const Images& images,
                       const Examples& examples,
                       const Judgement& clean,
                       const Judgement& attacked) {
    for (int i = 0; i < images.n; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const auto before = images.image(i), after = examples.images.image(i);
      rows.row({name,
                std::to_string(images.numbers[at]),
                std::to_string(images.labels[at]),
                std::to_string(clean.label[at]),
                std::to_string(clean.exit[at] + 1),
                std::to_string(attacked.label[at]),
                std::to_string(attacked.exit[at] + 1),
                std::to_string(examples.exit[at] + 1),
                fmt::format("{:.6g}", distance(Norm::kL2, before, after)),
                fmt::format("{:.6g}", distance(Norm::kLinf, before, after))});
    }
  }

  std::string checkpoint_;
  ImageOptions images_;
  std::vector<std::string> names_ = {"pgd"};
  AttackOptions attack_;
  PolicyOptions policy_;
};

}  // namespace
}  // namespace offramp::tools::evade

namespace offramp::tools {

std::unique_ptr<Verb> make_evade_attack_verb() { return std::make_unique<evade::EvadeAttackVerb>(); }

}  // namespace offramp::tools
