// offramp reproduce from the outside: what it lists, one small study to its end, and the same call again.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "tests/support/program.h"

namespace offramp {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::Outcome;
using test::read_text;
using Words = std::vector<std::string>;

Outcome reproduce(const fs::path& folder, Words words, const std::string& seed = "1") {
  words.insert(words.begin(), "reproduce");
  words.insert(words.end(), {"--folder", folder.string(), "--threads", "1", "--seed", seed, "--log", "json"});
  return test::run_offramp(words);
}

TEST(Reproduce, ListsEveryTableAndItsStages) {
  test::TempFolder folder;
  const Outcome listed = reproduce(folder.path(), {"--list"});
  ASSERT_EQ(listed.code, 0) << listed.err;
  std::set<std::string> names;
  const json known = json::parse(listed.out);
  for (const json& study : known["studies"]) {
    names.insert(study["study"]);
    EXPECT_GT(study["stages"].get<int>(), 0) << study;
    EXPECT_EQ(study["done"], 0);
  }
  for (const char* name : {"extraction-exits",
                           "extraction-v1",
                           "extraction-v2",
                           "extraction-backbones",
                           "extraction-ablation",
                           "extraction-lambda",
                           "extraction-exit-count",
                           "extraction-answers",
                           "extraction-queries",
                           "membership-exits",
                           "membership-hybrid",
                           "membership-shadow",
                           "membership-channel",
                           "membership-neighbours",
                           "robustness-transfer",
                           "robustness-early-attack",
                           "robustness-early-transfer",
                           "robustness-slowdown"})
    EXPECT_TRUE(names.contains(name)) << name;
  // Stages are calls of verbs, each once, and at the scale of the papers with their nets and numbers.
  const Outcome planned =
      reproduce(folder.path(), {"extraction-v1,extraction-v2", "--dry-run", "--scale", "full"});
  ASSERT_EQ(planned.code, 0) << planned.err;
  std::set<std::string> ids;
  int victims = 0;
  const json plan = json::parse(planned.out);
  for (const json& stage : plan["stages"]) {
    EXPECT_TRUE(ids.insert(stage["stage"]).second) << stage;
    victims += stage["command"][0] == "train";
  }
  EXPECT_EQ(victims, 14);  // 3 nets on 4 data sets for both versions, MSDNet on two
  EXPECT_NE(planned.out.find("\"--net\",\"msdnet-4\""), std::string::npos);
  EXPECT_NE(planned.out.find("@train[0:10000]"), std::string::npos);
  EXPECT_NE(planned.out.find("@train[0:90000]"), std::string::npos);
  EXPECT_NE(planned.out.find("@train[0:100000]"), std::string::npos);
  EXPECT_FALSE(fs::exists(folder / "full"));
}

TEST(Reproduce, MakesAStudyOnceAndSaysWhenItIsAnothers) {
  test::TempFolder folder;
  const Words study{"robustness-exit-count"};
  const Outcome made = reproduce(folder.path(), study);
  ASSERT_EQ(made.code, 0) << made.text();
  const json results = json::parse(read_text(folder / "smoke" / "results.json"));
  int measured = 0;
  for (const json& row : results["rows"]) {
    const bool ours = row["study"] == "robustness-exit-count";
    EXPECT_EQ(ours, row["ours"].is_number()) << row;
    measured += ours;
  }
  EXPECT_EQ(measured, 4);
  std::set<std::string> hypotheses;
  for (const json& verdict : results["hypotheses"]) {
    hypotheses.insert(verdict["hypothesis"]);
    EXPECT_EQ(verdict["verdict"] != "open", verdict["hypothesis"] == "F9") << verdict;
  }
  EXPECT_EQ(hypotheses.size(), 25u);  // H1-H5, M1-M10, F1-F10
  EXPECT_NE(read_text(folder / "smoke" / "report.html").find("F9"), std::string::npos);
  EXPECT_EQ(read_text(folder / "smoke" / "results.csv").substr(0, 33), "study,cell,row,metric,ours,paper\n");

  const Outcome again = reproduce(folder.path(), study);
  EXPECT_EQ(again.code, 0);
  EXPECT_EQ(again.err.find("\"stage\""), std::string::npos) << again.err;  // nothing was run
  EXPECT_EQ(json::parse(again.out), results);
  // A stage that was killed before its end is gone on with, and gives the same numbers.
  fs::remove(folder / "smoke" / "robustness" / "early-count-4" / "DONE");
  const Outcome resumed = reproduce(folder.path(), study);
  ASSERT_EQ(resumed.code, 0) << resumed.text();
  EXPECT_NE(resumed.err.find("early-count-4, gone on with"), std::string::npos) << resumed.err;
  EXPECT_EQ(json::parse(resumed.out), results);

  const Outcome other = reproduce(folder.path(), study, "2");
  EXPECT_EQ(other.code, 2);
  EXPECT_NE(other.err.find("was made with other settings"), std::string::npos) << other.err;
  // Nor are its numbers told under another study of these settings.
  const Outcome collected = reproduce(folder.path(), {"membership-exits", "--collect"}, "2");
  ASSERT_EQ(collected.code, 0) << collected.text();
  const json told = json::parse(read_text(folder / "smoke" / "results.json"));
  for (const json& row : told["rows"]) EXPECT_TRUE(row["ours"].is_null()) << row;
  const Outcome unknown = reproduce(folder.path(), {"table-9"});
  EXPECT_EQ(unknown.code, 2);
  EXPECT_NE(unknown.err.find("there is no study 'table-9'"), std::string::npos) << unknown.err;
}

// The files of an engine, run here by what every machine has: level by level, a process a stage.
TEST(Reproduce, APlanOfJobsMakesWhatOneCallMakes) {
  test::TempFolder folder;
  const Words study{"robustness-exit-count"};
  const auto with = [&](Words more) {
    more.insert(more.begin(), study.begin(), study.end());
    return more;
  };
  const auto words_in = [](const fs::path& file) {
    std::ifstream in(file);
    Words words;
    for (std::string word; std::getline(in, word);) words.push_back(word);
    return words;
  };
  const fs::path jobs = folder / "it's jobs", plan = jobs / "smoke" / "plan";
  std::string makefile, submit;
  fs::create_directories(plan);
  test::write_text(plan / "slurm-17.out", "what a job said");
  for (const char* engine : {"make", "parallel", "slurm"}) {
    const Outcome written = reproduce(jobs, with({"--plan", engine}));
    ASSERT_EQ(written.code, 0) << written.err;
    EXPECT_EQ(json::parse(written.out)["stages"], 12);
    if (engine == std::string("make")) makefile = read_text(plan / "Makefile");
    if (engine == std::string("slurm")) submit = read_text(plan / "submit.sh");
  }
  EXPECT_FALSE(fs::exists(plan / "Makefile"));           // one plan at a time
  EXPECT_TRUE(fs::exists(plan / "slurm-17.out"));        // and nothing else
  EXPECT_FALSE(fs::exists(jobs / "smoke" / "victims"));  // nothing was run
  EXPECT_EQ(words_in(plan / "level-01.txt"),
            (Words{"victims/resnet-56-cifar10-3",
                   "victims/resnet-56-cifar10-4",
                   "victims/resnet-56-cifar10-5",
                   "victims/resnet-56-cifar10-6"}));
  // tune changes the net that the attack reads: the attack is behind both.
  EXPECT_NE(makefile.find("../robustness/early-count-3/DONE: | ../victims/resnet-56-cifar10-3/DONE "
                          "../victims/resnet-56-cifar10-3-tuned.json\n"),
            std::string::npos)
      << makefile;
  EXPECT_NE(submit.find("array level-01.txt 4 \"$@\"\n"), std::string::npos);

  const Outcome early = reproduce(jobs, with({"--stage", "robustness/early-count-3"}));
  EXPECT_EQ(early.code, 1);
  EXPECT_NE(early.err.find("needs victims/resnet-56-cifar10-3, which is not done"), std::string::npos)
      << early.err;
  const auto runs = [&](const char* script, const std::string& stage) {
    return std::system(("\"" + (plan / script).string() + "\" " + stage + " >/dev/null 2>&1").c_str());
  };
  for (const char* level : {"level-01.txt", "level-02.txt", "level-03.txt"})
    for (const std::string& stage : words_in(plan / level)) ASSERT_EQ(runs("stage.sh", stage), 0) << stage;
  EXPECT_FALSE(fs::exists(plan / "level-04.txt"));
  ASSERT_EQ(runs("collect.sh", ""), 0);
  ASSERT_EQ(reproduce(folder / "one", study).code, 0);
  EXPECT_EQ(json::parse(read_text(jobs / "smoke" / "results.json")),
            json::parse(read_text(folder / "one" / "smoke" / "results.json")));
}

// Results that are made up: what the tables and the hypotheses say of them.
TEST(Reproduce, NumbersStandBesideThoseOfThePapersAndDecideTheHypotheses) {
  test::TempFolder folder;
  const auto write = [&](const std::string& stage, const json& results) {
    const fs::path at = folder / "smoke" / stage;
    fs::create_directories(at);
    test::write_text(at / (at.extension() == ".json" ? "" : "results.json"), results.dump());
    test::write_text(at / "DONE", "");
  };
  const auto net = [](const char* name, double accuracy, double both, double ratio) {
    return json{{"name", name},
                {"accuracy", accuracy},
                {"clo_test", {{"class_and_exit", both}, {"class", .99}, {"exit", .98}}},
                {"ratio_ops_profiler", ratio},
                {"ratio_macs", 9}};
  };
  const auto extraction = [&](double ratio, double both, double accuracy) {
    write("extractions/vgg-16-cifar10-4-by-vgg-16-v2",
          {{"exit_accuracy", .97},
           {"nets",
            json::array({net("victim", .91, 1, 1),
                         net("knockoff", .85, .3, 1.5),
                         net("noise-bernoulli", .3, .2, 1.6),
                         net("es-opt", .8, .25, 1.2),
                         net("ours", accuracy, both, ratio)})}});
    write("extractions/vgg-16-cifar10-4-by-vgg-16-lambda-lambda_0.5",
          {{"nets", json::array({net("ours", .9, .5, 1)})}});
    write("extractions/vgg-16-cifar10-4-by-vgg-16-lambda-lambda_5",
          {{"nets", json::array({net("ours", .8, both, 1)})}});
  };
  const auto early = [&](const char* stage, double share) {
    const json attack = {{"attack", "early-attack-1"}, {"early", {{"early_success", {{"share", share}}}}}};
    write(stage, {{"attacks", json::array({attack})}});
  };
  const auto collect = [&] {
    const Outcome collected = reproduce(folder.path(), {"--collect"});
    EXPECT_EQ(collected.code, 0) << collected.err;
    return json::parse(read_text(folder / "smoke" / "results.json"));
  };
  const auto verdicts = [](const json& results) {
    std::map<std::string, std::string> of;
    for (const json& v : results["hypotheses"]) of[v["hypothesis"]] = v["verdict"];
    return of;
  };
  const auto membership = [&](double asr, double others) {
    json nets = json::array();
    for (const int exits : {1, 3}) {
      const json attack = {{"attack", "score-top3"},
                           {"adversary", "original"},
                           {"accuracy", {{"estimate", exits == 1 ? .7 : asr}}}};
      nets.push_back({{"exits", exits},
                      {"attacks", json::array({attack})},
                      {"target", {{"accuracy_members", .9}, {"accuracy_others", exits == 1 ? .6 : others}}}});
    }
    write("membership/attack-vgg-16-cifar10", {{"nets", nets}});
  };
  const auto transfer = [&](double low, double increase) {
    const json way = {{"attack", "fgsm"}, {"d2s_minus_s2d", {{"estimate", .3}, {"low", low}}}};
    const json cell = {{"attack", "fgsm"},
                       {"way", "S2D"},
                       {"surrogate", "a"},
                       {"target", "b"},
                       {"exit_change", {{"cost_increase", increase}}}};
    write("robustness/transfer-cifar10",
          {{"directions", json::array({way})}, {"cells", json::array({cell})}});
  };
  membership(.65, .64);  // five points less, a gap of .26 beside .3
  transfer(.02, .1);
  extraction(1.1, .6, .84);  // 5 % dearer, 30 points more, one point less
  early("robustness/early-count-3", .9);
  early("robustness/early-count-6", .4);
  const json good = collect();
  auto said = verdicts(good);
  for (const char* name : {"H1", "H2", "H3", "H4", "M1", "M10", "F1", "F3", "F9"})
    EXPECT_EQ(said[name], "holds") << name;
  for (const char* name : {"H5", "M2", "F2", "F10"}) EXPECT_EQ(said[name], "open") << name;
  const auto number = [&](const char* row, const char* metric, const char* whose) {
    for (const json& r : good["rows"])
      if (r["study"] == "extraction-v2" && r["cell"] == "VGG, CIFAR10" && r["row"] == row &&
          r["metric"] == metric)
        return r[whose].get<double>();
    return -1.0;
  };
  EXPECT_DOUBLE_EQ(number("Ours", "ACC %", "ours"), 84);
  EXPECT_DOUBLE_EQ(number("Ours", "CLO %", "ours"), 60);
  EXPECT_DOUBLE_EQ(number("Ours", "CC ratio", "ours"), 1.1);
  EXPECT_DOUBLE_EQ(number("ESA", "CC ratio", "ours"), 1.2);
  // v2 Table 1.
  EXPECT_EQ(number("Victim", "ACC %", "paper"), 91.75);
  EXPECT_EQ(number("Ours", "ACC %", "paper"), 88.33);
  EXPECT_EQ(number("Ours", "CLO %", "paper"), 63.27);
  EXPECT_EQ(number("Ours", "CC ratio", "paper"), 1.04);
  EXPECT_EQ(number("Noise", "CLO %", "paper"), 21.34);
  EXPECT_NE(read_text(folder / "smoke" / "results.csv")
                .find("extraction-v2,\"VGG, CIFAR10\",\"Ours\",\"CC ratio\",1.1,1.04\n"),
            std::string::npos);

  // Dearer than the ES attack, 15 points more than Knockoff and not above, 1.2 points less right.
  extraction(1.3, .45, .838);
  early("robustness/early-count-6", .95);
  membership(.75, .75);
  transfer(-.02, .2);
  said = verdicts(collect());
  for (const char* name : {"H1", "H2", "H3", "H4", "M1", "M10", "F1", "F3", "F9"})
    EXPECT_EQ(said[name], "does not hold") << name;
}

// What takes times has its machine to itself.
TEST(Reproduce, StagesThatTakeTimesStandAlone) {
  test::TempFolder folder;
  const Outcome written = reproduce(
      folder.path(), {"extraction-ablation,membership-shadow", "--scale", "short", "--plan", "slurm"});
  ASSERT_EQ(written.code, 0) << written.err;
  std::istringstream script(read_text(folder / "short" / "plan" / "submit.sh"));
  int alone = 0;
  for (std::string line; std::getline(script, line);) {
    if (line.find("array level-") != 0) continue;
    const std::string list = read_text(folder / "short" / "plan" / line.substr(6, 12));
    const bool times =
        list.find("membership/attack") != std::string::npos ||
        (list.find("extractions/") != std::string::npos && list.find("search") == std::string::npos);
    EXPECT_EQ(line.find("--exclusive") != std::string::npos, times) << line << "\n" << list;
    alone += times;
  }
  EXPECT_EQ(alone, 1);
  const Outcome two = reproduce(folder.path(), {"--list", "--collect"});
  EXPECT_EQ(two.code, 2);
  const Outcome unknown = reproduce(folder.path(), {"membership-shadow", "--stage", "victims/none"});
  EXPECT_EQ(unknown.code, 2);
  EXPECT_NE(unknown.err.find("have no stage 'victims/none'"), std::string::npos) << unknown.err;
}

}  // namespace
}  // namespace offramp
