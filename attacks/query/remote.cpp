#include "attacks/query/remote.h"

#include <httplib.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <optional>
#include <thread>
#include <utility>

#include "attacks/query/cpu_pin.h"
#include "attacks/query/inference_message.h"

namespace offramp::attacks {
namespace {

using Clock = std::chrono::steady_clock;

// What a URL of a victim says.
struct Place {
  std::string server;  // "http://host:port", or the path of a socket
  bool socket = false;
  std::string prefix;  // of every path: before "/v2"
  std::string model;   // empty: not named
};

Place place_of(const std::string& url) {
  const auto fail = [&] {
    throw ValueError(
        "remote victim: expected http://HOST[:PORT], https://HOST[:PORT] (also with /v2/models/NAME) or "
        "unix:/PATH/OF/SOCKET, got " +
        in_quotes(url));
  };
  Place place;
  if (url.starts_with("unix:")) {
    std::string path = url.substr(5);
    if (path.starts_with("///")) path.erase(0, 2);
    if (path.size() < 2 || path[0] != '/') fail();
    return {path, true, "", ""};
  }
  const std::size_t host = url.find("://") + 3;
  const std::size_t slash = std::min(url.find('/', host), url.size());
  if (slash == host) fail();
  place.server = url.substr(0, slash);
  std::string path = url.substr(slash);
  while (path.ends_with('/')) path.pop_back();
  const std::size_t v2 = path.find("/v2");
  place.prefix = path.substr(0, v2);
  if (v2 != std::string::npos && path.size() > v2 + 3) {
    constexpr std::string_view kModels = "/v2/models/";
    if (path.compare(v2, kModels.size(), kModels) != 0) fail();
    place.model = path.substr(v2 + kModels.size());
    // A version may follow; an address of a request may not.
    if (place.model.ends_with("/infer")) fail();
  }
  return place;
}

// So many new connections in a row, each for one request, and the server keeps none.
constexpr int kMostHandshakes = 10;

// One [classes] row each: as they are where they are probabilities, else their softmax.
void softmax_rows(std::span<float> values, std::size_t classes) {
  for (std::size_t first = 0; first < values.size(); first += classes) {
    const auto row = values.subspan(first, classes);
    const double most = *std::max_element(row.begin(), row.end());
    double sum = 0;
    for (const float z : row) sum += std::exp(z - most);
    for (float& z : row) z = static_cast<float>(std::exp(z - most) / sum);
  }
}

// Whether each row adds up to 1, as far as servers round: two decimals of each class, .05 in all. Rows that do not to float32's
// rounding are then divided by their sum.
bool as_probabilities(std::span<float> values, std::size_t classes) {
  const double rounding = std::min(.05, .005 * static_cast<double>(classes)) + 1e-3;
  std::vector<double> sums;
  for (std::size_t first = 0; first < values.size(); first += classes) {
    double sum = 0;
    for (const float p : values.subspan(first, classes)) {
      if (!(p >= 0 && p <= 1)) return false;
      sum += static_cast<double>(p);
    }
    if (std::abs(sum - 1) > rounding) return false;
    sums.push_back(sum);
  }
  for (std::size_t row = 0; row < sums.size(); ++row) {
    if (std::abs(sums[row] - 1) <= 1e-5) continue;
    for (float& p : values.subspan(row * classes, classes))
      p = static_cast<float>(static_cast<double>(p) / sums[row]);
  }
  return true;
}

}  // namespace

void choose_for_network(QueryOptions& options) {
  options.pilot_repetitions = 60;
  options.min_repetitions = 40;
  options.max_repetitions = 400;
  options.until_promised = true;
}

bool is_remote(const std::string& victim) {
  return victim.starts_with("http://") || victim.starts_with("https://") || victim.starts_with("unix:");
}

class RemoteBlackBox::Connection {
 public:
  Connection(const std::string& url, RemoteOptions options)
      : url_(url), place_(place_of(url)), options_(std::move(options)), client_(make_client()) {
    if (options_.untimed_batch < 1 || options_.warm_up < 0)
      throw ValueError("remote victim: needs untimed_batch >= 1 and warm_up >= 0");
    client_->set_keep_alive(true);
    client_->set_tcp_nodelay(true);
    client_->set_connection_timeout(options_.connect_timeout);
    client_->set_read_timeout(options_.answer_timeout);
    client_->set_write_timeout(options_.answer_timeout);
    client_->set_socket_options([this](auto) { ++connections_; });
    choose_model();
    choose_tensors();
  }

