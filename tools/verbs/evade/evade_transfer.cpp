// offramp evade transfer: examples made on some nets, judged on others: transfer between nets with and without exits.
#include "base/atomic_file.h"
#include "tools/frame/table.h"
#include "tools/report/bar_chart.h"
#include "tools/report/html_report.h"
#include "tools/verbs/evade/text.h"
#include "tools/verbs/verbs.h"

#include <fmt/format.h>

#include <map>

namespace offramp::tools::evade {
namespace {

using namespace attacks::evasion;
using nlohmann::ordered_json;

class EvadeTransferVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {
        .name = "evade transfer",
        .group = "Attack",
        .summary = "do examples made on one net fool another, and where do they leave it",
        .example =
            "offramp evade transfer --surrogate out/a --surrogate out/a-plain --target out/b --target out/b-plain "
            "--data cifar10:DIR --attack fgsm",
        .details =
            "Every attack on every surrogate, every example on every target. A net of one exit (or PATH@last) is static\n"
            "(S), one with more dynamic (D): the column 'way' says S2D, D2S, S2S or D2D.\n"
            "transfer %: of the images that both nets classify right when clean and whose examples fool the surrogate,\n"
            "those whose examples the target gets wrong. wrong %: of all images.\n"
            "For a target with exits: Delta, how many exits later an example leaves than its clean image; F = 1, how often\n"
            "the first exit is the first to change, of the images whose last exit changes and whose exits all agreed\n"
            "when clean; T1 and T2 of Early Attack: last class kept, and how many other exits lose it then.\n"
            "D2S against S2D is compared over all such cells of an attack whose nets have other weights, with a\n"
            "bootstrap interval over images, and in successful examples for each 10^12 MACs spent on making them.\n"
            "Writes examples/, plots/, report.html. --resume takes finished examples from disk.\n" +
            attack_list(),
        .run_folder = true};
  }

  void declare(Options& o) override {
    o.add("transfer.surrogates", surrogates_, "a net that examples are made on; several: again")
        .flag("--surrogate")
        .required();
    o.add("transfer.targets", targets_, "a net that they are judged on; several: again")
        .flag("--target")
        .required();
    evade::declare(o, "transfer", images_);
    o.add("transfer.attacks", names_, "which; several: --attack A --attack B").flag("--attack");
    evade::declare(o, "transfer", attack_);
    evade::declare(o, "transfer", policy_);
  }

