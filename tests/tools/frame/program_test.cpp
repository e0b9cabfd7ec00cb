// The real binary as a subprocess: exit codes, what goes to stdout and what to stderr.
#include "tests/support/program.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace offramp::tools {
namespace {

using test::Outcome;
using test::read_text;
using test::TempFolder;

Outcome offramp(const std::string& line, const test::Surroundings& around = {}) {
  return test::run_offramp_line(line, around);
}

TEST(Program, HelpTeachesAndGoesToStdout) {
  const Outcome help = offramp("--help");
  EXPECT_EQ(help.code, 0);
  EXPECT_EQ(help.err, "");
  for (const char* expected : {"usage: offramp VERB",
                               "dataset verify",
                               "First steps",
                               "Exit codes: 0 done, 1 failed, 2 wrong use"}) {
    EXPECT_NE(help.out.find(expected), std::string::npos) << expected;
  }
  EXPECT_EQ(offramp("help").out, help.out);
}

TEST(Program, EveryVerbHasHelpWithExampleAndTheCommonOptions) {
  for (const char* verb : {"devices", "dataset info", "dataset verify"}) {
    const Outcome help = offramp(std::string(verb) + " --help");
    EXPECT_EQ(help.code, 0) << verb;
    EXPECT_TRUE(help.out.starts_with("offramp " + std::string(verb) + ": ")) << help.out;
    for (const char* expected : {"\n  offramp ",
                                 "--device cpu|cuda",
                                 "--seed INT",
                                 "--config FILE.toml",
                                 "--set KEY=VALUE",
                                 "--log text|json",
                                 "[default 1]"}) {
      EXPECT_NE(help.out.find(expected), std::string::npos) << verb << " " << expected;
    }
    EXPECT_EQ(offramp("help " + std::string(verb)).out, help.out);
  }
}

TEST(Program, VersionNamesTheCommit) {
  const Outcome version = offramp("--version");
  EXPECT_EQ(version.code, 0);
  EXPECT_TRUE(version.out.starts_with("offramp 0.1.0 (")) << version.out;
}

TEST(Program, WrongUseIsTwoAndSaysWhatWouldBeRight) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"", "usage: offramp VERB"},
      {"devcies", "unknown verb 'devcies'; nearest known: devices"},
      {"dataset", "dataset is one of"},
      {"dataset inof", "unknown verb 'dataset inof'; nearest known: dataset info"},
      {"--seed 3 devices", "the verb comes first, got '--seed'"},
      {"devices --sead 3", "unknown option '--sead'; nearest known: --seed"},
      {"devices --device tpu", "--device: one of cpu, cuda wanted, got 'tpu'"},
      {"devices extra", "unexpected argument 'extra'"},
      {"devices --config /nonexistent.toml", "/nonexistent.toml"},
      {"dataset info", "--dataset is required"},
      {"dataset info nonesuch", "unknown data set 'nonesuch'; known: fashion-mnist"},
  };
  for (const auto& [arguments, message] : cases) {
    const Outcome outcome = offramp(arguments);
    EXPECT_EQ(outcome.code, 2) << arguments;
    EXPECT_EQ(outcome.out, "") << arguments;
    EXPECT_NE(outcome.err.find(message), std::string::npos) << arguments << ": " << outcome.err;
  }
}

TEST(Program, AMissingDataSetIsAFailureThatNamesThePath) {
  const Outcome outcome = offramp("dataset info cifar10:/nonexistent/cifar");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_NE(outcome.err.find("/nonexistent/cifar"), std::string::npos) << outcome.err;
}

TEST(Program, ADeviceThatIsNotThereIsAFailureAndNeverReplaced) {
  const auto devices = nlohmann::json::parse(offramp("devices --log json").out);
  const Outcome outcome = offramp("devices --device cuda");
  if (devices["cuda"]["usable"].get<bool>()) {
    EXPECT_EQ(outcome.code, 0) << outcome.err;
  } else {
    EXPECT_EQ(outcome.code, 1);
    EXPECT_NE(outcome.err.find("cuda"), std::string::npos) << outcome.err;
    EXPECT_EQ(outcome.out, "");
  }
}

TEST(Program, DevicesDescribesTheMachine) {
  const Outcome text = offramp("devices --threads 3");
  EXPECT_EQ(text.code, 0);
  for (const char* expected : {"model", "vectors", "threads      3 of", "convolution", "memory", "cuda\n"}) {
    EXPECT_NE(text.out.find(expected), std::string::npos) << expected << " in\n" << text.out;
  }
  const auto json = nlohmann::json::parse(offramp("devices --log json").out);
  EXPECT_GE(json["machine"]["usable_cpus"].get<int>(), 1);
  EXPECT_GT(json["machine"]["memory_bytes"].get<std::uint64_t>(), 0u);
}

