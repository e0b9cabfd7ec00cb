// offramp embed from the outside: the executable runs, carries what it was given, and says when it was damaged.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <chrono>
#include <csignal>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/support/pictures.h"
#include "tests/tools/net/deployed.h"

namespace offramp {
namespace {

using nlohmann::json;
using test::Outcome;
using test::read_text;
using test::run_offramp;
using Words = std::vector<std::string>;

class EmbedVerb : public ::testing::Test {
 protected:
  void SetUp() override {
    test::write_checkpoint(net_, 1, 0);
    test::write_picture(picture_);
  }
  Outcome embed(const std::filesystem::path& model,
                const std::filesystem::path& to,
                const std::string& by = {}) {
    return run({"embed", model.string(), "--to", to.string(), "--log", "json", "--threads", "1"}, by);
  }
  static Outcome run(const Words& words, const std::string& program = {}) {
    return program.empty() ? run_offramp(words) : run_offramp(words, {.program = program});
  }
  // What infer says of the picture, without the times.
  static json answer(const Words& words, const std::string& program = {}) {
    Words all{"infer", "--log", "json", "--threads", "1"};
    all.insert(all.end(), words.begin(), words.end());
    const Outcome outcome = run(all, program);
    EXPECT_EQ(outcome.code, 0) << outcome.text();
    json first = json::parse(outcome.out).at("answers").at(0);
    first.erase("milliseconds");
    return first;
  }

