#pragma once
// The parameters of a network in one flat float32 buffer, and their gradients in a second one of the same
// layout: trunk first, then exit 1, exit 2, ..., each parameter padded to 64 bytes, so that an optimiser is
// one pass and "the exits only" is a suffix. Buffers (running statistics) lie in a third one and are not
// trained.
#include <cstdint>
#include <string>
#include <vector>

#include "engine/recording.h"
#include "engine/tensor.h"

namespace offramp {

// How a parameter's memory maps to PyTorch's layout on disk.
enum class DiskLayout {
  kSame,           // vectors, matrices
  kConv,           // memory K,R,S,C, disk K,C,R,S
  kLinearFlatten,  // a Linear behind a flatten: memory columns H,W,C, disk columns C,H,W
};

struct ParameterInfo {
  std::string name;
  int exit = 0;  // 0: trunk; e: belongs to exit e
  DiskLayout layout = DiskLayout::kSame;
  int flatten_h = 1, flatten_w = 1;  // of kLinearFlatten
};

class ParameterSet {
 public:
  struct Entry {
    ParameterInfo info;
    Tensor value;             // a view into the flat buffer once allocated
    Tensor gradient;          // the same place in the gradient buffer; empty for buffers
    std::int64_t offset = 0;  // in floats
    bool trainable = true;
  };

  ParameterSet() = default;
  ParameterSet(const ParameterSet&) = delete;
  ParameterSet& operator=(const ParameterSet&) = delete;

  // Declares a parameter or buffer; the handle becomes usable with allocate(). Throws ValueError on a second
  // use of a name.
  Tensor parameter(ParameterInfo info, const Shape& shape);
  Tensor buffer(ParameterInfo info, const Shape& shape);
  // Makes the flat buffers, zeroed. Once.
  void allocate(const Device& device);

  const std::vector<Entry>& entries() const { return entries_; }  // in the order of declaration
  std::vector<Entry>& entries() { return entries_; }
  const Entry* find(const std::string& name) const;
  std::int64_t count() const;  // trainable values, padding left out

  // The padded flat buffers, [floats]; of the gradients the first shard's is what an optimiser reads.
  Tensor& values() { return values_; }
  const Tensor& values() const { return values_; }
  Tensor& gradients() { return gradients_; }
  const Tensor& buffers() const { return buffers_; }
  // A gradient for each of `count` shards (engine/shards.h): gradients() becomes [count, floats], and the gradient of an
  // entry is that of the first shard. Once, after allocate().
  void shard_gradients(int count);
  // Before a forward in mixed precision: rounds all weights to bf16 at once, where the device's convolutions read
  // them so (CUDA). Any other use of the parameters is right without it.
  void round_weights() const;
  // First float of the exits' part.
  std::int64_t trunk_floats() const { return trunk_floats_; }

  // Targets of a Recording: all parameters, or those of the exits alone.
  const std::vector<Target>& targets() const { return all_targets_; }
  const std::vector<Target>& exit_targets() const { return exit_targets_; }

 private:
  Tensor declare(ParameterInfo info, const Shape& shape, bool trainable);
  std::vector<Entry> entries_;
  Tensor values_, gradients_, buffers_;
  std::int64_t trunk_floats_ = 0;
  std::vector<Target> all_targets_, exit_targets_;
};

// Values of a parameter in PyTorch's order, and back. `shape` is the printed shape (K,C,R,S for a
// convolution).
std::vector<float> to_disk_order(const ParameterInfo& info, const Shape& shape, std::vector<float> memory);
std::vector<float> to_memory_order(const ParameterInfo& info, const Shape& shape, std::vector<float> disk);

}  // namespace offramp
