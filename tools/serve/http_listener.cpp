#include "tools/serve/http_listener.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <limits>
#include <list>
#include <mutex>
#include <nlohmann/json.hpp>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/errors.h"
#include "tools/serve/socket_stream.h"

namespace offramp::tools {
namespace {

constexpr const char* kJsonLength = "Inference-Header-Content-Length";
constexpr std::size_t kHeaderBytes = 64 * 1024;  // request line and headers together
constexpr int kRefusing = 64;                    // connections beyond the limit that are told so at one time

std::string error_body(const std::string& what) {
  return nlohmann::json{{"error", what}}.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

[[noreturn]] void fail_errno(const std::string& what) { throw Error(what + ": " + std::strerror(errno)); }

// What the request that this thread works on needs besides httplib's own.
struct Current {
  SocketStream* stream = nullptr;
  bool whole = false;  // its body was read to the end: the connection can go on
};
thread_local Current t_current;

}  // namespace

class HttpListener::Impl : private httplib::Server {
 public:
  Impl(const HttpLimits& limits, std::function<HttpAnswer(const HttpRequest&)> handler)
      : limits_(limits), handler_(std::move(handler)), stop_event_(::eventfd(0, EFD_CLOEXEC)) {
    if (stop_event_ < 0) fail_errno("eventfd");
    if (limits.connections < 1) throw ValueError("at least one connection must be allowed");
    set_payload_max_length(limits.body_bytes);
    set_keep_alive_max_count(std::numeric_limits<std::int32_t>::max());
    set_keep_alive_timeout(std::chrono::duration_cast<std::chrono::seconds>(limits.idle_time).count());
    set_pre_routing_handler([this](const httplib::Request& request, httplib::Response& response) {
      return refuse_unread(request, response) ? HandlerResponse::Handled : HandlerResponse::Unhandled;
    });
    const auto handle = [this](const httplib::Request& request, httplib::Response& response) {
      answer(request, response);
    };
    Get(".*", handle);
    Post(".*", handle);
    set_exception_handler(
        [](const httplib::Request&, httplib::Response& response, std::exception_ptr thrown) {
          std::string what = "unknown";
          try {
            std::rethrow_exception(thrown);
          } catch (const std::exception& error) {
            what = error.what();
          }
          response.status = 500;
          response.set_content(error_body("the server failed: " + what), "application/json");
        });
    set_error_handler(
        Handler([this](const httplib::Request&, httplib::Response& response) { explain(response); }));
  }

  ~Impl() override {
    stop(std::chrono::milliseconds(0));
    ::close(stop_event_);
  }

  void listen_tcp(const std::string& host, int port) {
    const std::string where = host + ":" + std::to_string(port);
    addrinfo hints{}, *found = nullptr;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
    if (const int code = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found); code != 0)
      throw Error(where + ": " + ::gai_strerror(code));
    const int fd = ::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const int one = 1;
    const bool bound = fd >= 0 && ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
                       ::bind(fd, found->ai_addr, found->ai_addrlen) == 0 && ::listen(fd, SOMAXCONN) == 0;
    const int error = errno;
    ::freeaddrinfo(found);
    if (!bound) {
      if (fd >= 0) ::close(fd);
      errno = error;
      fail_errno(where);
    }
    listening_.push_back(fd);
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(address).sin6_port
                                                : reinterpret_cast<sockaddr_in&>(address).sin_port);
  }

