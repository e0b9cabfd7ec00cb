// audit of a served model: what is asked, what is written, and that nothing that was answered is asked again.
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "nets/graph/state_dict.h"
#include "tests/support/pictures.h"
#include "tests/support/program.h"
#include "tools/serve/net_server.h"

namespace offramp {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using nlohmann::json;
using test::Outcome;
using test::read_text;
using test::TempFolder;
using tools::HttpAnswer;
using tools::HttpListener;
using tools::HttpRequest;
using tools::NetServer;
using Words = std::vector<std::string>;

class ServedAudit : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    shared_ = std::make_unique<TempFolder>();
    test::write_pictures(*shared_ / "pictures", {.per_class = 100, .bright = 150, .dark = 70, .spread = 90});
    const Outcome trained = run({"train",
                                 "--net",
                                 "small-cnn",
                                 "--width-divisor",
                                 "4",
                                 "--exits",
                                 "3",
                                 "--data",
                                 data(),
                                 "--epochs",
                                 "1",
                                 "--batch",
                                 "16",
                                 "--out",
                                 at("model")});
    ASSERT_EQ(trained.code, 0) << trained.err;
  }
  static void TearDownTestSuite() { shared_.reset(); }
  static Outcome run(Words words) {
    words.insert(words.end(), {"--threads", "1"});
    return test::run_offramp(words);
  }
  static std::string data() { return "folder:" + (*shared_ / "pictures").string() + "?side=16"; }
  static std::string at(const std::string& name) { return (*shared_ / name).string(); }
  static std::unique_ptr<NetServer> serve(int port = 0) {
    tools::NetServerOptions options{.checkpoint = *shared_ / "model" / "checkpoints" / "last.safetensors"};
    options.policy = nets::ExitPolicy::uniform(3, 0.6);
    auto server = std::make_unique<NetServer>(options);
    server->listen_tcp("127.0.0.1", port);
    server->start();
    return server;
  }
  static std::string url(int port) { return "http://127.0.0.1:" + std::to_string(port); }
  static Words audit(int port, const std::string& out) {
    return {"audit", url(port), "--data", data(), "--split", "test", "--out", at(out)};
  }
  static json results(const std::string& out) {
    return json::parse(read_text(*shared_ / out / "results.json"));
  }
  static json finding(const json& results, const std::string& rule) {
    for (const json& f : results.at("findings"))
      if (f.at("rule") == rule) return f;
    return {};
  }

  static std::unique_ptr<TempFolder> shared_;
};
std::unique_ptr<TempFolder> ServedAudit::shared_;

TEST_F(ServedAudit, FromTheUrlToTheReport) {
  const auto server = serve();
  Words words = audit(server->port(), "whole");
  const std::string pictures = "folder:" + (*shared_ / "pictures").string();
  words.insert(words.end(), {"--members", pictures + "@train", "--others", pictures + "@test"});
  const Outcome done = run(words);
  ASSERT_EQ(done.code, 0) << done.err;
  const json r = results("whole");
  EXPECT_EQ(r.at("kind"), "served model");
  for (const char* rule :
       {"exit-timing", "attribute-timing", "membership", "slowdown", "defence", "extraction"})
    EXPECT_FALSE(finding(r, rule).is_null()) << rule;
  // What needs the net itself says so; what answers and times are enough for was looked at.
  EXPECT_EQ(finding(r, "slowdown").at("kind"), "notApplicable");
  EXPECT_NE(finding(r, "slowdown").at("message").get<std::string>().find("gradients"), std::string::npos);
  for (const char* rule : {"exit-timing", "attribute-timing", "membership", "extraction"})
    EXPECT_NE(finding(r, rule).at("kind"), "notApplicable") << rule;
  const json& model = r.at("sections").at("model").at("data");
  EXPECT_EQ(model.at("images"), 200);
  EXPECT_FALSE(model.contains("plain_macs"));
  EXPECT_NE(model.at("served").get<std::string>().find("model net at http://"), std::string::npos);
  EXPECT_EQ(r.at("sections").at("membership").at("data").at("attacks").size(), 4u);  // nobody tells the exit
  const json& steps = r.at("sections").at("extraction").at("data").at("steps");
  ASSERT_EQ(steps.size(), 2u);  // 100 of 200 images, the baseline and ours
  EXPECT_EQ(steps[0].at("queries"), 100);
  EXPECT_EQ(steps[1].at("copy"), "ours");
  // The count is that of the server: pilot, warm-up, times, members and others, the images to judge by, and no more:
  // the copies learn from the images that were timed.
  EXPECT_EQ(r.at("settings").at("queries").get<std::uint64_t>(), server->counts().images);
  const json sarif = json::parse(read_text(*shared_ / "whole" / "audit.sarif"));
  EXPECT_EQ(sarif.at("version"), "2.1.0");
  for (const json& result : sarif.at("runs")[0].at("results")) {
    EXPECT_EQ(result.at("kind") == "fail", result.at("level") != "none");
    EXPECT_EQ(result.at("locations")[0].at("physicalLocation").at("artifactLocation").at("uri"),
              url(server->port()));
  }
  const std::string page = read_text(*shared_ / "whole" / "report.html"),
                    card = read_text(*shared_ / "whole" / "README.md");
  EXPECT_NE(page.find("exit, estimated"), std::string::npos);
  EXPECT_NE(card.find("accuracy as it is served"), std::string::npos) << card;
  EXPECT_TRUE(fs::exists(*shared_ / "whole" / "trace" / "times.csv"));
  EXPECT_TRUE(fs::exists(*shared_ / "whole" / "DONE"));
}