  int run(Session& session) override {
    const std::vector<AttackRun> runs = attack_runs(names_, attack_, session.seed());
    const Device device = Device::by_name(session.device());
    for (const auto* list : {&surrogates_, &targets_})
      for (auto name = list->begin(); name != list->end(); ++name)
        if (std::find(list->begin(), name, *name) != name)
          throw UsageError(fmt::format("{}: is given twice", *name));
    std::map<std::string, OpenVictim> nets;
    for (const auto* list : {&surrogates_, &targets_}) {
      for (const std::string& name : *list) {
        if (!nets.contains(name)) nets.emplace(name, open_victim(name, device, policy_));
        check_alike(nets.at(surrogates_[0]), nets.at(name));
      }
    }
    const OpenVictim& first = nets.at(surrogates_[0]);
    const Images images = open_images(session, images_, first, device);
    for (const std::string& name : surrogates_) {
      const OpenVictim& open = nets.at(name);
      for (const AttackRun& each : runs) {
        settings_for(each, attack_, open.victim);
        if (each.attack->needs_internal_exits && !open.victim.is_dynamic()) {
          throw UsageError(fmt::format(
              "{}: needs a surrogate with internal classifiers, {} has one exit", each.name, name));
        }
      }
    }
    RunFolder& folder = session.folder();
    folder.keep_metrics(
        [](const nlohmann::json&) { return false; });  // a resumed run writes all its lines again
    for (const auto& [name, open] : nets) folder.bind(open.file);
    const auto words = file_words(surrogates_);
    const std::filesystem::path examples = folder.folder("examples");
    std::map<std::string, Judgement> clean;
    ordered_json results{{"images", images.n},
                         {"nets", ordered_json::array()},
                         {"cells", ordered_json::array()},
                         {"directions", ordered_json::array()}};
    for (const auto& [name, open] : nets) {
      clean.emplace(name, judge(open.victim, images));
      const VictimFlags flags = flags_of(open.victim, part(images, 0, 20));
      if (const std::string warning = warning_of(flags, name); !warning.empty()) session.log.warn(warning);
      ordered_json json = json_of(open);
      json["clean_error"] =
          json_of(transfer_of(clean.at(name), clean.at(name), clean.at(name), clean.at(name)).clean_error);
      json["flags"] = json_of(flags);
      results["nets"].push_back(json);
    }
    Table table({"attack",
                 "surrogate",
                 "target",
                 "way",
                 "counted",
                 "transfer %",
                 "wrong %",
                 "PSNR",
                 "Delta",
                 "D>=1 %",
                 "D>=2 %",
                 "F=1 %",
                 "T1 %",
                 "T2",
                 "T2 clean"});
    std::string text;
    std::vector<report::BarChart> charts;
    std::map<std::string, std::vector<DeltaSeries>> deltas;  // by target
    for (const AttackRun& each : runs) {
      Direction d2s, s2d;
      report::BarChart chart = empty_chart(each.name);
      for (const std::string& from : surrogates_) {
        const Victim& surrogate = nets.at(from).victim;
        const MadeExamples made = make_examples(session,
                                                examples / (each.name + "-" + words.at(from) + ".npz"),
                                                each.name + " on " + from,
                                                surrogate,
                                                *each.attack,
                                                images,
                                                settings_for(each, attack_, surrogate),
                                                attack_.batch);
        const Judgement on_surrogate = judge(surrogate, made.examples.images);
        for (const std::string& to : targets_) {
          const Victim& target = nets.at(to).victim;
          const Judgement on_target = judge(target, made.examples.images);
          const Transfer transfer = transfer_of(clean.at(from), on_surrogate, clean.at(to), on_target);
          const std::string way =
              fmt::format("{}2{}", surrogate.is_dynamic() ? 'D' : 'S', target.is_dynamic() ? 'D' : 'S');
          const bool black_box = nets.at(from).weights != nets.at(to).weights;
          if (black_box && way == "D2S") d2s.add(transfer, made, images.n);
          if (black_box && way == "S2D") s2d.add(transfer, made, images.n);
          ordered_json cell = cell_of(
              each, from, to, way, made, transfer, target, clean.at(to), on_target, table, deltas[to]);
          cell["box"] = black_box ? "black" : "white";
          results["cells"].push_back(cell);
          folder.metric(cell);
          chart.categories.push_back(from + " -> " + to);
          chart.series[0].values.push_back(
              transfer.conditional.share ? 100 * transfer.conditional.share->estimate : std::nan(""));
          chart.series[0].low.push_back(transfer.conditional.share ? 100 * transfer.conditional.share->low
                                                                   : std::nan(""));
          chart.series[0].high.push_back(transfer.conditional.share ? 100 * transfer.conditional.share->high
                                                                    : std::nan(""));
        }
      }
      text += compare(each.name, d2s, s2d, session.seed(), results["directions"]);
      charts.push_back(std::move(chart));
    }
    const std::string subtitle = fmt::format("{} images of {}", images.n, set_of(images_, first));
    show(folder, subtitle, table, charts, deltas, nets, text);
    folder.results(results);
    folder.done();
    session.answer(table.text() + text, results);
    return kDone;
  }

 private:
  // All cells of one direction and attack.
  struct Direction {
    std::vector<Hits> hits;
    double successes = 0, macs = 0;
    void add(const Transfer& transfer, const MadeExamples& made, int n) {
      hits.push_back(transfer.hit);
      successes += transfer.conditional.count;
      macs += made.mean_macs * n;
    }
    double per_tera_mac() const { return macs > 0 ? 1e12 * successes / macs : 0; }
  };

  static report::BarChart empty_chart(const std::string& attack) {
    report::BarChart chart;
    chart.title = "Transfer of " + attack;
    chart.value_axis = {.label = "examples that fool the target too, %"};
    chart.digits = 3;
    chart.unit = " %";
    chart.series.push_back({.name = attack});
    return chart;
  }

