// The program out of memory and out of disk, from the outside: the message, exit code 1, nothing lost, no
// part of a file under a final name.
#include "base/safetensors.h"
#include "tests/support/pictures.h"
#include "tests/support/program.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace offramp::tools {
namespace {

namespace fs = std::filesystem;
using test::Outcome;
using test::read_text;
using test::TempFolder;

// Two threads, so that stacks and heaps count the same on every machine.
std::vector<std::string> on_two_threads(std::vector<std::string> words) {
  words.insert(words.end(), {"--threads", "2"});
  return words;
}

Outcome offramp(const std::vector<std::string>& words, const test::Surroundings& around = {}) {
  return test::run_offramp(on_two_threads(words), around);
}

void expect_said(const Outcome& outcome, const std::vector<std::string>& parts) {
  for (const std::string& part : parts)
    EXPECT_NE(outcome.err.find(part), std::string::npos) << part << "\n" << outcome.err;
}

std::vector<std::string> files_below(const fs::path& folder) {
  std::vector<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) files.push_back(entry.path().filename().string());
  return files;
}

bool holds(const std::vector<std::string>& files, const std::string& part) {
  for (const std::string& file : files)
    if (file.find(part) != std::string::npos) return true;
  return false;
}

std::vector<std::string> with(std::vector<std::string> words, const std::vector<std::string>& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

// A small training in `folder`, which gets its pictures too.
std::vector<std::string> train_words(const fs::path& folder, const std::string& run, int epochs) {
  if (!fs::exists(folder / "data")) test::write_pictures(folder / "data");
  const std::string data = "folder:" + (folder / "data").string() + "?side=16";
  return {"train",
          "--net",
          "small-cnn",
          "--data",
          data,
          "--batch",
          "8",
          "--seed",
          "3",
          "--checkpoint-every",
          "1",
          "--out",
          (folder / run).string(),
          "--epochs",
          std::to_string(epochs)};
}

const std::vector<std::string> kBenchStep{
    "bench", "step", "--net", "vgg-16", "--batch", "64", "--steps", "1"};

TEST(OutOfMemory, ABudgetForTensorsEndsABenchmarkWithItsNumbers) {
  const Outcome outcome = offramp(with(kBenchStep, {"--memory-mb", "150"}));
  EXPECT_EQ(outcome.code, 1) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  expect_said(outcome,
              {"error: bench step: memory: ",
               " needs ",
               " MB of 150.0 MB are in use (the limit that was set); use a smaller "
               "batch or network"});
}

TEST(OutOfMemory, ALimitOfTheShellEndsABenchmarkAndIsNamed) {
#if OFFRAMP_SANITIZED
  GTEST_SKIP() << "sanitizers reserve terabytes of address space themselves";
#endif
  for (const auto& [resource, name] :
       {std::pair{RLIMIT_AS, "ulimit -v"}, std::pair{RLIMIT_DATA, "ulimit -d"}}) {
    const Outcome outcome = offramp(kBenchStep, {resource, 300'000'000});
    EXPECT_EQ(outcome.code, 1) << outcome.err;
    EXPECT_EQ(outcome.out, "");
    expect_said(
        outcome,
        {"error: bench step: ", "memory", std::string("what ") + name + " leaves", "use a smaller batch"});
  }
}

// Limits from hardly enough for the program itself to enough for the whole run: each run ends well or says
// that memory was short, never by a signal, and leaves no part of a file.
TEST(OutOfMemory, EveryLimitOfTheShellEndsATrainingInOneOfTwoWays) {
#if OFFRAMP_SANITIZED
  GTEST_SKIP() << "sanitizers reserve terabytes of address space themselves";
#endif
  const TempFolder folder;
  int failed = 0, done = 0;
  for (const rlim_t megabytes : {90, 120, 150, 180, 220, 280, 400, 600, 1000}) {
    const fs::path out = folder / std::to_string(megabytes);
    const Outcome outcome =
        offramp(train_words(folder.path(), std::to_string(megabytes), 1), {RLIMIT_AS, megabytes * 1'000'000});
    if (outcome.code == 0) {
      ++done;
      continue;
    }
    ++failed;
    EXPECT_EQ(outcome.code, 1) << megabytes << " MB: " << outcome.err;
    EXPECT_NE(outcome.err, "") << megabytes;
    if (!fs::exists(out)) continue;
    const std::vector<std::string> files = files_below(out);
    EXPECT_FALSE(holds(files, ".tmp")) << megabytes;
    EXPECT_FALSE(fs::exists(out / "DONE")) << megabytes;
    if (fs::exists(out / "checkpoints/last.safetensors")) {
      EXPECT_FALSE(safetensors::Reader(out / "checkpoints/last.safetensors").entries().empty()) << megabytes;
    }
  }
  EXPECT_GT(failed, 0);
  EXPECT_GT(done, 0);
}

// Runs that stopped on the way: of many epochs, after at least one.
class StoppedRun : public ::testing::Test {
 protected:
  static constexpr int kEpochs = 12;

  void SetUp() override {
    words_ = with(train_words(folder_.path(), "run", kEpochs), {"--resume"});
    const test::Program first(on_two_threads(train_words(folder_.path(), "run", kEpochs)));
    const auto has_an_epoch = [&] { return fs::exists(run_ / kLast) && fs::exists(run_ / "metrics.jsonl"); };
    for (int i = 0; i < 6000 && !has_an_epoch(); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    first.send(SIGTERM);
    const Outcome outcome = first.wait();
    ASSERT_EQ(outcome.code, 1) << outcome.err;
    ASSERT_NE(outcome.err.find("interrupted by signal 15; go on with: offramp train --resume"),
              std::string::npos)
        << outcome.err;
    checkpoint_ = read_text(run_ / kLast);
    metrics_ = read_text(run_ / "metrics.jsonl");
  }

  // The failed run changed nothing, and the next one ends with the bits of a run that nothing ever stopped.
  void expect_nothing_lost(const Outcome& failed) {
    EXPECT_EQ(failed.code, 1) << failed.err;
    expect_said(failed,
                {run_.string() + " keeps what was saved; go on with: offramp train --resume --out " +
                 run_.string() + " --threads 2"});
    EXPECT_TRUE(read_text(run_ / kLast) == checkpoint_);
    EXPECT_FALSE(fs::exists(run_ / "DONE"));
    EXPECT_FALSE(fs::exists(run_ / "results.json"));
    EXPECT_FALSE(holds(files_below(run_), ".tmp"));
    ASSERT_EQ(offramp(words_).code, 0);
    const fs::path whole = folder_ / "whole";
    ASSERT_EQ(offramp(train_words(folder_.path(), "whole", kEpochs)).code, 0);
    EXPECT_TRUE(read_text(run_ / kLast) == read_text(whole / kLast));
    EXPECT_EQ(lines_of(run_ / "metrics.jsonl"), kEpochs);
    EXPECT_TRUE(fs::exists(run_ / "DONE"));
  }

  static std::ptrdiff_t lines_of(const fs::path& path) {
    const std::string text = read_text(path);
    return std::count(text.begin(), text.end(), '\n');
  }

  static constexpr const char* kLast = "checkpoints/last.safetensors";
  TempFolder folder_;
  fs::path run_ = folder_ / "run";
  std::vector<std::string> words_;
  std::string checkpoint_, metrics_;
};

TEST_F(StoppedRun, OutOfMemoryKeepsItAndItGoesOnWithTheSameBits) {
  const Outcome outcome = offramp(with(words_, {"--memory-mb", "1"}));
  expect_said(outcome,
              {"error: train: memory: ", " needs ", " of 1.0 MB are in use (the limit that was set)"});
  EXPECT_TRUE(read_text(run_ / "metrics.jsonl") == metrics_);
  expect_nothing_lost(outcome);
}

TEST_F(StoppedRun, AFileSizeLimitKeepsItAndItGoesOnWithTheSameBits) {
  const rlim_t half = checkpoint_.size() / 2;
  const Outcome outcome = offramp(words_, {RLIMIT_FSIZE, half});
  expect_said(
      outcome,
      {"error: train: ",
       "last.safetensors: write: File too large (errno 27), " + std::to_string(half) + " bytes written of "});
  expect_nothing_lost(outcome);
}

// A real full disk: a tmpfs in a mount namespace, room for the run's checkpoint but not for a second beside
// it.
TEST_F(StoppedRun, AFullDiskKeepsItAndItGoesOnWithTheSameBits) {
  const fs::path disk = folder_ / "disk", after = folder_ / "after", err = folder_ / "err";
  fs::create_directories(disk);
  fs::create_directories(after);
  std::string script = "mount -t tmpfs -o size=" + std::to_string(checkpoint_.size() * 3 / 2) + " tmpfs " +
                       disk.string() + " && cp -r " + run_.string() + " " + disk.string() + " || exit 77\n" +
                       OFFRAMP_BINARY;
  std::vector<std::string> words = on_two_threads(words_);
  std::replace(words.begin(), words.end(), run_.string(), (disk / "run").string());
  for (const std::string& word : words) script += " '" + word + "'";
  script += " 2>" + err.string() + "\ncode=$?\ncp -r " + disk.string() + "/run/. " + after.string() +
            "\nexit $code\n";
  test::write_text(folder_ / "script", script);
  const int status =
      std::system(("unshare -rm sh " + (folder_ / "script").string() + " >/dev/null 2>&1").c_str());
  if (!WIFEXITED(status) || !fs::exists(err)) GTEST_SKIP() << "no namespace here to mount a small tmpfs in";
  Outcome outcome{WEXITSTATUS(status), "", read_text(err)};
  expect_said(outcome,
              {"last.safetensors: write: No space left on device (errno 28), ",
               " free in the folder",
               (disk / "run").string() + " keeps what was saved"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_TRUE(read_text(after / kLast) == checkpoint_);
  EXPECT_FALSE(fs::exists(after / "DONE"));
  EXPECT_FALSE(holds(files_below(after), ".tmp"));
}

TEST(FullDisk, AFirstCheckpointThatDoesNotFitLeavesNoPartOfIt) {
  const TempFolder folder;
  const fs::path run = folder / "run";
  const Outcome outcome = offramp(train_words(folder.path(), "run", 2), {RLIMIT_FSIZE, 20'000});
  EXPECT_EQ(outcome.code, 1) << outcome.err;
  expect_said(outcome, {"last.safetensors: write: File too large (errno 27), ", " bytes written of "});
  const std::vector<std::string> files = files_below(run);
  EXPECT_FALSE(holds(files, ".tmp"));
  EXPECT_FALSE(holds(files, ".safetensors"));
  EXPECT_FALSE(fs::exists(run / "DONE"));
}

}  // namespace
}  // namespace offramp::tools