// Whoever it is: a server that says "left" to everything is right on half of the pictures, and a copy learns that.
TEST_F(ServedAudit, AServerOfSomebodyElse) {
  HttpListener fake({}, [](const HttpRequest& request) -> HttpAnswer {
    if (request.path == "/v2") return {200, R"({"name":"x","version":"1","extensions":[]})"};
    if (request.path == "/v2/models/m")
      return {
          200,
          R"({"name":"m","platform":"theirs","inputs":[{"name":"in","datatype":"FP32","shape":[-1,3,16,16]}],"outputs":[]})"};
    if (request.path == "/v2/repository/index") return {200, R"([{"name":"m"}])"};
    if (request.path != "/v2/models/m/infer") return {404, "{}"};
    const int n = json::parse(request.body).at("inputs")[0].at("shape")[0];
    json values = json::array();
    for (int i = 0; i < n; ++i) values.insert(values.end(), {0.9, 0.1});
    return {200,
            json{{"outputs", {{{"name", "p"}, {"datatype", "FP32"}, {"shape", {n, 2}}, {"data", values}}}}}
                .dump()};
  });
  fake.listen_tcp("127.0.0.1", 0);
  fake.start();
  const Outcome done = run(audit(fake.port(), "theirs"));
  ASSERT_EQ(done.code, 0) << done.err;
  const json r = results("theirs");
  EXPECT_EQ(r.at("sections").at("model").at("data").at("accuracy"), 0.5);
  EXPECT_EQ(r.at("sections").at("extraction").at("data").at("best_same_class"), 1.0);
  EXPECT_EQ(finding(r, "membership").at("kind"), "notApplicable");
  EXPECT_NE(finding(r, "membership").at("message").get<std::string>().find("--members"), std::string::npos);
}

TEST_F(ServedAudit, NoMoreQueriesThanAllowed) {
  const auto server = serve();
  Words words = audit(server->port(), "frugal");
  words.insert(words.end(), {"--max-queries", "1500"});
  const Outcome done = run(words);
  ASSERT_EQ(done.code, 0) << done.err;
  const json r = results("frugal");
  EXPECT_LE(server->counts().images, 1500u);
  EXPECT_EQ(r.at("settings").at("queries").get<std::uint64_t>(), server->counts().images);
  EXPECT_EQ(r.at("sections").at("model").at("data").at("repetitions"), 10);
  EXPECT_GE(r.at("sections").at("model").at("data").at("images"), 50);
  words.back() = "400";
  words[6 + 1] = at("none");
  const Outcome few = run(words);
  EXPECT_EQ(few.code, 2) << few.text();
  EXPECT_NE(few.err.find("--max-queries 400: too few"), std::string::npos) << few.err;
}

// The server goes away in the middle of the times, the audit says so and ends; later another audit is killed; both go on
// with what was answered.
TEST_F(ServedAudit, NothingThatWasAnsweredIsAskedAgain) {
  auto server = serve();
  const int port = server->port();
  Words words = audit(port, "gone");
  words.insert(words.end(), {"--patience", "0.1", "--threads", "1"});
  std::uint64_t asked = 0;
  {
    const test::Program first(words);
    for (int i = 0; i < 60000 && server->counts().images < 2000; ++i) std::this_thread::sleep_for(1ms);
    server->stop(1000ms);
    asked = server->counts().images;
    server.reset();
    const Outcome stopped = first.wait();
    EXPECT_EQ(stopped.code, 1) << stopped.text();
    EXPECT_NE(stopped.err.find("--resume"), std::string::npos) << stopped.err;
  }
  EXPECT_FALSE(fs::exists(*shared_ / "gone" / "DONE"));
  server = serve(port);
  words.push_back("--resume");
  {
    const test::Program second(words);
    for (int i = 0; i < 60000 && server->counts().images < 2000; ++i) std::this_thread::sleep_for(1ms);
    second.send(SIGKILL);
    second.wait();
  }
  ASSERT_FALSE(fs::exists(*shared_ / "gone" / "DONE"));
  const Outcome done = test::run_offramp(words);
  ASSERT_EQ(done.code, 0) << done.err;
  asked += server->counts().images;
  const std::uint64_t needed = results("gone").at("settings").at("queries");
  EXPECT_GE(asked, needed);
  // A block of 200 that was under way at each of the two stops, with its warm-up.
  EXPECT_LE(asked, needed + 2 * 205 + 1);
}

TEST_F(ServedAudit, SaysWhatItCannotTake) {
  const auto server = serve();
  const auto refused = [&](const Words& words, const char* why, int code = 2) {
    const Outcome o = run(words);
    EXPECT_EQ(o.code, code) << o.text();
    EXPECT_NE(o.err.find(why), std::string::npos) << o.err;
  };
  const std::string there = url(server->port());
  refused({"audit", there, "--out", at("x")}, "--data names labelled images");
  Words words = audit(server->port(), "x");
  words.insert(words.end(), {"--threshold", "0.5"});
  refused(words, "offramp serve --threshold");
  words = audit(server->port(), "x");
  words.insert(words.end(), {"--model", "nix"});
  refused(words, "status 404", 1);
  words = audit(1, "x");
  words.insert(words.end(), {"--patience", "0"});
  refused(words, "no answer", 1);
  EXPECT_FALSE(fs::exists(*shared_ / "x"));
}

}  // namespace
}  // namespace offramp
