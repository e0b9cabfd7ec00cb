#include "tools/serve/net_server.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <utility>

#include "attacks/defences/release.h"
#include "nets/exits/early_exit.h"
#include "nets/exits/frozen.h"
#include "nets/graph/state_dict.h"
#include "tools/serve/together.h"

namespace offramp::tools {
namespace {

using SteadyClock = std::chrono::steady_clock;

// One thread's net: nobody else uses its device meanwhile.
struct Worker {
  Device device = Device::make_cpu({.threads = 1});
  std::unique_ptr<nets::FrozenNet> net;
  std::unique_ptr<TogetherWorker> together;  // its thread uses the rest
};

HttpAnswer refused(int status, const std::string& what) { return {status, error_text(what)}; }

}  // namespace

class NetServer::Impl {
 public:
  explicit Impl(NetServerOptions options) : options_(std::move(options)) {
    if (options_.together < 1 || options_.max_wait.count() < 0)
      throw ValueError("at least one image at a time and a wait of 0 or more are wanted");
    if (options_.workers < 1 || options_.max_batch < 1)
      throw ValueError("at least one worker and one image a request are wanted");
    const std::string allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    if (options_.name.empty() || options_.name.find_first_not_of(allowed) != std::string::npos)
      throw ValueError(
          "model name: expected letters, digits, '.', '_' and '-' (it stands in addresses), got " +
          in_quotes(options_.name));
    for (int w = 0; w < options_.workers; ++w) add_worker();
    if (options_.together > 1)
      for (const auto& worker : workers_)
        worker->together = std::make_unique<TogetherWorker>(
            *worker->net,
            policy_,
            TogetherOptions{options_.together, options_.max_wait},
            arrivals_,
            [this, device = worker->device](const std::vector<float>& values) {
              return Tensor::from_nchw(
                  shape_of(static_cast<int>(values.size() / numbers_of(1))), values, device);
            });
    model_.name = options_.name;
    model_.tells_exits = options_.tell_exits;
    model_.max_batch = options_.defence ? 1 : options_.max_batch;
    if (options_.defence && options_.defence->padding &&
        options_.defence->padding->deadlines_ns.size() != exits_.size())
      throw ValueError("the padding is for " +
                       std::to_string(options_.defence->padding->deadlines_ns.size()) +
                       " exits, the net has " + std::to_string(exits_.size()));
    std::size_t numbers = static_cast<std::size_t>(model_.max_batch);
    for (const std::int64_t extent : model_.shape) numbers *= static_cast<std::size_t>(extent);
    // A float as text has at most 25 characters, with brackets and blanks around it.
    if (options_.limits.body_bytes == 0) options_.limits.body_bytes = 64 * 1024 + 32 * numbers;
    infer_path_[0] = "/v2/models/" + model_.name + "/infer";
    infer_path_[1] = "/v2/models/" + model_.name + "/versions/1/infer";
    http_ = std::make_unique<HttpListener>(options_.limits,
                                           [this](const HttpRequest& request) { return answer(request); });
  }

  ~Impl() {
    http_.reset();  // nobody asks any more
    arrivals_.stop();
  }

  HttpListener& http() { return *http_; }
  const ServedModel& model() const { return model_; }
  int num_exits() const { return static_cast<int>(exits_.size()); }
  ServerCounts counts() const {
    ServerCounts counts{http_->counts(), images_, late_, {}};
    for (const auto& exit : exits_) counts.exits.push_back(exit);
    return counts;
  }

 private:
  void add_worker() {
    auto worker = std::make_unique<Worker>();
    const nets::LoadedNet loaded = nets::load_net(options_.checkpoint, worker->device);
    const nets::Network& net = *loaded.net;
    if (workers_.empty()) {
      policy_ = options_.policy ? *options_.policy : loaded.policy;
      policy_.check(net.num_exits());
      model_.classes = net.classes();
      model_.shape = net.architecture().pixels
                         ? std::vector<std::int64_t>{net.input().c, net.input().h, net.input().w}
                         : std::vector<std::int64_t>{net.input().c};
      exits_ = std::vector<std::atomic<std::uint64_t>>(static_cast<std::size_t>(net.num_exits()));
    }
    worker->net = std::make_unique<nets::FrozenNet>(net);
    // Every segment once, so that no request pays for what is made at first use.
    const std::vector<float> zeros(numbers_of(1));
    static_cast<void>(worker->net->forward(Tensor::from<float>(shape_of(1), zeros, worker->device)));
    idle_.push_back(worker.get());
    workers_.push_back(std::move(worker));
  }

  Shape shape_of(int images) const {
    return model_.shape.size() == 3 ? Shape{images, model_.shape[0], model_.shape[1], model_.shape[2]}
                                    : Shape{images, model_.shape[0]};
  }
  std::size_t numbers_of(int images) const {
    std::size_t numbers = static_cast<std::size_t>(images);
    for (const std::int64_t extent : model_.shape) numbers *= static_cast<std::size_t>(extent);
    return numbers;
  }

