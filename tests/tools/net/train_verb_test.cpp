// train, eval and tune from the outside, and what kill -9 leaves behind.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "nets/graph/state_dict.h"
#include "tests/support/pictures.h"
#include "tests/support/program.h"

namespace offramp {
namespace {

namespace fs = std::filesystem;
using test::read_text;

class TrainVerb : public ::testing::Test {
 protected:
  void SetUp() override { test::write_pictures(folder_ / "data"); }

  std::vector<std::string> train_words(const std::string& out, int epochs) const {
    return {"train",
            "--net",
            "small-cnn",
            "--width-divisor",
            "4",
            "--data",
            "folder:" + (folder_ / "data").string() + "?side=16",
            "--epochs",
            std::to_string(epochs),
            "--batch",
            "4",
            "--out",
            (folder_.path() / out).string(),
            "--checkpoint-every",
            "1",
            "--seed",
            "3"};
  }

  int run(const std::vector<std::string>& words) {
    const test::Outcome outcome = test::run_offramp(words);
    said_ = outcome.text();
    return outcome.code;
  }
  const std::string& said() const { return said_; }

  std::size_t epochs_logged(const std::string& out) const {
    const fs::path path = folder_.path() / out / "metrics.jsonl";
    const std::string text = fs::exists(path) ? read_text(path) : "";
    return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
  }

