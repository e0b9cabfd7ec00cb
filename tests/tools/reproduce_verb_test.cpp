// offramp reproduce from the outside: what it lists, one small study to its end, and the same call again.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

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
  const Outcome unknown = reproduce(folder.path(), {"table-9"});
  EXPECT_EQ(unknown.code, 2);
  EXPECT_NE(unknown.err.find("there is no study 'table-9'"), std::string::npos) << unknown.err;
}

}  // namespace
}  // namespace offramp