  Answer query(const Tensor& images, Timing timing) {
    check(images);
    const std::vector<float> pixels = images.to_nchw();  // the order that the shape tells
    const int n = static_cast<int>(images.shape()[0]);
    const std::size_t size = n == 0 ? 0 : pixels.size() / static_cast<std::size_t>(n);
    const auto body_of = [&](int first, int count) {
      return body(std::span(pixels).subspan(static_cast<std::size_t>(first) * size,
                                            static_cast<std::size_t>(count) * size),
                  count);
    };
    std::vector<float> values;
    values.reserve(static_cast<std::size_t>(n * classes_));
    Answer answer;
    if (timing == Timing::kNone) {
      const int batch = batches_ ? options_.untimed_batch : 1;
      for (int first = 0; first < n; first += batch) {
        const int count = std::min(batch, n - first);
        append(post(body_of(first, count)), count, values);
      }
    } else {
      const CpuPin pin(options_.cpu);
      for (int w = 0; n > 0 && w < options_.warm_up; ++w) post(body_of(w % n, 1));
      for (int i = 0; i < n; ++i) {
        const InferenceBody one = body_of(i, 1);
        std::int64_t nanoseconds = 0;
        append(post(one, &nanoseconds), 1, values);
        answer.nanoseconds.push_back(nanoseconds);
      }
    }
    answer.probabilities = Tensor::from<float>({n, classes_}, values, Device::cpu());
    answer.labels = labels_of(answer.probabilities);
    return answer;
  }

  int classes() const { return classes_; }
  const std::vector<std::int64_t>& shape() const { return shape_; }
  std::int64_t requests() const { return requests_; }
  std::int64_t repeated() const { return repeated_; }
  std::string description() const {
    return "model " + model_.name + " at " + url_ + " (" +
           (model_.platform.empty() ? "platform not told" : model_.platform) + ", " +
           (binary_ ? "binary" : "JSON") + " tensors" + (logits_.value_or(false) ? ", logits" : "") + ")";
  }

 private:
  std::unique_ptr<httplib::Client> make_client() const {
    if (!place_.socket) {
      auto client = std::make_unique<httplib::Client>(place_.server);
      if (!client->is_valid())
        throw ValueError("remote victim: " + in_quotes(place_.server) + " is no address of a server");
      return client;
    }
    auto client = std::make_unique<httplib::Client>(place_.server, 80);
    client->set_address_family(AF_UNIX);
    client->set_default_headers({{"Host", "localhost"}});
    return client;
  }

  // --- one request, asked until it is answered ---

  static bool is_busy(int status) { return status == 429 || (status >= 502 && status <= 504); }

  enum class Status { kOnlyOk, kAny };

  // Calls send() until an answer comes that is neither a lost connection nor a busy server; throws RemoteError where patience
  // ends, and with kOnlyOk for any other status than 200.
  template <class Send>
  httplib::Response until_answered(const std::string& what, Send send, Status wanted = Status::kOnlyOk) {
    const auto give_up = Clock::now() + options_.patience;
    // A machine that slept meanwhile used up the time without asking.
    const int least = options_.patience.count() > 0 ? 5 : 1;
    int failures = 0;
    for (auto pause = std::chrono::milliseconds(50);;
         pause = std::min(2 * pause, std::chrono::milliseconds(2000))) {
      httplib::Result result = send();
      std::string why;
      if (!result) {
        why = "no answer (" + httplib::to_string(result.error()) + ")";
      } else if (is_busy(result->status)) {
        why = "status " + std::to_string(result->status) + ", " + read_error(result->body);
      } else if (result->status == 200 || wanted == Status::kAny) {
        ++requests_;
        return std::move(result.value());
      } else {
        throw RemoteError(url_ + ": " + what + ": status " + std::to_string(result->status) + ", " +
                          read_error(result->body));
      }
      if (++failures >= least && Clock::now() + pause > give_up) {
        throw RemoteError(url_ + ": " + what + ": " + why + ", asked again for " +
                          std::to_string(options_.patience.count() / 1000) +
                          " s; go on with the same command and --resume once the server is there");
      }
      ++repeated_;
      if (options_.on_wait) options_.on_wait(what + ": " + why);
      std::this_thread::sleep_for(pause);
    }
  }

