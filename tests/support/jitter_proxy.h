// A network with jitter: a proxy on a free port of this machine that holds every answer of a server back for a time of its
// own, uniform between 0 and a bound. Requests pass at once.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <random>
#include <stdexcept>
#include <thread>
#include <vector>

namespace offramp::test {

class JitterProxy {
 public:
  JitterProxy(int server_port, std::chrono::nanoseconds bound, std::uint64_t seed)
      : server_port_(server_port),
        bound_(bound),
        seed_(seed),
        listening_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in at = address(0);
    socklen_t size = sizeof at;
    if (::bind(listening_, reinterpret_cast<sockaddr*>(&at), size) != 0 || ::listen(listening_, 16) != 0 ||
        ::getsockname(listening_, reinterpret_cast<sockaddr*>(&at), &size) != 0)
      throw std::runtime_error("JitterProxy: cannot listen");
    port_ = ntohs(at.sin_port);
    accepting_ = std::thread([this] { accept_all(); });
  }
  ~JitterProxy() {
    stopping_ = true;
    accepting_.join();
    for (std::thread& one : passing_) one.join();
    ::close(listening_);
  }
  JitterProxy(const JitterProxy&) = delete;
  JitterProxy& operator=(const JitterProxy&) = delete;
  int port() const { return port_; }

 private:
  static sockaddr_in address(int port) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(static_cast<std::uint16_t>(port));
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return at;
  }
  void accept_all() {
    while (!stopping_) {
      pollfd polled{listening_, POLLIN, 0};
      if (::poll(&polled, 1, 20) <= 0) continue;
      const int client = ::accept4(listening_, nullptr, nullptr, SOCK_CLOEXEC);
      passing_.emplace_back([this, client, seed = seed_++] { pass(client, seed); });
    }
  }
  void pass(int client, std::uint64_t seed) {
    const int server = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    const sockaddr_in to = address(server_port_);
    std::mt19937_64 random(seed);
    if (::connect(server, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0) {
      for (const int socket : {client, server})
        ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
      pollfd polled[2] = {{client, POLLIN, 0}, {server, POLLIN, 0}};
      std::vector<char> buffer(1 << 20);
      bool alive = true, answering = false;
      while (alive && !stopping_) {
        if (::poll(polled, 2, 20) <= 0) continue;
        for (int side = 0; side < 2 && alive; ++side) {
          if (polled[side].revents == 0) continue;
          const ssize_t n = ::recv(polled[side].fd, buffer.data(), buffer.size(), 0);
          if (n <= 0) {
            alive = false;
            break;
          }
          if (side == 1 && !answering) hold_back(random);  // once an answer, in however many pieces it comes
          answering = side == 1;
          alive = send_all(polled[1 - side].fd, buffer.data(), n);
        }
      }
    }
    ::close(server);
    ::close(client);
  }
  void hold_back(std::mt19937_64& random) const {
    const double share = static_cast<double>(random() >> 11) * 0x1p-53;
    const auto until =
        std::chrono::steady_clock::now() +
        std::chrono::nanoseconds(static_cast<std::int64_t>(share * static_cast<double>(bound_.count())));
    while (std::chrono::steady_clock::now() < until) std::this_thread::yield();
  }
  static bool send_all(int to, const char* bytes, ssize_t count) {
    while (count > 0) {
      const ssize_t n = ::send(to, bytes, static_cast<std::size_t>(count), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes += n;
      count -= n;
    }
    return true;
  }

  int server_port_;
  std::chrono::nanoseconds bound_;
  std::uint64_t seed_;
  int listening_, port_ = 0;
  std::atomic<bool> stopping_{false};
  std::thread accepting_;
  std::vector<std::thread> passing_;
};

}  // namespace offramp::test
