// offramp audit: from somebody's model, or recorded times alone, to a verdict.
#include "attacks/extraction/stage_files.h"
#include "attacks/extraction/victim.h"
#include "base/atomic_file.h"
#include "base/json_file.h"
#include "base/number_table.h"
#include "nets/data/split.h"
#include "nets/data/text.h"
#include "stats/exits/exit_estimation.h"
#include "tools/frame/interrupt.h"
#include "tools/verbs/audit/sections.h"
#include "tools/verbs/dataset/dataset_spec.h"
#include "tools/verbs/extract/served_victim.h"
#include "tools/verbs/inputs.h"
#include "tools/verbs/net/state_import.h"
#include "tools/verbs/verbs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

namespace offramp::tools {
namespace {

using audit::Section;

// Words numbered in the order of the alphabet.
std::vector<int> numbered_words(const std::vector<std::string>& column, std::vector<std::string>& names) {
  std::map<std::string, int> of;
  for (const std::string& word : column) of.emplace(word, 0);
  for (auto& [word, number] : of) {
    number = static_cast<int>(names.size());
    names.push_back(word);
  }
  std::vector<int> out;
  for (const std::string& word : column) out.push_back(of.at(word));
  return out;
}

class AuditVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {
        .name = "audit",
        .group = "Audit",
        .summary = "what a model's answers and times give away, and what each defence costs: one report",
        .example = "offramp audit out/small --budget 10",
        .details =
            "MODEL is a checkpoint, a run folder, or a state dict (.pth, .safetensors), whose net is read from names and shapes unless\n"
            "--net and its kin name it; give --mean and --std where it was trained so. Sections: the model itself;\n"
            "the exit in the time, for attackers on the same core (1 ns), in the LAN (100 ns) and on the internet (50 us); the\n"
            "class of an input in exit and time; membership; slowdown; defences; extraction with growing numbers of queries\n"
            "until the time is used. A section that lacks something says so. With recorded times instead (a CSV file: columns\n"
            "nanoseconds, or t1, t2, .., and where known an exit and an attribute) the sections of the clock are done.\n"
            "A served model (the URL of an Open Inference Protocol server: http://HOST:PORT, with /v2/models/NAME where it has\n"
            "several, unix:/PATH) is asked about --data: its exits are estimated from the times, and what needs the net itself\n"
            "is left out. --max-queries bounds how often it is asked; what was answered is never asked again.\n"
            "Findings carry the ids of NIST AI 100-2, MITRE ATLAS and OWASP AISVS. The run folder holds report.html,\n"
            "results.json, audit.sarif (SARIF 2.1.0) and README.md (a model card); --resume goes on after a kill.\n"
            "Run nothing else meanwhile.\n" +
            dataset_forms(),
        .run_folder = true};
  }
  void declare(Options& o) override {
    o.add("audit.target", target_, "checkpoint, run folder, URL of a served model, or CSV file of times")
        .positional();
    o.add("audit.data", data_, "labelled data set; default: the checkpoint's").flag("--data");
    o.add("audit.split", split_, "which part").choices({"auto", "train", "test", "held-out", "all"});
    o.add("audit.queries", settings_.queries, "images that an attacker would ask; default: half of the data");
    o.add("audit.threshold", threshold_, "of every exit, instead of the checkpoint's").range(0, 1);
    o.add("audit.budget", budget_min_, "minutes; extraction stops where they are used").range(0.05, 1e4);
    o.add("audit.max_queries",
          settings_.max_queries,
          "served: images that it may be asked about in all; 0: what the time allows")
        .range(0, 1e9);
    o.add("audit.copy_net", settings_.copy_net, "served: family of the copies that queries buy");
    o.add("audit.members",
          settings_.members,
          "served: labelled images of its training, as 'SET@train[FIRST:COUNT]'");
    o.add("audit.others", settings_.others, "served: labelled images of the same kind that it never saw");
    served_.declare(o, "audit");
    state_.declare(o, "audit");
    o.add("audit.alpha", settings_.alpha, "chance of a wrong verdict on the times").range(1e-4, 0.2);
    o.add("audit.from_csv", from_csv_, "the CSV file of times, whatever its name");
    o.add("audit.exit", exit_, "times: column of the exit; without it exits are estimated");
    o.add("audit.attribute", attribute_, "times: column of an attribute of the input");
    o.add("audit.time", time_, "times: column; default: nanoseconds, or t1, t2, ..");
    o.add("audit.unit_ns", unit_ns_, "times: of the column, in nanoseconds; seconds: 1e9").range(1e-3, 1e12);
  }

