#include "engine/parameters.h"

#include <algorithm>
#include <numeric>

#include "base/errors.h"
#include "kernels/assert.h"

namespace offramp {
namespace {

constexpr std::int64_t kPadFloats = 16;  // 64 bytes

std::int64_t padded(std::int64_t floats) { return (floats + kPadFloats - 1) / kPadFloats * kPadFloats; }

// Calls f(disk index, memory index) for every value of a parameter.
template <class F>
void for_each_value(const ParameterInfo& info, const Shape& shape, F f) {
  std::int64_t outer = 1, channels = 1, inner = shape.size();
  if (info.layout == DiskLayout::kConv) {
    outer = shape[0], channels = shape[1], inner = shape[2] * shape[3];
  } else if (info.layout == DiskLayout::kLinearFlatten) {
    inner = std::int64_t{info.flatten_h} * info.flatten_w;
    outer = shape[0], channels = shape[1] / inner;
  }
  for (std::int64_t o = 0; o < outer; ++o) {
    for (std::int64_t c = 0; c < channels; ++c) {
      for (std::int64_t i = 0; i < inner; ++i) {
        f(static_cast<std::size_t>((o * channels + c) * inner + i),
          static_cast<std::size_t>((o * inner + i) * channels + c));
      }
    }
  }
}

}  // namespace

Tensor ParameterSet::declare(ParameterInfo info, const Shape& shape, bool trainable) {
  if (values_) throw ValueError("parameters: '" + info.name + "' is declared after allocation");
  if (find(info.name)) throw ValueError("parameters: the name '" + info.name + "' is used twice");
  Tensor handle(std::make_shared<Tensor::Impl>(Tensor::Impl{shape, DType::kFloat32, 0, nullptr, {}}));
  entries_.push_back({std::move(info), handle, {}, 0, trainable});
  return handle;
}

Tensor ParameterSet::parameter(ParameterInfo info, const Shape& shape) {
  return declare(std::move(info), shape, true);
}

Tensor ParameterSet::buffer(ParameterInfo info, const Shape& shape) {
  return declare(std::move(info), shape, false);
}

void ParameterSet::allocate(const Device& device) {
  OFFRAMP_ASSERT(!values_);
  std::vector<std::size_t> order(entries_.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return entries_[a].info.exit < entries_[b].info.exit;
  });
  std::int64_t floats = 0, buffer_floats = 0;
  for (const std::size_t i : order) {
    Entry& entry = entries_[i];
    std::int64_t& end = entry.trainable ? floats : buffer_floats;
    entry.offset = end;
    end += padded(entry.value.size());
    if (entry.trainable && entry.info.exit == 0) trunk_floats_ = floats;
  }
  values_ = Tensor::zeros({floats}, device);
  gradients_ = Tensor::zeros({floats}, device);
  buffers_ = Tensor::zeros({buffer_floats}, device);
  for (Entry& entry : entries_) {
    const auto bytes = static_cast<std::size_t>(entry.offset) * sizeof(float);
    entry.value.impl_->storage = entry.trainable ? values_.storage() : buffers_.storage();
    entry.value.impl_->offset = bytes;
    if (!entry.trainable) continue;
    entry.gradient = Tensor::view(gradients_.storage(), bytes, entry.value.shape(), DType::kFloat32);
    all_targets_.push_back({entry.value, entry.gradient});
    if (entry.info.exit > 0) exit_targets_.push_back(all_targets_.back());
  }
}

void ParameterSet::shard_gradients(int count) {
  OFFRAMP_ASSERT(values_ && count >= 1 && gradients_.shape() == values_.shape());
  gradients_ = Tensor::zeros({count, values_.size()}, values_.device());
  const std::size_t stride = static_cast<std::size_t>(values_.size()) * sizeof(float);
  all_targets_.clear();
  exit_targets_.clear();
  for (Entry& entry : entries_) {
    if (!entry.trainable) continue;
    entry.gradient = Tensor::view(gradients_.storage(),
                                  static_cast<std::size_t>(entry.offset) * sizeof(float),
                                  entry.value.shape(),
                                  DType::kFloat32);
    all_targets_.push_back({entry.value, entry.gradient, count, stride});
    if (entry.info.exit > 0) exit_targets_.push_back(all_targets_.back());
  }
}

const ParameterSet::Entry* ParameterSet::find(const std::string& name) const {
  const auto found =
      std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.info.name == name; });
  return found == entries_.end() ? nullptr : &*found;
}

std::int64_t ParameterSet::count() const {
  std::int64_t total = 0;
  for (const Entry& entry : entries_) total += entry.trainable ? entry.value.size() : 0;
  return total;
}

std::vector<float> to_disk_order(const ParameterInfo& info, const Shape& shape, std::vector<float> memory) {
  if (info.layout == DiskLayout::kSame) return memory;
  std::vector<float> disk(memory.size());
  for_each_value(
      info, shape, [&](std::size_t on_disk, std::size_t in_memory) { disk[on_disk] = memory[in_memory]; });
  return disk;
}

std::vector<float> to_memory_order(const ParameterInfo& info, const Shape& shape, std::vector<float> disk) {
  if (info.layout == DiskLayout::kSame) return disk;
  std::vector<float> memory(disk.size());
  for_each_value(
      info, shape, [&](std::size_t on_disk, std::size_t in_memory) { memory[in_memory] = disk[on_disk]; });
  return memory;
}

void ParameterSet::round_weights() const {
#if OFFRAMP_HAS_CUDA
  const Device device = values_.device();
  if (device.kind() == DeviceKind::kCuda)
    device.cuda_context().round_parameters(values_.size(), values_.data());
#endif
}

}  // namespace offramp
