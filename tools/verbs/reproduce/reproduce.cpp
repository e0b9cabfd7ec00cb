// offramp reproduce: the tables and studies of the papers, as far as a scale allows.
#include "base/atomic_file.h"
#include "base/json_file.h"
#include "nets/data/text.h"
#include "tools/frame/table.h"
#include "tools/report/html_report.h"
#include "tools/verbs/dataset/dataset_spec.h"
#include "tools/verbs/reproduce/plan.h"
#include "tools/verbs/reproduce/schedule.h"
#include "tools/verbs/verbs.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace offramp::tools {
namespace reproduce {
namespace {

std::string shown(const std::optional<double>& value) { return value ? fmt::format("{:.4g}", *value) : "-"; }

std::string csv_of(const std::vector<Measured>& measured) {
  const auto quoted = [](const std::string& text) { return '"' + text + '"'; };  // no text here has a quote
  std::string text = "study,cell,row,metric,ours,paper\n";
  for (const Measured& m : measured)
    text += fmt::format("{},{},{},{},{},{}\n",
                        m.study,
                        quoted(m.cell),
                        quoted(m.row),
                        quoted(m.metric),
                        m.ours ? fmt::format("{}", *m.ours) : "",
                        m.paper ? fmt::format("{}", *m.paper) : "");
  return text;
}

nlohmann::ordered_json json_of(const std::optional<double>& value) {
  return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json(nullptr);
}

nlohmann::ordered_json json_of(const Settings& settings,
                               const std::vector<Measured>& measured,
                               const std::vector<Verdict>& verdicts) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array(), judged = nlohmann::ordered_json::array();
  for (const Measured& m : measured)
    rows.push_back({{"study", m.study},
                    {"cell", m.cell},
                    {"row", m.row},
                    {"metric", m.metric},
                    {"ours", json_of(m.ours)},
                    {"paper", json_of(m.paper)}});
  for (const Verdict& v : verdicts)
    judged.push_back({{"hypothesis", v.hypothesis},
                      {"claim", v.claim},
                      {"verdict", to_text(v.holds)},
                      {"because", v.because}});
  return {{"scale", settings.scale.name}, {"rows", rows}, {"hypotheses", judged}};
}

std::string html_of(const Settings& settings,
                    const std::vector<Study>& studies,
                    const std::vector<Measured>& measured,
                    const std::vector<Verdict>& verdicts) {
  report::HtmlReport page("The papers' tables, again",
                          fmt::format("scale {}: {} victim epochs, {} copy epochs, {} queries",
                                      settings.scale.name,
                                      settings.scale.victim_epochs,
                                      settings.scale.copy_epochs,
                                      settings.scale.queries));
  if (settings.scale.small)
    page.note(
        report::Note::kWarning,
        "Small nets on generated pictures stand for every net and data set: these numbers show that the plan "
        "works, and nothing about the papers.");
  page.section("Hypotheses");
  report::Table judged{{{"", report::Align::kLeft},
                        {"claim", report::Align::kLeft},
                        {"verdict", report::Align::kLeft},
                        {"because", report::Align::kLeft}}};
  for (const Verdict& v : verdicts)
    judged.rows.push_back({v.hypothesis, v.claim, to_text(v.holds), v.because});
  page.table(judged);
  for (const Study& study : studies) {
    page.section(fmt::format("{} ({})", study.name, study.source));
    page.paragraph(study.summary);
    report::Table table{{{"cell", report::Align::kLeft},
                         {"row", report::Align::kLeft},
                         {"number", report::Align::kLeft},
                         {"ours"},
                         {"paper"}}};
    for (const Measured& m : measured)
      if (m.study == study.name)
        table.rows.push_back({m.cell, m.row, m.metric, shown(m.ours), shown(m.paper)});
    page.table(table);
  }
  return page.html();
}

class ReproduceVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {
        .name = "reproduce",
        .group = "Reproduce",
        .summary = "the tables and studies of the papers: ours beside theirs, hypotheses judged",
        .example = "offramp reproduce extraction-v2 --scale smoke",
        .details =
            "Without a name: all studies. A study is a list of stages, each a call of a verb with a folder of its own "
            "under FOLDER/SCALE. What is\ndone is skipped, what was begun goes on, and stages that several studies need "
            "are made once. After every call results.csv,\nresults.json and report.html there hold all that is known. "
            "--list names the studies, --dry-run their stages. --plan writes the files with which make, GNU parallel or Slurm run\nthe stages side by side, those that take times by themselves.\n" +
            dataset_forms()};
  }
  void declare(Options& o) override {
    o.add("reproduce.studies", names_, "which; several, by comma").positional();
    o.add("reproduce.list", list_, "name every table and study, and how far each is").not_in_config();
    o.add("reproduce.dry_run", dry_run_, "say what would be run, and run nothing").not_in_config();
    std::vector<std::string> known;
    for (const Scale& scale : scales()) known.push_back(scale.name);
    o.add("reproduce.scale",
          scale_,
          "smoke: minutes; short: a fifth of the papers' queries and 20 to 60 epochs; full: theirs")
        .choices(known);
    o.add("reproduce.folder", folder_, "where everything lies");
    o.add("reproduce.plan", plan_, "run nothing: write FOLDER/SCALE/plan for one of these engines")
        .choices({"make", "parallel", "slurm"})
        .not_in_config();
    o.add("reproduce.stage", stage_, "make this stage alone, and no table").not_in_config();
    o.add("reproduce.collect", collect_, "run nothing: tables and report of what is done").not_in_config();
    o.add("reproduce.keep_going", keep_going_, "go on with the other stages where one fails").not_in_config();
    for (auto& [name, spec] : data_)
      o.add("reproduce." + name, spec, "data set that the studies call " + name);
  }
  int run(Session& session) override {
    if (list_ + dry_run_ + collect_ + (plan_ ? 1 : 0) + (stage_ ? 1 : 0) > 1)
      throw UsageError("reproduce: expected one of --list, --dry-run, --plan, --stage and --collect");
    Settings settings;
    settings.scale = *std::ranges::find(scales(), scale_, &Scale::name);
    settings.data = data_;
    settings.folder = std::filesystem::absolute(folder_ / scale_);
    settings.common = {"--seed", std::to_string(session.seed()), "--device", session.device()};
    if (session.threads() > 0)
      settings.common.insert(settings.common.end(), {"--threads", std::to_string(session.threads())});
    const std::vector<Study> all = studies(settings);
    if (list_) return answer_list(session, settings, all);
    std::vector<Study> chosen;
    for (const std::string& name : split_names()) {
      const auto at = std::ranges::find(all, name, &Study::name);
      if (at == all.end())
        throw UsageError(fmt::format("reproduce: there is no study '{}'; --list names them", name));
      chosen.push_back(*at);
    }
    if (names_.empty()) chosen = all;
    const std::vector<Stage> stages = stages_of(chosen);
    if (dry_run_) return answer_stages(session, settings, stages);

    if (settings.scale.small && !std::filesystem::exists(settings.folder / "pictures.npz"))
      write_smoke_pictures(settings.folder / "pictures.npz");
    if (plan_) return answer_plan(session, settings, stages);
    if (stage_) return make_one(session, settings, stages);
    const Ran ran =
        collect_ ? there_already(stages, settings) : run_stages(stages, settings, keep_going_, session.log);
    // All studies, not only these: what the folder knows.
    const auto measured = measure(all, settings);
    const auto verdicts = judge(measured);
    const nlohmann::ordered_json json = json_of(settings, measured, verdicts);
    write_file_atomically(settings.folder / "results.csv", csv_of(measured));
    write_json_file(settings.folder / "results.json", json);
    write_file_atomically(settings.folder / "report.html", html_of(settings, all, measured, verdicts));
    Table table({"cell", "row", "number", "ours", "paper"});
    for (const Measured& m : measured)
      if (m.ours && std::ranges::find(chosen, m.study, &Study::name) != chosen.end())
        table.row({m.cell, m.row, m.metric, shown(m.ours), shown(m.paper)});
    std::string text = table.text();
    if (settings.scale.small)
      text += "smoke: small nets on generated pictures; the numbers show that the plan works, no more\n";
    for (const Verdict& v : verdicts)
      if (v.holds != Verdict::Holds::kOpen)
        text += fmt::format("{} {}: {} ({})\n", v.hypothesis, to_text(v.holds), v.claim, v.because);
    text += fmt::format("{} stages made, {} were there, of {}{}\nreport: {}\n",
                        ran.made,
                        ran.skipped,
                        stages.size(),
                        ran.failed.empty() ? "" : fmt::format(", failed: {}", fmt::join(ran.failed, ", ")),
                        (settings.folder / "report.html").string());
    session.answer(text, json);
    return ran.failed.empty() ? kDone : kFailed;
  }

 private:
  // "a,b" is two of them.
  std::vector<std::string> split_names() const {
    std::vector<std::string> names;
    for (const std::string& text : names_)
      for (const auto name : data::split_fields(text, ',')) names.emplace_back(data::trimmed(name));
    return names;
  }
  static int count(const Settings& settings, const std::vector<Stage>& stages, State state) {
    return static_cast<int>(
        std::ranges::count_if(stages, [&](const Stage& s) { return state_of(s, settings) == state; }));
  }
  static Ran there_already(const std::vector<Stage>& stages, const Settings& settings) {
    Ran ran;
    ran.skipped = count(settings, stages, State::kDone);
    return ran;
  }
  int make_one(Session& session, const Settings& settings, const std::vector<Stage>& stages) const {
    const auto at = std::ranges::find(stages, *stage_, &Stage::id);
    if (at == stages.end())
      throw UsageError(
          fmt::format("reproduce: these studies have no stage '{}'; --dry-run names them", *stage_));
    const auto needs = needs_of(stages, settings);
    for (const std::size_t need : needs[static_cast<std::size_t>(at - stages.begin())])
      if (state_of(stages[need], settings) != State::kDone)
        throw Error(fmt::format("reproduce: stage {} needs {}, which is not done", *stage_, stages[need].id));
    const Ran ran = run_stages({*at}, settings, false, session.log);
    session.answer(fmt::format("{}: {}\n",
                               *stage_,
                               ran.made > 0      ? "made"
                               : ran.skipped > 0 ? "was there"
                                                 : "failed"),
                   {{"stage", *stage_}, {"made", ran.made > 0}, {"done", ran.failed.empty()}});
    return ran.failed.empty() ? kDone : kFailed;
  }
  int answer_plan(Session& session, const Settings& settings, const std::vector<Stage>& stages) const {
    Words words{"reproduce"};
    words.insert(words.end(), names_.begin(), names_.end());
    words.insert(words.end(), {"--scale", scale_, "--folder", std::filesystem::absolute(folder_).string()});
    for (const auto& [name, spec] : data_) words.insert(words.end(), {"--" + name, spec});
    words.insert(words.end(), settings.common.begin(), settings.common.end());
    const Engine engine = plan_ == "make"       ? Engine::kMake
                          : plan_ == "parallel" ? Engine::kParallel
                                                : Engine::kSlurm;
    const std::string start = write_schedule(engine, stages, settings, words);
    const int done = count(settings, stages, State::kDone);
    session.answer(
        fmt::format("{} stages, {} of them done; start the others with\n  {}\n", stages.size(), done, start),
        {{"stages", stages.size()}, {"done", done}, {"start", start}});
    return kDone;
  }
  static int answer_list(Session& session, const Settings& settings, const std::vector<Study>& all) {
    Table table({"study", "from", "stages done", "what"});
    nlohmann::ordered_json json = nlohmann::ordered_json::array();
    for (const Study& study : all) {
      const int done = count(settings, study.stages, State::kDone);
      table.row(
          {study.name, study.source, fmt::format("{} of {}", done, study.stages.size()), study.summary});
      json.push_back({{"study", study.name},
                      {"source", study.source},
                      {"summary", study.summary},
                      {"stages", study.stages.size()},
                      {"done", done}});
    }
    session.answer(table.text(), {{"studies", json}});
    return kDone;
  }
  static int answer_stages(Session& session, const Settings& settings, const std::vector<Stage>& stages) {
    std::string text;
    nlohmann::ordered_json json = nlohmann::ordered_json::array();
    for (const Stage& stage : stages) {
      const State state = state_of(stage, settings);
      const char* word = state == State::kDone ? "done" : state == State::kBegun ? "begun" : "new";
      text += fmt::format("{:5}  {}: offramp {}\n", word, stage.id, fmt::join(stage.words, " "));
      json.push_back({{"stage", stage.id}, {"state", word}, {"command", stage.words}});
    }
    session.answer(text, {{"stages", json}});
    return kDone;
  }

  std::vector<std::string> names_;
  bool list_ = false, dry_run_ = false, collect_ = false, keep_going_ = false;
  std::optional<std::string> plan_, stage_;
  std::string scale_ = "smoke";
  std::filesystem::path folder_ = "out/reproduce";
  std::map<std::string, std::string> data_ = {{"cifar10", "cifar10:data/cifar10"},
                                              {"cifar100", "cifar100:data/cifar100"},
                                              {"gtsrb", "gtsrb:data/gtsrb?side=32"},
                                              {"svhn", "svhn:data/svhn"},
                                              {"fmnist", "fashion-mnist"},
                                              {"unrelated", "tiny-imagenet:data/tiny-imagenet-200"}};
};

}  // namespace
}  // namespace reproduce

std::unique_ptr<Verb> make_reproduce_verb() { return std::make_unique<reproduce::ReproduceVerb>(); }

}  // namespace offramp::tools
