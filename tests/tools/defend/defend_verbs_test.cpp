// offramp defend plan and check, and a defended victim behind extract query, as the real binary in a subprocess.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/support/pictures.h"
#include "tests/support/program.h"

namespace offramp {
namespace {

using nlohmann::json;
using test::Outcome;
using test::read_text;
using test::TempFolder;
using Words = std::vector<std::string>;

Outcome defend(const TempFolder& folder, Words words) {
  words.insert(words.begin(), "defend");
  words.insert(words.end(), {"--out", (folder / "plan").string(), "--force", "--threads", "1"});
  return test::run_offramp(words);
}

const Words kWorkedPlan = {"plan", "--times", "1,2,3,4", "--shares", "0.4,0.3,0.2,0.1", "--sigmas", "2"};

Words chosen(const std::string& defence) {
  Words words = kWorkedPlan;
  words.insert(words.end(), {"--choose", defence, "--secret", "s"});
  return words;
}

TEST(DefendPlanVerb, WorkedExampleOfTheSpec) {  // specs/audit.md 3
  const TempFolder folder;
  const Outcome outcome = defend(folder, kWorkedPlan);
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("groups 12|34"), std::string::npos) << outcome.out;
  const json results = json::parse(read_text(folder / "plan" / "results.json"));
  ASSERT_EQ(results["groupings"].size(), 7u);
  EXPECT_NEAR(results["groupings"][4]["bits"], .881291, 5e-7);
  EXPECT_NEAR(results["groupings"][4]["least_possible_bits"], .646439, 1e-6);
  EXPECT_NEAR(results["time_guard"][0]["bits"], .5266, 5e-5);
  EXPECT_FALSE(std::filesystem::exists(folder / "plan" / "defence.json"));
  EXPECT_NE(read_text(folder / "plan" / "plots" / "padding.svg").find("TimeGuard"), std::string::npos);
}

TEST(DefendPlanVerb, ChosenDefencesAreWritten) {
  const TempFolder folder;
  for (const auto& [choice, kind] : {std::pair{"constant", "padding"},
                                     {"groups:12|34", "padding"},
                                     {"optimal:0.6", "padding"},
                                     {"timeguard:0.5", "time-guard"}}) {
    const Outcome outcome = defend(folder, chosen(choice));
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    const json defence = json::parse(read_text(folder / "plan" / "defence.json"));
    EXPECT_EQ(defence["kind"], kind);
    EXPECT_EQ(defence["seed"]["secret"], "s");
  }
  Words without_secret = kWorkedPlan;
  without_secret.insert(without_secret.end(), {"--choose", "optimal:0.6"});
  ASSERT_EQ(defend(folder, without_secret).code, 0);
  EXPECT_EQ(
      json::parse(read_text(folder / "plan" / "defence.json"))["seed"]["secret"].get<std::string>().size(),
      64u);
}

TEST(DefendPlanVerb, TypedTimesGoOnFromTheirSettings) {
  const TempFolder folder;
  ASSERT_EQ(defend(folder, kWorkedPlan).code, 0);
  std::filesystem::remove(folder / "plan" / "DONE");
  const Outcome resumed =
      test::run_offramp({"defend", "plan", "--out", (folder / "plan").string(), "--resume"});
  EXPECT_EQ(resumed.code, 0) << resumed.err;
}

TEST(DefendPlanVerb, WrongUseIsNamedAndLeavesNothing) {
  const TempFolder folder;
  const auto expect_refused = [&](const Words& words, const std::string& part) {
    const Outcome outcome = defend(folder, words);
    EXPECT_EQ(outcome.code, 2) << outcome.text();
    EXPECT_NE(outcome.err.find(part), std::string::npos) << outcome.err;
    EXPECT_FALSE(std::filesystem::exists(folder / "plan"));
  };
  expect_refused({"plan"}, "either --times and --shares or --victim");
  for (const char* option :
       {"--images=fashion-mnist", "--timed-images=3", "--repetitions=5", "--quantile=0.7"})
    expect_refused({"plan", "--times", "1,2", "--shares", "0.5,0.5", option},
                   "how the exits of --victim are timed");
  expect_refused({"plan", "--times", "1,2", "--shares", "0.5,0.4"}, "sum to 1");
  expect_refused(
      {"plan", "--times", "2,1", "--shares", "0.5,0.5"},
      "--times in ms, --shares: padding: times must ascend with the exits, got 1 after 2 (exit 2)");
  expect_refused({"plan", "--times=-1,2", "--shares", "0.5,0.5"},
                 "a time must be at least 0, got -1 (exit 1)");
  expect_refused(chosen("moat"), "expected constant, groups:12|34");
  expect_refused(chosen("optimal:fast"), "expected a number of ms");
  expect_refused(chosen("groups:12|3"), "exit 4 is missing");
  expect_refused({"plan", "--victim", "nowhere"}, "--images");
}

// A real net of two exits: what the machine takes is its own business, so only what must hold anywhere is asked.
TEST(DefendVerbs, FromANetToADefendedTrace) {
  const TempFolder folder;
  const std::string pictures = "folder:" + (folder / "pictures").string(),
                    victim = (folder / "victim").string();
  const auto run = [](Words words) {
    words.insert(words.end(), {"--threads", "1"});
    const Outcome outcome = test::run_offramp(words);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return outcome;
  };
  test::write_pictures(folder / "pictures", {.per_class = 24, .bright = 150, .dark = 70, .spread = 90});
  run({"train",
       "--net",
       "small-cnn",
       "--exits",
       "2",
       "--data",
       pictures,
       "--epochs",
       "2",
       "--batch",
       "8",
       "--out",
       victim});
  run({"tune", victim, "--data", pictures, "--held-out", "12", "--drop", "5"});
  const std::string images = pictures + "@train[0:20]", plan = (folder / "plan").string();
  run({"defend",
       "plan",
       "--victim",
       victim,
       "--images",
       images,
       "--timed-images",
       "20",
       "--quantile",
       "0.5",
       "--choose",
       "constant",
       "--out",
       plan});
  const json defence = json::parse(read_text(folder / "plan" / "defence.json"));
  const json planned = json::parse(read_text(folder / "plan" / "results.json"));
  ASSERT_EQ(defence["deadlines_ns"].size(), 2u);
  EXPECT_EQ(planned["groupings"].back()["class_bits"], 0);  // constant time tells nothing of the class either

  const std::string file = (folder / "plan" / "defence.json").string(), trace = (folder / "query").string();
  const Outcome checked = run({"defend",
                               "check",
                               "--victim",
                               victim,
                               "--defence",
                               file,
                               "--images",
                               images,
                               "--repetitions",
                               "2",
                               "--json",
                               (folder / "check.json").string()});
  const json check = json::parse(read_text(folder / "check.json"));
  EXPECT_EQ(check["promised_bits"], 0);
  EXPECT_GT(check["with"]["mean_ns"], 0);

  run({"extract",
       "query",
       "--victim",
       victim,
       "--defence",
       file,
       "--near-duplicates",
       "0.02",
       "--images",
       images,
       "--repetitions",
       "3",
       "--out",
       trace});
  // No answer leaves before the deadline of the last exit.
  const double last = defence["deadlines_ns"][1];
  std::istringstream times(read_text(folder / "query" / "trace" / "times.csv"));
  std::string line;
  std::getline(times, line);
  int rows = 0;
  for (; std::getline(times, line); ++rows) {
    std::istringstream cells(line);
    std::string cell;
    std::getline(cells, cell, ',');
    while (std::getline(cells, cell, ',')) EXPECT_GE(std::stod(cell), last - 1);
  }
  EXPECT_EQ(rows, 20);

  // A defence of another net is refused before anything is measured.
  json foreign = defence;
  foreign["deadlines_ns"] = {1e6, 2e6, 3e6};
  foreign["channel"] = {0, 0, 1, 0, 0, 1, 0, 0, 1};
  const std::string other = (folder / "other.json").string();
  test::write_text(other, foreign.dump());
  for (const Words& words :
       {Words{"defend", "check"}, Words{"extract", "query", "--out", (folder / "q2").string()}}) {
    Words all = words;
    all.insert(all.end(), {"--victim", victim, "--defence", other, "--images", images, "--threads", "1"});
    const Outcome refused = test::run_offramp(all);
    EXPECT_EQ(refused.code, 2) << refused.text();
    EXPECT_NE(refused.err.find("is for 3 exits, the net has 2"), std::string::npos) << refused.err;
    EXPECT_EQ(refused.err.find("without"), std::string::npos) << refused.err;
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "q2"));
}

}  // namespace
}  // namespace offramp
