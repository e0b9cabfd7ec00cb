// `offramp serve` under load, from the outside, on raw sockets: many connections that each ask again when they are answered,
// beside slow readers and half bodies; then kill -9 in the middle of requests. Checked: every whole answer is that of the
// net, slow and half ones are cut while the others are served, nobody who was told an answer was told half of one, who was
// cut is answered by the next server, and the server's memory is flat (5 %). Printed: rate, p50, p99, memory. Exit code 1
// where a check fails; the times are no check.
//
//   serve_load [--requests 100000] [--connections 1000] [--workers 1] [--together 1]
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "attacks/query/inference_message.h"
#include "tests/support/program.h"
#include "tests/tools/serve/raw_client.h"
#include "tests/tools/serve/served.h"

namespace offramp {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

int g_failures = 0;
void expect(bool holds, const std::string& what) {
  if (holds) return;
  ++g_failures;
  fmt::print(stderr, "serve_load: {}\n", what);
}

int free_port() {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  if (::bind(socket, reinterpret_cast<sockaddr*>(&at), size) != 0 ||
      ::getsockname(socket, reinterpret_cast<sockaddr*>(&at), &size) != 0)
    throw std::runtime_error("no free port");
  ::close(socket);
  return ntohs(at.sin_port);
}

struct Question {
  std::string bytes, answer;  // the answer's body, where it is right
};

// The program with the net, at a port of this machine, once it answers.
class Server {
 public:
  Server(const std::filesystem::path& checkpoint, int port, const std::vector<std::string>& more)
      : program_(words(checkpoint, port, more)) {
    for (int i = 0; i < 500; ++i) {
      try {
        test::RawClient(port).ask(test::get("/v2/health/live"));
        return;
      } catch (const std::runtime_error&) {
        std::this_thread::sleep_for(20ms);
      }
    }
    throw std::runtime_error("offramp serve does not answer: " + stop(SIGKILL).text());
  }
  test::Outcome stop(int signal) {
    program_.send(signal);
    return program_.wait();
  }
  void kill() const { program_.send(SIGKILL); }
  // Resident, in KiB.
  long memory() const {
    std::ifstream status("/proc/" + std::to_string(program_.pid()) + "/status");
    for (std::string line; std::getline(status, line);)
      if (line.starts_with("VmRSS:")) return std::strtol(line.c_str() + 6, nullptr, 10);
    return 0;
  }

