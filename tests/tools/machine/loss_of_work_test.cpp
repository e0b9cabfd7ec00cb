// What must not cost a run what it had acknowledged: a second process, Ctrl-C twice, a folder that goes away.
#include "tests/support/pictures.h"
#include "tests/support/program.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

namespace offramp::tools {
namespace {

namespace fs = std::filesystem;
using test::Outcome;
using test::read_text;
using Words = std::vector<std::string>;

class LossOfWork : public ::testing::Test {
 protected:
  void SetUp() override { test::write_pictures(folder_ / "data"); }

  Words train(const std::string& run, int epochs, const Words& more = {}) const {
    Words words = {"train",
                   "--net",
                   "small-cnn",
                   "--width-divisor",
                   "4",
                   "--data",
                   "folder:" + (folder_ / "data").string() + "?side=16",
                   "--batch",
                   "8",
                   "--seed",
                   "3",
                   "--threads",
                   "1",
                   "--checkpoint-every",
                   "1",
                   "--out",
                   (folder_ / run).string(),
                   "--epochs",
                   std::to_string(epochs)};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  std::ptrdiff_t lines(const std::string& run) const {
    const fs::path path = folder_ / run / "metrics.jsonl";
    const std::string text = fs::exists(path) ? read_text(path) : "";
    return std::count(text.begin(), text.end(), '\n');
  }
  void wait_for_lines(const std::string& run, std::ptrdiff_t wanted) const {
    for (int i = 0; i < 6000 && lines(run) < wanted; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    ASSERT_GE(lines(run), wanted);
  }

  // A stopped run of kEndless epochs writes at least one more.
  void goes_on(const std::string& run) const {
    const std::ptrdiff_t before = lines(run);
    const test::Program again(train(run, kEndless, {"--resume"}));
    wait_for_lines(run, before + 1);
    again.send(SIGTERM);
    EXPECT_EQ(again.wait().code, 1);
    EXPECT_GT(lines(run), before);
  }

  static constexpr int kEndless = 10000;
  static constexpr const char* kLast = "checkpoints/last.safetensors";
  test::TempFolder folder_;
};

TEST_F(LossOfWork, ASecondProcessIsKeptOutAndReadersAreNot) {
  const test::Program first(train("run", kEndless));
  wait_for_lines("run", 2);
  for (const Words& more : {Words{}, Words{"--resume"}, Words{"--force"}}) {
    const Outcome second = test::run_offramp(train("run", kEndless, more));
    EXPECT_EQ(second.code, 2) << second.err;
    EXPECT_NE(second.err.find("run: process "), std::string::npos) << second.err;
    EXPECT_NE(second.err.find(" is writing this run; wait for it, stop it, or choose another --out"),
              std::string::npos)
        << second.err;
  }
  // tune writes into that checkpoint.
  const Outcome tune = test::run_offramp({"tune", (folder_ / "run").string(), "--threshold", "0.5"});
  EXPECT_EQ(tune.code, 2) << tune.err;
  EXPECT_NE(tune.err.find(" is writing this run; wait for it"), std::string::npos) << tune.err;
  const Outcome reader = test::run_offramp(
      {"eval", (folder_ / "run").string(), "--data", "folder:" + (folder_ / "data").string() + "?side=16"});
  EXPECT_EQ(reader.code, 0) << reader.err;
  first.send(SIGTERM);
  EXPECT_EQ(first.wait().code, 1);
  std::ptrdiff_t line = 0;
  std::istringstream text(read_text(folder_ / "run/metrics.jsonl"));
  for (std::string object; std::getline(text, object);)
    EXPECT_NE(object.find("\"epoch\":" + std::to_string(++line)), std::string::npos) << object;
  goes_on("run");  // the lock ended with its process
}

TEST_F(LossOfWork, CtrlCTwiceLeavesARunThatGoesOnWithTheSameBits) {
  constexpr int kEpochs = 40;
  {
    const test::Program first(train("run", kEpochs));
    wait_for_lines("run", 1);
    first.send(SIGINT);
    first.send(SIGINT);
    const int code = first.wait().code;  // the second one kills, if the first has not yet ended it
    EXPECT_TRUE(code == -SIGINT || code == 1) << code;
    ASSERT_FALSE(fs::exists(folder_ / "run/DONE"));
  }
  ASSERT_EQ(test::run_offramp(train("run", kEpochs, {"--resume"})).code, 0);
  ASSERT_EQ(test::run_offramp(train("whole", kEpochs)).code, 0);
  EXPECT_TRUE(read_text(folder_ / "run" / kLast) == read_text(folder_ / "whole" / kLast));
  EXPECT_EQ(lines("run"), kEpochs);
}

TEST_F(LossOfWork, AFolderThatIsRemovedInTheMiddleEndsTheRunWithItsName) {
  const test::Program first(train("run", kEndless));
  wait_for_lines("run", 1);
  fs::rename(folder_ / "run", folder_ / "pulled");  // at once, as a volume that is gone
  const Outcome outcome = first.wait();
  EXPECT_EQ(outcome.code, 1) << outcome.err;
  EXPECT_NE(outcome.err.find((folder_ / "run").string()), std::string::npos) << outcome.err;
  EXPECT_NE(outcome.err.find("No such file or directory"), std::string::npos) << outcome.err;
  EXPECT_NE(outcome.err.find((folder_ / "run").string() + " is gone, and with it what this run had saved"),
            std::string::npos)
      << outcome.err;
  EXPECT_FALSE(fs::exists(folder_ / "run/DONE"));
  goes_on("pulled");  // what was there is whole where it is now
}

}  // namespace
}  // namespace offramp::tools
