// train, eval and tune from the outside, and what kill -9 leaves behind.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace {

namespace fs = std::filesystem;

std::string read_text(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

class TrainVerb : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        fs::path(::testing::TempDir()) /
        ("offramp_verb_" + std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()));
    fs::remove_all(folder_);
    // Two classes of 16x16 pictures: bright left or bright right, with a pattern that tells them apart in no
    // way.
    for (const char* split : {"train", "test"}) {
      for (int label = 0; label < 2; ++label) {
        const fs::path place = folder_ / "data" / split / (label == 0 ? "left" : "right");
        fs::create_directories(place);
        for (int i = 0; i < 12; ++i) write_picture(place / (std::to_string(i) + ".ppm"), label, i);
      }
    }
  }
  void TearDown() override { fs::remove_all(folder_); }

  static void write_picture(const fs::path& path, int label, int index) {
    std::ofstream out(path, std::ios::binary);
    out << "P6\n16 16\n255\n";
    for (int y = 0; y < 16; ++y) {
      for (int x = 0; x < 16; ++x) {
        const int base = (x < 8) == (label == 0) ? 180 : 60;
        for (int c = 0; c < 3; ++c)
          out.put(static_cast<char>(base + (x * 7 + y * 13 + c * 5 + index * 11) % 50));
      }
    }
  }

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
            (folder_ / out).string(),
            "--checkpoint-every",
            "1",
            "--seed",
            "3"};
  }

  pid_t start(const std::vector<std::string>& words) const {
    const pid_t child = fork();
    if (child != 0) return child;
    const std::string log = (folder_ / "log").string();
    if (!freopen(log.c_str(), "w", stderr) || !freopen((log + ".out").c_str(), "w", stdout)) _exit(126);
    std::vector<char*> argv = {const_cast<char*>(OFFRAMP_BINARY)};
    for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    execv(OFFRAMP_BINARY, argv.data());
    _exit(127);
  }
  int finish(pid_t child) const {
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  int run(const std::vector<std::string>& words) const { return finish(start(words)); }
  std::string said() const { return read_text(folder_ / "log") + read_text(folder_ / "log.out"); }

  std::size_t epochs_logged(const std::string& out) const {
    const std::string text = read_text(folder_ / out / "metrics.jsonl");
    return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
  }

  fs::path folder_;
};

TEST_F(TrainVerb, ARunKilledThreeTimesEndsWithTheBitsOfAnUninterruptedOne) {
  constexpr int kEpochs = 6;
  ASSERT_EQ(run(train_words("whole", kEpochs)), 0) << said();
  for (std::size_t kill_after = 1; kill_after <= 5; kill_after += 2) {  // epochs logged when the kill comes
    std::vector<std::string> words = train_words("killed", kEpochs);
    if (kill_after > 1) words.push_back("--resume");
    const pid_t child = start(words);
    for (int i = 0; i < 6000 && epochs_logged("killed") < kill_after; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    kill(child, SIGKILL);
    finish(child);
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

TEST_F(TrainVerb, EvalAndTuneTakeTheRunFolder) {
  ASSERT_EQ(run(train_words("run", 4)), 0) << said();
  const std::string data = "folder:" + (folder_ / "data").string() + "?side=16",
                    net = (folder_ / "run").string();
  EXPECT_EQ(run({"tune", net, "--data", data}), 2);
  EXPECT_NE(said().find("tune: expected exactly one of --drop and --budget"), std::string::npos) << said();
  ASSERT_EQ(run({"tune", net, "--data", data, "--drop", "100"}), 0) << said();
  ASSERT_EQ(run({"eval", net, "--data", data, "--latency-images", "3", "--confusion"}), 0) << said();
  for (const char* expected : {"ms/image", "policy: accuracy", "overthinking: ", "confusion: "}) {
    EXPECT_NE(said().find(expected), std::string::npos) << expected << said();
  }
  ASSERT_EQ(run({"infer", (folder_ / "data/test/left/0.ppm").string(), "--checkpoint", net, "--data", data}),
            0)
      << said();
  EXPECT_NE(said().find("left/0.ppm"), std::string::npos) << said();
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
  refused("--held-out", "24", "the training set has 24 samples, got 24");
  refused("--data", "cifar11:here", "cifar11");
}

}  // namespace