// Outcomes of `offramp devices` with the variables that say how OpenMP's threads wait.
TEST(Program, ThreadsSpinForABoundedTimeUnlessTheUserSaysHowTheyWait) {
  const auto waiting = [](const std::string& variables) {
    const TempFolder folder;
    const std::string out = (folder / "out").string();
    const std::string command = "env -u GOMP_SPINCOUNT -u OMP_WAIT_POLICY " + variables + " " +
                                std::string(OFFRAMP_BINARY) + " devices --log json >" + out;
    EXPECT_EQ(std::system(command.c_str()), 0);
    const auto json = nlohmann::json::parse(read_text(out));
    return std::pair{json["spin_count"].get<std::string>(), json["build"]["threading"].get<std::string>()};
  };
  const auto [spin_count, threading] = waiting("");
  EXPECT_EQ(spin_count, threading.starts_with("OpenMP") ? "30000" : "");
  EXPECT_EQ(waiting("GOMP_SPINCOUNT=7").first, "7");
  EXPECT_EQ(waiting("OMP_WAIT_POLICY=active").first, "");
}

// tools/demo with a program that only repeats its words: --out reaches it once, wherever it stands.
TEST(DemoScript, PassesItsWordsOnAndOutOnce) {
  const TempFolder folder;
  for (const char* inside : {"tools", "build/cpu", "bin"})
    std::filesystem::create_directories(folder / inside);
  const auto script = [&](const char* name, const std::string& text) {
    test::write_text(folder / name, "#!/bin/sh\n" + text + "\n");
    std::filesystem::permissions(folder / name, std::filesystem::perms::owner_all);
  };
  script("tools/setup", "exit 0");
  script("bin/cmake", "exit 0");
  script("build/cpu/offramp", R"(printf '<%s>' "$@")");
  test::write_text(folder / "build/cpu/build.ninja", "");
  std::filesystem::copy_file(std::filesystem::path(OFFRAMP_SOURCE_DIR) / "tools/demo", folder / "tools/demo");
  std::filesystem::create_directories(folder / "a b");
  const auto said = [&](const std::string& words) {
    const std::string out = (folder / "said").string();
    const std::string command = "PATH=" + (folder / "bin").string() + ":$PATH " +
                                (folder / "tools/demo").string() + " " + words + " >" + out + " 2>&1";
    const int status = std::system(command.c_str());
    return (WEXITSTATUS(status) == 0 ? "" : "failed: ") + read_text(out);
  };
  EXPECT_EQ(said(""), "<demo><--out><out/demo>");
  EXPECT_EQ(said("--out x --seed 2"), "<demo><--out><x><--seed><2>");
  EXPECT_EQ(said("--seed 2 --out=y"), "<demo><--out><y><--seed><2>");
  EXPECT_EQ(said("--smoke"), "<demo><--out><out/demo-smoke><--smoke>");
  EXPECT_EQ(said("--out 'a b' --set 'x=c d'"), "<demo><--out><a b><--resume><--set><x=c d>");
  EXPECT_EQ(said("--out 'a b' --force"), "<demo><--out><a b><--force>");
  EXPECT_TRUE(said("--out").starts_with("failed: ")) << said("--out");
}

TEST(Program, DatasetInfoCountsTheGeneratedPictures) {
  const Outcome outcome = offramp("dataset info synthetic:leaves:40:16 --log json --split train");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto train = nlohmann::json::parse(outcome.out)["splits"]["train"];
  EXPECT_EQ(train["images"], 40);
  EXPECT_EQ(train["height"], 16);
  int sum = 0;
  for (const auto& count : train["class_counts"]) sum += count.get<int>();
  EXPECT_EQ(sum, 40);
}

TEST(Program, DatasetInfoShowsWhatHasNoSplitsAsAWhole) {
  const TempFolder folder;
  test::write_text(folder / "t.csv", "1,0,1\n2,1,1\n1,1,0\n");
  const Outcome outcome = offramp("dataset info csv:" + (folder / "t.csv").string());
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("all: 3 rows of 2 features"), std::string::npos) << outcome.out;
}

TEST(Program, VerifyNamesEveryDamagedPictureAndFails) {
  const TempFolder folder;
  std::filesystem::create_directories(folder / "pics/a");
  std::filesystem::create_directories(folder / "pics/b");
  const std::string good = "P5\n2 1\n255\n\x10\x20";
  test::write_text(folder / "pics/a/good.pgm", good);
  test::write_text(folder / "pics/a/short.pgm", good.substr(0, good.size() - 1));
  test::write_text(folder / "pics/b/good.pgm", good);
  test::write_text(folder / "pics/b/rubbish.png", "rubbish");
  const Outcome outcome = offramp("dataset verify folder:" + (folder / "pics").string() + " --split all");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_NE(outcome.out.find("2 samples are good, 2 damaged"), std::string::npos)
      << outcome.out << outcome.err;
  EXPECT_NE(outcome.out.find("short.pgm"), std::string::npos) << outcome.out;
  EXPECT_NE(outcome.out.find("rubbish.png"), std::string::npos) << outcome.out;
  EXPECT_NE(outcome.err.find("verify all  100%  4/4 files"), std::string::npos) << outcome.err;
  EXPECT_EQ(outcome.err.find('\r'), std::string::npos) << "no terminal, no rewriting";
}

TEST(Program, AFullStdoutIsAFailure) {
  const Outcome outcome = offramp("devices", {.stdout_to = "/dev/full"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_NE(outcome.err.find("stdout: No space left on device"), std::string::npos) << outcome.err;
}

}  // namespace
}  // namespace offramp::tools