  // A worker for as long as this lives; the one that was used last first: its caches are warm.
  class Lease {
   public:
    explicit Lease(Impl& server) : server_(server) {
      std::unique_lock lock(server_.mutex_);
      server_.freed_.wait(lock, [&] { return !server_.idle_.empty(); });
      worker_ = server_.idle_.back();
      server_.idle_.pop_back();
    }
    ~Lease() {
      {
        std::unique_lock lock(server_.mutex_);
        server_.idle_.push_back(worker_);
      }
      server_.freed_.notify_one();
    }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    Worker* operator->() const { return worker_; }

   private:
    Impl& server_;
    Worker* worker_;
  };

  HttpAnswer answer(const HttpRequest& request) {
    try {
      return request.method == "POST" ? answer_post(request) : answer_get(request.path);
    } catch (const RequestError& error) {
      return refused(error.status(), error.what());
    }
  }

  HttpAnswer answer_get(const std::string& path) const {
    if (path == "/v2/health/live") return {200, R"({"live":true})"};
    if (path == "/v2/health/ready") return {200, R"({"ready":true})"};
    if (path == "/v2" || path == "/v2/")
      return {200,
              R"({"name":"offramp","version":")" + options_.version +
                  R"(","extensions":["binary_tensor_data","model_repository"]})"};
    const std::string model = "/v2/models/" + model_.name;
    if (path == model || path == model + "/versions/1") return {200, model_metadata(model_)};
    if (path == model + "/ready" || path == model + "/versions/1/ready")
      return {200, R"({"name":")" + model_.name + R"(","ready":true})"};
    if (is_infer(path)) return refused(405, path + ": expected POST, got GET");
    return refused(404, in_quotes(path) + ": no such address; the model is " + model);
  }

  bool is_infer(const std::string& path) const { return path == infer_path_[0] || path == infer_path_[1]; }

  HttpAnswer answer_post(const HttpRequest& request) {
    if (is_infer(request.path)) return infer(request);
    if (request.path == "/v2/repository/index")
      return {200, R"([{"name":")" + model_.name + R"(","version":"1","state":"READY","reason":""}])"};
    return refused(404, in_quotes(request.path) + ": no such address; images go to " + infer_path_[0]);
  }

  HttpAnswer infer(const HttpRequest& http) {
    InferenceRequest request = read_inference_request(http.body, http.json_length, model_);
    nets::EarlyExitResult result;
    SteadyClock::time_point release{};
    if (options_.together > 1) {
      result = infer_together(http, request, release);
    } else {
      const Lease worker(*this);
      const Tensor images = Tensor::from_nchw(shape_of(request.images), request.values, worker->device);
      result = nets::infer(*worker->net, policy_, images);
      if (options_.defence)
        release = attacks::release_time(
            *options_.defence, images, result.exit.at(0) - 1, http.read, options_.padding_slack);
    }
    images_ += static_cast<std::uint64_t>(request.images);
    for (const std::int32_t exit : result.exit) ++exits_[static_cast<std::size_t>(exit - 1)];
    NetAnswer net;
    net.probabilities = std::move(result.probabilities);
    net.label = std::move(result.label);
    net.exit = std::move(result.exit);
    AnswerBody body = answer_body(model_, request, net);
    if (options_.defence) {
      if (options_.defence->padding && SteadyClock::now() > release) ++late_;
      attacks::wait_until(release);
    }
    return {200,
            std::move(body.bytes),
            body.json_bytes > 0 ? "application/octet-stream" : "application/json",
            body.json_bytes};
  }

  nets::EarlyExitResult infer_together(const HttpRequest& http,
                                       InferenceRequest& request,
                                       SteadyClock::time_point& release) {
    Arrivals::Request one;
    one.values = std::move(request.values);
    if (options_.defence)
      one.answered = [&](const nets::EarlyExitResult& result, const Tensor& image) {
        release = attacks::release_time(
            *options_.defence, image, result.exit.at(0) - 1, http.read, options_.padding_slack);
      };
    arrivals_.ask(one);
    return std::move(one.asked.result);
  }

  NetServerOptions options_;
  nets::ExitPolicy policy_;
  ServedModel model_;
  std::string infer_path_[2];
  Arrivals arrivals_;  // outlives the workers
  std::vector<std::unique_ptr<Worker>> workers_;
  std::mutex mutex_;
  std::condition_variable freed_;
  std::vector<Worker*> idle_;
  std::atomic<std::uint64_t> images_{0}, late_{0};
  std::vector<std::atomic<std::uint64_t>> exits_;
  std::unique_ptr<HttpListener> http_;  // last: its threads end before what they use
};

NetServer::NetServer(NetServerOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
NetServer::~NetServer() = default;
void NetServer::listen_tcp(const std::string& host, int port) { impl_->http().listen_tcp(host, port); }
void NetServer::listen_unix(const std::filesystem::path& path) { impl_->http().listen_unix(path); }
int NetServer::port() const { return impl_->http().port(); }
void NetServer::start() { impl_->http().start(); }
int NetServer::stop(std::chrono::milliseconds grace) { return impl_->http().stop(grace); }
const ServedModel& NetServer::model() const { return impl_->model(); }
int NetServer::num_exits() const { return impl_->num_exits(); }
ServerCounts NetServer::counts() const { return impl_->counts(); }

}  // namespace offramp::tools