  static ordered_json cell_of(const AttackRun& each,
                              const std::string& from,
                              const std::string& to,
                              const std::string& way,
                              const MadeExamples& made,
                              const Transfer& transfer,
                              const Victim& target,
                              const Judgement& clean,
                              const Judgement& attacked,
                              Table& table,
                              std::vector<DeltaSeries>& deltas) {
    ordered_json json = json_of(each);
    json["surrogate"] = from;
    json["target"] = to;
    json["way"] = way;
    json["examples"] = json_of(made);
    json["fooled_surrogate"] = json_of(transfer.fooled);
    json["transfer"] = json_of(transfer.conditional);
    json["wrong"] = json_of(transfer.unconditional);
    std::vector<std::string> row = {each.name,
                                    from,
                                    to,
                                    way,
                                    std::to_string(transfer.conditional.of),
                                    percent_with_interval(transfer.conditional),
                                    percent(transfer.unconditional),
                                    fmt::format("{:.2f}", made.psnr_db)};
    const EarlyTransfer early = early_transfer(clean, attacked);
    json["early"] = json_of(early);
    if (target.is_dynamic()) {
      const ExitChange change = exit_change(target, clean, attacked);
      const FirstModified modified = first_modified(clean, attacked);
      json["exit_change"] = json_of(change);
      json["first_modified"] = json_of(modified);
      deltas.push_back({fmt::format("{} on {}", each.name, from), change.delta});
      row.insert(row.end(),
                 {fmt::format("{:+.2f}", change.mean),
                  percent(change.at_least_one),
                  percent(change.at_least_two),
                  percent(modified.first_exit_agreed)});
    } else {
      row.insert(row.end(), {"-", "-", "-", "-"});
    }
    row.push_back(percent(early.t1));
    row.push_back(target.is_dynamic() && early.t2 ? fmt::format("{:.2f}", *early.t2) : "-");
    row.push_back(target.is_dynamic() ? fmt::format("{:.2f}", early.clean_t2) : "-");
    table.row(std::move(row));
    return json;
  }

  static std::string compare(const std::string& attack,
                             const Direction& d2s,
                             const Direction& s2d,
                             std::uint64_t seed,
                             ordered_json& out) {
    const auto difference = direction_difference(d2s.hits, s2d.hits, {.resamples = 1000, .seed = seed});
    if (!difference) return "";
    out.push_back({{"attack", attack},
                   {"d2s_cells", d2s.hits.size()},
                   {"s2d_cells", s2d.hits.size()},
                   {"d2s_minus_s2d", json_of(*difference)},
                   {"d2s_successes_per_1e12_macs", d2s.per_tera_mac()},
                   {"s2d_successes_per_1e12_macs", s2d.per_tera_mac()}});
    return fmt::format(
        "{}: D2S minus S2D {:+.1f} points [{:+.1f}, {:+.1f}] over {} and {} cells; successes for 10^12 MACs: D2S {:.1f}, S2D {:.1f}\n",
        attack,
        100 * difference->estimate,
        100 * difference->low,
        100 * difference->high,
        d2s.hits.size(),
        s2d.hits.size(),
        d2s.per_tera_mac(),
        s2d.per_tera_mac());
  }

  void show(RunFolder& folder,
            const std::string& subtitle,
            const Table& table,
            const std::vector<report::BarChart>& charts,
            const std::map<std::string, std::vector<DeltaSeries>>& deltas,
            const std::map<std::string, OpenVictim>& nets,
            const std::string& text) const {
    table.write_csv(folder.file("cells.csv"));
    report::HtmlReport page("Transfer of adversarial examples", subtitle);
    page.section("Cells");
    page.folded("table", table.text() + text);
    page.section("Transfer");
    for (std::size_t i = 0; i < charts.size(); ++i) {
      const std::string svg = report::render(charts[i]);
      write_plot(folder, "transfer-" + file_word(charts[i].series[0].name), svg);
      page.figure(svg, "With 95 % intervals.");
    }
    page.section("Exits");
    const auto words = file_words(targets_);
    for (const auto& [target, series] : deltas) {
      if (series.empty()) continue;
      const std::string svg = delta_density(
          "Exits of examples against clean images: " + target, series, nets.at(target).victim.num_exits());
      write_plot(folder, "delta-" + words.at(target), svg);
      page.figure(svg, "0: the example leaves where the clean image left.");
    }
    write_file_atomically(folder.file("report.html"), page.html());
  }

  std::vector<std::string> surrogates_, targets_;
  ImageOptions images_;
  std::vector<std::string> names_ = {"fgsm", "pgd"};
  AttackOptions attack_;
  PolicyOptions policy_;
};

}  // namespace
}  // namespace offramp::tools::evade

namespace offramp::tools {

std::unique_ptr<Verb> make_evade_transfer_verb() { return std::make_unique<evade::EvadeTransferVerb>(); }

}  // namespace offramp::tools