  void listen_unix(const std::filesystem::path& path) {
    const std::string where = path.string();
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.native().size() >= sizeof address.sun_path)
      throw Error(where + ": the path of a socket has at most " +
                  std::to_string(sizeof address.sun_path - 1) + " bytes");
    std::memcpy(address.sun_path, path.c_str(), path.native().size());
    const auto* as_socket = reinterpret_cast<const sockaddr*>(&address);
    if (std::error_code none; std::filesystem::exists(path, none)) {
      if (!std::filesystem::is_socket(path)) throw Error(where + ": exists and is no socket");
      const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
      const bool alive = ::connect(probe, as_socket, sizeof address) == 0;
      ::close(probe);
      if (alive) throw Error(where + ": another server listens there");
      std::filesystem::remove(path);  // of one that was killed
    }
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    // Closed to others before anybody can connect.
    const bool bound = fd >= 0 && ::bind(fd, as_socket, sizeof address) == 0 &&
                       ::chmod(path.c_str(), 0600) == 0 && ::listen(fd, SOMAXCONN) == 0;
    if (!bound) {
      const int error = errno;
      if (fd >= 0) ::close(fd);
      errno = error;
      fail_errno(where);
    }
    listening_.push_back(fd);
    socket_path_ = path;
  }

  int port() const { return port_; }

  void start() {
    if (listening_.empty()) throw ValueError("nothing to listen on");
    accepting_ = std::thread([this] { accept_all(); });
  }

  int stop(std::chrono::milliseconds grace) {
    const std::uint64_t one = 1;
    if (!stopping_.exchange(true) && ::write(stop_event_, &one, sizeof one) != sizeof one)
      fail_errno("eventfd");
    if (accepting_.joinable()) accepting_.join();
    for (const int fd : listening_) ::close(fd);
    listening_.clear();
    if (!socket_path_.empty()) std::filesystem::remove(std::exchange(socket_path_, {}));
    int left = 0;
    {
      std::unique_lock lock(mutex_);
      ended_.wait_for(lock, grace, [this] { return open_.empty(); });
      for (Connection& connection : open_) {
        if (connection.in_request) ++left;
        connection.stream.shut_down();
      }
    }
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [this] { return open_.empty(); });
    join_finished(lock);
    return left;
  }

  HttpCounts counts() const {
    return {connections_.load(), refused_.load(), requests_.load(), errors_.load()};
  }

 private:
  struct Connection {
    Connection(int socket, int stop_event) : stream(socket, stop_event) {}
    SocketStream stream;
    std::thread thread;
    std::atomic<bool> in_request{false};
  };

  // --- connections ---

  void accept_all() {
    std::vector<pollfd> polled;
    for (const int fd : listening_) polled.push_back({fd, POLLIN, 0});
    polled.push_back({stop_event_, POLLIN, 0});
    while (!stopping_) {
      constexpr int kCollectMs = 500;  // connections that ended are put away at least this often
      if (::poll(polled.data(), polled.size(), kCollectMs) < 0 && errno != EINTR) return;
      for (std::size_t i = 0; i + 1 < polled.size(); ++i)
        if ((polled[i].revents & POLLIN) != 0) accept_one(polled[i].fd);
      std::unique_lock lock(mutex_);
      join_finished(lock);
    }
  }

  void accept_one(int listening) {
    const int fd = ::accept4(listening, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) {
      // Out of descriptors or memory: who waits is served when others have gone.
      if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
      return;
    }
    const int one = 1;
    ::setsockopt(
        fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);  // fails on a unix socket, which has no delay
    ++connections_;
    std::unique_lock lock(mutex_);
    const std::size_t allowed = static_cast<std::size_t>(limits_.connections);
    const bool refuse = open_.size() >= allowed;
    if (refuse) ++refused_;
    if (open_.size() >= allowed + kRefusing) {
      ::close(fd);
      return;
    }
    const auto at = open_.emplace(open_.end(), fd, stop_event_);
    try {
      at->thread = std::thread([this, at, refuse] { run(at, refuse); });
    } catch (const std::system_error&) {  // no more threads: closed unanswered
      open_.erase(at);
    }
  }

  void run(std::list<Connection>::iterator at, bool refuse) {
    if (refuse) {
      at->stream.begin_request({}, 0, limits_.request_time);
      const std::string body = error_body("the server has as many connections as it may have");
      const std::string head =
          "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n"
          "Content-Type: application/json\r\nContent-Length: " +
          std::to_string(body.size()) + "\r\n\r\n" + body;
      at->stream.write(head.data(), head.size());
      if (at->stream.flush()) at->stream.close_gently();
    } else {
      serve(*at);
    }
    std::unique_lock lock(mutex_);
    finished_.splice(finished_.end(), open_, at);
    ended_.notify_all();
  }

  void serve(Connection& connection) {
    SocketStream& stream = connection.stream;
    t_current = {&stream, true};
    while (!stopping_ && stream.wait_for_request(limits_.idle_time)) {
      connection.in_request = true;
      stream.begin_request(std::chrono::steady_clock::now() + limits_.request_time,
                           limits_.body_bytes + kHeaderBytes,
                           limits_.request_time);
      t_current = {&stream, false};
      bool closed = false;
      const bool answered = process_request(stream, stopping_, closed, [](httplib::Request& request) {
        t_current.whole = request.method == "GET" || request.method == "HEAD";
        // Neither compressed nor in parts: both would take time that depends on the answer.
        request.headers.erase("Accept-Encoding");
        request.headers.erase("Range");
        request.ranges.clear();
        // What curl says about any body when nobody tells it; httplib would take the JSON apart as a form.
        if (request.get_header_value("Content-Type").starts_with("application/x-www-form-urlencoded"))
          request.headers.erase("Content-Type");
      });
      if (answered) ++requests_;
      const bool sent = stream.flush();
      connection.in_request = false;
      if (!answered || !sent) break;
      if (closed || !t_current.whole) break;
    }
    if (!t_current.whole) stream.close_gently();
    stream.shut_down();  // the other side hears it now, whenever the socket is put away
    t_current = {};
  }

  void join_finished(std::unique_lock<std::mutex>& lock) {
    std::list<Connection> finished;
    finished.swap(finished_);
    lock.unlock();
    for (Connection& connection : finished) connection.thread.join();
    finished.clear();
    lock.lock();
  }

  // --- requests ---

  // What can be told before the body is read. The connection ends with such an answer.
  bool refuse_unread(const httplib::Request& request, httplib::Response& response) {
    const auto refuse = [&](int status, const std::string& what) {
      response.status = status;
      response.set_header("Connection", "close");
      response.set_content(error_body(what), "application/json");
      return true;
    };
    if (request.method != "GET" && request.method != "HEAD" && request.method != "POST")
      return refuse(405, "method " + in_quotes(request.method) + ": expected GET or POST");
    if (request.method != "POST") return false;
    if (request.has_header("Transfer-Encoding") || !request.has_header("Content-Length"))
      return refuse(411, "expected a header Content-Length; a body in chunks is not taken");
    if (request.get_header_value_count("Content-Length") > 1)
      return refuse(400, "expected one header Content-Length");
    const std::string length = request.get_header_value("Content-Length");
    if (length.empty() || length.size() > 18 || length.find_first_not_of("0123456789") != std::string::npos)
      return refuse(400, "Content-Length: expected a number of bytes, got " + in_quotes(length));
    if (std::stoull(length) > limits_.body_bytes)
      return refuse(
          413,
          "the body has " + length + " bytes, at most " + std::to_string(limits_.body_bytes) + " are taken");
    if (request.has_header("Content-Encoding") && request.get_header_value("Content-Encoding") != "identity")
      return refuse(415,
                    "Content-Encoding " + in_quotes(request.get_header_value("Content-Encoding")) +
                        ": bodies are taken as they are, not compressed");
    if (const std::string type = request.get_header_value("Content-Type"); type.starts_with("multipart/"))
      return refuse(
          415, "Content-Type " + in_quotes(type) + ": expected application/json or application/octet-stream");
    return false;
  }

  void answer(const httplib::Request& request, httplib::Response& response) {
    const auto read = std::chrono::steady_clock::now();
    t_current.whole = true;
    HttpAnswer answer = handler_({request.method == "POST" ? "POST" : "GET",
                                  request.path,
                                  request.get_header_value(kJsonLength),
                                  request.body,
                                  read});
    response.status = answer.status;
    if (answer.json_length > 0) response.set_header(kJsonLength, std::to_string(answer.json_length));
    response.set_content(std::move(answer.body), answer.content_type);
  }

  // Every answer of 400 and above passes here: those of httplib itself have no text yet.
  void explain(httplib::Response& response) {
    ++errors_;
    if (!response.body.empty()) return;
    t_current.whole = false;
    response.set_header("Connection", "close");
    std::string what = "expected an HTTP/1.1 request";
    if (t_current.stream->timed_out()) {
      response.status = 408;
      what = "the request took longer than " + std::to_string(limits_.request_time.count()) + " ms to arrive";
    } else if (t_current.stream->ended()) {
      what = "the request ended before all of it had come";
    } else if (response.status == 414) {
      what = "the address is too long";
    }
    response.set_content(error_body(what), "application/json");
  }

  HttpLimits limits_;
  std::function<HttpAnswer(const HttpRequest&)> handler_;
  int stop_event_;
  int port_ = 0;
  std::vector<int> listening_;
  std::filesystem::path socket_path_;
  std::thread accepting_;
  std::atomic<bool> stopping_{false};
  std::atomic<std::uint64_t> connections_{0}, refused_{0}, requests_{0}, errors_{0};
  std::mutex mutex_;
  std::condition_variable ended_;
  std::list<Connection> open_, finished_;  // finished: their threads want to be joined
};

HttpListener::HttpListener(const HttpLimits& limits, std::function<HttpAnswer(const HttpRequest&)> handler)
    : impl_(std::make_unique<Impl>(limits, std::move(handler))) {}
HttpListener::~HttpListener() = default;
void HttpListener::listen_tcp(const std::string& host, int port) { impl_->listen_tcp(host, port); }
void HttpListener::listen_unix(const std::filesystem::path& path) { impl_->listen_unix(path); }
int HttpListener::port() const { return impl_->port(); }
void HttpListener::start() { impl_->start(); }
int HttpListener::stop(std::chrono::milliseconds grace) { return impl_->stop(grace); }
HttpCounts HttpListener::counts() const { return impl_->counts(); }

}  // namespace offramp::tools
