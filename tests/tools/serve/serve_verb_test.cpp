// offramp serve and offramp extract query --victim URL from the outside: start, answers, signals, going on.
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <nlohmann/json.hpp>
#include <thread>

#include "attacks/query/trace.h"
#include "tests/support/program.h"
#include "tests/tools/serve/raw_client.h"
#include "tests/tools/serve/served.h"

namespace offramp {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using test::Program;
using test::run_offramp;

nets::NetOptions small_net() {
  nets::NetOptions o = test::tiny_options();
  o.channels = 3;
  o.side = 16;
  return o;
}

test::Served& net_on_disk() {
  static test::Served one(small_net(), 24);
  return one;
}

// The program with a server on a socket of its own, once it answers.
class Server {
 public:
  explicit Server(const std::vector<std::string>& more = {}) : program_(words(more)) {
    EXPECT_TRUE(test::is_listened_on(socket().string()));
  }
  std::filesystem::path socket() const { return folder_ / "s"; }
  std::string url() const { return "unix:" + socket().string(); }
  Program& program() { return program_; }
  test::Outcome stop(int signal = SIGTERM) {
    program_.send(signal);
    return program_.wait();
  }

 private:
  std::vector<std::string> words(const std::vector<std::string>& more) const {
    std::vector<std::string> all = {"serve",
                                    net_on_disk().checkpoint.string(),
                                    "--unix",
                                    socket().string(),
                                    "--workers",
                                    "1",
                                    "--log",
                                    "json"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  test::TempFolder folder_;
  Program program_;
};

TEST(ServeVerb, AnswersUntilItIsToldToStopAndSaysWhatItDid) {
  for (const int signal : {SIGTERM, SIGINT}) {
    Server server;
    {
      test::RawClient client(server.socket().string());
      EXPECT_EQ(test::body_of(client.ask(test::get("/v2/health/ready"))), R"({"ready":true})");
      const json metadata = json::parse(test::body_of(client.ask(test::get("/v2"))));
      EXPECT_NE(metadata["version"], "0");
      EXPECT_EQ(test::status_of(client.ask(test::post("/v2/models/net/infer", "{}"))), 400);
    }
    const test::Outcome outcome = server.stop(signal);
    EXPECT_EQ(outcome.code, 0) << outcome.text();
    const json said = json::parse(outcome.out);
    EXPECT_EQ(said["requests"], 3);
    EXPECT_EQ(said["errors"], 1);
    EXPECT_EQ(said["images"], 0);
    EXPECT_EQ(said["cut"], 0);
    EXPECT_NE(outcome.err.find("\"url\":\"" + server.url() + "\""), std::string::npos) << outcome.err;
    EXPECT_FALSE(std::filesystem::exists(server.socket()));
  }
}

TEST(ServeVerb, WrongUseIsNamed) {
  const std::string net = net_on_disk().checkpoint.string();
  const auto said = [](const std::vector<std::string>& words, int code) {
    const test::Outcome outcome = run_offramp(words);
    EXPECT_EQ(outcome.code, code) << outcome.text();
    return outcome.err;
  };
  EXPECT_NE(said({"serve", "/nowhere.safetensors"}, 1).find("/nowhere.safetensors"), std::string::npos);
  EXPECT_NE(said({"serve", net, "--port", "70000"}, 2).find("--port"), std::string::npos);
  EXPECT_NE(said({"serve", net, "--name", "a b"}, 2).find("serve: model name: expected letters"),
            std::string::npos);
  EXPECT_NE(said({"serve", net, "--defence", net}, 1).find("expected JSON"), std::string::npos);
  EXPECT_NE(said({"extract", "query", net, "--images", "synthetic:leaves:4", "--model", "m"}, 2)
                .find("are about a served net"),
            std::string::npos);
  EXPECT_NE(
      said({"extract", "query", "http://127.0.0.1:1", "--images", "synthetic:leaves:4", "--shape", "3,x"}, 2)
          .find("--shape: expected whole numbers"),
      std::string::npos);
  EXPECT_NE(
      said({"extract", "query", "http://127.0.0.1:1", "--images", "synthetic:leaves:4", "--patience", "0"}, 1)
          .find("no answer"),
      std::string::npos);
}

TEST(ExtractQueryVerb, AServedNetGivesTheTraceOfTheNetItself) {
  test::TempFolder folder;
  const auto query = [&](const std::string& victim, const std::string& out) {
    const test::Outcome outcome = run_offramp({"extract",
                                               "query",
                                               victim,
                                               "--images",
                                               "synthetic:leaves:12",
                                               "--repetitions",
                                               "2",
                                               "--out",
                                               (folder / out).string(),
                                               "--threads",
                                               "1"});
    EXPECT_EQ(outcome.code, 0) << outcome.text();
    return attacks::read_trace(folder / out / "trace");
  };
  Server server;
  const attacks::Trace remote = query(server.url(), "remote"),
                       own = query(net_on_disk().checkpoint.string(), "own");
  EXPECT_EQ(remote.outputs, own.outputs);
  EXPECT_EQ(remote.order, own.order);
  EXPECT_EQ(remote.info.images_digest, own.info.images_digest);
  EXPECT_NE(remote.info.victim.find("model net at " + server.url()), std::string::npos) << remote.info.victim;
  const json results = json::parse(test::read_text(folder / "remote" / "results.json"));
  EXPECT_GE(results["requests"], 24);
  EXPECT_EQ(results["repeated"], 0);
  EXPECT_EQ(server.stop().code, 0);
}

TEST(ExtractQueryVerb, ARunWhoseServerWasKilledGoesOn) {
  test::TempFolder folder;
  const std::vector<std::string> begin = {"extract",
                                          "query",
                                          "",
                                          "--images",
                                          "synthetic:leaves:40",
                                          "--repetitions",
                                          "30",
                                          "--block",
                                          "20",
                                          "--patience",
                                          "0.1",
                                          "--out",
                                          (folder / "q").string()};
  const auto with = [&](const std::string& url, const std::vector<std::string>& more) {
    std::vector<std::string> words = begin;
    words[2] = url;
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  // The same address before and after.
  auto server = std::make_unique<Server>();
  const std::filesystem::path socket = folder / "address";
  std::filesystem::create_symlink(server->socket(), socket);
  const std::string url = "unix:" + socket.string();
  Program running(with(url, {}));
  const auto part = folder / "q" / "trace" / "times.part";
  for (int i = 0; i < 1000; ++i) {
    std::error_code none;
    if (std::filesystem::file_size(part, none) > 0 && !none) break;
    std::this_thread::sleep_for(2ms);
  }
  EXPECT_EQ(server->stop(SIGKILL).code, -SIGKILL);
  const test::Outcome stopped = running.wait();
  server = std::make_unique<Server>();
  std::filesystem::remove(socket);
  std::filesystem::create_symlink(server->socket(), socket);
  if (stopped.code != 0) {  // on a fast machine it may have been done
    EXPECT_EQ(stopped.code, 1);
    EXPECT_NE(stopped.err.find("--resume"), std::string::npos) << stopped.err;
    EXPECT_GT(std::filesystem::file_size(part), 0u);
    const test::Outcome resumed = run_offramp(with(url, {"--resume"}));
    EXPECT_EQ(resumed.code, 0) << resumed.text();
  }
  const attacks::Trace trace = attacks::read_trace(folder / "q" / "trace");
  EXPECT_EQ(trace.samples, 40);
  EXPECT_EQ(trace.repetitions, 30);
  EXPECT_EQ(server->stop().code, 0);
}

}  // namespace
}  // namespace offramp