  test::TempFolder folder_;
  std::string said_;  // by the last run
};

TEST_F(TrainVerb, ARunKilledThreeTimesEndsWithTheBitsOfAnUninterruptedOne) {
  constexpr int kEpochs = 8;  // the last kill comes after 5: the child must not end before it
  ASSERT_EQ(run(train_words("whole", kEpochs)), 0) << said();
  for (std::size_t kill_after = 1; kill_after <= 5; kill_after += 2) {  // epochs logged when the kill comes
    std::vector<std::string> words = train_words("killed", kEpochs);
    if (kill_after > 1) words.push_back("--resume");
    const test::Program child(words);
    for (int i = 0; i < 6000 && epochs_logged("killed") < kill_after; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    child.send(SIGKILL);
    EXPECT_EQ(child.wait().code, -SIGKILL);
    EXPECT_FALSE(fs::exists(folder_ / "killed" / "DONE"));
  }
  std::vector<std::string> words = train_words("killed", kEpochs);
  words.push_back("--resume");
  ASSERT_EQ(run(words), 0) << said();
  EXPECT_EQ(read_text(folder_ / "killed/checkpoints/last.safetensors"),
            read_text(folder_ / "whole/checkpoints/last.safetensors"));
  EXPECT_EQ(epochs_logged("killed"), static_cast<std::size_t>(kEpochs));
  EXPECT_TRUE(fs::exists(folder_ / "killed" / "DONE"));
}

// Killed behind the last epoch, or asked for one more file: nothing is left to train, and the answer is the same.
TEST_F(TrainVerb, ARunResumedBehindItsLastEpochStillEnds) {
  ASSERT_EQ(run(train_words("run", 2)), 0) << said();
  const std::string results = read_text(folder_ / "run/results.json"),
                    exits = read_text(folder_ / "run/exits.csv");
  std::vector<std::string> words = train_words("run", 2);
  words.push_back("--resume");
  for (const char* gone : {"DONE", "results.json", "exits.csv", "metrics.jsonl"}) {
    fs::remove(folder_ / "run/DONE");
    fs::remove(folder_ / "run" / gone);
    ASSERT_EQ(run(words), 0) << gone << "\n" << said();
    EXPECT_TRUE(fs::exists(folder_ / "run/DONE"));
    EXPECT_EQ(read_text(folder_ / "run/exits.csv"), exits);
    if (std::string(gone) != "metrics.jsonl") {
      EXPECT_EQ(read_text(folder_ / "run/results.json"), results);
    }
  }
  words.push_back("--tensorboard");
  ASSERT_EQ(run(words), 0) << said();
  EXPECT_TRUE(fs::exists(folder_ / "run/DONE"));
}

// A start from other weights leaves the pixels' statistics those of the new pictures; a frozen trunk keeps its own.
TEST_F(TrainVerb, TheNormalisationIsOfThePicturesThatAreLearnedFrom) {
  ASSERT_EQ(run(train_words("first", 1)), 0) << said();
  const auto statistics = [&](const std::string& out) {
    const nets::LoadedNet net = nets::load_net(folder_ / out / "checkpoints/last.safetensors", Device::cpu());
    const auto of = [&](const char* name) {
      return net.net->parameters().find(name)->value.to_host<float>();
    };
    const nets::NetOptions& options = net.net->options();
    EXPECT_EQ(of("normalize.mean"), options.mean) << out;
    for (std::size_t c = 0; c < options.std.size(); ++c)
      EXPECT_FLOAT_EQ(of("normalize.inv_std")[c], 1 / options.std[c]) << out;
    return options.mean;
  };
  const std::vector<float> before = statistics("first");
  const auto on_others = [&](const std::string& out, const std::vector<std::string>& more) {
    std::vector<std::string> words = train_words(out, 1);
    words.insert(words.end(), {"--held-out", "9", "--from", (folder_ / "first").string()});
    words.insert(words.end(), more.begin(), more.end());
    ASSERT_EQ(run(words), 0) << said();
  };
  on_others("joint", {});
  EXPECT_NE(statistics("joint"), before);  // fifteen of the same pictures
  on_others("exits", {"--kind", "exits-only"});
  EXPECT_EQ(statistics("exits"), before);
}

// The scalars of metrics.jsonl once an epoch, also where the run was left and gone on with.
TEST_F(TrainVerb, TensorBoardGetsEveryEpochOnce) {
  std::vector<std::string> words = train_words("run", 4);
  words.push_back("--tensorboard");
  {
    const test::Program child(words);
    for (int i = 0; i < 6000 && epochs_logged("run") < 2; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    child.send(SIGKILL);
    child.wait();
  }
  words.push_back("--resume");
  ASSERT_EQ(run(words), 0) << said();
  const std::string events = read_text(folder_ / "run/tensorboard/events.out.tfevents.offramp");
  const auto count = [&](const std::string& tag) {
    std::size_t found = 0;
    for (std::size_t at = events.find(tag); at != std::string::npos; at = events.find(tag, at + 1)) ++found;
    return found;
  };
  EXPECT_EQ(count("brain.Event:2"), 1u);
  EXPECT_EQ(count("learning_rate"), epochs_logged("run"));
  EXPECT_EQ(count("test_accuracy/exit_2"), epochs_logged("run"));
  EXPECT_NE(read_text(folder_ / "run/.offramp-files").find("tensorboard/events"), std::string::npos);
  ASSERT_EQ(run(train_words("without", 1)), 0) << said();
  EXPECT_FALSE(fs::exists(folder_ / "without/tensorboard"));
}

// Which data are read stands in the checkpoint: their files are no place for an answer either.
TEST_F(TrainVerb, AnAnswerDoesNotReplaceThePicturesOfTheCheckpoint) {
  ASSERT_EQ(run(train_words("run", 1)), 0) << said();
  fs::path picture;
  for (const auto& entry : fs::recursive_directory_iterator(folder_ / "data"))
    if (entry.is_regular_file()) picture = entry.path();
  const std::string before = read_text(picture);
  for (const char* verb : {"eval", "tune"}) {
    std::vector<std::string> words{verb, (folder_ / "run").string(), "--json", picture.string()};
    if (verb == std::string("tune")) words.insert(words.end(), {"--drop", "1"});
    EXPECT_EQ(run(words), 2) << said();
    EXPECT_NE(said().find("the checkpoint's training data"), std::string::npos) << said();
  }
  EXPECT_EQ(read_text(picture), before);
}

TEST_F(TrainVerb, EvalAndTuneTakeTheRunFolder) {
  ASSERT_EQ(run(train_words("run", 4)), 0) << said();
  const std::string data = "folder:" + (folder_ / "data").string() + "?side=16",
                    net = (folder_ / "run").string();
  EXPECT_EQ(run({"tune", net, "--data", data}), 2);
  EXPECT_NE(said().find("tune: expected exactly one of --drop, --budget and --threshold"), std::string::npos)
      << said();
  ASSERT_EQ(run({"tune", net, "--data", data, "--drop", "100"}), 0) << said();
  // MSDNet's rule for a batch: within the budget, or nothing is written.
  ASSERT_EQ(run({"tune", net, "--data", data, "--thresholds", "msdnet", "--budget", "0.9"}), 0) << said();
  EXPECT_NE(said().find("cost 0."), std::string::npos) << said();
  EXPECT_EQ(run({"tune", net, "--data", data, "--thresholds", "msdnet", "--budget", "0.0001"}), 1);
  EXPECT_NE(said().find("no thresholds stay within that budget: where all leave at exit 1 the cost is 0."),
            std::string::npos)
      << said();
  // Options that nothing would come of.
  const auto refused = [&](std::vector<std::string> words, const std::string& why) {
    words.insert(words.begin() + 1, {net, "--data", data});
    EXPECT_EQ(run(words), 2);
    EXPECT_NE(said().find(why), std::string::npos) << said();
  };
  refused({"tune", "--threshold", "0.5", "--thresholds", "per-exit"}, "--threshold sets one for all exits");
  refused({"tune", "--drop", "100", "--thresholds", "msdnet", "--rule", ">"}, "msdnet has the rule >=");
  refused({"eval", "--rule", ">"}, "--rule and --fallback are those of --threshold");
  refused({"eval", "--fallback", "last"}, "--rule and --fallback are those of --threshold");
  refused({"eval", "--threshold", "70"}, "--threshold: 0 to 1 wanted, got 70");
  ASSERT_EQ(run({"tune", net, "--data", data, "--drop", "100"}), 0) << said();
  ASSERT_EQ(run({"eval", net, "--data", data, "--latency-images", "3", "--confusion"}), 0) << said();
  for (const char* expected : {"ms/image", "policy: accuracy", "overthinking: ", "confusion: "}) {
    EXPECT_NE(said().find(expected), std::string::npos) << expected << said();
  }
  ASSERT_EQ(run({"infer", (folder_ / "data/test/left/0.ppm").string(), "--checkpoint", net, "--data", data}),
            0)
      << said();
  EXPECT_NE(said().find("left/0.ppm"), std::string::npos) << said();
  EXPECT_EQ(
      run({"infer", (folder_ / "data/test/left/0.ppm").string(), "--checkpoint", net, "--threshold", "70"}),
      2);
  EXPECT_NE(said().find("--threshold: 0 to 1 wanted, got 70"), std::string::npos) << said();
}

// One argument is one path: nothing in it is divided or taken off.
TEST_F(TrainVerb, PicturesAndFoldersMayHaveNamesWithCommasAndBrackets) {
  std::vector<std::string> words = train_words("[tt], x=1", 1);
  ASSERT_EQ(run(words), 0) << said();
  const fs::path odd = folder_ / "cat, sleeping [1]@home=x.ppm";
  fs::copy_file(folder_ / "data/test/left/0.ppm", odd);
  ASSERT_EQ(run({"infer",
                 odd.string(),
                 "[none].ppm",
                 "--checkpoint",
                 (folder_ / "[tt], x=1").string(),
                 "--threshold",
                 "1"}),
            1);
  EXPECT_NE(said().find("[none].ppm"), std::string::npos) << said();
  ASSERT_EQ(
      run({"infer", odd.string(), "--checkpoint", (folder_ / "[tt], x=1").string(), "--threshold", "1"}), 0)
      << said();
  EXPECT_NE(said().find(odd.string()), std::string::npos) << said();
  EXPECT_EQ(run({"curves", (folder_ / "[tt], x=1").string()}), 0) << said();
}

TEST_F(TrainVerb, WrongUseIsNamedAndLeavesNoRunFolder) {
  const auto refused = [&](const std::string& flag, const std::string& value, const std::string& message) {
    std::vector<std::string> words = train_words("wrong", 1);
    const auto at = std::find(words.begin(), words.end(), flag);
    if (at == words.end()) {
      words.insert(words.end(), {flag, value});
    } else {
      *(at + 1) = value;
    }
    EXPECT_NE(run(words), 0);
    EXPECT_NE(said().find(message), std::string::npos) << said();
    EXPECT_FALSE(fs::exists(folder_ / "wrong"));
  };
  refused("--net", "resnet-57", "net: expected one of vgg-16, resnet-<6n+2>");
  refused("--exits", "9", "9 exits do not fit");
  refused("--net", "fcn-18-1", "image data want a convolutional net");
  refused("--held-out",
          "24",
          "24 samples are to be held out and the training set has 24: none would be left to train on");
  refused("--data", "cifar11:here", "cifar11");
  refused("--kind", "exits-only", "--from CHECKPOINT gives the trunk");
  for (const auto& [name, value] : {std::pair{"--recipe", "msdnet"}, {"--kind", "exits-only"}}) {
    std::vector<std::string> words = train_words("wrong", 1);
    words.insert(words.end(), {name, value, "--from", "x", "--loss-weights", "sdn"});
    EXPECT_EQ(run(words), 2);
    EXPECT_NE(said().find(std::string(name) + " " + value + " gives every loss the weight 1"),
              std::string::npos)
        << said();
  }
  refused("--data", "synthetic:leaves:60:16", "training wants labels of two classes or more");
}

}  // namespace
}  // namespace offramp
