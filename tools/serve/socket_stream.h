// A connected socket as httplib's Stream: buffered both ways, every wait with a deadline.
#pragma once

#include <httplib.h>

#include <chrono>
#include <cstddef>
#include <string>

namespace offramp::tools {

class SocketStream final : public httplib::Stream {
 public:
  using Clock = std::chrono::steady_clock;

  // Owns `socket`. stop_event: readable once nobody should wait for another request.
  SocketStream(int socket, int stop_event) : socket_(socket), stop_event_(stop_event) {}
  ~SocketStream() override;
  SocketStream(const SocketStream&) = delete;
  SocketStream& operator=(const SocketStream&) = delete;

  // Waits for the first byte of a request; false: none came in `idle`, the other side is gone, or it is time to stop.
  bool wait_for_request(std::chrono::milliseconds idle);
  // From now on reading ends at `deadline` and after `bytes`; writing may take `write_time`.
  void begin_request(Clock::time_point deadline, std::size_t bytes, std::chrono::milliseconds write_time);
  bool timed_out() const { return timed_out_; }
  bool ended() const { return ended_; }  // the other side sent its last byte
  bool flush();                          // sends what was written; false: it cannot be
  // Sends the end and reads what is still coming, for a moment: so that an answer sent before the whole request was read
  // is not lost with the connection.
  void close_gently();
  void shut_down();  // from another thread: whoever waits here gives up

  bool is_readable() const override { return true; }
  bool is_writable() const override { return true; }
  ssize_t read(char* to, size_t size) override;
  ssize_t write(const char* from, size_t size) override;
  void get_remote_ip_and_port(std::string& ip, int& port) const override;
  void get_local_ip_and_port(std::string& ip, int& port) const override;
  // httplib refuses numbers that do not fit select(), which is not used here.
  socket_t socket() const override { return 0; }

 private:
  enum class Ready { kYes, kLate, kStop };
  Ready wait(short events, Clock::time_point deadline, bool stoppable) const;

  int socket_, stop_event_;
  Clock::time_point deadline_{};
  std::chrono::milliseconds write_time_{};
  std::size_t may_read_ = 0;
  bool timed_out_ = false, ended_ = false;
  std::string in_, out_;
  std::size_t at_ = 0;  // first byte of in_ that was not taken
};

}  // namespace offramp::tools
