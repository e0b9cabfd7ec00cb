#include "tools/frame/run_folder.h"

#include "base/atomic_file.h"
#include "tests/support/temp_folder.h"

#include <gtest/gtest.h>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

namespace offramp::tools {
namespace {

using test::read_text;
using test::TempFolder;
using test::write_text;

struct Trial {
  std::int64_t epochs = 10, batch = 64;
  Options options;
  explicit Trial(std::vector<std::string> words = {}) {
    options.add("train.epochs", epochs, "").free_on_resume();
    options.add("train.batch", batch, "");
    options.parse("train", words);
  }
  RunFolder open(const std::filesystem::path& path,
                 Existing existing = Existing::kRefuse,
                 const std::string& verb = "train") const {
    return RunFolder(path, verb, options, {{"seed", 1}}, existing);
  }
  std::string refusal(const std::filesystem::path& path,
                      Existing existing = Existing::kRefuse,
                      const std::string& verb = "train") const {
    try {
      open(path, existing, verb);
    } catch (const UsageError& error) {
      const std::string text = error.what();
      EXPECT_TRUE(text.starts_with(path.string() + ": ")) << text;
      return text.substr(path.string().size() + 2);
    }
    return "accepted";
  }
};

TEST(RunFolder, ExplainsItselfFromTheStart) {
  const TempFolder folder;
  RunFolder run = Trial({"--epochs", "20"}).open(folder / "a/b");
  const std::string config = read_text(folder / "a/b/config.toml");
  EXPECT_TRUE(config.starts_with("# offramp run: run again with: offramp train --config config.toml"));
  EXPECT_TRUE(config.ends_with("verb = \"train\"\n\n[train]\nepochs = 20\nbatch = 64\n")) << config;
  EXPECT_EQ(nlohmann::json::parse(read_text(folder / "a/b/env.json"))["seed"], 1);
  run.metric({{"epoch", 1}, {"loss", 0.5}});
  run.metric({{"epoch", 2}});
  run.results({{"accuracy", 0.75}});
  run.done();
  EXPECT_EQ(read_text(folder / "a/b/metrics.jsonl"), "{\"epoch\":1,\"loss\":0.5}\n{\"epoch\":2}\n");
  EXPECT_EQ(nlohmann::json::parse(read_text(folder / "a/b/results.json"))["accuracy"], 0.75);
  EXPECT_TRUE(std::filesystem::exists(folder / "a/b/DONE"));
  EXPECT_TRUE(std::filesystem::is_directory(run.folder("plots")));
}

TEST(RunFolder, ARunIsNotOverwritten) {
  const TempFolder folder;
  const auto path = folder / "run";
  {
    Trial().open(path);
    EXPECT_EQ(Trial().refusal(path), "holds this run, unfinished; --resume goes on, --force begins again");
    Trial().open(path, Existing::kResume).done();
  }
  EXPECT_EQ(Trial().refusal(path), "holds this run, finished; --force runs it again");
  EXPECT_EQ(Trial().refusal(path, Existing::kResume),
            "holds this run, finished; nothing to resume, --force runs it again");
  EXPECT_EQ(Trial({"--batch", "32"}).refusal(path),
            "holds a run of another configuration (train.batch is 64 there and 32 here); choose another "
            "--out, or --force to replace it");
  EXPECT_EQ(Trial({"--batch", "32"}).refusal(path, Existing::kResume),
            "holds a run of another configuration (train.batch is 64 there and 32 here); choose another "
            "--out, or --force to replace it");
  EXPECT_TRUE(Trial()
                  .refusal(path, Existing::kResume, "eval")
                  .starts_with("holds a run of another configuration (verb is \"train\" there"));
  EXPECT_TRUE(std::filesystem::exists(path / "DONE")) << "refusing changes nothing";
}

TEST(RunFolder, ResumeGoesOnAndMayChangeWhatIsFree) {
  const TempFolder folder;
  const auto path = folder / "run";
  Trial().open(path).metric({{"epoch", 1}});
  {
    RunFolder run = Trial().open(path, Existing::kResume);
    EXPECT_TRUE(run.resumed());
    run.done();
  }
  const RunFolder longer =
      Trial({"--epochs", "30"}).open(path, Existing::kResume);  // a finished run, made longer
  EXPECT_TRUE(longer.resumed());
  EXPECT_FALSE(std::filesystem::exists(path / "DONE"));
  EXPECT_NE(read_text(path / "config.toml").find("epochs = 30"), std::string::npos);
  EXPECT_EQ(read_text(path / "metrics.jsonl"), "{\"epoch\":1}\n");
}

// A resumed run would mix the answers of two nets.
TEST(RunFolder, ARunGoesOnWithTheNetThatItBeganWith) {
  const TempFolder folder;
  const auto net = folder / "net.safetensors";
  write_text(net, "weights");
  Trial().open(folder / "run").bind(net);
  {
    RunFolder run = Trial().open(folder / "run", Existing::kResume);
    EXPECT_NO_THROW(run.bind(net));
    EXPECT_EQ(
        nlohmann::json::parse(read_text(folder / "run/inputs.json"))[net.string()].get<std::string>().size(),
        64u);
    write_text(net, "others");
    try {
      run.bind(net);
      FAIL();
    } catch (const UsageError& error) {
      EXPECT_EQ(std::string(error.what()),
                net.string() + ": has changed since the run in " + (folder / "run").string() +
                    " began with it; bring the old file back, or begin again with --force");
    }
  }
  EXPECT_NO_THROW(Trial().open(folder / "run", Existing::kForce).bind(net));
}

TEST(RunFolder, ResumeSweepsWhatAKillLeft) {
  const TempFolder folder;
  write_file_atomically(folder / "elsewhere", "");
  {
    RunFolder run = Trial().open(folder / "run");
    write_file_atomically(run.folder("checkpoints") / "last.safetensors", "weights");
  }
  const auto left = folder / "run/checkpoints/.last.safetensors.2421-4.tmp",
             own = folder / "run/checkpoints/.notes.1.tmp";
  write_text(left, "half");
  write_text(own, "somebody's");
  Trial().open(folder / "run", Existing::kResume);
  EXPECT_FALSE(std::filesystem::exists(left));
  EXPECT_TRUE(std::filesystem::exists(own));
}

// A run that was resumed says of which builds and machines it is.
TEST(RunFolder, ResumeKeepsTheEnvironmentsOfTheEarlierParts) {
  const TempFolder folder;
  const auto path = folder / "run";
  const auto part = [&](const char* commit, Existing existing, const char* epochs = "10") {
    RunFolder(path, "train", Trial({"--epochs", epochs}).options, {{"commit", commit}}, existing);
    return nlohmann::json::parse(read_text(path / "env.json")).dump();
  };
  EXPECT_EQ(part("a", Existing::kRefuse), R"({"commit":"a"})");
  EXPECT_EQ(part("b", Existing::kResume), R"({"commit":"b","earlier":[{"commit":"a"}]})");
  EXPECT_EQ(part("c", Existing::kResume), R"({"commit":"c","earlier":[{"commit":"a"},{"commit":"b"}]})");
  EXPECT_EQ(part("d", Existing::kForce), R"({"commit":"d"})");
  write_text(path / "env.json", "{");
  write_text(path / "DONE", "");
  EXPECT_THROW(part("e", Existing::kResume, "30"), FileError);
  EXPECT_TRUE(std::filesystem::exists(path / "DONE")) << "a refusal changes nothing";
}

// A setting that a newer program added: its default is what the older one did.
TEST(RunFolder, AFolderOfAnOlderProgramGoesOn) {
  const TempFolder folder;
  const auto path = folder / "run";
  Trial().open(path);
  struct Newer : Trial {
    bool exact = true;
    explicit Newer(std::vector<std::string> words = {}) {
      options.add("train.exact", exact, "");
      options.parse("train", words);
    }
  };
  EXPECT_EQ(Newer({"--no-exact"}).refusal(path, Existing::kResume),
            "holds a run of another configuration (train.exact is true there and false here); choose another "
            "--out, or --force to replace it");
  {
    RunFolder run = Newer().open(path, Existing::kResume);
    EXPECT_TRUE(run.resumed());
    run.done();
  }
  EXPECT_EQ(Newer().refusal(path, Existing::kResume),
            "holds this run, finished; nothing to resume, --force runs it again");
}

TEST(RunFolder, ResumeOfNothingBeginsANewRun) {
  const TempFolder folder;
  EXPECT_FALSE(Trial().open(folder / "new", Existing::kResume).resumed());
}

TEST(RunFolder, ResumeDropsALineThatACrashCutOffAndWhatCameAfterTheCheckpoint) {
  const TempFolder folder;
  const auto path = folder / "run";
  Trial().open(path);
  write_text(path / "metrics.jsonl", "{\"epoch\":1}\n{\"epoch\":2}\n{\"epoch\":3,\"lo");
  RunFolder run = Trial().open(path, Existing::kResume);
  EXPECT_EQ(read_text(path / "metrics.jsonl"), "{\"epoch\":1}\n{\"epoch\":2}\n");
  run.keep_metrics([](const nlohmann::json& line) { return line["epoch"] <= 1; });
  EXPECT_EQ(read_text(path / "metrics.jsonl"), "{\"epoch\":1}\n");
}

// What people keep beside a run, under names that a run might have written.
const std::vector<std::string> kOfTheUser = {"notes.txt",
                                             "my_notes.csv",
                                             "labels_by_hand.json",
                                             "plots/paper_fig.svg",
                                             "checkpoints/best_of_all.safetensors",
                                             "trace/results.json",
                                             ".notes.txt.12-0.tmp"};

void write_users_files(const std::filesystem::path& path) {
  for (const std::string& name : kOfTheUser) {
    std::filesystem::create_directories((path / name).parent_path());
    write_text(path / name, "mine");
  }
}

// Every file below `path` but ours of the folder's own keeping, sorted.
std::vector<std::string> files_below(const std::filesystem::path& path) {
  std::vector<std::string> out;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path)) {
    const std::string name = entry.path().lexically_relative(path).generic_string();
    if (entry.is_regular_file() && name != RunFiles::kName && name != RunLock::kName) out.push_back(name);
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<std::string> users_files_and(std::vector<std::string> more) {
  more.insert(more.end(), kOfTheUser.begin(), kOfTheUser.end());
  std::sort(more.begin(), more.end());
  return more;
}

TEST(RunFolder, ForceRemovesWhatTheRunWroteAndNothingElse) {
  const TempFolder folder;
  const auto path = folder / "run";
  {
    RunFolder run = Trial().open(path);
    run.metric({{"epoch", 1}});
    write_file_atomically(run.folder("checkpoints") / "last.safetensors", "x");
    write_file_atomically(run.folder("deep/er") / "figure.svg", "x");
    write_file_atomically(run.file("exits.csv"), "x");
    write_users_files(path);
    run.done();
  }
  write_text(path / "checkpoints/.last.safetensors.4711-3.tmp", "of a killed process");
  {
    const RunFolder run = Trial({"--batch", "32"}).open(path, Existing::kForce);
    EXPECT_FALSE(run.resumed());
    EXPECT_EQ(files_below(path), users_files_and({"config.toml", "env.json"}));
    EXPECT_FALSE(std::filesystem::exists(path / "deep"));
  }
  Trial().open(path, Existing::kForce);  // and again
  EXPECT_EQ(files_below(path), users_files_and({"config.toml", "env.json"}));
}

TEST(RunFolder, ForceOnAFolderOfAnOlderProgramRemovesTheNamesThatItsVerbWrote) {
  const TempFolder folder;
  const auto path = folder / "run";
  Trial().open(path);
  std::filesystem::remove(path / RunFiles::kName);
  std::filesystem::remove(path / RunLock::kName);
  std::filesystem::create_directories(path / "checkpoints");
  for (const char* name :
       {"metrics.jsonl", "results.json", "exits.csv", "checkpoints/last.safetensors", "DONE"})
    write_text(path / name, "{}\n");
  write_text(path / "strategy.json", "of another verb, so the user's");
  write_users_files(path);
  {
    // What goes on with it knows them from then on.
    const RunFolder longer = Trial({"--epochs", "30"}).open(path, Existing::kResume);
    EXPECT_TRUE(longer.resumed());
  }
  Trial().open(path, Existing::kForce);
  EXPECT_EQ(files_below(path), users_files_and({"config.toml", "env.json", "strategy.json"}));
}

TEST(RunFolder, AManifestFromElsewhereReachesNothingOutside) {
  const TempFolder folder;
  const auto path = folder / "run";
  write_text(folder / "outside.txt", "mine");
  Trial().open(path);
  write_text(
      path / RunFiles::kName,
      "../outside.txt\n" + (folder / "outside.txt").string() + "\na/../../outside.txt\n\n.\nenv.json\ncut");
  write_text(path / "cut", "named by the end of a line that a crash cut off");
  Trial().open(path, Existing::kForce);
  EXPECT_EQ(read_text(folder / "outside.txt"), "mine");
  EXPECT_EQ(files_below(path), (std::vector<std::string>{"config.toml", "cut", "env.json"}));
}

// A process that died between removing an old run and beginning the new one.
TEST(RunFolder, AnInterruptedRemovalGoesOn) {
  const TempFolder folder;
  const auto path = folder / "run";
  Trial().open(path);
  std::filesystem::remove(path / "config.toml");
  std::filesystem::remove(path / "env.json");
  EXPECT_FALSE(Trial().open(path).resumed());
  EXPECT_EQ(files_below(path), (std::vector<std::string>{"config.toml", "env.json"}));
}

// A process that died while it wrote the first files of a run: only their temporaries are there.
TEST(RunFolder, ARunThatWasKilledBeforeItHadAConfigurationBeginsAgain) {
  for (const Existing existing : {Existing::kRefuse, Existing::kResume, Existing::kForce})
    for (const char* cut : {RunFiles::kName, "config.toml"}) {
      const TempFolder folder;
      write_text(folder / RunLock::kName, "");
      write_text(folder / (std::string(".") + cut + ".123-0.tmp"), "half of i");
      EXPECT_FALSE(Trial().open(folder.path(), existing).resumed());
      EXPECT_EQ(files_below(folder.path()), (std::vector<std::string>{"config.toml", "env.json"}));
    }
  const TempFolder folder;
  write_text(folder / ".photo.jpg.123-0.tmp", "of somebody else");
  EXPECT_NE(Trial().refusal(folder.path()), "accepted");
}

TEST(RunFolder, OneProcessAtATimeWrites) {
  const TempFolder folder;
  const auto path = folder / "run";
  const std::string busy = "process " + std::to_string(::getpid()) + " on host ";
  {
    RunFolder run = Trial().open(path);
    run.metric({{"epoch", 1}});
    for (const Existing existing : {Existing::kRefuse, Existing::kResume, Existing::kForce}) {
      const std::string text = Trial().refusal(path, existing);
      EXPECT_TRUE(text.starts_with(busy)) << text;
      EXPECT_TRUE(text.ends_with(" is writing this run; wait for it, stop it, or choose another --out"))
          << text;
    }
    EXPECT_EQ(run_settings(path).at("train.batch"), "64") << "who reads is not kept out";
    EXPECT_EQ(read_text(path / "metrics.jsonl"), "{\"epoch\":1}\n");
  }
  // A child that dies without a word while it writes: its name stays in the file, its lock does not.
  const pid_t child = fork();
  if (child == 0) {
    new RunFolder(path, "train", Trial().options, {{"seed", 1}}, Existing::kResume);
    ::raise(SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_TRUE(read_text(path / RunLock::kName).starts_with("process " + std::to_string(child)));
  EXPECT_TRUE(Trial().open(path, Existing::kResume).resumed());
}

TEST(RunFolder, ARefusedFolderIsNotTouched) {
  const TempFolder folder;
  write_text(folder / "photo.jpg", "mine");
  EXPECT_NE(Trial().refusal(folder.path()), "accepted");
  EXPECT_FALSE(std::filesystem::exists(folder / RunLock::kName));
}

TEST(RunFolder, ABadByteInATextCostsNoAnswer) {
  const TempFolder folder;
  RunFolder run = Trial().open(folder / "run");
  run.metric({{"name", "donn\xe9"}});
  run.results({{"name", "donn\xe9"}});
  EXPECT_EQ(nlohmann::json::parse(read_text(folder / "run/results.json"))["name"], "donn\xef\xbf\xbd");
  EXPECT_EQ(read_text(folder / "run/metrics.jsonl"), "{\"name\":\"donn\xef\xbf\xbd\"}\n");
}

// A full disk in the middle of a line: what was acknowledged stays as it was, and the rest is not there.
TEST(RunFolder, ALineThatDoesNotFitIsTakenBack) {
  const TempFolder folder;
  RunFolder run = Trial().open(folder / "run");
  run.metric({{"epoch", 1}});
  const auto before = read_text(folder / "run/metrics.jsonl");
  rlimit old_limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  const rlimit small{before.size() + 5, old_limit.rlim_max};
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  EXPECT_THROW(run.metric({{"epoch", 2}}), FileError);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old_limit), 0);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_EQ(read_text(folder / "run/metrics.jsonl"), before);
  run.metric({{"epoch", 2}});
  EXPECT_EQ(read_text(folder / "run/metrics.jsonl"), before + "{\"epoch\":2}\n");
}

TEST(RunFolder, AFolderThatHoldsNoRunIsNeverTouched) {
  const TempFolder folder;
  write_text(folder / "photo.jpg", "mine");
  EXPECT_EQ(Trial().refusal(folder.path(), Existing::kForce),
            "is not empty and holds no run; choose another --out");
  write_text(folder / "config.toml", "key = 1\n");
  EXPECT_EQ(Trial().refusal(folder.path(), Existing::kForce),
            "its config.toml is not of a run; choose another --out");
  EXPECT_EQ(read_text(folder / "config.toml"), "key = 1\n");
  EXPECT_EQ(Trial().refusal(folder / "photo.jpg"), "a folder wanted, this is a file");
}

}  // namespace
}  // namespace offramp::tools
