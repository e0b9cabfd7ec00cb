// offramp serve: a net behind the Open Inference Protocol.
#include "tools/frame/build_info.h"
#include "tools/frame/interrupt.h"
#include "tools/verbs/inputs.h"
#include "tools/verbs/verbs.h"

#if OFFRAMP_HAVE_HTTP
#include "nets/graph/state_dict.h"
#include "tools/serve/net_server.h"
#endif

#include <fmt/format.h>

#include <chrono>
#include <thread>

namespace offramp::tools {
namespace {

class ServeVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {
        .name = "serve",
        .group = "Train and use nets",
        .summary = "answer the Open Inference Protocol over HTTP, each image leaving at its exit",
        .example = "offramp serve out/small --port 8000",
        .details =
            "Clients of the protocol (Triton's, KServe's, curl) find the model at /v2/models/NAME; it takes 'images' "
            "(FP32 in [0,1])\nand answers 'probabilities' and 'label', as JSON or as binary tensors. Each worker has "
            "one thread and weights of its own.\nWith --defence the clock of a delay starts when a request has been "
            "read, and a request has one image. SIGTERM and Ctrl-C\nlet requests in progress finish. There is no "
            "encryption and no password: listen where only friends are, or put a proxy before it.",
        .run_folder = false};
  }

#if OFFRAMP_HAVE_HTTP
  void declare(Options& o) override {
    o.add("serve.checkpoint", checkpoint_, kCheckpointOrOwn).positional().alias("serve.weights", "--weights");
    o.add("serve.host", host_, "address to listen on; 0.0.0.0: all");
    o.add("serve.port", port_, "0: a free one").range(0, 65535);
    o.add("serve.unix", unix_, "listen on this socket instead of a port, for this user alone");
    o.add("serve.name", options_.name, "of the model in addresses");
    o.add("serve.threshold", threshold_, "one threshold for all exits instead of the checkpoint's policy")
        .range(0, 1);
    o.add("serve.workers", options_.workers, "images answered at a time; 0: one for each processor")
        .range(0, 1024);
    o.add("serve.max_batch", options_.max_batch, "images of one request").range(1, 65536);
    o.add(
         "serve.together",
         options_.together,
         "images of several requests that advance together, each leaving at its own exit; 1: each request alone")
        .range(1, 65536);
    o.add("serve.max_wait_us",
          max_wait_us_,
          "with --together: microseconds that an image waits for company at each exit")
        .range(0, 1e7);
    o.add("serve.tell_exits",
          options_.tell_exits,
          "who asks for it (\"parameters\": {\"exit\": true}) is told which exit answered");
    o.add("serve.defence", defence_, "defence.json of defend plan --choose");
    o.add("serve.padding_slack_us",
          slack_us_,
          "microseconds that a padding's deadlines are moved back, for what the server does besides the net")
        .range(0, 1e7);
    o.add("serve.max_body_mb", max_body_mb_, "longest request; 0: what max_batch images need as JSON")
        .range(0, 4096);
    o.add("serve.max_connections", options_.limits.connections, "who comes beyond them is told 503")
        .range(1, 100000);
    o.add("serve.request_seconds", request_s_, "that a request may take to arrive, and its answer to leave")
        .range(0.01, 1e5);
    o.add("serve.idle_seconds", idle_s_, "that a connection may wait between requests").range(0.01, 1e6);
    o.add("serve.grace_seconds", grace_s_, "that requests in progress have to finish at the end")
        .range(0, 1e5);
  }

  int run(Session& session) override {
    if (session.device() != "cpu")
      throw UsageError("serve: answers on the CPU, got --device " + session.device());
    options_.checkpoint = checkpoint_or_own("serve", checkpoint_);
    if (options_.workers == 0)
      options_.workers =
          session.threads() > 0 ? session.threads() : static_cast<int>(std::thread::hardware_concurrency());
    if (!defence_.empty()) options_.defence = attacks::read_defence(defence_);
    options_.version = build_info().version;
    if (max_wait_us_ > 0 && options_.together == 1)
      throw UsageError("--max-wait-us: an image waits for company only with --together");
    options_.max_wait = std::chrono::microseconds(max_wait_us_);
    options_.padding_slack = std::chrono::microseconds(slack_us_);
    const auto ms = [](double seconds) {
      return std::chrono::milliseconds(static_cast<std::int64_t>(1000 * seconds));
    };
    options_.limits.body_bytes = static_cast<std::size_t>(max_body_mb_) << 20;
    options_.limits.request_time = ms(request_s_);
    options_.limits.idle_time = ms(idle_s_);
    if (threshold_) {
      const auto loaded = nets::load_net(options_.checkpoint, Device::cpu());
      options_.policy = nets::ExitPolicy::uniform(loaded.net->num_exits(), *threshold_);
    }
    NetServer server(options_);
    std::string where;
    if (!unix_.empty()) {
      server.listen_unix(unix_);
      where = "unix:" + std::filesystem::absolute(unix_).string();
    } else {
      server.listen_tcp(host_, port_);
      where = fmt::format(
          "http://{}:{}", host_.find(':') == std::string::npos ? host_ : "[" + host_ + "]", server.port());
    }
    server.start();
    const ServedModel& model = server.model();
    session.log.info(fmt::format("{} serves {}, {} exits, as model {}: images {}, {} workers{}{}",
                                 where,
                                 options_.checkpoint.string(),
                                 server.num_exits(),
                                 model.name,
                                 format_shape(model.shape),
                                 options_.workers,
                                 options_.defence ? ", behind " + options_.defence->name : "",
                                 model.tells_exits ? ", exits told to who asks" : ""),
                     {{"url", where},
                      {"model", model.name},
                      { "exits",
                        server.num_exits() }});
    while (!interrupted()) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    session.log.info("stopping: requests in progress finish");
    const int cut = server.stop(ms(grace_s_));
    const ServerCounts counts = server.counts();
    session.answer(
        fmt::format("{} requests on {} connections, {} images, {} answered with an error, {} connections "
                    "refused{}; images by exit: {}\n",
                    counts.http.requests,
                    counts.http.connections,
                    counts.images,
                    counts.http.errors,
                    counts.http.refused,
                    options_.defence ? fmt::format(", {} later than their deadline", counts.late) : "",
                    fmt::join(counts.exits, ", ")),
        {{"url", where},
         {"requests", counts.http.requests},
         {"connections", counts.http.connections},
         {"images", counts.images},
         {"errors", counts.http.errors},
         {"refused", counts.http.refused},
         {"late", counts.late},
         {"exits", counts.exits},
         { "cut",
           cut }});
    if (cut > 0)
      session.log.warn(fmt::format("{} requests did not finish in {} s and were cut", cut, grace_s_));
    return cut == 0 ? kDone : kFailed;
  }

 private:
  std::filesystem::path checkpoint_, unix_, defence_;
  std::string host_ = "127.0.0.1";
  int port_ = 8000, max_wait_us_ = 0, slack_us_ = 0, max_body_mb_ = 0;
  double request_s_ = 10, idle_s_ = 300, grace_s_ = 10;
  std::optional<double> threshold_;
  NetServerOptions options_{.checkpoint = {}, .workers = 0};
#else
  void declare(Options&) override {}
  int run(Session&) override {
    throw UsageError(
        "serve: this build has no HTTP (OFFRAMP_HTTP is off; the standalone binary does without it)");
  }
#endif
};

}  // namespace

std::unique_ptr<Verb> make_serve_verb() { return std::make_unique<ServeVerb>(); }

}  // namespace offramp::tools
