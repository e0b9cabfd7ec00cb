// offramp reproduce from the outside: what it lists, one small study to its end, and the same call again.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
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
