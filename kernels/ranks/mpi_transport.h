#pragma once
// Ranks that mpirun started. Only messages between two ranks are used, never MPI's own reductions: their order is MPI's
// matter. Waiting is polling, so that a rank that is told to stop, or whose peer is gone, ends in its time and can say
// which one it was.
#include <functional>
#include <string>
#include <vector>

#include "kernels/ranks/mpi_library.h"
#include "kernels/ranks/transport.h"

namespace offramp {

class MpiTransport final : public Transport {
 public:
  // Joins the others, once a process: waits for all of them. `stop` is asked while waiting. Throws DeviceError where the
  // library is missing.
  explicit MpiTransport(std::function<bool()> stop);

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  // Throw, each rank the same way or on its own: RankError with the words of a rank that ended (farewell), RankLost for
  // one that is gone, Stopped where `stop` says so here or on another rank.
  void all_gather(void* all, std::size_t bytes) override;
  void broadcast(void* data, std::size_t bytes) override;

  // Tells the others why this rank ends; what they wait for throws. Empty: it was asked to stop.
  void farewell(const std::string& why);
  // After the work of all ranks, or after farewell(): rank 0 lets the others go, they wait for that for so long. False
  // where that did not happen; the process then ends without MPI's goodbye.
  bool leave(double seconds);

 private:
  struct Peer {
    long pid = 0;
    char host[128] = {};
  };
  struct Pending {
    mpi::Api::Request request;
    int rank;
    bool arrives;  // else it is sent
  };
  void wait(std::vector<Pending> pending);
  void look_around(const std::vector<Pending>& pending, bool slow);
  void stop_waiting(std::vector<Pending>& pending);
  bool is_gone(int rank) const;
  [[noreturn]] void lost(int rank, const std::string& how) const;
  Pending send(const void* data, std::size_t bytes, int to, int tag);
  Pending receive(void* data, std::size_t bytes, int from, int tag);

  const mpi::Api& mpi_;
  std::function<bool()> stop_;
  int rank_ = 0, size_ = 1;
  std::vector<Peer> peers_;
  // What is under way lies here and stays here: after an exception MPI may still write or read it.
  std::vector<std::byte> sent_, received_;
  std::vector<char> notes_;
};

}  // namespace offramp
