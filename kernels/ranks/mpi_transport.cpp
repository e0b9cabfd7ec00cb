#include "kernels/ranks/mpi_transport.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "base/errors.h"
#include "base/stopped.h"
#include "kernels/ranks/rank_error.h"

namespace offramp {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int kData = 1, kNote = 2, kGo = 3;
constexpr std::size_t kNoteBytes = 2048, kPiece = std::size_t{1} << 28;  // MPI counts in int

void checked(int code, const char* call) {
  if (code != 0) throw DeviceError(std::string("mpi: ") + call + " failed with code " + std::to_string(code));
}

double since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

}  // namespace

MpiTransport::MpiTransport(std::function<bool()> stop) : mpi_(mpi::api()), stop_(std::move(stop)) {
  int provided = 0;
  checked(mpi_.init_thread(nullptr, nullptr, mpi::kThreadFunneled, &provided), "MPI_Init_thread");
  checked(mpi_.comm_set_errhandler(mpi_.world, mpi_.errors_return), "MPI_Comm_set_errhandler");
  checked(mpi_.comm_rank(mpi_.world, &rank_), "MPI_Comm_rank");
  checked(mpi_.comm_size(mpi_.world, &size_), "MPI_Comm_size");
  std::vector<Peer> peers(static_cast<std::size_t>(size_));
  Peer& own = peers[static_cast<std::size_t>(rank_)];
  own.pid = getpid();
  gethostname(own.host, sizeof own.host - 1);
  all_gather(peers.data(), sizeof(Peer));
  peers_ = std::move(peers);
}

MpiTransport::Pending MpiTransport::send(const void* data, std::size_t bytes, int to, int tag) {
  Pending p{nullptr, to, false};
  checked(mpi_.isend(data, static_cast<int>(bytes), mpi_.byte, to, tag, mpi_.world, &p.request), "MPI_Isend");
  return p;
}

MpiTransport::Pending MpiTransport::receive(void* data, std::size_t bytes, int from, int tag) {
  Pending p{nullptr, from, true};
  checked(mpi_.irecv(data, static_cast<int>(bytes), mpi_.byte, from, tag, mpi_.world, &p.request),
          "MPI_Irecv");
  return p;
}

void MpiTransport::all_gather(void* all, std::size_t bytes) {
  if (size_ == 1 || bytes == 0) return;
  auto* const parts = static_cast<std::byte*>(all);
  const auto ranks = static_cast<std::size_t>(size_), rank = static_cast<std::size_t>(rank_);
  for (std::size_t at = 0; at < bytes; at += kPiece) {
    const std::size_t piece = std::min(kPiece, bytes - at);
    if (sent_.size() < piece) sent_.resize(piece);
    if (received_.size() < piece * ranks) received_.resize(piece * ranks);
    std::memcpy(sent_.data(), parts + rank * bytes + at, piece);
    std::vector<Pending> pending;
    for (int peer = 0; peer < size_; ++peer)
      if (peer != rank_)
        pending.push_back(
            receive(received_.data() + static_cast<std::size_t>(peer) * piece, piece, peer, kData));
    for (int peer = 0; peer < size_; ++peer)
      if (peer != rank_) pending.push_back(send(sent_.data(), piece, peer, kData));
    wait(std::move(pending));
    for (std::size_t peer = 0; peer < ranks; ++peer)
      if (peer != rank) std::memcpy(parts + peer * bytes + at, received_.data() + peer * piece, piece);
  }
}

void MpiTransport::broadcast(void* data, std::size_t bytes) {
  if (size_ == 1) return;
  for (std::size_t at = 0; at < bytes; at += kPiece) {
    const std::size_t piece = std::min(kPiece, bytes - at);
    std::byte* const part = static_cast<std::byte*>(data) + at;
    std::vector<Pending> pending;
    if (rank_ == 0) {
      if (sent_.size() < piece) sent_.resize(piece);
      std::memcpy(sent_.data(), part, piece);
      for (int peer = 1; peer < size_; ++peer) pending.push_back(send(sent_.data(), piece, peer, kData));
      wait(std::move(pending));
    } else {
      if (received_.size() < piece) received_.resize(piece);
      pending.push_back(receive(received_.data(), piece, 0, kData));
      wait(std::move(pending));
      std::memcpy(part, received_.data(), piece);
    }
  }
}

