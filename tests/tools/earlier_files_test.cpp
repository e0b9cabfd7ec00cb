// Checkpoints, traces and run folders of earlier versions: tests/fixtures/earlier tells how each was made.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/support/program.h"

namespace offramp {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::Outcome;
using test::read_text;

// The settings in the folders name their data by relative paths: the program runs in a copy of the fixtures.
class EarlierFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::copy(fs::path(OFFRAMP_SOURCE_DIR) / "tests/fixtures/earlier",
             folder_.path(),
             fs::copy_options::recursive | fs::copy_options::overwrite_existing);
    before_ = fs::current_path();
    fs::current_path(folder_.path());
  }
  void TearDown() override { fs::current_path(before_); }

  // The answer of a verb that succeeds.
  static Outcome ask(const std::string& line) {
    const Outcome outcome = test::run_offramp_line(line + " --threads 1");
    EXPECT_EQ(outcome.code, 0) << line << "\n" << outcome.text();
    return outcome;
  }
  static std::ptrdiff_t lines_of(const fs::path& file) {
    const std::string text = read_text(file);
    return std::count(text.begin(), text.end(), '\n');
  }

 private:
  test::TempFolder folder_;
  fs::path before_;
};

TEST_F(EarlierFiles, ACheckpointIsAsRightAsItWas) {
  const json eval = json::parse(ask("eval run --data npz:pictures.npz --latency-images 0 --log json").out);
  const std::vector<int> right = {17, 19, 23, 22};  // of 24
  ASSERT_EQ(eval["exits"].size(), right.size());
  for (std::size_t e = 0; e < right.size(); ++e)
    EXPECT_EQ(eval["exits"][e]["accuracy"].get<double>(), right[e] / 24.0) << "exit " << e + 1;
  EXPECT_EQ(eval["policy"]["histogram"], json({4, 14, 6, 0}));
  EXPECT_EQ(eval["policy"]["accuracy"].get<double>(), 22 / 24.0);
}

TEST_F(EarlierFiles, ACheckpointClassifiesAPicture) {
  std::string picture = "P6\n16 16\n255\n";
  for (int i = 0; i < 16 * 16 * 3; ++i) picture += static_cast<char>(i / 3 % 16 < 8 ? 150 : 110);
  test::write_text("left.ppm", picture);
  const std::string said = ask("infer left.ppm --checkpoint run --data npz:pictures.npz").out;
  EXPECT_NE(said.find("left.ppm"), std::string::npos) << said;
}

TEST_F(EarlierFiles, AnInterruptedRunGoesOnToItsEnd) {
  const std::string logged = read_text("interrupted/metrics.jsonl");
  ask("train --resume --out interrupted --checkpoint-every 0");
  EXPECT_TRUE(fs::exists("interrupted/DONE"));
  EXPECT_EQ(read_text("interrupted/metrics.jsonl").substr(0, logged.size()), logged) << "epochs 1 to 3 stay";
  EXPECT_EQ(lines_of("interrupted/metrics.jsonl"), 60);
  // 57 epochs of training differ in bits from processor to processor, what is learnt in them does not.
  const json results = json::parse(read_text("interrupted/results.json"));
  EXPECT_EQ(results["epochs"], 60);
  EXPECT_GE(results["exits"][3]["accuracy"].get<double>(), 0.9);
}

TEST_F(EarlierFiles, CurvesOfAFinishedRun) {
  ask("curves run interrupted --csv curves.csv");
  EXPECT_EQ(lines_of("curves.csv"), 1 + 4 * (8 + 3));  // exits times epochs
}

TEST_F(EarlierFiles, ExitsAreEstimatedFromATrace) {
  const json estimate = json::parse(ask("extract estimate --times extraction/trace --method kde").out);
  const json then = json::parse(read_text("extraction/estimate.json"));
  EXPECT_EQ(estimate["exits"], 3);
  EXPECT_EQ(estimate["counts"], json({7, 15, 2}));
  EXPECT_EQ(estimate["statistic"], then["statistic"]);
  for (std::size_t i = 0; i < 2; ++i) {
    const double was = then["thresholds_ns"][i];
    EXPECT_NEAR(
        estimate["thresholds_ns"][i].get<double>(), was, 0.005 * was);  // noise may be told better since
  }
}

TEST_F(EarlierFiles, ACopyIsFittedToATrace) {
  ask("extract fit --trace extraction/trace --assignment extraction/assignment.csv --images "
      "npz:pictures.npz@train "
      "--side 16 --net small-cnn --width-divisor 8 --epochs 1 --batch 8 --out fit");
  EXPECT_EQ(lines_of("fit/confidences.csv"), 1 + 24);
  EXPECT_TRUE(fs::exists("fit/copy.safetensors"));
}

TEST_F(EarlierFiles, AnInterruptedExtractionGoesOnFromItsTrace) {
  const std::string times = read_text("extraction/trace/times.csv");
  ask("extract run --resume --out extraction");
  EXPECT_TRUE(fs::exists("extraction/DONE"));
  EXPECT_EQ(read_text("extraction/trace/times.csv"), times) << "the victim was not asked again";
  const json results = json::parse(read_text("extraction/results.json"));
  ASSERT_EQ(results["nets"].size(), 3u);
  EXPECT_EQ(results["nets"][0]["left_at_exit"], json({4, 14, 6, 0}));
  EXPECT_EQ(results["exit_accuracy"], 1.0);
  EXPECT_EQ(results["exit_confusion"], json({{7, 0, 0}, {0, 15, 0}, {0, 0, 2}, {0, 0, 0}}));
}

}  // namespace
}  // namespace offramp
