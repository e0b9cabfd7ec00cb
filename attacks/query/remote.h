// A victim behind a network: any server of the Open Inference Protocol (KServe's "V2") over HTTP, such as
// `offramp serve`, Triton or MLServer. One connection that is kept open, TCP_NODELAY, one image a request where times are
// wanted; the body is made before the clock starts and the answer is read after it stops. The clock sees network, server
// and net together: query_victim's passes in ever new orders, and the estimate's division by the machine's speed of the
// moment (stats/exits), take out what does not belong to the image.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "attacks/query/black_box.h"
#include "attacks/query/pilot.h"
#include "base/errors.h"

namespace offramp::attacks {

// The server cannot be reached, refuses, or answers what is no answer. The message names URL and request.
class RemoteError : public Error {
 public:
  using Error::Error;
};

struct RemoteOptions {
  std::string model = {};  // empty: the one that the URL names, or the only one that the server lists
  std::string input = {},
              output = {};  // names of tensors; empty: the only input, the first output of numbers
  std::vector<std::int64_t> shape = {};  // of one image; empty: as the server's metadata say
  bool json = false;                     // true: no binary tensors even where the server takes them
  int untimed_batch = 32;                // images a request without timing, where the server takes several
  int warm_up = 5;                       // untimed requests before the first timed one of a call
  int cpu = -1;                          // of the timed requests; -1: CpuPin's choice
  std::chrono::milliseconds connect_timeout{5'000}, answer_timeout{30'000};
  // How long a server that cannot be reached or says that it is busy (429, 502, 503, 504) is asked again. A request that
  // was repeated, or had to open a connection, is timed anew: no time has a connection in it.
  std::chrono::milliseconds patience{60'000};
  std::function<void(const std::string& why)> on_wait = {};  // before each wait for such a server; may throw
};

// More repetitions where QueryOptions chooses their number: a network's jitter is longer than a core's, and what the least of
// 20 times still has of it hides the exits from a pilot of the size that does in process. Asks until the estimate promises its
// number of exits, or 400 times.
void choose_for_network(QueryOptions& options);

// "http://", "https://" or "unix:": what RemoteBlackBox takes.
bool is_remote(const std::string& victim);

class RemoteBlackBox final : public BlackBox {
 public:
  // url: http://HOST[:PORT], https://..., unix:/PATH/OF/SOCKET; of the first two also .../v2/models/NAME. Reads the model's
  // metadata. RemoteError: as above; ValueError: no such URL, or a model whose tensors are not images in, classes out.
  explicit RemoteBlackBox(const std::string& url, RemoteOptions options = {});
  ~RemoteBlackBox() override;
  RemoteBlackBox(RemoteBlackBox&&) noexcept;

  int classes() const override;
  // Outputs that are no probabilities are taken as logits. RemoteError where the server stays away longer than patience.
  Answer query(const Tensor& images, Timing timing) override;

  const std::vector<std::int64_t>& shape() const;  // of one image: {c, h, w} or {features}
  std::string description() const;                 // "model NAME at URL (platform, binary tensors)"
  std::int64_t requests() const;                   // answered so far
  std::int64_t repeated() const;                   // requests that were asked again, for whatever reason

 private:
  class Connection;
  std::unique_ptr<Connection> connection_;
};

}  // namespace offramp::attacks