// Polls without a pause for a millisecond, as long as neighbours in step need, then with one.
void MpiTransport::wait(std::vector<Pending> pending) {
  const Clock::time_point begin = Clock::now();
  Clock::time_point looked = begin;
  for (int round = 0;; ++round) {
    std::erase_if(pending, [&](Pending& p) {
      int done = 0;
      checked(mpi_.test(&p.request, &done, nullptr), "MPI_Test");
      return done != 0;
    });
    if (pending.empty()) return;
    if (round % 64 != 0) continue;
    const bool slow = since(looked) > 0.05;
    look_around(pending, slow);
    if (slow) looked = Clock::now();
    if (stop_()) stop_waiting(pending);
    if (since(begin) > 1e-3) {
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    } else {
      std::this_thread::yield();
    }
  }
}

// Throws where one of the others has ended.
void MpiTransport::look_around(const std::vector<Pending>& pending, bool slow) {
  int there = 0;
  mpi::Status status;
  checked(mpi_.iprobe(mpi::kAnySource, kNote, mpi_.world, &there, &status), "MPI_Iprobe");
  if (there != 0) {
    char note[kNoteBytes] = {};
    checked(mpi_.recv(note, kNoteBytes, mpi_.byte, status.source, kNote, mpi_.world, &status), "MPI_Recv");
    note[kNoteBytes - 1] = '\0';
    const std::string who = "rank " + std::to_string(status.source);
    if (note[0] == '\0') throw Stopped(who + " was asked to stop");
    throw RankError(status.source, who + ": " + note);
  }
  if (!slow) return;
  for (const Pending& p : pending)
    if (is_gone(p.rank)) lost(p.rank, "its process has ended");
}

// Asked to stop, perhaps because another rank was killed and mpirun ends the rest: a moment to find out.
void MpiTransport::stop_waiting(std::vector<Pending>& pending) {
  for (const Clock::time_point begin = Clock::now(); since(begin) < 0.1;) {
    for (const Pending& p : pending)
      if (is_gone(p.rank)) lost(p.rank, "its process has ended");
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  throw Stopped("asked to stop");
}

// What can be known of a process of this machine; of another one nothing.
bool MpiTransport::is_gone(int rank) const {
  if (peers_.empty()) return false;
  const Peer& peer = peers_[static_cast<std::size_t>(rank)];
  const Peer& own = peers_[static_cast<std::size_t>(rank_)];
  if (std::strcmp(peer.host, own.host) != 0) return false;
  return kill(static_cast<pid_t>(peer.pid), 0) != 0 && errno == ESRCH;
}

void MpiTransport::lost(int rank, const std::string& how) const {
  const Peer& peer = peers_[static_cast<std::size_t>(rank)];
  throw RankLost(rank,
                 "rank " + std::to_string(rank) + " (process " + std::to_string(peer.pid) + " on " +
                     peer.host + ") is gone: " + how);
}

void MpiTransport::farewell(const std::string& why) {
  notes_.assign(kNoteBytes, '\0');
  why.copy(notes_.data(), kNoteBytes - 1);
  for (int peer = 0; peer < size_; ++peer)
    if (peer != rank_ && !is_gone(peer)) send(notes_.data(), kNoteBytes, peer, kNote);
}

bool MpiTransport::leave(double seconds) {
  for (int peer = 0; peer < size_; ++peer)
    if (peer != rank_ && is_gone(peer)) return false;
  if (rank_ == 0) {
    for (int peer = 1; peer < size_; ++peer) send(&rank_, sizeof rank_, peer, kGo);
  } else {
    int there = 0;
    for (const Clock::time_point begin = Clock::now(); there == 0;) {
      if (since(begin) > seconds || is_gone(0)) return false;
      mpi::Status status;
      checked(mpi_.iprobe(0, kGo, mpi_.world, &there, &status), "MPI_Iprobe");
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
    int go = 0;
    mpi::Status status;
    checked(mpi_.recv(&go, sizeof go, mpi_.byte, 0, kGo, mpi_.world, &status), "MPI_Recv");
  }
  mpi_.finalize();
  return true;
}

}  // namespace offramp
