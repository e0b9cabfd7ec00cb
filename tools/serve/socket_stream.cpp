#include "tools/serve/socket_stream.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace offramp::tools {
namespace {

constexpr std::size_t kReadAtOnce = 64 * 1024;

}  // namespace

SocketStream::~SocketStream() { ::close(socket_); }

SocketStream::Ready SocketStream::wait(short events, Clock::time_point deadline, bool stoppable) const {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return Ready::kLate;
    pollfd polled[2] = {{socket_, events, 0}, {stop_event_, POLLIN, 0}};
    const int n = ::poll(polled, stoppable ? 2 : 1, static_cast<int>(std::min<std::int64_t>(left, 1 << 30)));
    if (n < 0 && errno != EINTR) return Ready::kLate;
    if (n <= 0) continue;
    if (polled[0].revents != 0) return Ready::kYes;  // also its end: reading tells
    return Ready::kStop;
  }
}

bool SocketStream::wait_for_request(std::chrono::milliseconds idle) {
  if (at_ < in_.size()) return true;  // it came with the last one
  return wait(POLLIN, Clock::now() + idle, true) == Ready::kYes;
}

void SocketStream::begin_request(Clock::time_point deadline,
                                 std::size_t bytes,
                                 std::chrono::milliseconds write_time) {
  deadline_ = deadline;
  may_read_ = bytes;
  write_time_ = write_time;
}

ssize_t SocketStream::read(char* to, size_t size) {
  if (!out_.empty() && !flush()) return -1;  // "100 Continue" goes out before the body is waited for
  if (at_ == in_.size()) {
    if (wait(POLLIN, deadline_, false) != Ready::kYes) {
      timed_out_ = true;
      return -1;
    }
    in_.resize(kReadAtOnce);
    at_ = 0;
    ssize_t got;
    do got = ::recv(socket_, in_.data(), in_.size(), 0);
    while (got < 0 && errno == EINTR);
    in_.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    if (got <= 0) {
      ended_ = true;
      return got;
    }
  }
  const std::size_t count = std::min({size, in_.size() - at_, may_read_});
  if (count == 0) return -1;  // more than any request may have
  std::memcpy(to, in_.data() + at_, count);
  at_ += count;
  may_read_ -= count;
  return static_cast<ssize_t>(count);
}

ssize_t SocketStream::write(const char* from, size_t size) {
  out_.append(from, size);
  return static_cast<ssize_t>(size);
}

bool SocketStream::flush() {
  const auto deadline = Clock::now() + write_time_;
  std::size_t sent = 0;
  while (sent < out_.size()) {
    const ssize_t n = ::send(socket_, out_.data() + sent, out_.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) {
      sent += static_cast<std::size_t>(n);
    } else if (n < 0 && errno == EINTR) {
      continue;
    } else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      if (wait(POLLOUT, deadline, false) != Ready::kYes) return false;
    } else {
      return false;
    }
  }
  out_.clear();
  return true;
}

void SocketStream::close_gently() {
  ::shutdown(socket_, SHUT_WR);
  const auto deadline = Clock::now() + std::chrono::seconds(1);
  char unread[4096];
  for (std::size_t taken = 0; taken < (std::size_t{64} << 20);) {
    if (wait(POLLIN, deadline, false) != Ready::kYes) return;
    const ssize_t n = ::recv(socket_, unread, sizeof unread, 0);
    if (n <= 0) return;
    taken += static_cast<std::size_t>(n);
  }
}

void SocketStream::shut_down() { ::shutdown(socket_, SHUT_RDWR); }

// Nobody asks here who the other side is.
void SocketStream::get_remote_ip_and_port(std::string& ip, int& port) const {
  ip.clear();
  port = 0;
}
void SocketStream::get_local_ip_and_port(std::string& ip, int& port) const {
  ip.clear();
  port = 0;
}

}  // namespace offramp::tools
