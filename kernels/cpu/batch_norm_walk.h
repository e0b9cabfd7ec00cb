// Walking an array [rows, channels] for batch normalisation.
//
// The array is walked in rows of `period` values, the least common multiple of the channel count and of the
// vector width (at least 64), so that every channel count uses full, gap-free vectors; per-channel values are
// repeated to that length. Groups of up to 4 vectors keep their coefficients and sums in registers. Sums:
// float lanes over a block, then double over lanes, blocks and chunks, all of fixed size.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/batch_norm.h"
#include "kernels/cpu/loops.h"

namespace offramp::cpu::batch_norm {

inline constexpr int kGroup = 4;  // vectors in registers
inline constexpr std::int64_t kBlockBytes =
    32768;  // of an array per change of groups: the next group finds it in the cache
inline constexpr std::int64_t kMaxChunks = 64;

struct Layout {
  int channels;
  int period;          // values; a multiple of channels and of 16
  std::int64_t full;   // periods that are whole
  int rest;            // values of the last, partial one
  std::int64_t block;  // periods per block
  std::int64_t chunk;  // periods per chunk, a multiple of block
  std::int64_t chunks;

  Layout(const BatchNormGeom& g, std::size_t value_bytes) : channels(g.channels) {
    period = std::lcm(channels, kLanes);
    period *= (kGroup * kLanes + period - 1) / period;
    const std::int64_t size = g.rows * channels;
    full = size / period;
    rest = static_cast<int>(size % period);
    block = std::max<std::int64_t>(1, kBlockBytes / static_cast<std::int64_t>(value_bytes) / period);
    const std::int64_t least = std::max(kChunk, (size + kMaxChunks - 1) / kMaxChunks);
    chunk = ((least + period - 1) / period + block - 1) / block * block;
    chunks = std::max<std::int64_t>(1, (full + chunk - 1) / chunk);
  }
  bool last(std::int64_t index) const { return index == chunks - 1; }
};

// Per-channel values, repeated over a period.
class Repeated {
 public:
  Repeated(Context& ctx, const Layout& l, int count)
      : l_(l),
        data_(static_cast<float*>(
            ctx.workspace(Context::kStage, sizeof(float) * static_cast<std::size_t>(l.period * count)))) {}
  float* at(int which) { return data_ + std::int64_t{which} * l_.period; }
  // Once the first `channels` are set.
  const float* repeat(int which) {
    float* values = at(which);
    for (int i = l_.channels; i < l_.period; i += l_.channels) {
      std::copy(values, values + l_.channels, values + i);
    }
    return values;
  }

 private:
  const Layout& l_;
  float* data_;
};

// Two sums per channel, in double: lanes of a period while a chunk is walked, then folded to channels, then
// added over chunks.
class Sums {
 public:
  Sums(Context& ctx, const Layout& l)
      : l_(l),
        partials_(static_cast<double*>(ctx.workspace(
            Context::kPartials, sizeof(double) * static_cast<std::size_t>((l.chunks + 1) * 2 * l.period)))) {}

  // [2][period], zero.
  double* start(std::int64_t index) {
    double* lanes = partials_ + index * 2 * l_.period;
    std::fill(lanes, lanes + 2 * l_.period, 0.);
    return lanes;
  }
  void fold(std::int64_t index) {
    double* lanes = partials_ + index * 2 * l_.period;
    for (double* sum : {lanes, lanes + l_.period}) {
      for (int i = l_.channels; i < l_.period; i += l_.channels) {
        for (int c = 0; c < l_.channels; ++c) sum[c] += sum[i + c];
      }
    }
  }
  // After all chunks: first[channels] and second[channels].
  struct Pair {
    const double* first;
    const double* second;
  };
  Pair total() {
    double* out = start(l_.chunks);
    for (std::int64_t index = 0; index < l_.chunks; ++index) {
      const double* lanes = partials_ + index * 2 * l_.period;
      for (int c = 0; c < l_.channels; ++c) {
        out[c] += lanes[c];
        out[l_.period + c] += lanes[l_.period + c];
      }
    }
    return {out, out + l_.period};
  }

