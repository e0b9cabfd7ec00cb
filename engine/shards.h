#pragma once
// A batch cut into a fixed number of shards of nearly equal size. Every sum over samples (weight gradients, batch
// statistics, the loss) is taken shard by shard and then over the shards in their order, so that the result has the same
// bits whichever process holds which shard. A process holds a run of consecutive shards; its tensors are those samples.
//
//   Shards shards(4, transport);                    // of two ranks: rank 0 holds shards 0 and 1, rank 1 holds 2 and 3
//   shards.set_batch(128);                          // the whole batch; this rank's tensors have 64 samples
//   const ShardScope scope(shards);                 // ops and their backward see it on this thread
#include <cstdint>

#include "engine/tensor.h"
#include "kernels/ranks/transport.h"

namespace offramp {

class Shards {
 public:
  // `transport` null: this process holds all. Throws ValueError where the ranks do not divide the shards. Both transports must
  // outlive this.
  explicit Shards(int count, Transport* transport = nullptr, DeviceTransport* device = nullptr);
  int count() const { return count_; }
  int first() const { return first_; }  // of this process
  int local() const { return local_; }
  Transport* transport() const { return transport_; }

  // Samples of the whole batch. Throws ValueError where a shard would be empty.
  void set_batch(std::int64_t samples);
  std::int64_t batch() const { return batch_; }
  // First sample of a shard, counted in the whole batch; begin(count()) is its end.
  std::int64_t begin(int shard) const { return batch_ * shard / count_; }
  std::int64_t local_samples() const { return begin(first_ + local_) - begin(first_); }

  // parts: [count, ...], one row a shard, those of this process filled; fills the others.
  void gather(Tensor& parts) const;
  // The sum of the rows, in their order: parts [count, n] float32 -> [n].
  static Tensor sum(const Tensor& parts);

  static const Shards* current();

 private:
  friend class ShardScope;
  static const Shards*& active();
  int count_, first_ = 0, local_;
  std::int64_t batch_ = 0;
  Transport* transport_;
  DeviceTransport* device_;
};

// While it lives, ops of this thread work by shards.
class ShardScope {
 public:
  explicit ShardScope(const Shards& shards) : outer_(Shards::active()) { Shards::active() = &shards; }
  ~ShardScope() { Shards::active() = outer_; }
  ShardScope(const ShardScope&) = delete;
  ShardScope& operator=(const ShardScope&) = delete;

 private:
  const Shards* outer_;
};

// A shard as an op sees it.
struct ShardOfOp {
  int index;                  // from 0, of this process
  int global;                 // of the whole batch
  std::int64_t begin, count;  // samples, counted in this process's tensors
};

void check_local_samples(const Shards& shards, std::int64_t n);

// f(shard) for every shard of this process; without shards once, with all n samples. Throws std::logic_error where n is
// not the number of samples that this process holds.
template <class F>
void for_each_shard(std::int64_t n, F&& f) {
  const Shards* shards = Shards::current();
  if (shards == nullptr) {
    f(ShardOfOp{0, 0, 0, n});
    return;
  }
  check_local_samples(*shards, n);
  for (int i = 0; i < shards->local(); ++i) {
    const int global = shards->first() + i;
    const std::int64_t begin = shards->begin(global);
    f(ShardOfOp{i, global, begin - shards->begin(shards->first()), shards->begin(global + 1) - begin});
  }
}

}  // namespace offramp
