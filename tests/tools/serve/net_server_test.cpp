#include "tools/serve/net_server.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "attacks/query/inference_message.h"
#include "tests/attacks/message.h"
#include "tests/tools/serve/raw_client.h"
#include "tests/tools/serve/served.h"

namespace offramp::tools {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using test::RawClient;

test::Served& served() {
  static test::Served one(test::tiny_options(), 24);
  return one;
}

NetServerOptions options() { return {.checkpoint = served().checkpoint}; }

struct Running {
  explicit Running(const NetServerOptions& o) : server(o) {
    server.listen_tcp("127.0.0.1", 0);
    server.start();
  }
  NetServer server;
};

std::span<const float> image(int i, int count = 1) {
  return std::span(served().pixels)
      .subspan(static_cast<std::size_t>(i) * 64, static_cast<std::size_t>(count) * 64);
}

std::string infer_request(int first, int count, bool binary, const std::string& output = "") {
  const std::vector<std::int64_t> shape = {count, 1, 8, 8};
  const auto body = attacks::infer_body("images", shape, image(first, count), output, binary);
  return test::post(
      "/v2/models/net/infer",
      body.bytes,
      binary ? "Inference-Header-Content-Length: " + std::to_string(body.json_bytes) + "\r\n" : "");
}

std::vector<float> probabilities_of(const std::string& answer) {
  const std::string name = "Inference-Header-Content-Length: ";
  const std::size_t at = answer.find(name);
  const std::size_t json_bytes =
      at == std::string::npos ? 0 : std::strtoul(answer.c_str() + at + name.size(), nullptr, 10);
  return attacks::read_infer_answer(test::body_of(answer), json_bytes, "probabilities").values;
}

std::vector<float> truth(int first, int count = 1) {
  const auto all = std::span(served().truth.probabilities).subspan(static_cast<std::size_t>(first) * 3);
  return {all.begin(), all.begin() + 3 * count};
}

TEST(NetServer, TellsWhatItServes) {
  Running running(options());
  RawClient client(running.server.port());
  const auto get = [&](const std::string& path) {
    return json::parse(test::body_of(client.ask(test::get(path))));
  };
  EXPECT_EQ(get("/v2/health/live"), json::parse(R"({"live":true})"));
  EXPECT_EQ(get("/v2/health/ready"), json::parse(R"({"ready":true})"));
  EXPECT_EQ(get("/v2")["extensions"][0], "binary_tensor_data");
  EXPECT_EQ(get("/v2/models/net/ready"), json::parse(R"({"name":"net","ready":true})"));
  const json model = get("/v2/models/net");
  EXPECT_EQ(model, get("/v2/models/net/versions/1"));
  EXPECT_EQ(model["inputs"][0]["shape"], json::parse("[-1,1,8,8]"));
  EXPECT_EQ(model["outputs"][0]["shape"], json::parse("[-1,3]"));
  EXPECT_EQ(json::parse(test::body_of(client.ask(test::post("/v2/repository/index", "{}"))))[0]["name"],
            "net");
  EXPECT_EQ(test::status_of(client.ask(test::get("/v2/models/other"))), 404);
  EXPECT_EQ(test::status_of(client.ask(test::post("/v2/models/other/infer", "{}"))), 404);
  EXPECT_EQ(test::status_of(client.ask(test::get("/v2/models/net/infer"))), 405);
  const std::string bad = client.ask(test::post("/v2/models/net/infer", "{}"));
  EXPECT_EQ(test::status_of(bad), 400);
  EXPECT_EQ(test::body_of(bad), R"({"error":"expected a list 'inputs' with one tensor, 'images'"})");
}

TEST(NetServer, AnswersAreThoseOfTheNetBitForBit) {
  Running running(options());
  RawClient client(running.server.port());
  for (const bool binary : {false, true}) {
    for (int i = 0; i < 24; ++i)
      EXPECT_EQ(probabilities_of(client.ask(infer_request(i, 1, binary))), truth(i)) << i;
    EXPECT_EQ(probabilities_of(client.ask(infer_request(0, 24, binary))), truth(0, 24));
  }
  const ServerCounts counts = running.server.counts();
  EXPECT_EQ(counts.images, 96u);
  std::vector<std::uint64_t> exits(3);
  for (const std::int32_t exit : served().truth.exit) exits[static_cast<std::size_t>(exit - 1)] += 4;
  EXPECT_EQ(counts.exits, exits);
  EXPECT_EQ(exits, (std::vector<std::uint64_t>{32, 32, 32}));
}

// The protocol's tensors are row-major, channels before rows, whatever the net keeps in memory.
TEST(NetServer, PicturesAreReadInTheOrderThatTheirShapeTells) {
  nets::NetOptions small = test::tiny_options();
  small.channels = 3;
  const test::Served net(small, 8);
  const nets::FrozenNet frozen(net.net);
  const nets::EarlyExitResult truth =
      nets::infer(frozen, net.policy, Tensor::from_nchw({8, 3, 8, 8}, net.pixels, test::one_thread()));
  for (const int together : {1, 4}) {
    Running running({.checkpoint = net.checkpoint, .together = together});
    RawClient client(running.server.port());
    for (const bool binary : {false, true}) {
      const auto body = attacks::infer_body(
          "images", std::vector<std::int64_t>{8, 3, 8, 8}, net.pixels, "probabilities", binary);
      EXPECT_EQ(
          probabilities_of(client.ask(test::post(
              "/v2/models/net/infer",
              body.bytes,
              binary ? "Inference-Header-Content-Length: " + std::to_string(body.json_bytes) + "\r\n" : ""))),
          truth.probabilities);
    }
  }
}

TEST(NetServer, TheExitIsToldToWhoAsksWhereItsOwnerAllowsIt) {
  NetServerOptions o = options();
  const auto ask = [&](NetServer& server, const char* parameters) {
    RawClient client(server.port());
    json body = json::parse(
        attacks::infer_body("images", std::vector<std::int64_t>{1, 1, 8, 8}, image(5), "", false).bytes);
    body["parameters"] = json::parse(parameters);
    return client.ask(test::post("/v2/models/net/infer", body.dump()));
  };
  {
    Running running(o);
    EXPECT_EQ(test::status_of(ask(running.server, R"({"exit":true})")), 400);
    EXPECT_EQ(ask(running.server, "{}").find("exit"), std::string::npos);
  }
  o.tell_exits = true;
  Running running(o);
  EXPECT_EQ(ask(running.server, "{}").find("exit"), std::string::npos);
  EXPECT_EQ(json::parse(test::body_of(ask(running.server, R"({"exit":true})")))["parameters"]["exit"],
            served().truth.exit[5]);
}

// Each request alone, or advancing with others.
class NetServerTogether : public ::testing::TestWithParam<int> {
 protected:
  static NetServerOptions together() {
    NetServerOptions o = options();
    o.together = GetParam();
    if (o.together > 1) o.max_wait = 200us;
    return o;
  }
};
INSTANTIATE_TEST_SUITE_P(, NetServerTogether, ::testing::Values(1, 4, 64));

TEST_P(NetServerTogether, ManyClientsOfFewWorkersGetTheirOwnAnswers) {
  NetServerOptions o = together();
  o.workers = 2;
  Running running(o);
  std::atomic<int> right{0};
  std::vector<std::thread> clients;
  for (int c = 0; c < 12; ++c)
    clients.emplace_back([&, c] {
      RawClient client(running.server.port());
      for (int i = 0; i < 24; ++i) {
        const int count = 1 + i % 5 % 3, at = (c + i) % (25 - count);
        if (probabilities_of(client.ask(infer_request(at, count, i % 2 == 0))) == truth(at, count)) ++right;
      }
    });
  for (auto& client : clients) client.join();
  EXPECT_EQ(right, 12 * 24);
  std::uint64_t images = 0;
  for (const std::uint64_t at_exit : running.server.counts().exits) images += at_exit;
  EXPECT_EQ(images, running.server.counts().images);
}

attacks::Defence padding(std::vector<double> deadlines_ns) {
  attacks::PaddingPlan plan;
  const std::size_t n = deadlines_ns.size();
  plan.deadlines_ns = std::move(deadlines_ns);
  plan.channel.resize(n * n);
  for (std::size_t k = 0; k < n; ++k) plan.channel[k * n + n - 1] = 1;  // everybody at the last deadline
  return {.name = "constant", .time_guard = {}, .padding = plan};
}

TEST_P(NetServerTogether, PaddedAnswersKeepTheirDeadline) {
  NetServerOptions o = together();
  o.defence = padding({100e6, 200e6, 400e6});  // far beyond what the net takes on a busy machine
  Running running(o);
  RawClient client(running.server.port());
  for (int i = 0; i < 2; ++i) {
    const auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(probabilities_of(client.ask(infer_request(i, 1, true))), truth(i));
    EXPECT_GE(std::chrono::steady_clock::now() - start, 400ms);
  }
  EXPECT_EQ(running.server.counts().late, 0u);
  // Several images at once would be a way around it.
  const std::string two = client.ask(infer_request(0, 2, true));
  EXPECT_EQ(test::status_of(two), 400);
  EXPECT_NE(two.find("expected the shape [1,1,8,8]"), std::string::npos) << two;
}

TEST_P(NetServerTogether, AnswersAfterTheirDeadlineAreCounted) {
  NetServerOptions o = together();
  o.defence = padding({1, 2, 3});  // nanoseconds
  Running running(o);
  RawClient client(running.server.port());
  EXPECT_EQ(probabilities_of(client.ask(infer_request(0, 1, true))), truth(0));
  EXPECT_EQ(running.server.counts().late, 1u);
  o.padding_slack = 500ms;
  Running patient(o);
  RawClient other(patient.server.port());
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(probabilities_of(other.ask(infer_request(0, 1, true))), truth(0));
  EXPECT_GE(std::chrono::steady_clock::now() - start, 500ms);
  EXPECT_EQ(patient.server.counts().late, 0u);
}

TEST_P(NetServerTogether, TimeGuardDelaysAnInputByItsOwnDraw) {
  attacks::TimeGuardOptions guard;
  guard.sigma_ns = 20e6;
  guard.seed.secret = "s";
  guard.seed.hash = attacks::InputHash::kExact;
  NetServerOptions o = together();
  o.defence = attacks::Defence{.name = "guard", .time_guard = guard, .padding = {}};
  Running running(o);
  RawClient client(running.server.port());
  for (int i = 0; i < 4; ++i) {
    const std::vector<float> one(image(i).begin(), image(i).end());
    const double delay_ns =
        attacks::time_guard_release_ns(Tensor::from<float>({1, 1, 8, 8}, one, test::one_thread()), 0, guard);
    const auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(probabilities_of(client.ask(infer_request(i, 1, true))), truth(i));
    EXPECT_GE(static_cast<double>(std::chrono::nanoseconds(std::chrono::steady_clock::now() - start).count()),
              delay_ns);
  }
}

TEST(NetServer, WrongUseIsNamed) {
  const auto said = [](const auto& change) {
    NetServerOptions o = options();
    change(o);
    return test::message_of([&] { NetServer server(o); });
  };
  EXPECT_EQ(said([](NetServerOptions& o) { o.name = "a/b"; }),
            "model name: expected letters, digits, '.', '_' and '-' (it stands in addresses), got 'a/b'");
  EXPECT_EQ(said([](NetServerOptions& o) { o.workers = 0; }),
            "at least one worker and one image a request are wanted");
  EXPECT_EQ(said([](NetServerOptions& o) { o.together = 0; }),
            "at least one image at a time and a wait of 0 or more are wanted");
  EXPECT_EQ(said([](NetServerOptions& o) {
              o.defence = padding({1, 2});
            }),
            "the padding is for 2 exits, the net has 3");
  EXPECT_NE(said([](NetServerOptions& o) { o.policy = nets::ExitPolicy{}; }).find("threshold"),
            std::string::npos);
  EXPECT_NE(said([](NetServerOptions& o) { o.checkpoint = "/nowhere"; }).find("/nowhere"), std::string::npos);
}

}  // namespace
}  // namespace offramp::tools
