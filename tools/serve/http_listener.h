// HTTP for a server of tensors: cpp-httplib reads and writes the messages, the connections are ours: TCP_NODELAY, answers
// in one piece, a thread each, limits on their number, on bodies and on the time a request may take to arrive, and a stop
// that lets requests in progress finish. The only file that sees httplib's server.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

namespace offramp::tools {

struct HttpRequest {
  std::string method, path;  // GET (also for HEAD) or POST; without what stands behind '?'
  std::string json_length;   // header Inference-Header-Content-Length; empty: not there
  const std::string& body;
  std::chrono::steady_clock::time_point read;  // when its last byte had been read
};

struct HttpAnswer {
  int status = 200;
  std::string body = {};
  std::string content_type = "application/json";
  std::size_t json_length = 0;  // > 0: sent as Inference-Header-Content-Length
};

struct HttpLimits {
  std::size_t body_bytes = std::size_t{16} << 20;
  int connections = 256;  // who comes beyond them is told 503
  std::chrono::milliseconds request_time{
      10'000};  // from the first byte of a request to its last; and of an answer
  std::chrono::milliseconds idle_time{300'000};  // between requests of one connection
};

struct HttpCounts {
  std::uint64_t connections = 0, refused = 0;  // refused: told 503 because of the limit
  std::uint64_t requests = 0, errors = 0;      // errors: answered with 4xx or 5xx
};

class HttpListener {
 public:
  // handler: called by many threads at once; what it throws is answered with 500.
  HttpListener(const HttpLimits& limits, std::function<HttpAnswer(const HttpRequest&)> handler);
  ~HttpListener();  // as stop
  HttpListener(const HttpListener&) = delete;
  HttpListener& operator=(const HttpListener&) = delete;

  // Both before start(). port 0: a free one. Throw Error: in use, no such address; a path where something else stands.
  void listen_tcp(const std::string& host, int port);
  void listen_unix(
      const std::filesystem::path& path);  // the socket is its owner's alone and is removed at the end
  int port() const;
  void start();

  // No new connections; idle ones end now, requests in progress have `grace` to finish. Returns how many did not.
  int stop(std::chrono::milliseconds grace);
  HttpCounts counts() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace offramp::tools