 private:
  const Layout& l_;
  double* partials_;
};

OFFRAMP_SIMD_FN void add_lanes(double* to, f32x16 v) {
  float lanes[kLanes];
  store(lanes, v);
  for (int i = 0; i < kLanes; ++i) to[i] += static_cast<double>(lanes[i]);
}

// Walks one chunk. A Pass<W> holds the registers of W neighbouring vectors: Pass(args, v) loads them for the
// vectors v .. v + W - 1 of the period, visit(args, w, at, lanes) handles vector w at value offset `at`,
// finish(args, v) gives sums back.
template <class Pass, class Args>
void walk_group(
    const Layout& l, const Args& args, int v, std::int64_t begin, std::int64_t end, bool with_rest) {
  constexpr int kWidth = Pass::kWidth;
  Pass pass(args, v);
  std::int64_t at = begin * l.period + v * kLanes;
  for (std::int64_t p = begin; p < end; ++p, at += l.period) {
#pragma GCC unroll 4
    for (int w = 0; w < kWidth; ++w) pass.visit(args, w, at + w * kLanes, AllLanes{});
  }
  if (with_rest) {
#pragma GCC unroll 4
    for (int w = 0; w < kWidth; ++w) {
      const int left = l.rest - (v + w) * kLanes;
      if (left > 0) pass.visit(args, w, at + w * kLanes, SomeLanes{std::min(left, kLanes)});
    }
  }
  pass.finish(args, v);
}

template <class Kind, class Args>
void walk_chunk(const Layout& l, const Args& args, std::int64_t index) {
  const std::int64_t chunk_end = std::min(l.full, (index + 1) * l.chunk);
  const int vectors = l.period / kLanes;
  for (std::int64_t begin = index * l.chunk;; begin += l.block) {
    const std::int64_t end = std::min(chunk_end, begin + l.block);
    const bool at_end = end == chunk_end, with_rest = at_end && index == l.chunks - 1;
    for (int v = 0; v < vectors; v += kGroup) {
      switch (std::min(kGroup, vectors - v)) {
        case 4:
          walk_group<typename Kind::template Pass<4>>(l, args, v, begin, end, with_rest);
          break;
        case 3:
          walk_group<typename Kind::template Pass<3>>(l, args, v, begin, end, with_rest);
          break;
        case 2:
          walk_group<typename Kind::template Pass<2>>(l, args, v, begin, end, with_rest);
          break;
        default:
          walk_group<typename Kind::template Pass<1>>(l, args, v, begin, end, with_rest);
          break;
      }
    }
    if (at_end) break;
  }
}

// The second sweep: every thread takes the chunks that it has just read, last one first.
template <class Kind, class Args>
void walk_backwards(const Context& ctx, const Layout& l, const Args& args) {
  parallel_ranges(ctx, l.chunks, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t index = end; index-- > begin;) walk_chunk<Kind>(l, args, index);
  });
}

template <int W>
struct Registers {
  f32x16 v[W];
  Registers() = default;
  Registers(const float* values, int first) {
    for (int w = 0; w < W; ++w) v[w] = load(values + (first + w) * kLanes);
  }
  f32x16& operator[](int w) { return v[w]; }
};

// What forward and backward must round alike.
inline void scale_and_shift(int channels,
                            const float* gamma,
                            const float* beta,
                            const float* mean,
                            const float* inv_std,
                            float* scale,
                            float* shift) {
  for (int c = 0; c < channels; ++c) {
    scale[c] = gamma[c] * inv_std[c];
    shift[c] = std::fma(-mean[c], scale[c], beta[c]);
  }
}

}  // namespace offramp::cpu::batch_norm
