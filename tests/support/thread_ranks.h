#pragma once
// Ranks that are threads of one process: what a transport must do, without MPI.
#include <condition_variable>
#include <cstring>
#include <exception>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "kernels/ranks/rank_error.h"
#include "kernels/ranks/transport.h"

namespace offramp::test {

class ThreadRanks {
 public:
  explicit ThreadRanks(int size) : parts_(static_cast<std::size_t>(size)) {
    for (int rank = 0; rank < size; ++rank) transports_.push_back(Rank(*this, rank));
  }

  // body(transport) on a thread for each rank. A rank whose body throws is gone for the others. What each threw:
  std::vector<std::exception_ptr> run(const std::function<void(Transport&)>& body) {
    std::vector<std::exception_ptr> thrown(parts_.size());
    std::vector<std::thread> threads;
    for (std::size_t rank = 0; rank < parts_.size(); ++rank) {
      threads.emplace_back([&, rank] {
        try {
          body(transports_[rank]);
        } catch (...) {
          thrown[rank] = std::current_exception();
          leave(static_cast<int>(rank));
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    return thrown;
  }

 private:
  class Rank final : public Transport {
   public:
    Rank(ThreadRanks& all, int rank) : all_(&all), rank_(rank) {}
    int rank() const override { return rank_; }
    int size() const override { return static_cast<int>(all_->parts_.size()); }
    void all_gather(void* all, std::size_t bytes) override {
      all_->parts_[static_cast<std::size_t>(rank_)] = all;
      all_->meet();
      for (std::size_t peer = 0; peer < all_->parts_.size(); ++peer) {
        if (static_cast<int>(peer) == rank_) continue;
        std::memcpy(static_cast<char*>(all) + peer * bytes,
                    static_cast<const char*>(all_->parts_[peer]) + peer * bytes,
                    bytes);
      }
      all_->meet();
    }
    void broadcast(void* data, std::size_t bytes) override {
      all_->parts_[static_cast<std::size_t>(rank_)] = data;
      all_->meet();
      if (rank_ != 0) std::memcpy(data, all_->parts_[0], bytes);
      all_->meet();
    }

   private:
    ThreadRanks* all_;
    int rank_;
  };

  // All, or a RankLost on each of those that are left.
  void meet() {
    std::unique_lock lock(mutex_);
    const int turn = turn_;
    if (++here_ == static_cast<int>(parts_.size())) {
      here_ = 0;
      ++turn_;
      came_.notify_all();
      return;
    }
    came_.wait(lock, [&] { return turn_ != turn || gone_ >= 0; });
    if (turn_ == turn) throw RankLost(gone_, "rank " + std::to_string(gone_) + " is gone");
  }
  void leave(int rank) {
    const std::lock_guard lock(mutex_);
    if (gone_ < 0) gone_ = rank;
    came_.notify_all();
  }

  std::vector<void*> parts_;
  std::vector<Rank> transports_;
  std::mutex mutex_;
  std::condition_variable came_;
  int here_ = 0, turn_ = 0, gone_ = -1;
};

}  // namespace offramp::test