  httplib::Response get(const std::string& path) {
    return until_answered("GET " + path, [&] { return client_->Get(place_.prefix + path); });
  }

  InferenceAnswer post(const InferenceBody& body, std::int64_t* nanoseconds = nullptr) {
    const std::string path = model_path() + "/infer";
    const httplib::Headers headers =
        body.json_bytes == 0 ? httplib::Headers{}
                             : httplib::Headers{{kJsonLengthHeader, std::to_string(body.json_bytes)}};
    const char* const type = body.json_bytes == 0 ? "application/json" : "application/octet-stream";
    for (int handshakes = 0;;) {
      std::int64_t took = 0, opened_before = 0;
      const httplib::Response response = until_answered("POST " + path, [&] {
        opened_before = connections_;
        const auto start = Clock::now();
        auto result =
            client_->Post(place_.prefix + path, headers, body.bytes.data(), body.bytes.size(), type);
        took = std::chrono::nanoseconds(Clock::now() - start).count();
        return result;
      });
      if (nanoseconds) {
        if (connections_ != opened_before) {  // its time has a handshake in it
          if (++handshakes == kMostHandshakes)
            throw RemoteError(
                url_ + ": the server closes its connection after every answer (" +
                std::to_string(handshakes) +
                " in a row), and the time of each request would be that of a new one: it must keep "
                "connections open (HTTP/1.1) to be timed");
          ++repeated_;
          continue;
        }
        *nanoseconds = took;
      }
      std::size_t json_bytes = 0;
      if (response.has_header(kJsonLengthHeader)) {
        const std::string text = response.get_header_value(kJsonLengthHeader);
        char* end = nullptr;
        json_bytes = std::strtoull(text.c_str(), &end, 10);
        if (text.empty() || *end != '\0')
          throw RemoteError(url_ + ": " + kJsonLengthHeader + ": expected a number, got " + in_quotes(text));
      }
      try {
        return read_infer_answer(response.body, json_bytes, output_);
      } catch (const ValueError& error) {
        throw RemoteError(url_ + ": " + error.what());
      }
    }
  }

  // --- what is asked ---

  std::string model_path() const { return "/v2/models/" + model_name_; }

  void choose_model() {
    model_name_ = options_.model.empty() ? place_.model : options_.model;
    if (!model_name_.empty()) return;
    std::vector<std::string> names;
    const std::string path = "/v2/repository/index";
    const httplib::Response answer = until_answered(
        "POST " + path,
        [&] { return client_->Post(place_.prefix + path, "{}", "application/json"); },
        Status::kAny);
    if (answer.status == 200) names = read_model_names(answer.body);
    if (names.size() != 1) {
      std::string known;
      for (const auto& name : names) known += (known.empty() ? "" : ", ") + name;
      throw ValueError("remote victim: " + url_ + " " +
                       (names.empty() ? "does not list its models" : "has the models " + known) +
                       ": name one, .../v2/models/NAME");
    }
    model_name_ = names.front();
  }

  void choose_tensors() {
    try {
      model_ = read_model_info(get(model_path()).body);
    } catch (const ValueError& error) {
      throw RemoteError(url_ + ": " + error.what());
    }
    if (!options_.json) {
      const auto extensions = read_extensions(get("/v2").body);
      binary_ = std::any_of(extensions.begin(), extensions.end(), [](const std::string& name) {
        return name == "binary_tensor_data" || name == "binary_data";
      });
    }
    TensorInfo input{options_.input.empty() ? "input" : options_.input, "FP32", {}};
    for (const TensorInfo& one : model_.inputs)
      if (options_.input.empty() ? model_.inputs.size() == 1 : one.name == options_.input) input = one;
    if (options_.input.empty() && model_.inputs.size() > 1)
      throw ValueError("remote victim: model " + model_.name + " has " +
                       std::to_string(model_.inputs.size()) + " inputs: name the one of the images");
    if (input.datatype != "FP32")
      throw ValueError("remote victim: input " + in_quotes(input.name) + " of model " + model_.name +
                       " is of type " + in_quotes(input.datatype) + ", images are FP32");
    input_ = input.name;
    batches_ = input.shape.empty() || input.shape.front() == -1;
    shape_ = options_.shape;
    if (shape_.empty() && !input.shape.empty()) shape_.assign(input.shape.begin() + 1, input.shape.end());
    if ((shape_.size() != 3 && shape_.size() != 1) ||
        std::any_of(shape_.begin(), shape_.end(), [](std::int64_t extent) { return extent < 1; }))
      throw ValueError("remote victim: model " + model_.name + " takes tensors " + format_shape(input.shape) +
                       ": name the shape of one image, channels, height, width, or the number of features");
    output_ = options_.output;
    for (const TensorInfo& one : model_.outputs) {
      if (output_.empty() && (one.datatype == "FP32" || one.datatype == "FP64")) output_ = one.name;
      if (one.name == output_ && one.shape.size() == 2 && one.shape[1] > 0)
        classes_ = static_cast<int>(one.shape[1]);
    }
    if (classes_ == 0) {  // the metadata do not say: ask
      std::int64_t size = 1;
      for (const std::int64_t extent : shape_) size *= extent;
      const InferenceAnswer answer = post(body(std::vector<float>(static_cast<std::size_t>(size)), 1));
      classes_ = static_cast<int>(answer.values.size());
    }
    if (classes_ < 2)
      throw ValueError("remote victim: model " + model_.name + " answers " + std::to_string(classes_) +
                       " numbers an image, expected one for each of several classes");
  }

