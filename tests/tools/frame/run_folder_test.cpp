#include "tools/frame/run_folder.h"

#include "tests/support/temp_folder.h"

#include <gtest/gtest.h>

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
    RunFolder run = Trial().open(path);
    EXPECT_EQ(Trial().refusal(path), "holds this run, unfinished; --resume goes on, --force begins again");
    run.done();
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
  RunFolder run = Newer().open(path, Existing::kResume);
  EXPECT_TRUE(run.resumed());
  run.done();
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

TEST(RunFolder, ForceRemovesTheRunAndNothingElse) {
  const TempFolder folder;
  const auto path = folder / "run";
  {
    RunFolder run = Trial().open(path);
    run.metric({{"epoch", 1}});
    write_text(run.folder("checkpoints") / "last.safetensors", "x");
    write_text(path / "notes.txt", "mine");
    run.done();
  }
  const RunFolder run = Trial({"--batch", "32"}).open(path, Existing::kForce);
  EXPECT_FALSE(run.resumed());
  EXPECT_FALSE(std::filesystem::exists(path / "checkpoints"));
  EXPECT_FALSE(std::filesystem::exists(path / "metrics.jsonl"));
  EXPECT_FALSE(std::filesystem::exists(path / "DONE"));
  EXPECT_EQ(read_text(path / "notes.txt"), "mine");
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
