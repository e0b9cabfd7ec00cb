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

// What a verb writes where the user says never replaces what it reads, a file of a run, or a program.
class Outputs : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(checkpoint_.parent_path());
    test::write_text(scores_, kScores);
    test::write_text(folder_ / "run/config.toml", "# offramp run: x\nverb = \"train\"\n");
    test::write_text(folder_ / "run/.offramp-files", "config.toml\ncheckpoints/last.safetensors\n");
    test::write_text(checkpoint_, "weights");
  }
  static std::string line(const std::vector<std::string>& words) {
    std::string all;
    for (const std::string& word : words) all += (all.empty() ? "" : " ") + word;
    return all;
  }
  void refuses(const std::vector<std::string>& words, int code, const std::string& why) const {
    const Outcome outcome = test::run_offramp(words);
    EXPECT_EQ(outcome.code, code) << line(words) << "\n" << outcome.text();
    EXPECT_NE(outcome.err.find(why), std::string::npos) << line(words) << "\n" << outcome.err;
    EXPECT_EQ(outcome.out, "");
    EXPECT_EQ(read_text(scores_), kScores);
    EXPECT_EQ(read_text(checkpoint_), "weights");
  }
  std::vector<std::string> roc(const std::string& flag, const std::filesystem::path& to) const {
    return {"stats", "roc", scores_.string(), "--resamples", "10", flag, to.string()};
  }

  static constexpr const char* kScores = "score,member\n3,1\n4,1\n1,0\n3,0\n";
  const TempFolder folder_;
  const std::filesystem::path scores_ = folder_ / "s.csv",
                              checkpoint_ = folder_ / "run/checkpoints/last.safetensors";
};

TEST_F(Outputs, AnInputIsNotReplacedByAnyName) {
  refuses(roc("--json", scores_), 2, "is the file that --scores reads");
  refuses(roc("--plot", scores_), 2, "is the file that --scores reads");
  std::filesystem::create_symlink(scores_, folder_ / "soft.json");
  std::filesystem::create_hard_link(scores_, folder_ / "hard.json");
  refuses(roc("--json", folder_ / "soft.json"), 2, "is the file that --scores reads");
  refuses(roc("--json", folder_ / "hard.json"), 2, "is the file that --scores reads");
  // The file that a verb names itself: assignment.csv beside --json.
  test::write_text(folder_ / "assignment.csv", "nanoseconds\n1\n2\n");
  refuses(
      {"extract", "estimate", (folder_ / "assignment.csv").string(), "--json", (folder_ / "e.json").string()},
      2,
      "is the file that --times reads");
  EXPECT_EQ(read_text(folder_ / "assignment.csv"), "nanoseconds\n1\n2\n");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "e.json"));
}

TEST_F(Outputs, AFileOfARunIsNotReplacedAndOthersInItsFolderAre) {
  refuses(roc("--json", checkpoint_), 2, "is a file of the run in");
  refuses({"eval", (folder_ / "run").string(), "--json", checkpoint_.string()}, 2, "is a file of the run in");
  refuses({"export", (folder_ / "run").string(), "--to", checkpoint_.string()}, 2, "is a file of the run in");
  for (int i = 0; i < 2; ++i) EXPECT_EQ(test::run_offramp(roc("--json", folder_ / "run/roc.json")).code, 0);
}

TEST_F(Outputs, AFileOfAnInputFolderIsNotReplaced) {
  std::filesystem::create_directories(folder_ / "trace");
  test::write_text(folder_ / "trace/times.csv", "nanoseconds\n1\n2\n");
  refuses({"extract",
           "estimate",
           (folder_ / "trace").string(),
           "--assignment",
           (folder_ / "trace/times.csv").string()},
          2,
          "which --times reads");
  EXPECT_EQ(read_text(folder_ / "trace/times.csv"), "nanoseconds\n1\n2\n");
}

TEST_F(Outputs, AFolderThatIsMissingIsSaidBeforeTheWork) {
  refuses(roc("--json", folder_ / "no/x.json"), 1, "is not there");
  refuses({"stats", "roc", "/nowhere.csv", "--json", (folder_ / "no/x.json").string()}, 1, "x.json: --json");
  refuses(roc("--json", folder_ / "run"), 1, "a regular file wanted");
}

TEST_F(Outputs, OneNameIsOneFileAndNoProgram) {
  const std::string both = (folder_ / "x.svg").string();
  refuses({"stats", "roc", scores_.string(), "--json", both, "--plot", both}, 2, "name one file");
  EXPECT_FALSE(std::filesystem::exists(both));
  test::write_text(folder_ / "program",
                   "\x7f"
                   "ELF and more");
  refuses(roc("--json", folder_ / "program"), 2, "is a program");
  EXPECT_EQ(read_text(folder_ / "program"),
            "\x7f"
            "ELF and more");
}

TEST_F(Outputs, ForceDoesNotRemoveWhatTheRunReads) {
  refuses({"train",
           "--data",
           "synthetic:leaves:20",
           "--from",
           checkpoint_.string(),
           "--out",
           (folder_ / "run").string(),
           "--force"},
          2,
          "--force: would remove");
}

TEST(Program, ResumeOfAFolderThatIsNotThereIsWrongUse) {
  const TempFolder folder;
  const std::string out = (folder / "nope").string();
  for (const std::string flag : {"--out ", "--out="}) {
    const Outcome outcome = offramp("train --data synthetic:leaves:20 --resume " + flag + out);
    EXPECT_EQ(outcome.code, 2) << outcome.text();
    EXPECT_NE(outcome.err.find("is not there, so there is no run to go on with"), std::string::npos)
        << outcome.err;
    EXPECT_FALSE(std::filesystem::exists(out));
  }
  EXPECT_EQ(offramp("train --resume --help").code, 0);
}

TEST(Program, WrongUseIsJsonWhereTheLogIs) {
  for (const char* line : {"devices --sead 3 --log json", "devices --log=json --sead 3"}) {
    const Outcome outcome = offramp(line);
    EXPECT_EQ(outcome.code, 2);
    EXPECT_TRUE(nlohmann::json::accept(outcome.err)) << outcome.err;
  }
}

TEST(Program, AFullStdoutIsAFailure) {
  const Outcome outcome = offramp("devices", {.stdout_to = "/dev/full"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_NE(outcome.err.find("stdout: No space left on device"), std::string::npos) << outcome.err;
}

}  // namespace
}  // namespace offramp::tools