  InferenceBody body(std::span<const float> pixels, int count) const {
    std::vector<std::int64_t> shape = {count};
    shape.insert(shape.end(), shape_.begin(), shape_.end());
    return infer_body(input_, shape, pixels, output_, binary_);
  }

  void check(const Tensor& images) const {
    bool fits = images && images.dtype() == DType::kFloat32 &&
                images.shape().rank() == static_cast<int>(shape_.size()) + 1;
    for (std::size_t i = 0; fits && i < shape_.size(); ++i)
      fits = images.shape()[static_cast<int>(i) + 1] == shape_[i];
    if (!fits)
      throw ShapeError("query: the server takes float32 images " + format_shape(shape_) + ", got " +
                       (images ? images.shape().to_string() : std::string("nothing")));
  }

  void append(InferenceAnswer answer, int count, std::vector<float>& values) {
    const std::size_t wanted = static_cast<std::size_t>(count) * static_cast<std::size_t>(classes_);
    if (answer.values.size() != wanted)
      throw RemoteError(url_ + ": output '" + answer.output + "' has " +
                        std::to_string(answer.values.size()) + " numbers for " + std::to_string(count) +
                        " images of " + std::to_string(classes_) + " classes");
    for (const float value : answer.values)
      if (!std::isfinite(value)) throw RemoteError(url_ + ": output '" + answer.output + "' is not finite");
    const bool probabilities = as_probabilities(answer.values, static_cast<std::size_t>(classes_));
    if (!logits_) logits_ = !probabilities;
    if (*logits_) {
      softmax_rows(answer.values, static_cast<std::size_t>(classes_));
    } else if (!probabilities) {
      throw RemoteError(url_ + ": output '" + answer.output +
                        "' was probabilities at first and is not any more");
    }
    values.insert(values.end(), answer.values.begin(), answer.values.end());
  }

  std::string url_;
  Place place_;
  RemoteOptions options_;
  std::int64_t connections_ = 0, requests_ = 0, repeated_ = 0;
  std::unique_ptr<httplib::Client> client_;
  std::string model_name_, input_, output_;
  ModelInfo model_;
  std::vector<std::int64_t> shape_;
  bool binary_ = false, batches_ = true;
  std::optional<bool> logits_;
  int classes_ = 0;
};

RemoteBlackBox::RemoteBlackBox(const std::string& url, RemoteOptions options)
    : connection_(std::make_unique<Connection>(url, std::move(options))) {}
RemoteBlackBox::~RemoteBlackBox() = default;
RemoteBlackBox::RemoteBlackBox(RemoteBlackBox&&) noexcept = default;

int RemoteBlackBox::classes() const { return connection_->classes(); }
Answer RemoteBlackBox::query(const Tensor& images, Timing timing) {
  return connection_->query(images, timing);
}
const std::vector<std::int64_t>& RemoteBlackBox::shape() const { return connection_->shape(); }
std::string RemoteBlackBox::description() const { return connection_->description(); }
std::int64_t RemoteBlackBox::requests() const { return connection_->requests(); }
std::int64_t RemoteBlackBox::repeated() const { return connection_->repeated(); }

}  // namespace offramp::attacks
