// A socket that says what a test tells it to, byte by byte, and shows what comes back.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace offramp::test {

class RawClient {
 public:
  explicit RawClient(int port) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(port));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(socket_, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0)
      throw std::runtime_error(std::string("connect: ") + std::strerror(errno));
  }
  explicit RawClient(const std::string& path) : socket_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un to{};
    to.sun_family = AF_UNIX;
    std::strncpy(to.sun_path, path.c_str(), sizeof to.sun_path - 1);
    if (::connect(socket_, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0)
      throw std::runtime_error(std::string("connect: ") + std::strerror(errno));
  }
  ~RawClient() { ::close(socket_); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }
  // send() gives up where nothing can be sent for so long.
  void limit_waiting(std::chrono::seconds most) {
    const timeval time{.tv_sec = most.count(), .tv_usec = 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
  }
  void end_of_sending() { ::shutdown(socket_, SHUT_WR); }

  // One answer with Content-Length; what came until then where the connection ends or nothing comes for ten seconds.
  std::string answer() {
    for (;;) {
      const std::size_t head = in_.find("\r\n\r\n");
      if (head != std::string::npos) {
        const std::size_t at = in_.find("Content-Length: ");
        const std::size_t length = at < head ? std::strtoul(in_.c_str() + at + 16, nullptr, 10) : 0;
        if (in_.size() >= head + 4 + length) {
          std::string one = in_.substr(0, head + 4 + length);
          in_.erase(0, one.size());
          return one;
        }
      }
      if (!more()) return std::exchange(in_, {});
    }
  }
  std::string ask(std::string_view bytes) {
    send(bytes);
    return answer();
  }
  // Whether the other side ends the connection within ten seconds, whatever it says before.
  bool ends() {
    while (more()) {
    }
    return ended_;
  }

 private:
  bool more() {
    pollfd polled{socket_, POLLIN, 0};
    if (::poll(&polled, 1, 10'000) <= 0) return false;
    char buffer[65536];
    const ssize_t n = ::recv(socket_, buffer, sizeof buffer, 0);
    if (n <= 0) {
      ended_ = true;
      return false;
    }
    in_.append(buffer, static_cast<std::size_t>(n));
    return true;
  }
  int socket_;
  std::string in_;
  bool ended_ = false;
};

inline std::string post(const std::string& path, const std::string& body, const std::string& headers = "") {
  return "POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + headers +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}
inline std::string get(const std::string& path, const std::string& headers = "") {
  return "GET " + path + " HTTP/1.1\r\nHost: x\r\n" + headers + "\r\n";
}
// Whether somebody takes connections at this socket within a minute. It is there a moment before that.
inline bool is_listened_on(const std::string& path) {
  for (int i = 0; i < 3000; ++i) {
    try {
      const RawClient client(path);
      return true;
    } catch (const std::exception&) {
      ::usleep(20000);
    }
  }
  return false;
}

inline int status_of(const std::string& answer) {
  return answer.starts_with("HTTP/1.1 ") ? std::atoi(answer.c_str() + 9) : 0;
}
inline std::string body_of(const std::string& answer) {
  const std::size_t head = answer.find("\r\n\r\n");
  return head == std::string::npos ? "" : answer.substr(head + 4);
}

}  // namespace offramp::test
