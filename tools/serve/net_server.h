// A net behind the Open Inference Protocol: real early exit for every request, the weights packed once for each worker,
// a defence of the clock before the answer where one is given.
//
//   GET  /v2, /v2/health/live, /v2/health/ready, /v2/models/NAME[/versions/1][/ready]
//   POST /v2/models/NAME[/versions/1]/infer, /v2/repository/index
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "attacks/defences/defence_file.h"
#include "nets/exits/exit_policy.h"
#include "tools/serve/http_listener.h"
#include "tools/serve/inference_request.h"

namespace offramp::tools {

struct NetServerOptions {
  std::filesystem::path checkpoint;
  std::optional<nets::ExitPolicy> policy = {};  // instead of the checkpoint's
  std::string name = "net";                     // of the model in every address
  std::string version = "0";                    // of the server, for its metadata
  int workers = 1;     // images that are answered at a time, each on one thread with weights of its own
  int max_batch = 32;  // images of one request; with a defence 1
  // More than 1: images of several requests advance together, so many at a time, waiting so long for company at each exit
  // (nets/exits/in_flight.h). The answers are the same.
  int together = 1;
  std::chrono::nanoseconds max_wait{0};
  bool tell_exits = false;
  std::optional<attacks::Defence> defence = {};
  std::chrono::nanoseconds padding_slack{0};  // attacks/defences/release.h
  HttpLimits limits = {.body_bytes = 0};      // 0: what a request of max_batch images in JSON can need
};

struct ServerCounts {
  HttpCounts http;
  std::uint64_t images = 0;
  std::uint64_t late = 0;            // answers that were ready only after their padding's deadline
  std::vector<std::uint64_t> exits;  // images that left at each
};

class NetServer {
 public:
  // Loads the net for each worker. FileError: no checkpoint; ValueError: a net with exits but no thresholds, a name that
  // does not fit into an address, a padding for another number of exits.
  explicit NetServer(NetServerOptions options);
  ~NetServer();
  NetServer(const NetServer&) = delete;
  NetServer& operator=(const NetServer&) = delete;

  // See HttpListener.
  void listen_tcp(const std::string& host, int port);
  void listen_unix(const std::filesystem::path& path);
  int port() const;
  void start();
  int stop(std::chrono::milliseconds grace);

  const ServedModel& model() const;
  int num_exits() const;
  ServerCounts counts() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace offramp::tools
