#pragma once
// The tape. Targets (parameters, inputs, or both) are declared before the forward pass; an op records a Node
// only when one of its inputs leads to a target, and keeps only what the gradients that were asked for need.
// Gradients are returned, never stored on tensors:
//
//   Recording rec({x});                     // an attack: gradients of the input only
//   Tensor loss = cross_entropy(net.forward(x), labels);
//   GradMap g = rec.grad(loss);             // g[x]
//
// One recording is active per thread; an inner one hides the outer until it ends. A recording gives gradients
// once: the walk backwards pops each node, so that what it saved dies as early as possible.
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/tensor.h"
#include "kernels/backend.h"
#include "kernels/range.h"

namespace offramp {

class Recording;

// Where a node writes the gradient of one input.
struct GradOut {
  void* data;
  Write write;
  std::size_t shard_stride = 0;  // bytes from the gradient of one shard to that of the next (engine/shards.h)
  template <class T>
  T* as(int shard = 0) const {
    return reinterpret_cast<T*>(static_cast<std::byte*>(data) +
                                shard_stride * static_cast<std::size_t>(shard));
  }
};

// What a node's backward sees of the engine.
class GradSink {
 public:
  // Whether the gradient of input i is asked for.
  bool wants(int i) const;
  // Memory for the gradient of input i (of `shape` and `dtype`), and whether to store or to add.
  GradOut out(int i, const Shape& shape, DType dtype);
  // The same for a parameter whose gradient is a sum over samples: with shards each shard has a gradient of its own,
  // GradOut::as(shard), and all of them are to be written.
  GradOut out_of_shards(int i, const Shape& shape, DType dtype);
  // Hands over a finished gradient without a copy. The tensor may be shared: the engine copies before it adds
  // to it.
  void give(int i, Tensor gradient);

 private:
  friend class Recording;
  GradOut out_of(int i, const Shape& shape, DType dtype, int shards);
  GradSink(Recording& recording, std::span<const std::int32_t> inputs)
      : recording_(recording), inputs_(inputs) {}
  Recording& recording_;
  std::span<const std::int32_t> inputs_;
};

// A tensor kept for backward, or how to make it again; get() throws std::logic_error if its memory was written in
// between. What get() made lives as long as this.
class Saved {
 public:
  Saved() = default;
  explicit Saved(const Tensor& t);
  explicit operator bool() const { return tensor_ || remake_ != nullptr; }
  const Tensor& get() const;

 private:
  mutable Tensor tensor_;
  mutable std::uint32_t version_ = 0;
  std::shared_ptr<const Remake> remake_;
};

// One op on the tape: named members hold what backward needs.
class Node {
 public:
  virtual ~Node() = default;
  virtual const char* name() const = 0;
  virtual Work work() const { return {}; }  // of backward, for the op table; what is not known is 0
  // dy: gradient of the loss with respect to the output, of the output's shape and type. May be moved from.
  virtual void backward(Tensor dy, GradSink& dx) = 0;

 private:
  friend class Recording;
  std::vector<std::int32_t> inputs_;  // slot of each input, -1 where nothing is asked for
  std::int32_t output_ = -1;
};

// A target whose gradient the caller wants written into memory of its own (a parameter in the flat gradient
// buffer).
struct Target {
  Tensor tensor;
  Tensor gradient;  // same shape, float32; empty: the engine allocates
  // With shards: `gradient` is that of the first, the others follow at this distance in bytes.
  int shards = 1;
  std::size_t shard_stride = 0;
};

class GradMap {
 public:
  // The gradient of a target; zeros where the loss does not depend on it. Throws ValueError for anything
  // else.
  const Tensor& operator[](const Tensor& target) const;

 private:
  friend class Recording;
  std::unordered_map<const void*, Tensor> gradients_;
};

class Recording {
 public:
  explicit Recording(std::initializer_list<Tensor> inputs);
  explicit Recording(std::span<const Target> targets, std::initializer_list<Tensor> inputs = {});
  ~Recording();
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

  // The active recording if one of the tensors leads to a target, else null. Empty handles are skipped.
  template <class... Tensors>
  static Recording* wanting(const Tensors&... inputs) {
    Recording* active = current();
    return active && (active->wants(inputs) || ...) ? active : nullptr;
  }
  static Recording* wanting_any(std::span<const Tensor> inputs);
  bool wants(const Tensor& t) const { return t && t.value().recording == id_ && t.value().slot >= 0; }

  // Appends a node that made `output` from `inputs` (empty handles allowed).
  void push(std::unique_ptr<Node> node, const Tensor& output, std::span<const Tensor> inputs);
  void push(std::unique_ptr<Node> node, const Tensor& output, std::initializer_list<Tensor> inputs) {
    push(std::move(node), output, std::span(inputs.begin(), inputs.size()));
  }

  // Gradients of a one-element float32 loss. Throws ValueError when the loss was not recorded here.
  GradMap grad(const Tensor& loss);
  // Gradients of sum(cotangent * y): what gradient checks and vector-Jacobian products need.
  GradMap grad(const Tensor& y, const Tensor& cotangent);
  std::size_t nodes() const { return nodes_.size(); }

 private:
  friend class GradSink;
  friend class NoGrad;
  struct Slot {
    Tensor gradient;  // what came in so far, or the caller's memory
    bool written = false;
    bool external = false;  // gradient is the caller's memory
    int shards = 1;
    std::size_t shard_stride = 0;
  };
  static Recording*& current();
  void add_target(const Target& target);
  void receive(std::int32_t slot, Tensor gradient);

  std::uint64_t id_;
  Recording* outer_;
  bool spent_ = false;
  std::vector<Slot> slots_;
  std::vector<Target> targets_;          // slot i belongs to target i
  std::vector<Tensor::Value> previous_;  // what an outer recording knew of each target, restored at the end
  std::vector<std::unique_ptr<Node>> nodes_;
};

// While it lives nothing is recorded on this thread.
class NoGrad {
 public:
  NoGrad() : outer_(Recording::current()) { Recording::current() = nullptr; }
  ~NoGrad() { Recording::current() = outer_; }
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  Recording* outer_;
};

}  // namespace offramp