  const test::TempFolder folder_;
  const std::filesystem::path net_ = folder_ / "net.safetensors", to_ = folder_ / "classifier",
                              picture_ = folder_ / "picture.ppm";
};

TEST_F(EmbedVerb, TheExecutableAnswersAsTheCheckpointDoes) {
  const Outcome outcome = embed(net_, to_);
  ASSERT_EQ(outcome.code, 0) << outcome.text();
  const json said = json::parse(outcome.out);
  EXPECT_EQ(said["program_bytes"], read_text(OFFRAMP_BINARY).size());
  EXPECT_FALSE(said["replaced"].get<bool>());
  EXPECT_EQ(said["sha256"].get<std::string>().size(), 64u);
  struct stat info {};
  ASSERT_EQ(::stat(to_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0755u);

  const json own = answer({picture_.string()}, to_.string());
  EXPECT_EQ(own["exit"], 1);
  EXPECT_EQ(own, answer({picture_.string(), "--checkpoint", net_.string()}));
  EXPECT_EQ(own, answer({picture_.string(), "--weights", to_.string()}));  // as a checkpoint, by its name
  // --weights overrides what it carries.
  const auto other = folder_ / "other.safetensors";
  test::write_checkpoint(other, 2, 1.5);
  EXPECT_EQ(answer({picture_.string(), "--weights", other.string()}, to_.string()),
            answer({picture_.string(), "--checkpoint", other.string()}));
  // It is still the program.
  EXPECT_EQ(run({"--version"}, to_.string()).out, run({"--version"}).out);
  test::write_pictures(folder_ / "data");
  const Outcome eval =
      run({"eval", "--data", (folder_ / "data").string(), "--latency-images", "0"}, to_.string());
  EXPECT_EQ(eval.code, 0) << eval.text();
  EXPECT_NE(eval.out.find("policy: accuracy"), std::string::npos) << eval.text();
}

TEST_F(EmbedVerb, EmbeddingAgainReplacesTheWeights) {
  const auto second = folder_ / "second.safetensors";
  test::write_checkpoint(second, 2, 1.5);
  ASSERT_EQ(embed(net_, to_).code, 0);
  const Outcome again = embed(second, folder_ / "again", to_.string());
  ASSERT_EQ(again.code, 0) << again.text();
  EXPECT_TRUE(json::parse(again.out)["replaced"].get<bool>());
  ASSERT_EQ(embed(second, folder_ / "once").code, 0);
  EXPECT_EQ(read_text(folder_ / "again"), read_text(folder_ / "once"));
  // Over itself, and from another such executable.
  ASSERT_EQ(embed(second, to_, to_.string()).code, 0);
  EXPECT_EQ(read_text(to_), read_text(folder_ / "once"));
  ASSERT_EQ(embed(folder_ / "once", folder_ / "copy").code, 0);
  EXPECT_EQ(read_text(folder_ / "copy"), read_text(folder_ / "once"));
}

TEST_F(EmbedVerb, OnlyAProgramIsReplaced) {
  const std::string checkpoint = read_text(net_);
  const auto refuses = [&](const std::filesystem::path& to, const std::string& why) {
    const Outcome outcome = embed(net_, to);
    EXPECT_EQ(outcome.code, 2) << outcome.text();
    EXPECT_NE(outcome.err.find(why), std::string::npos) << outcome.err;
  };
  refuses(net_, "is the file that --checkpoint reads");
  refuses(picture_, "is there and no program");
  EXPECT_EQ(read_text(net_), checkpoint);
  EXPECT_EQ(read_text(picture_).substr(0, 2), "P6");
  ASSERT_EQ(embed(net_, to_).code, 0);
  EXPECT_EQ(embed(net_, to_).code, 0);
  // The answer as JSON does not replace the program that gives it.
  const Outcome own = run({"devices", "--json", to_.string()}, to_.string());
  EXPECT_EQ(own.code, 2) << own.text();
}

TEST_F(EmbedVerb, DamageIsAnErrorAndNotAnAnswer) {
  ASSERT_EQ(embed(net_, to_).code, 0);
  const std::string whole = read_text(to_);
  const auto damaged = [&](const std::string& bytes) {
    const auto path = folder_ / "damaged";
    test::write_text(path, bytes);
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    return run({"infer", picture_.string(), "--threads", "1"}, path.string());
  };
  std::string flipped = whole;
  flipped[whole.size() - 200] = static_cast<char>(flipped[whole.size() - 200] ^ 4);
  Outcome outcome = damaged(flipped);
  EXPECT_EQ(outcome.code, 1) << outcome.text();
  EXPECT_NE(outcome.err.find(
                "SHA-256 digest is another: they were damaged; make the file again with offramp embed"),
            std::string::npos)
      << outcome.err;
  flipped = whole;
  flipped.back() = 'x';
  outcome = damaged(flipped);
  EXPECT_EQ(outcome.code, 1) << outcome.text();
  EXPECT_NE(outcome.err.find("do not end as embedded weights do"), std::string::npos) << outcome.err;
  outcome = damaged(whole.substr(0, whole.size() - 1000));
  EXPECT_EQ(outcome.code, 1) << outcome.text();
  // With weights of its own name a damaged file still answers.
  EXPECT_EQ(
      run({"infer", picture_.string(), "--weights", net_.string()}, (folder_ / "damaged").string()).code, 0);
}

TEST_F(EmbedVerb, WrongUseIsSaidAndNothingIsWritten) {
  const auto refuses = [&](const Words& words, int code, const std::string& why) {
    const Outcome outcome = run_offramp(words);
    EXPECT_EQ(outcome.code, code) << outcome.text();
    EXPECT_NE(outcome.err.find(why), std::string::npos) << outcome.err;
    EXPECT_FALSE(std::filesystem::exists(to_));
  };
  refuses({"embed", "--to", to_.string()}, 2, "--checkpoint");
  refuses({"embed", net_.string()}, 2, "--to");
  refuses({"embed", (folder_ / "none").string(), "--to", to_.string()}, 1, "No such file");
  refuses({"embed", picture_.string(), "--to", to_.string()}, 1, "picture.ppm");
  refuses({"embed", OFFRAMP_BINARY, "--to", to_.string()},
          1,
          "a program without weights; offramp embed MODEL --to FILE");
  refuses({"embed", net_.string(), "--to", (folder_ / "no" / "folder").string()}, 1, "folder");
  for (const char* verb : {"infer picture.ppm", "eval", "serve", "export --to x.onnx"}) {
    const Outcome outcome = test::run_offramp_line(verb);
    EXPECT_EQ(outcome.code, 2) << outcome.text();
    EXPECT_NE(outcome.err.find(
                  "this program carries no weights; offramp embed MODEL --to FILE makes one that does"),
              std::string::npos)
        << verb << outcome.err;
  }
}

TEST_F(EmbedVerb, ServesTheWeightsThatItCarries) {
  ASSERT_EQ(embed(net_, to_).code, 0);
  const auto socket = folder_ / "socket";
  const test::Program server({"serve", "--unix", socket.string(), "--workers", "1", "--threads", "1"},
                             {.program = to_.string()});
  for (int i = 0; i < 1500 && !std::filesystem::is_socket(socket); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  server.send(SIGTERM);
  const Outcome outcome = server.wait();
  if (outcome.err.find("this build has no HTTP") != std::string::npos) GTEST_SKIP() << "built without HTTP";
  EXPECT_EQ(outcome.code, 0) << outcome.text();
  EXPECT_NE(outcome.err.find("serves " + to_.string() + ", 4 exits"), std::string::npos) << outcome.err;
}

TEST_F(EmbedVerb, TuneWritesIntoNoProgram) {
  ASSERT_EQ(embed(net_, to_).code, 0);
  const std::string before = read_text(to_);
  const Outcome outcome = run_offramp({"tune", to_.string(), "--threshold", "0.5"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_NE(outcome.err.find("is a program with weights, and tune writes into a checkpoint"),
            std::string::npos)
      << outcome.err;
  EXPECT_EQ(read_text(to_), before);
}

TEST_F(EmbedVerb, SaysWhereNoExitWillBeSure) {
  nets::Network net(test::deployed_options(), Device::make_cpu({.threads = 1}));
  nets::initialize(net, 1);
  nets::save_checkpoint(net_, net, {});
  const Outcome outcome = embed(net_, to_);
  EXPECT_EQ(outcome.code, 0);
  EXPECT_NE(outcome.err.find("the net has no thresholds"), std::string::npos) << outcome.err;
}

}  // namespace
}  // namespace offramp
