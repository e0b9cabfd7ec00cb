#include "engine/recording.h"

#include <atomic>
#include <stdexcept>
#include <string>
#include <utility>

#include "base/errors.h"
#include "engine/shards.h"
#include "kernels/assert.h"
#include "kernels/elementwise.h"

namespace offramp {
namespace {

std::uint64_t next_recording_id() {
  static std::atomic<std::uint64_t> next{1};
  return next++;
}

// a += b; the memory of a belongs to the caller alone.
void accumulate_into(Tensor& a, const Tensor& b) {
  by_float_type(a.dtype(), "gradient", [&]<class T>() {
    T* out = a.data<T>();
    dispatch(a.device(), [&](auto& ctx) { accumulate(ctx, a.size(), b.data<T>(), out); });
  });
}

}  // namespace

Saved::Saved(const Tensor& t) {
  if (!t) return;
  remake_ = t.remake();
  if (remake_ == nullptr) tensor_ = t, version_ = t.version();
}

const Tensor& Saved::get() const {
  if (!tensor_ && remake_ != nullptr) tensor_ = remake_->make(), version_ = tensor_.version();
  if (tensor_ && tensor_.version() != version_) {
    throw std::logic_error("backward: a tensor " + tensor_.shape().to_string() +
                           " that the forward pass kept was written since");
  }
  return tensor_;
}

bool GradSink::wants(int i) const { return inputs_[static_cast<std::size_t>(i)] >= 0; }

GradOut GradSink::out(int i, const Shape& shape, DType dtype) { return out_of(i, shape, dtype, 1); }

GradOut GradSink::out_of_shards(int i, const Shape& shape, DType dtype) {
  const Shards* shards = Shards::current();
  return out_of(i, shape, dtype, shards == nullptr ? 1 : shards->local());
}

GradOut GradSink::out_of(int i, const Shape& shape, DType dtype, int shards) {
  const std::int32_t index = inputs_[static_cast<std::size_t>(i)];
  OFFRAMP_ASSERT(index >= 0);
  Recording::Slot& slot = recording_.slots_[static_cast<std::size_t>(index)];
  OFFRAMP_ASSERT(slot.shards == shards);
  if (!slot.gradient) {
    slot.gradient = Tensor::empty(shape, recording_.targets_.front().tensor.device(), dtype, "gradient");
  } else if (slot.written && !slot.external && !slot.gradient.sole_owner()) {
    slot.gradient = slot.gradient.clone();
  }
  OFFRAMP_ASSERT(slot.gradient.size() == shape.size() && slot.gradient.dtype() == dtype);
  return {slot.gradient.raw(),
          std::exchange(slot.written, true) ? Write::kAccumulate : Write::kOverwrite,
          slot.shard_stride};
}

void GradSink::give(int i, Tensor gradient) {
  const std::int32_t index = inputs_[static_cast<std::size_t>(i)];
  OFFRAMP_ASSERT(index >= 0);
  recording_.receive(index, std::move(gradient));
}

void Recording::receive(std::int32_t index, Tensor gradient) {
  Slot& slot = slots_[static_cast<std::size_t>(index)];
  OFFRAMP_ASSERT(slot.shards == 1);
  if (slot.external && !slot.written) {
    OFFRAMP_ASSERT(slot.gradient.bytes() == gradient.bytes());
    slot.gradient.device().copy(slot.gradient.raw(), std::as_const(gradient).raw(), gradient.bytes());
  } else if (!slot.written) {
    slot.gradient = std::move(gradient);
  } else {
    // Fan-in: add into memory that is ours. Whoever still holds one of the two tensors must not see it
    // change.
    if (!slot.external && !slot.gradient.sole_owner()) {
      if (gradient.sole_owner()) {
        std::swap(slot.gradient, gradient);
      } else {
        slot.gradient = slot.gradient.clone();
      }
    }
    accumulate_into(slot.gradient, gradient);
  }
  slot.written = true;
}

const Tensor& GradMap::operator[](const Tensor& target) const {
  const auto found = gradients_.find(target.identity());
  if (found == gradients_.end()) {
    throw ValueError("gradient: the tensor " +
                     (target ? target.shape().to_string() : std::string("(empty)")) +
                     " was not a target of this recording");
  }
  return found->second;
}

Recording*& Recording::current() {
  thread_local Recording* active = nullptr;
  return active;
}

Recording::Recording(std::initializer_list<Tensor> inputs) : Recording(std::span<const Target>{}, inputs) {}

Recording::Recording(std::span<const Target> targets, std::initializer_list<Tensor> inputs)
    : id_(next_recording_id()), outer_(current()) {
  targets_.reserve(targets.size() + inputs.size());
  for (const Target& target : targets) add_target(target);
  for (const Tensor& input : inputs) add_target({input, {}});
  if (targets_.empty()) throw ValueError("recording: expected at least one target");
  current() = this;
}

Recording::~Recording() {
  current() = outer_;
  for (const Target& target : targets_) {
    target.tensor.set_value(previous_[static_cast<std::size_t>(target.tensor.value().slot)]);
  }
}

void Recording::add_target(const Target& target) {
  if (!target.tensor) throw ValueError("recording: a target is an empty tensor");
  if (target.tensor.dtype() != DType::kFloat32 && target.tensor.dtype() != DType::kBFloat16) {
    throw_not_float(target.tensor.dtype(), "recording");
  }
  if (wants(target.tensor))
    throw ValueError("recording: a tensor " + target.tensor.shape().to_string() + " is a target twice");
  previous_.push_back(target.tensor.value());
  target.tensor.set_value({id_, static_cast<std::int32_t>(slots_.size())});
  slots_.push_back(
      {target.gradient, false, static_cast<bool>(target.gradient), target.shards, target.shard_stride});
  targets_.push_back(target);
}

Recording* Recording::wanting_any(std::span<const Tensor> inputs) {
  Recording* active = current();
  if (!active) return nullptr;
  for (const Tensor& input : inputs) {
    if (active->wants(input)) return active;
  }
  return nullptr;
}

void Recording::push(std::unique_ptr<Node> node, const Tensor& output, std::span<const Tensor> inputs) {
  for (const Tensor& input : inputs) node->inputs_.push_back(wants(input) ? input.value().slot : -1);
  node->output_ = static_cast<std::int32_t>(slots_.size());
  output.set_value({id_, node->output_});
  slots_.push_back({});
  nodes_.push_back(std::move(node));
}

GradMap Recording::grad(const Tensor& loss) {
  if (loss.size() != 1 || loss.dtype() != DType::kFloat32) {
    throw ShapeError("gradient: a loss is one float32 value, got " + loss.shape().to_string());
  }
  return grad(loss, Tensor::full(loss.shape(), 1.f, loss.device()));
}

GradMap Recording::grad(const Tensor& y, const Tensor& cotangent) {
  if (!wants(y)) throw ValueError("gradient: the value does not depend on any target of this recording");
  if (spent_) throw ValueError("gradient: this recording has given its gradients already");
  if (cotangent.shape() != y.shape() || cotangent.dtype() != y.dtype()) {
    throw ShapeError("gradient: cotangent " + cotangent.shape().to_string() + " for a value " +
                     y.shape().to_string());
  }
  spent_ = true;
  const NoGrad no_recording;
  receive(y.value().slot, cotangent);
  while (!nodes_.empty()) {
    const std::unique_ptr<Node> node = std::move(nodes_.back());
    nodes_.pop_back();
    Slot& slot = slots_[static_cast<std::size_t>(node->output_)];
    if (!slot.written) continue;  // the loss does not depend on it
    Tensor dy = std::exchange(slot.gradient, {});
    const Range range(node->name(), RangeKind::kBackward, node->work());
    GradSink sink(*this, node->inputs_);
    node->backward(std::move(dy), sink);
  }
  GradMap map;
  for (const Target& target : targets_) {
    Slot& slot = slots_[static_cast<std::size_t>(target.tensor.value().slot)];
    if (!slot.written && !slot.gradient) {
      slot.gradient = Tensor::zeros(target.tensor.shape(), target.tensor.device(), target.tensor.dtype());
    } else if (!slot.written) {
      const GradOut all{slot.gradient.raw(), Write::kOverwrite, slot.shard_stride};
      for (int shard = 0; shard < slot.shards; ++shard)
        slot.gradient.device().set_zero(all.as<float>(shard), slot.gradient.bytes());
    } else if (slot.gradient.shape() != target.tensor.shape()) {
      slot.gradient = slot.gradient.reshaped(target.tensor.shape());
    }
    map.gradients_.emplace(target.tensor.identity(), slot.gradient);
  }
  return map;
}

}  // namespace offramp
