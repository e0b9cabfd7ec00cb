// offramp train under a real mpirun, from the outside. Skipped where Open MPI is not installed.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/pictures.h"
#include "tests/support/program.h"

namespace offramp {
namespace {

namespace fs = std::filesystem;
using test::Outcome;
using test::read_text;

std::string mpirun_path() {
  for (const char* path : {"/usr/bin/mpirun", "/usr/local/bin/mpirun"})
    if (fs::exists(path)) return path;
  return "";
}

// Lines of the program's errors and of its lists of what to do; mpirun has words of its own.
std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++count;
  return count;
}

class RanksVerb : public ::testing::Test {
 protected:
  void SetUp() override { test::write_pictures(folder_ / "data"); }
  void TearDown() override {
    for (const char* name : {"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "PMI_SIZE", "OFFRAMP_MPI"})
      ::unsetenv(name);
  }

  std::vector<std::string> train(const std::string& out, int epochs, const std::string& shards) const {
    return {OFFRAMP_BINARY,    "train",
            "--net",           "small-cnn",
            "--width-divisor", "4",
            "--data",          "folder:" + (folder_ / "data").string() + "?side=16",
            "--epochs",        std::to_string(epochs),
            "--batch",         "8",
            "--out",           (folder_.path() / out).string(),
            "--seed",          "3",
            "--shards",        shards,
            "--threads",       "1"};
  }
  // The words after mpirun.
  static std::vector<std::string> over(int ranks, const std::vector<std::string>& words) {
    std::vector<std::string> all{"--oversubscribe", "-n", std::to_string(ranks)};
    all.insert(all.end(), words.begin(), words.end());
    return all;
  }
  static test::Surroundings by_mpirun() {
    for (const char* name : {"OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"})
      ::setenv(name, "1", 1);
    ::setenv("OMPI_MCA_odls_base_sigkill_timeout", "4", 1);  // a busy machine saves slowly
    return {.program = mpirun_path()};
  }
  static Outcome run_over(int ranks, const std::vector<std::string>& words) {
    return test::run_offramp(over(ranks, words), by_mpirun());
  }
  static Outcome run_alone(const std::vector<std::string>& words) {
    return test::run_offramp({words.begin() + 1, words.end()});
  }
  std::string checkpoint(const std::string& out) const {
    return read_text(folder_.path() / out / "checkpoints" / "last.safetensors");
  }
  std::size_t epochs_logged(const std::string& out) const {
    const fs::path path = folder_.path() / out / "metrics.jsonl";
    const std::string text = fs::exists(path) ? read_text(path) : "";
    return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
  }
  void wait_for_epochs(const std::string& out, std::size_t epochs) const {
    for (int i = 0; i < 60000 && epochs_logged(out) < epochs; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    ASSERT_GE(epochs_logged(out), epochs);
  }

  test::TempFolder folder_;
};

// The process of a rank below `parent`, by its environment.
pid_t process_of_rank(pid_t parent, int rank) {
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename().string();
    if (!std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; })) continue;
    std::ifstream stat(entry.path() / "stat"), environment(entry.path() / "environ", std::ios::binary);
    std::string pid, command, state;
    pid_t above = 0;
    if (!(stat >> pid >> command >> state >> above) || above != parent || command != "(offramp)") continue;
    const std::string text((std::istreambuf_iterator<char>(environment)), {});
    if (text.find("OMPI_COMM_WORLD_RANK=" + std::to_string(rank) + '\0') != std::string::npos)
      return static_cast<pid_t>(std::stol(pid));
  }
  return 0;
}

#define OFFRAMP_SKIP_WITHOUT_MPIRUN() \
  if (mpirun_path().empty()) GTEST_SKIP() << "there is no mpirun (Debian: openmpi-bin)"

TEST_F(RanksVerb, TwoAndFourRanksWriteTheCheckpointOfOneProcess) {
  OFFRAMP_SKIP_WITHOUT_MPIRUN();
  const Outcome one = run_alone(train("one", 2, "4"));
  ASSERT_EQ(one.code, 0) << one.text();
  for (const int ranks : {2, 4}) {
    const std::string out = std::to_string(ranks);
    const Outcome several = run_over(ranks, train(out, 2, "4"));
    ASSERT_EQ(several.code, 0) << several.text();
    EXPECT_TRUE(checkpoint(out) == checkpoint("one"));
    EXPECT_EQ(count_of(several.out, "checkpoint "), 1u) << several.out;  // rank 0 alone speaks
    EXPECT_NE(several.err.find(out + " ranks, " + std::to_string(4 / ranks) + " of the 4 shards"),
              std::string::npos)
        << several.err;
  }
}

TEST_F(RanksVerb, WithoutShardsThereAreAsManyAsRanks) {
  OFFRAMP_SKIP_WITHOUT_MPIRUN();
  ASSERT_EQ(run_alone(train("one", 1, "2")).code, 0);
  const Outcome two = run_over(2, train("two", 1, "0"));
  ASSERT_EQ(two.code, 0) << two.text();
  EXPECT_TRUE(checkpoint("two") == checkpoint("one"));
}

TEST_F(RanksVerb, AKilledRankIsNamedAndTheRunGoesOnWithAnotherNumber) {
  OFFRAMP_SKIP_WITHOUT_MPIRUN();
  constexpr int kEpochs = 400;  // long enough to be stopped on a busy machine
  ASSERT_EQ(run_alone(train("whole", kEpochs, "2")).code, 0);
  for (const int killed : {1, 0}) {
    SCOPED_TRACE("rank " + std::to_string(killed));
    const std::string out = "killed" + std::to_string(killed);
    const test::Program run(over(2, train(out, kEpochs, "0")), by_mpirun());
    wait_for_epochs(out, 1);
    const pid_t process = process_of_rank(run.pid(), killed);
    ASSERT_GT(process, 0);
    ASSERT_EQ(::kill(process, SIGKILL), 0);
    const Outcome outcome = run.wait();
    ASSERT_NE(outcome.code, 0) << outcome.text();
    EXPECT_NE(
        outcome.err.find("train: rank " + std::to_string(killed) + " (process " + std::to_string(process)),
        std::string::npos)
        << outcome.err;
    EXPECT_NE(outcome.err.find("go on with: mpirun -n 2 offramp train --resume --out"), std::string::npos)
        << outcome.err;
    ASSERT_LT(epochs_logged(out), static_cast<std::size_t>(kEpochs));
    std::vector<std::string> on = train(out, kEpochs, "0");  // those of the checkpoint
    on.push_back("--resume");
    const Outcome rest = killed == 1 ? run_alone(on) : run_over(2, on);
    ASSERT_EQ(rest.code, 0) << rest.text();
    EXPECT_TRUE(checkpoint(out) == checkpoint("whole"));
  }
}

TEST_F(RanksVerb, SigtermLeavesACheckpointThatOneProcessGoesOnFrom) {
  OFFRAMP_SKIP_WITHOUT_MPIRUN();
  constexpr int kEpochs = 400;  // long enough to be stopped on a busy machine
  ASSERT_EQ(run_alone(train("whole", kEpochs, "2")).code, 0);
  const test::Program run(over(2, train("stopped", kEpochs, "2")), by_mpirun());
  wait_for_epochs("stopped", 1);
  // As a scheduler ends a job: every process is told. mpirun alone would pass it on after seconds.
  for (const int rank : {0, 1}) {
    const pid_t process = process_of_rank(run.pid(), rank);
    ASSERT_GT(process, 0);
    ASSERT_EQ(::kill(process, SIGTERM), 0);
  }
  run.send(SIGTERM);
  const Outcome outcome = run.wait();
  ASSERT_NE(outcome.code, 0) << outcome.text();
  EXPECT_NE(outcome.err.find("go on with: mpirun -n 2 offramp train --resume"), std::string::npos)
      << outcome.err;
  std::vector<std::string> on = train("stopped", kEpochs, "2");
  on.push_back("--resume");
  const Outcome rest = run_alone(on);
  ASSERT_EQ(rest.code, 0) << rest.text();
  EXPECT_TRUE(checkpoint("stopped") == checkpoint("whole"));
}

// mpirun's colon: the ranks of one run with other words.
TEST_F(RanksVerb, AnErrorOnOneRankEndsAllWithOneMessage) {
  OFFRAMP_SKIP_WITHOUT_MPIRUN();
  const auto run = [&](const std::string& option, const std::string& value) {
    std::vector<std::string> words = over(1, train("out" + option, 3, "2"));
    words.push_back(":");
    std::vector<std::string> second = train("out" + option, 3, "2");
    *(std::find(second.begin(), second.end(), option) + 1) = value;
    words.insert(words.end(), {"-n", "1"});
    words.insert(words.end(), second.begin(), second.end());
    return test::run_offramp(words, by_mpirun());
  };
  const Outcome data = run("--data", "folder:" + (folder_ / "missing").string());
  EXPECT_NE(data.code, 0);
  EXPECT_EQ(count_of(data.err, "error: "), 1u) << data.err;
  EXPECT_NE(data.err.find("rank 1: "), std::string::npos) << data.err;
  EXPECT_NE(data.err.find("missing"), std::string::npos) << data.err;
  const Outcome other = run("--batch", "6");
  EXPECT_NE(other.code, 0);
  EXPECT_EQ(count_of(other.err, "error: "), 1u) << other.err;
  EXPECT_NE(other.err.find("rank 1: train: training: this rank has other options or data than rank 0"),
            std::string::npos)
      << other.err;
}

TEST_F(RanksVerb, ShardsThatTheRanksDoNotDivideAreRefusedOnce) {
  OFFRAMP_SKIP_WITHOUT_MPIRUN();
  const Outcome outcome = run_over(2, train("out", 1, "3"));
  EXPECT_EQ(outcome.code, 2) << outcome.text();
  EXPECT_EQ(count_of(outcome.err, "equally many shards, which 3 shards do not allow"), 1u) << outcome.err;
  EXPECT_FALSE(fs::exists(folder_.path() / "out"));
}

// Also without mpirun: what it leaves in the environment is enough.
TEST_F(RanksVerb, AMissingLibraryIsNamed) {
  ::setenv("OMPI_COMM_WORLD_SIZE", "2", 1);
  ::setenv("OMPI_COMM_WORLD_RANK", "0", 1);
  ::setenv("OFFRAMP_MPI", "/nowhere/libmpi.so", 1);
  const Outcome outcome = run_alone(train("out", 1, "2"));
  EXPECT_EQ(outcome.code, 1);
  EXPECT_NE(outcome.err.find("Open MPI cannot be opened (/nowhere/libmpi.so"), std::string::npos)
      << outcome.err;
  EXPECT_NE(outcome.err.find("openmpi-bin"), std::string::npos);
  EXPECT_FALSE(fs::exists(folder_.path() / "out"));
  ::setenv("OFFRAMP_MPI", "libm.so.6", 1);
  EXPECT_NE(run_alone(train("out", 1, "2")).err.find("is no Open MPI"), std::string::npos);
}

TEST_F(RanksVerb, OneProcessNeverOpensIt) {
  ::setenv("OFFRAMP_MPI", "/nowhere/libmpi.so", 1);
  const Outcome outcome = run_alone(train("out", 1, "2"));
  EXPECT_EQ(outcome.code, 0) << outcome.text();
}

TEST_F(RanksVerb, OtherVerbsAndOtherLaunchersAreRefused) {
  ::setenv("OMPI_COMM_WORLD_SIZE", "2", 1);
  const Outcome verb = test::run_offramp({"devices"});
  EXPECT_EQ(verb.code, 2);
  EXPECT_NE(verb.err.find("devices: runs in one process; mpirun is for offramp train"), std::string::npos)
      << verb.err;
  ::unsetenv("OMPI_COMM_WORLD_SIZE");
  ::setenv("PMI_SIZE", "2", 1);
  const Outcome launcher = run_alone(train("out", 1, "2"));
  EXPECT_EQ(launcher.code, 2);
  EXPECT_NE(launcher.err.find("another MPI started; take the mpirun of Open MPI"), std::string::npos)
      << launcher.err;
}

}  // namespace
}  // namespace offramp
