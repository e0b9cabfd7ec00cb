#pragma once
// How a batch is cut for sums over images: by the geometry alone, never by the thread count, so that partial
// sums and their order are the same on every run.
#include <algorithm>
#include <cstdint>

#include "kernels/conv2d.h"

namespace offramp::cpu {

struct BatchShards {
  std::int64_t images = 0;  // of the whole batch
  std::int64_t count = 0;   // shards of nearly equal size
  std::int64_t begin(std::int64_t shard) const { return images * shard / count; }
  std::int64_t end(std::int64_t shard) const { return begin(shard + 1); }
  std::int64_t largest() const { return (images + count - 1) / count; }
};

// Forward and input gradients: 16 images a shard from 32 images on, one shard below.
inline BatchShards activation_shards(const Conv2dGeom& g) { return {g.n, g.n >= 32 ? g.n / 16 : 1}; }

// 16 images a shard at batch 128 and more, at least 8 shards while there are images; fewer where the partial
// sums (shards * weights) would be larger than 16 MiB, but never fewer than four.
inline BatchShards weight_gradient_shards(const Conv2dGeom& g) {
  constexpr std::int64_t kPartialFloats = std::int64_t{4} << 20;
  const std::int64_t images = g.n, wanted = std::max<std::int64_t>(8, images / 16);
  const std::int64_t fitting =
      std::max<std::int64_t>(4, kPartialFloats / std::max<std::int64_t>(1, g.w_size()));
  return {images, std::clamp<std::int64_t>(std::min(wanted, fitting), 1, std::max<std::int64_t>(1, images))};
}

}  // namespace offramp::cpu