 private:
  static std::vector<std::string> words(const std::filesystem::path& checkpoint,
                                        int port,
                                        const std::vector<std::string>& more) {
    std::vector<std::string> all = {
        "serve", checkpoint.string(), "--port", std::to_string(port), "--request-seconds", "3"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  test::Program program_;
};

// One connection that asks again as soon as it is answered.
struct Asking {
  int socket = -1;
  std::size_t question = 0, sent = 0;
  std::string in;
  Clock::time_point since;
  bool waiting = false;
};

// A crowd of them in one thread.
class Crowd {
 public:
  Crowd(int port, const std::vector<Question>& questions, int connections)
      : questions_(questions),
        poll_(::epoll_create1(EPOLL_CLOEXEC)),
        asking_(static_cast<std::size_t>(connections)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(port));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (std::size_t i = 0; i < asking_.size(); ++i) {
      Asking& one = asking_[i];
      one.socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      if (one.socket < 0 || ::connect(one.socket, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0)
        throw std::runtime_error(fmt::format("connection {}: {}", i, std::strerror(errno)));
      const int yes = 1;
      ::setsockopt(one.socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
      ::fcntl(one.socket, F_SETFL, O_NONBLOCK);
      epoll_event event{.events = EPOLLIN, .data = {.u64 = i}};
      ::epoll_ctl(poll_, EPOLL_CTL_ADD, one.socket, &event);
    }
  }
  ~Crowd() {
    for (const Asking& one : asking_)
      if (one.socket >= 0) ::close(one.socket);
    ::close(poll_);
  }
  Crowd(const Crowd&) = delete;
  Crowd& operator=(const Crowd&) = delete;

  // Until so many more are answered, or all connections are gone. `during` is called every few answers.
  void ask(std::int64_t answers, const std::function<void(std::int64_t answered)>& during = {}) {
    const std::int64_t until = answered_ + answers;
    std::int64_t open = 0;
    for (Asking& one : asking_) {
      if (one.socket < 0) continue;
      ++open;
      if (!one.waiting && asked_ < until) next(one);
    }
    std::vector<epoll_event> events(256);
    while (answered_ < until && open > 0) {
      const int n = ::epoll_wait(poll_, events.data(), static_cast<int>(events.size()), 20'000);
      if (n <= 0) {
        expect(false, fmt::format("nothing came for 20 s, {} of {} answered", answered_, until));
        return;
      }
      for (int e = 0; e < n; ++e) {
        Asking& one = asking_[events[static_cast<std::size_t>(e)].data.u64];
        if (one.socket < 0) continue;
        if (!read(one)) {
          --open;
          continue;
        }
        if (!one.waiting && asked_ < until) next(one);
      }
      if (during) during(answered_);
    }
  }
  std::int64_t answered() const { return answered_; }
  // Questions that were sent and not answered, of connections that ended.
  std::int64_t cut() const { return cut_; }
  std::vector<double>& milliseconds() { return milliseconds_; }

 private:
  void next(Asking& one) {
    one.question = static_cast<std::size_t>(asked_) % questions_.size();
    one.since = Clock::now();
    one.waiting = true;
    ++asked_;
    const std::string& bytes = questions_[one.question].bytes;
    // A question of a small net fits into a socket's buffer.
    if (::send(one.socket, bytes.data(), bytes.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(bytes.size()))
      end(one);
  }
  bool end(Asking& one) {
    if (one.waiting) ++cut_;
    one.waiting = false;
    ::close(std::exchange(one.socket, -1));
    return false;
  }
  bool read(Asking& one) {
    char buffer[16384];
    const ssize_t n = ::recv(one.socket, buffer, sizeof buffer, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
    if (n <= 0) return end(one);
    one.in.append(buffer, static_cast<std::size_t>(n));
    const std::size_t head = one.in.find("\r\n\r\n");
    if (head == std::string::npos) return true;
    const std::size_t at = one.in.find("Content-Length: ");
    const std::size_t length = at < head ? std::strtoul(one.in.c_str() + at + 16, nullptr, 10) : 0;
    if (one.in.size() < head + 4 + length) return true;
    expect(one.in.size() == head + 4 + length && test::status_of(one.in) == 200 &&
               test::body_of(one.in) == questions_[one.question].answer,
           "another answer than the net's: " + one.in.substr(0, 300));
    milliseconds_.push_back(std::chrono::duration<double, std::milli>(Clock::now() - one.since).count());
    one.in.clear();
    one.waiting = false;
    ++answered_;
    return true;
  }

  const std::vector<Question>& questions_;
  int poll_;
  std::vector<Asking> asking_;
  std::int64_t asked_ = 0, answered_ = 0, cut_ = 0;
  std::vector<double> milliseconds_;
};

double quantile(std::vector<double> values, double level) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(level * static_cast<double>(values.size() - 1))];
}

// Pictures as questions; the right answers are those of the first server, which the tests hold to the net's.
std::vector<Question> questions_for(const test::Served& net, int port) {
  std::vector<Question> out;
  const std::size_t size = net.pixels.size() / net.truth.label.size();
  const Shape& shape = net.images.shape();
  for (std::size_t i = 0; i < net.truth.label.size(); ++i) {
    const std::vector<std::int64_t> one = {1, shape.c(), shape.h(), shape.w()};
    const auto body =
        attacks::infer_body("images", one, std::span(net.pixels).subspan(i * size, size), "", true);
    Question question;
    question.bytes =
        test::post("/v2/models/net/infer",
                   body.bytes,
                   "Inference-Header-Content-Length: " + std::to_string(body.json_bytes) + "\r\n");
    test::RawClient client(port);
    const std::string answer = client.ask(question.bytes);
    question.answer = test::body_of(answer);
    const std::string name = "Inference-Header-Content-Length: ";
    const std::size_t at = answer.find(name);
    const std::size_t json =
        at == std::string::npos ? 0 : std::strtoul(answer.c_str() + at + name.size(), nullptr, 10);
    const auto values = attacks::read_infer_answer(question.answer, json, "probabilities").values;
    const auto classes = static_cast<std::size_t>(net.truth.classes);
    const auto truth = std::span(net.truth.probabilities).subspan(i * classes, classes);
    expect(std::equal(values.begin(), values.end(), truth.begin(), truth.end()),
           fmt::format("picture {} is not answered as by the net", i));
    out.push_back(std::move(question));
  }
  return out;
}

// Who asks without end and reads nothing: the server's answers fill the buffers, then it must let go.
void read_nothing(int port, const Question& question, std::atomic<int>& let_go) {
  test::RawClient client(port);
  client.limit_waiting(8s);
  for (int i = 0; i < 200'000; ++i) {
    if (!client.send(question.bytes)) {
      if (errno != EAGAIN && errno != EWOULDBLOCK) ++let_go;  // else it was never let go
      return;
    }
  }
}
// Who sends half of a body and no more.
void send_half(int port, const Question& question, std::atomic<int>& let_go) {
  test::RawClient client(port);
  client.send(std::string_view(question.bytes).substr(0, question.bytes.size() / 2));
  const std::string said = client.answer();
  if (test::status_of(said) == 408 && client.ends()) ++let_go;
}

}  // namespace
}  // namespace offramp

int main(int argc, char** argv) {
  using namespace offramp;
  std::map<std::string, std::string> given = {
      {"--requests", "100000"}, {"--connections", "1000"}, {"--workers", "1"}, {"--together", "1"}};
  for (int i = 1; i + 1 < argc; i += 2) {
    if (!given.contains(argv[i])) {
      std::fprintf(stderr, "serve_load: unknown option %s\n", argv[i]);
      return 2;
    }
    given[argv[i]] = argv[i + 1];
  }
  const std::int64_t requests = std::atoll(given["--requests"].c_str());
  const int connections = std::atoi(given["--connections"].c_str());
  constexpr int kSlow = 20, kHalf = 50;
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;  // inherited by the server
  ::setrlimit(RLIMIT_NOFILE, &files);

  const test::Served net(test::tiny_options(), 24);
  const std::vector<std::string> options = {"--workers",
                                            given["--workers"],
                                            "--together",
                                            given["--together"],
                                            "--max-connections",
                                            std::to_string(connections + kSlow + kHalf + 10)};
  int port = free_port();
  auto server = std::make_unique<Server>(net.checkpoint, port, options);
  const std::vector<Question> questions = questions_for(net, port);

  // The crowd, with the slow and the half ones beside it from the start.
  std::atomic<int> slow_gone{0}, half_gone{0};
  std::vector<std::thread> others;
  {
    Crowd crowd(port, questions, connections);
    for (int i = 0; i < kSlow; ++i)
      others.emplace_back(read_nothing, port, std::cref(questions[0]), std::ref(slow_gone));
    for (int i = 0; i < kHalf; ++i)
      others.emplace_back(send_half, port, std::cref(questions[0]), std::ref(half_gone));
    crowd.ask(requests / 5);  // every connection has its thread and its buffers
    for (std::thread& one : others) one.join();
    const long before = server->memory();
    crowd.milliseconds().clear();
    const auto start = Clock::now();
    crowd.ask(requests - requests / 5);
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    const long after = server->memory();
    expect(crowd.answered() == requests,
           fmt::format("{} of {} requests answered", crowd.answered(), requests));
    expect(crowd.cut() == 0, fmt::format("{} connections ended without an answer", crowd.cut()));
    expect(slow_gone == kSlow, fmt::format("{} of {} that read nothing were cut", slow_gone.load(), kSlow));
    expect(half_gone == kHalf, fmt::format("{} of {} half bodies were told 408", half_gone.load(), kHalf));
    expect(std::abs(after - before) <= before / 20,
           fmt::format("memory went from {} to {} KiB", before, after));
    fmt::print(
        "{} requests on {} connections: {:.0f} a second, p50 {:.2f} ms, p99 {:.2f} ms; memory {:.1f} to {:.1f} MiB\n",
        requests,
        connections,
        static_cast<double>(requests - requests / 5) / seconds,
        quantile(crowd.milliseconds(), 0.5),
        quantile(crowd.milliseconds(), 0.99),
        static_cast<double>(before) / 1024,
        static_cast<double>(after) / 1024);
  }

  // kill -9 in the middle of requests: an answer is whole and right or there is none; then it is had from the next server.
  std::int64_t acknowledged = 0, cut = 0;
  for (int round = 0; round < 5; ++round) {
    Crowd crowd(port, questions, 100);
    bool killed = false;
    crowd.ask(1'000'000, [&](std::int64_t answered) {
      if (!killed && answered >= 500 + 37 * round) {
        killed = true;
        server->kill();
      }
    });
    server->stop(SIGKILL);
    acknowledged += crowd.answered();
    cut += crowd.cut();
    expect(crowd.cut() > 0, "the kill came when nobody was asking");
    server = std::make_unique<Server>(net.checkpoint, port, options);
    Crowd again(port, questions, 100);
    again.ask(crowd.cut());
    expect(again.answered() == crowd.cut(), "who was cut was not answered by the next server");
  }
  fmt::print("5 kills in the middle of requests: {} whole answers, {} requests cut and asked again\n",
             acknowledged,
             cut);
  const test::Outcome end = server->stop(SIGTERM);
  expect(end.code == 0, "the server ended with " + end.text());
  if (g_failures > 0) fmt::print("{} checks failed\n", g_failures);
  return g_failures == 0 ? 0 : 1;
}