  int run(Session& session) override {
    settings_.seed = session.seed();
    settings_.threads = static_cast<unsigned>(session.threads());
    if (target_.empty() == from_csv_.empty())
      throw UsageError("audit: expected one target: a model, a URL, or recorded times (--from-csv FILE)");
    audit::Target target;
    target.name = from_csv_.empty() ? target_ : from_csv_.string();
    if (!from_csv_.empty() || std::filesystem::path(target_).extension() == ".csv")
      target.source = audit::Source::kTimes;
    else if (attacks::is_remote(target_))
      target.source = audit::Source::kServed;
    const bool times_alone = target.source == audit::Source::kTimes,
               served = target.source == audit::Source::kServed;
    if (!served && (served_.named() || settings_.max_queries > 0 || !settings_.members.empty() ||
                    !settings_.others.empty()))
      throw UsageError(
          "--model, --shape, --input, --output, --max-queries, --members and --others are about a served model; " +
          target.name + " is a file");
    const auto refuse = [&](bool given, const char* options, const char* about) {
      if (given) throw UsageError(fmt::format("{}: {}, and {} is none", options, about, target.name));
    };
    refuse(!times_alone && (!exit_.empty() || !attribute_.empty() || !time_.empty() || unit_ns_ != 1),
           "--exit, --attribute, --time and --unit-ns",
           "columns of a CSV file of times");
    refuse(times_alone && (!data_.empty() || threshold_ || settings_.queries != audit::Settings{}.queries ||
                           split_ != "auto" || state_.given()),
           "--data, --split, --queries, --threshold, --net and what goes with it",
           "are about a model");
    refuse(
        !served && settings_.copy_net != audit::Settings{}.copy_net, "--copy-net", "is about a served model");
    refuse(served && state_.given(), "--net and what goes with it", "are about a state dict from elsewhere");
    if (served) open_served(session, target);
    const bool imported = target.source == audit::Source::kModel && open_model(session, target);
    audit::Measured recorded;
    if (times_alone) recorded = read_recorded(target.name);

    RunFolder& folder = session.folder();
    if (!served) folder.bind(times_alone ? std::filesystem::path(target.name) : checkpoint_of(target_));
    if (target.loaded && (!target.tuned || imported)) {
      target.checkpoint = folder.file("victim.safetensors");
      nets::save_checkpoint(
          target.checkpoint, *target.loaded->net, target.loaded->policy, target.loaded->metadata);
    }
    const std::filesystem::path kept = folder.folder("sections");
    double used = 0;
    for (const auto& entry : std::filesystem::directory_iterator(kept))
      if (entry.path().extension() == ".json")
        used += audit::section_from(read_json_file(entry.path()), entry.path()).seconds;
    const audit::Budget budget(60 * budget_min_, used);
    audit::Work work{session, settings_, budget, folder.path()};
    if (session.resume() && used > 0) session.log.info(fmt::format("audit: {:.0f} s of work are kept", used));

    std::vector<Section> sections;
    const auto section = [&](const std::string& name, const auto& make) {
      const std::filesystem::path file = kept / (name + ".json");
      if (std::filesystem::exists(file)) {
        sections.push_back(audit::section_from(read_json_file(file), file));
        work.asked += sections.back().data.value("queries", std::int64_t{0});
        return;
      }
      throw_if_interrupted();
      session.log.info("audit: " + name);
      const double begin = budget.used();
      Section done = make();
      done.seconds = budget.used() - begin;
      work.asked += done.data.value("queries", std::int64_t{0});
      write_json_file(file, to_json(done));
      folder.metric({{"section", name}, {"seconds", done.seconds}});
      sections.push_back(std::move(done));
    };
    std::optional<audit::Measured> measured;
    const auto times = [&]() -> const audit::Measured& {
      if (!measured)
        measured = times_alone ? std::move(recorded)
                   : served    ? audit::measure_served(work, target)
                               : audit::measure(work, target);
      return *measured;
    };
    section("model",
            [&] { return served ? audit_served_model(target, times()) : audit_model(work, target); });
    section("timing", [&] { return audit_exit_timing(work, times()); });
    section("attribute", [&] { return audit_attribute(work, times()); });
    section("membership",
            [&] { return served ? audit_served_membership(work, target) : audit_membership(work, target); });
    section("slowdown", [&] { return audit_slowdown(work, target); });
    section("defences", [&] { return audit_defences(work, target, times()); });
    section("extraction", [&] {
      return served ? audit_served_extraction(work, target, times()) : audit_extraction(work, target);
    });

    audit::Head head{target.name,
                     times_alone ? "recorded times"
                     : served    ? "served model"
                                 : "model",
                     target.images_text,
                     {{"data", target.samples.set},
                      {"budget_minutes", budget_min_},
                      {"alpha", settings_.alpha},
                      {"seed", settings_.seed},
                      {"seconds", budget.used()}}};
    if (served) head.settings["queries"] = work.asked;
    const std::string text = text_of(head, sections);
    const nlohmann::ordered_json json = json_of(head, sections);
    write_file_atomically(folder.file("report.html"),
                          html_of(head,
                                  sections,
                                  data::read_text(folder.file("config.toml")),
                                  data::read_text(folder.file("env.json"))));
    write_file_atomically(folder.file("README.md"), card_of(head, sections));
    write_file_atomically(folder.file("audit.txt"), text);
    folder.write_json("audit.sarif", sarif_of(head, sections));
    folder.results(json);
    folder.done();
    session.answer(
        text + fmt::format("\nreport: {} ({:.0f} s)\n", folder.file("report.html").string(), budget.used()),
        json);
    return kDone;
  }

