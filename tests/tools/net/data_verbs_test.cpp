// Data as users bring them, from the outside: classes that a test set lacks, sets without parts, dataset verify.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/pictures.h"
#include "tests/support/program.h"

namespace offramp {
namespace {

namespace fs = std::filesystem;

class DataVerbs : public ::testing::Test {
 protected:
  void SetUp() override { test::write_pictures(folder_ / "set"); }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  int run(const std::vector<std::string>& words) {
    const test::Outcome outcome = test::run_offramp(words);
    said_ = outcome.text();
    return outcome.code;
  }
  int train(const std::string& data, const std::string& out, const std::vector<std::string>& more = {}) {
    std::vector<std::string> words = {"train",
                                      "--net",
                                      "small-cnn",
                                      "--width-divisor",
                                      "4",
                                      "--data",
                                      data,
                                      "--epochs",
                                      "4",
                                      "--batch",
                                      "4",
                                      "--exits",
                                      "2",
                                      "--out",
                                      path(out)};
    words.insert(words.end(), more.begin(), more.end());
    return run(words);
  }
  bool says(const std::string& text) const { return said_.find(text) != std::string::npos; }

  test::TempFolder folder_;
  std::string said_;  // by the last run
};

// A set of the second class alone once counted it as the first: accuracy 0 % without a word.
TEST_F(DataVerbs, EvalMatchesClassesByTheNamesInTheCheckpoint) {
  ASSERT_EQ(train("folder:" + path("set"), "run"), 0) << said_;
  fs::create_directories(folder_ / "one");
  fs::copy(folder_ / "set/test/right", folder_ / "one/right");
  ASSERT_EQ(run({"eval",
                 path("run"),
                 "--data",
                 "folder:" + path("one"),
                 "--split",
                 "all",
                 "--latency-images",
                 "0"}),
            0)
      << said_;
  EXPECT_TRUE(says("2      100.00")) << said_;
  fs::rename(folder_ / "one/right", folder_ / "one/wrong");
  EXPECT_EQ(run({"eval", path("run"), "--data", "folder:" + path("one"), "--split", "all"}), 2);
  EXPECT_TRUE(says("expected classes among the 2 trained on ('left', 'right'), found also 'wrong'")) << said_;
}

TEST_F(DataVerbs, ASetWithoutPartsTrainsOnWhatIsNotHeldOut) {
  const std::string flat = path("set/train");  // a path alone
  EXPECT_EQ(train(flat, "run"), 0);
  EXPECT_TRUE(says("there is no test part: 4 of the 24 samples, drawn with seed 1, are held out")) << said_;
  EXPECT_EQ(train(flat, "held", {"--held-out", "6"}), 0) << said_;
  EXPECT_TRUE(says("18 training and 6 held-out samples")) << said_;
}

TEST_F(DataVerbs, VerifyTakesRelativePathsAndNamesEveryBadPicture) {
  const std::string spec = "folder:" + fs::relative(folder_ / "set").string();
  EXPECT_EQ(run({"dataset", "verify", spec}), 0) << said_;
  EXPECT_TRUE(says("48 samples are good, 0 damaged")) << said_;
  fs::resize_file(folder_ / "set/train/left/3.ppm", 20);
  test::write_text(folder_ / "set/test/right/1.ppm", "P6\n1 1\n255\nabc");
  EXPECT_EQ(run({"dataset", "verify", spec}), 1);
  EXPECT_TRUE(says("46 samples are good, 2 damaged")) << said_;
  EXPECT_TRUE(says("left/3.ppm")) << said_;
  EXPECT_TRUE(says("found 1x1; give it as '" + spec + "?side=32'")) << said_;
}

}  // namespace
}  // namespace offramp
