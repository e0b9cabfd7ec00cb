// Connections and their limits, from the other end of a raw socket.
#include "tools/serve/http_listener.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <future>
#include <thread>

#include "base/errors.h"
#include "tests/attacks/message.h"
#include "tests/support/temp_folder.h"
#include "tests/tools/serve/raw_client.h"

namespace offramp::tools {
namespace {

using namespace std::chrono_literals;
using test::RawClient;

HttpLimits small_limits() {
  return {.body_bytes = 1000, .connections = 8, .request_time = 5s, .idle_time = 5s};
}

std::atomic<int> g_slow_begun{0};

// Says back what it was asked; "/slow" takes a quarter of a second, "/bad" throws.
HttpAnswer echo(const HttpRequest& request) {
  if (request.path == "/slow") {
    ++g_slow_begun;
    std::this_thread::sleep_for(250ms);
  }
  if (request.path == "/bad") throw std::runtime_error("out of order");
  return {.status = 200,
          .body = request.method + " " + request.path + " [" + request.json_length + "] " + request.body,
          .content_type = "text/plain",
          .json_length = request.body.size()};
}

struct Listener {
  explicit Listener(const HttpLimits& limits = small_limits()) : http(limits, echo) {
    http.listen_tcp("127.0.0.1", 0);
    http.start();
  }
  HttpListener http;
  int port() const { return http.port(); }
};

TEST(HttpListener, ManyRequestsShareAConnection) {
  Listener listener;
  RawClient client(listener.port());
  for (int i = 0; i < 100; ++i) {
    const std::string body(static_cast<std::size_t>(i), 'x');
    const std::string answer = client.ask(test::post("/a", body, "Inference-Header-Content-Length: 7\r\n"));
    ASSERT_EQ(test::status_of(answer), 200) << answer;
    EXPECT_EQ(test::body_of(answer), "POST /a [7] " + body);
    const std::string header = "Inference-Header-Content-Length: " + std::to_string(i) + "\r\n";
    EXPECT_EQ(answer.find(header) != std::string::npos, i > 0) << answer;
  }
  EXPECT_EQ(listener.http.counts().connections, 1u);
  EXPECT_EQ(listener.http.counts().requests, 100u);
}

TEST(HttpListener, RequestsThatComeAtOnceAreAnsweredInOrder) {
  Listener listener;
  RawClient client(listener.port());
  client.send(test::post("/one", "1") + test::get("/two") + test::post("/three", "3"));
  EXPECT_EQ(test::body_of(client.answer()), "POST /one [] 1");
  EXPECT_EQ(test::body_of(client.answer()), "GET /two [] ");
  EXPECT_EQ(test::body_of(client.answer()), "POST /three [] 3");
}

TEST(HttpListener, ABodyMayComeByteByByte) {
  Listener listener;
  RawClient client(listener.port());
  for (const char c : test::post("/a", "slowly")) {
    client.send(std::string_view(&c, 1));
    std::this_thread::sleep_for(1ms);
  }
  EXPECT_EQ(test::body_of(client.answer()), "POST /a [] slowly");
}

TEST(HttpListener, TheOthersWishesAreKept) {
  Listener listener;
  {
    RawClient client(listener.port());  // the client ends
    EXPECT_NE(client.ask(test::get("/a", "Connection: close\r\n")).find("Connection: close"),
              std::string::npos);
    EXPECT_TRUE(client.ends());
  }
  {
    RawClient client(listener.port());  // what curl says before a long body
    client.send("POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    EXPECT_EQ(test::status_of(client.answer()), 100);
    EXPECT_EQ(test::body_of(client.ask("body")), "POST /a [] body");
  }
  {
    RawClient client(listener.port());  // no body comes with the head alone
    const std::string answer = client.ask("HEAD /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    EXPECT_EQ(test::status_of(answer), 200);
    EXPECT_TRUE(client.ends());
  }
  {
    RawClient client(listener.port());  // an answer is never compressed: that would take time
    const std::string answer =
        client.ask(test::get("/a", "Accept-Encoding: gzip, br\r\nRange: bytes=0-1\r\n"));
    EXPECT_EQ(test::status_of(answer), 200);
    EXPECT_EQ(test::body_of(answer), "GET /a [] ");
  }
  {
    RawClient client(listener.port());  // curl -d calls everything a form
    const std::string body(900, '=');
    EXPECT_EQ(
        test::body_of(client.ask("POST /a HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n"
                                 "Content-Length: 900\r\n\r\n" +
                                 body)),
        "POST /a [] " + body);
  }
}

TEST(HttpListener, WhatIsNoRequestIsRefusedWithTheReason) {
  struct Row {
    std::string request;
    int status;
    std::string reason;
  };
  const std::string chunked = "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n";
  const std::vector<Row> rows = {
      {"nonsense\r\n\r\n", 400, "expected an HTTP/1.1 request"},
      {"GET /a HTTP/1.1\r\nno colon\r\n" + std::string(9000, 'h') + "\r\n\r\n",
       400,
       "expected an HTTP/1.1 request"},
      {"GET /" + std::string(9000, 'a') + " HTTP/1.1\r\n\r\n", 414, "the address is too long"},
      {"PUT /a HTTP/1.1\r\nContent-Length: 1\r\n\r\nx", 405, "method 'PUT': expected GET or POST"},
      {"POST /a HTTP/1.1\r\n\r\n", 411, "expected a header Content-Length"},
      {chunked, 411, "a body in chunks is not taken"},
      {"POST /a HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
       400,
       "expected one header Content-Length"},
      {"POST /a HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400, "expected a number of bytes, got '-1'"},
      {"POST /a HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", 400, "expected a number of bytes"},
      {test::post("/a", std::string(1001, 'x')), 413, "the body has 1001 bytes, at most 1000 are taken"},
      {test::post("/a", "x", "Content-Encoding: gzip\r\n"), 415, "Content-Encoding 'gzip'"},
      {"POST /a HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 1\r\n\r\nx",
       415,
       "Content-Type 'multipart/form-data; boundary=b'"},
  };
  Listener listener;
  for (const Row& row : rows) {
    RawClient client(listener.port());
    const std::string answer = client.ask(row.request);
    EXPECT_EQ(test::status_of(answer), row.status) << row.request.substr(0, 80) << "\n" << answer;
    EXPECT_NE(test::body_of(answer).find(row.reason), std::string::npos) << row.request.substr(0, 80) << "\n"
                                                                         << answer;
    EXPECT_NE(answer.find("Connection: close\r\n"), std::string::npos) << answer;
    EXPECT_TRUE(client.ends()) << row.request.substr(0, 80);
  }
  EXPECT_EQ(listener.http.counts().errors, rows.size());
}

TEST(HttpListener, WhatTheHandlerThrowsIsAnAnswerAndTheConnectionGoesOn) {
  Listener listener;
  RawClient client(listener.port());
  const std::string answer = client.ask(test::get("/bad"));
  EXPECT_EQ(test::status_of(answer), 500);
  EXPECT_EQ(test::body_of(answer), R"({"error":"the server failed: out of order"})");
  EXPECT_EQ(test::body_of(client.ask(test::get("/a"))), "GET /a [] ");
}

TEST(HttpListener, HalfABodyIsSaidSo) {
  Listener listener;
  RawClient client(listener.port());
  client.send("POST /a HTTP/1.1\r\nContent-Length: 50\r\n\r\nhalf");
  client.end_of_sending();
  const std::string answer = client.answer();
  EXPECT_EQ(test::status_of(answer), 400);
  EXPECT_NE(answer.find("the request ended before all of it had come"), std::string::npos) << answer;
  EXPECT_TRUE(client.ends());
}

TEST(HttpListener, WhoIsTooSlowIsCut) {
  HttpLimits limits = small_limits();
  limits.request_time = 200ms;
  Listener listener(limits);
  RawClient body(listener.port()), drips(listener.port());
  body.send("POST /a HTTP/1.1\r\nContent-Length: 50\r\n\r\nhalf");
  // Never idle for long, and never done.
  auto dripping = std::async(std::launch::async, [&] {
    drips.send("GET /a HTTP/1.1\r\n");
    for (int i = 0; i < 100 && drips.send("x: y\r\n"); ++i) std::this_thread::sleep_for(20ms);
  });
  const std::string answer = body.answer();
  EXPECT_EQ(test::status_of(answer), 408) << answer;
  EXPECT_NE(answer.find("longer than 200 ms"), std::string::npos) << answer;
  EXPECT_TRUE(body.ends());
  EXPECT_EQ(test::status_of(drips.answer()), 408);
  EXPECT_TRUE(drips.ends());
  dripping.wait();
}

TEST(HttpListener, WhoSaysNothingIsCutAfterTheIdleTime) {
  HttpLimits limits = small_limits();
  limits.idle_time = 100ms;
  Listener listener(limits);
  RawClient silent(listener.port()), once(listener.port());
  EXPECT_EQ(test::status_of(once.ask(test::get("/a"))), 200);
  EXPECT_TRUE(silent.ends());
  EXPECT_TRUE(once.ends());
}

TEST(HttpListener, OneConnectionTooManyIsToldSo) {
  HttpLimits limits = small_limits();
  limits.connections = 2;
  Listener listener(limits);
  auto first = std::make_unique<RawClient>(listener.port());
  RawClient second(listener.port());
  EXPECT_EQ(test::status_of(first->ask(test::get("/a"))), 200);
  EXPECT_EQ(test::status_of(second.ask(test::get("/a"))), 200);
  RawClient third(listener.port());
  const std::string answer = third.ask(test::get("/a"));
  EXPECT_EQ(test::status_of(answer), 503) << answer;
  EXPECT_NE(answer.find("as many connections as it may have"), std::string::npos);
  EXPECT_TRUE(third.ends());
  EXPECT_EQ(listener.http.counts().refused, 1u);
  first.reset();  // room again
  for (int i = 0; i < 200; ++i) {
    RawClient again(listener.port());
    if (test::status_of(again.ask(test::get("/a"))) == 200) return;
    std::this_thread::sleep_for(10ms);
  }
  FAIL() << "no connection was taken after one had ended";
}

TEST(HttpListener, StoppingLetsRequestsFinishAndEndsIdleConnections) {
  Listener listener;
  RawClient idle(listener.port()), busy(listener.port());
  EXPECT_EQ(test::status_of(idle.ask(test::get("/a"))), 200);
  g_slow_begun = 0;
  busy.send(test::get("/slow"));
  while (g_slow_begun == 0) std::this_thread::sleep_for(1ms);
  const auto start = std::chrono::steady_clock::now();
  const int port = listener.port();
  EXPECT_EQ(listener.http.stop(5s), 0);
  EXPECT_LT(std::chrono::steady_clock::now() - start, 3s);
  EXPECT_EQ(test::body_of(busy.answer()), "GET /slow [] ");
  EXPECT_TRUE(busy.ends());
  EXPECT_TRUE(idle.ends());
  EXPECT_EQ(test::message_of([&] { RawClient late(port); }), "connect: Connection refused");
}

TEST(HttpListener, WhoDoesNotFinishInTimeIsCounted) {
  Listener listener;
  RawClient half(listener.port());
  half.send("POST /a HTTP/1.1\r\nContent-Length: 50\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(test::status_of(half.answer()), 100);  // it waits for the body now
  half.send("half");
  EXPECT_EQ(listener.http.stop(50ms), 1);
  EXPECT_TRUE(half.ends());
}

TEST(HttpListener, ASocketIsItsOwnersAloneAndLeavesNothing) {
  test::TempFolder folder;
  const auto path = folder / "net.sock";
  {
    HttpListener http(small_limits(), echo);
    http.listen_unix(path);
    http.start();
    RawClient client(path.string());
    EXPECT_EQ(test::body_of(client.ask(test::get("/a"))), "GET /a [] ");
    struct stat status {};
    ASSERT_EQ(::stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u);
    HttpListener other(small_limits(), echo);
    EXPECT_EQ(test::message_of([&] { other.listen_unix(path); }),
              path.string() + ": another server listens there");
  }
  EXPECT_FALSE(std::filesystem::exists(path));
  test::write_text(path, "a file");
  HttpListener http(small_limits(), echo);
  EXPECT_EQ(test::message_of([&] { http.listen_unix(path); }), path.string() + ": exists and is no socket");
  EXPECT_EQ(test::read_text(path), "a file");
  EXPECT_NE(
      test::message_of([&] { http.listen_unix(folder / std::string(200, 's')); }).find("at most 107 bytes"),
      std::string::npos);
}

TEST(HttpListener, ASocketThatAKilledServerLeftIsTaken) {
  test::TempFolder folder;
  const auto path = folder / "net.sock";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  const int dead = ::socket(AF_UNIX, SOCK_STREAM, 0);
  ASSERT_EQ(::bind(dead, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ::close(dead);
  HttpListener http(small_limits(), echo);
  http.listen_unix(path);
  http.start();
  RawClient client(path.string());
  EXPECT_EQ(test::status_of(client.ask(test::get("/a"))), 200);
}

TEST(HttpListener, APortThatIsTakenIsNamed) {
  Listener listener;
  HttpListener other(small_limits(), echo);
  EXPECT_EQ(test::message_of([&] { other.listen_tcp("127.0.0.1", listener.port()); }),
            "127.0.0.1:" + std::to_string(listener.port()) + ": Address already in use");
  EXPECT_EQ(test::message_of([&] { other.start(); }), "nothing to listen on");
}

TEST(HttpListener, ManyClientsAtOnceGetTheirOwnAnswers) {
  HttpLimits limits = small_limits();
  limits.connections = 64;
  Listener listener(limits);
  std::atomic<int> right{0};
  std::vector<std::thread> clients;
  for (int c = 0; c < 32; ++c)
    clients.emplace_back([&, c] {
      RawClient client(listener.port());
      for (int i = 0; i < 20; ++i) {
        const std::string body = std::to_string(c) + "." + std::to_string(i);
        if (test::body_of(client.ask(test::post("/a", body))) == "POST /a [] " + body) ++right;
      }
    });
  for (auto& client : clients) client.join();
  EXPECT_EQ(right, 32 * 20);
}

}  // namespace
}  // namespace offramp::tools