 private:
  // True: a state dict from elsewhere, which is no checkpoint yet.
  bool open_model(Session& session, audit::Target& target) {
    target.checkpoint = checkpoint_of(target_);
    const Device one_thread = Device::make_cpu({.threads = 1});
    const bool import = is_state_dict(target.checkpoint);
    if (import) {
      auto read = state_.read(session, target.checkpoint, nets::Strictness::kComplete, one_thread);
      session.log.info(fmt::format("{}: {} tensors of a {} with {} exits",
                                   target_,
                                   read.report.matched.size(),
                                   read.net->options().name,
                                   read.net->num_exits()));
      target.loaded = nets::LoadedNet{std::move(read.net), {}, std::move(read.metadata)};
    } else {
      if (state_.given())
        throw UsageError(
            target_ +
            " is a checkpoint, which says its net: --net, its kin, --mean, --std and --entry are about state "
            "dicts from elsewhere");
      target.loaded = nets::load_net(target.checkpoint, one_thread, "f32");
    }
    nets::LoadedNet& loaded = *target.loaded;
    target.trained = trained_on(loaded.metadata);
    target.threshold_given = threshold_.has_value();
    target.tuned = !threshold_ && (!loaded.policy.thresholds.empty() || loaded.net->num_exits() == 1);
    if (!target.tuned)
      loaded.policy = nets::ExitPolicy::uniform(loaded.net->num_exits(), threshold_.value_or(0.9));
    target.samples =
        samples_for(session, target.trained, loaded.net->input(), {.set = data_, .split = split_});
    const data::ImageSet all = open_pictures(session, target.trained, target.samples, loaded.net->input());
    // Sets lie sorted by class: always the same shuffled order.
    const auto order = data::permutation(all.n, 1, 0xA0D17u, 1);
    target.images = data::subset(all, order);
    target.images_text = target.samples.text();
    target.box = std::make_unique<attacks::InProcessBlackBox>(
        attacks::early_exit_victim(*loaded.net, loaded.policy), loaded.net->classes());
    return import;
  }

  void open_served(Session& session, audit::Target& target) const {
    if (data_.empty())
      throw UsageError(
          "audit: a served model does not tell what it was trained on: --data names labelled images for it");
    if (threshold_)
      throw UsageError(
          "--threshold: the exits of a served model are chosen where it is served (offramp serve --threshold)");
    auto box = served_.connect(session, target_);
    const nets::Extent input = input_of(*box);
    target.described = box->description();
    target.samples = samples_for(session, target.trained, input, {.set = data_, .split = split_});
    const data::ImageSet all = open_pictures(session, target.trained, target.samples, input);
    if (all.num_classes() > box->classes())
      throw UsageError(fmt::format("{}: {} classes, the served model tells {} apart",
                                   target.samples.set,
                                   all.num_classes(),
                                   box->classes()));
    target.images = data::subset(all, data::permutation(all.n, 1, 0xA0D17u, 1));
    target.images_text = target.samples.text();
    target.box = std::move(box);
  }

  audit::Measured read_recorded(const std::filesystem::path& file) const {
    audit::Measured m;
    const NumberTable table = read_number_table(file);
    if (time_.empty()) {
      const attacks::RecordedTimes times = attacks::read_times(file);
      m.ns = times.ns;
      m.repetitions = times.repetitions;
      m.order = times.order;
    } else {
      m.ns = table.numbers(time_);
    }
    for (std::size_t i = 0; i < m.ns.size(); ++i) {
      if (!(m.ns[i] > 0 && std::isfinite(m.ns[i])))
        throw FileError(
            file.string(),
            fmt::format(
                "line {}: expected a time above 0, found {}", table.line_of(i / m.repetitions), m.ns[i]));
      m.ns[i] *= unit_ns_;
    }
    if (!exit_.empty()) {
      for (const std::int64_t e : table.whole_numbers(table.index_of(exit_), "an exit", 1, 1000))
        m.exit.push_back(static_cast<int>(e));
    } else {
      const stats::ExitEstimate estimate = audit::exits_shown(m, settings_.threads);
      m.exit.assign(estimate.exits.begin(), estimate.exits.end());
      m.exits_estimated = true;
    }
    if (!attribute_.empty()) {
      m.attribute_name = attribute_;
      m.attribute = numbered_words(table.words(attribute_), m.attribute_names);
    }
    return m;
  }

  std::string target_;  // a path, or a URL
  std::filesystem::path from_csv_;
  ServedVictim served_;
  StateImport state_;
  std::string data_, split_ = "auto", exit_, attribute_, time_;
  std::optional<double> threshold_;
  double budget_min_ = 10, unit_ns_ = 1;
  audit::Settings settings_;
};

}  // namespace

std::unique_ptr<Verb> make_audit_verb() { return std::make_unique<AuditVerb>(); }

}  // namespace offramp::tools
