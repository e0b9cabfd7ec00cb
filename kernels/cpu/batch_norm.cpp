// Batch normalisation, memory-bound: training reads x twice and writes y (3 passes over the array), backward
// reads dy and x twice and writes dx (5). The second sweep of each thread runs backwards over its chunks,
// because their ends are still in its cache.
//
// The array is walked in rows of `period` values, the least common multiple of the channel count and of the
// vector width (at least 64), so that every channel count uses full, gap-free vectors; per-channel values are
// repeated to that length. Groups of up to 4 vectors keep their coefficients and sums in registers. Sums:
// float lanes over a block, then double over lanes, blocks and chunks, all of fixed size.
#include "kernels/batch_norm.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <type_traits>

#include "kernels/cpu/loops.h"

namespace offramp::cpu {
namespace {

constexpr int kGroup = 4;  // vectors in registers
constexpr std::int64_t kBlockBytes =
    32768;  // of an array per change of groups: the next group finds it in the cache
constexpr std::int64_t kMaxChunks = 64;

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

// Sums of x - centre and its square; a centre near the mean keeps the one-pass variance exact.
template <class T>
struct Statistics {
  struct Args {
    const T* x;
    const float* centre;
    double* sum;
    double* squares;
  };
  template <int W>
  struct Pass {
    static constexpr int kWidth = W;
    Registers<W> centre, sum, squares;
    Pass(const Args& a, int v) : centre(a.centre, v) {
      for (int w = 0; w < W; ++w) sum[w] = squares[w] = zero();
    }
    template <class Lanes>
    OFFRAMP_SIMD_FN void visit(const Args& a, int w, std::int64_t at, Lanes lanes) {
      const f32x16 d = blank(load(a.x + at, lanes) - centre[w], lanes);
      sum[w] += d;
      squares[w] = fma(d, d, squares[w]);
    }
    void finish(const Args& a, int v) {
      for (int w = 0; w < W; ++w) {
        add_lanes(a.sum + (v + w) * kLanes, sum[w]);
        add_lanes(a.squares + (v + w) * kLanes, squares[w]);
      }
    }
  };
};

// y = act(scale x + shift + residual).
template <class T, bool kRelu, bool kResidual>
struct Normalise {
  struct Args {
    const T* x;
    const float* scale;
    const float* shift;
    const T* residual;
    T* y;
  };
  template <int W>
  struct Pass {
    static constexpr int kWidth = W;
    Registers<W> scale, shift;
    Pass(const Args& a, int v) : scale(a.scale, v), shift(a.shift, v) {}
    template <class Lanes>
    OFFRAMP_SIMD_FN void visit(const Args& a, int w, std::int64_t at, Lanes lanes) {
      f32x16 z = fma(scale[w], load(a.x + at, lanes), shift[w]);
      if constexpr (kResidual) z += load(a.residual + at, lanes);
      if constexpr (kRelu) z = max(zero(), z);
      store(a.y + at, z, lanes);
    }
    void finish(const Args&, int) {}
  };
};

enum class Mask { kNone, kOutput, kRecomputed };

template <class T>
struct GradientArgs {
  const T* dy;
  const T* x;
  const T* y;
  const float* mean;
  const float* scale;
  const float* shift;
  T* dresidual;
  Write dresidual_write;
};

// dz = dy * mask, which is also the gradient of the residual.
template <Mask kMask, bool kResidual, class T, class Lanes>
OFFRAMP_SIMD_FN f32x16 masked_gradient(
    const GradientArgs<T>& a, std::int64_t at, f32x16 x, f32x16 scale, f32x16 shift, Lanes lanes) {
  f32x16 dz = load(a.dy + at, lanes);
  if constexpr (kMask == Mask::kOutput) dz = keep(greater(load(a.y + at, lanes), zero()), dz);
  if constexpr (kMask == Mask::kRecomputed) dz = keep(greater(fma(scale, x, shift), zero()), dz);
  if constexpr (kResidual) put(a.dresidual + at, dz, lanes, a.dresidual_write);
  return dz;
}

// Sums of dz and dz (x - mean).
template <class T, Mask kMask, bool kResidual>
struct GradientSums {
  struct Args : GradientArgs<T> {
    double* sum;
    double* products;
  };
  template <int W>
  struct Pass {
    static constexpr int kWidth = W;
    Registers<W> mean, scale, shift, sum, products;
    Pass(const Args& a, int v) : mean(a.mean, v), scale(a.scale, v), shift(a.shift, v) {
      for (int w = 0; w < W; ++w) sum[w] = products[w] = zero();
    }
    template <class Lanes>
    OFFRAMP_SIMD_FN void visit(const Args& a, int w, std::int64_t at, Lanes lanes) {
      const f32x16 x = load(a.x + at, lanes);
      const f32x16 dz = masked_gradient<kMask, kResidual>(a, at, x, scale[w], shift[w], lanes);
      sum[w] += dz;
      products[w] = fma(dz, x - mean[w], products[w]);
    }
    void finish(const Args& a, int v) {
      for (int w = 0; w < W; ++w) {
        add_lanes(a.sum + (v + w) * kLanes, sum[w]);
        add_lanes(a.products + (v + w) * kLanes, products[w]);
      }
    }
  };
};

// dx = scale dz + slope x + offset; the last two only where the statistics depend on x.
template <class T, Mask kMask, bool kStatistics, bool kResidual>
struct InputGradient {
  struct Args : GradientArgs<T> {
    const float* slope;
    const float* offset;
    T* dx;
    Write dx_write;
  };
  template <int W>
  struct Pass {
    static constexpr int kWidth = W;
    Registers<W> scale, shift, slope, offset;
    Pass(const Args& a, int v)
        : scale(a.scale, v), shift(a.shift, v), slope(a.slope, v), offset(a.offset, v) {}
    template <class Lanes>
    OFFRAMP_SIMD_FN void visit(const Args& a, int w, std::int64_t at, Lanes lanes) {
      f32x16 x = zero();
      if constexpr (kStatistics || kMask == Mask::kRecomputed) x = load(a.x + at, lanes);
      const f32x16 dz = masked_gradient<kMask, kResidual>(a, at, x, scale[w], shift[w], lanes);
      const f32x16 d = kStatistics ? fma(scale[w], dz, fma(slope[w], x, offset[w])) : scale[w] * dz;
      if (!kResidual || a.dx != nullptr) put(a.dx + at, d, lanes, a.dx_write);
    }
    void finish(const Args&, int) {}
  };
};

// run(mask, residual) with both as constants.
template <class Run>
void with_mask(Mask mask, bool residual, Run run) {
  const auto with_residual = [&](auto m) { residual ? run(m, std::true_type{}) : run(m, std::false_type{}); };
  switch (mask) {
    case Mask::kNone:
      return with_residual(std::integral_constant<Mask, Mask::kNone>{});
    case Mask::kOutput:
      return with_residual(std::integral_constant<Mask, Mask::kOutput>{});
    case Mask::kRecomputed:
      return with_residual(std::integral_constant<Mask, Mask::kRecomputed>{});
  }
}

// The mean of a few rows spread over the batch.
template <class T>
void guess_centre(const BatchNormGeom& g, const T* x, float* centre) {
  constexpr std::int64_t kSamples = 8;
  const std::int64_t samples = std::min(kSamples, g.rows);
  for (int c = 0; c < g.channels; ++c) {
    double sum = 0;
    for (std::int64_t s = 0; s < samples; ++s) {
      sum += static_cast<double>(static_cast<float>(x[(s * g.rows / samples) * g.channels + c]));
    }
    centre[c] = static_cast<float>(sum / static_cast<double>(samples));
  }
}

// What forward and backward must round alike.
void scale_and_shift(int channels,
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

template <class T>
void normalise(Context& ctx,
               const BatchNormGeom& g,
               const Layout& l,
               const T* x,
               const float* scale,
               const float* shift,
               const T* residual,
               T* y) {
  const auto run = [&]<bool kRelu, bool kResidual>() {
    using Kind = Normalise<T, kRelu, kResidual>;
    walk_backwards<Kind>(ctx, l, typename Kind::Args{x, scale, shift, residual, y});
  };
  if (g.relu) {
    residual != nullptr ? run.template operator()<true, true>() : run.template operator()<true, false>();
  } else {
    residual != nullptr ? run.template operator()<false, true>() : run.template operator()<false, false>();
  }
}

}  // namespace

template <class T>
void batch_norm_train(Context& ctx, const BatchNormGeom& g, const BatchNormTrain<T>& a) {
  if (g.rows == 0 || g.channels == 0) return;
  const Layout l(g, sizeof(T));
  Repeated values(ctx, l, 2);
  float* centre = values.at(0);
  guess_centre(g, a.x, centre);
  values.repeat(0);
  Sums sums(ctx, l);
  parallel_for(ctx, l.chunks, [&](std::int64_t index) {
    double* lanes = sums.start(index);
    walk_chunk<Statistics<T>>(l, typename Statistics<T>::Args{a.x, centre, lanes, lanes + l.period}, index);
    sums.fold(index);
  });
  const Sums::Pair total = sums.total();
  const auto rows = static_cast<double>(g.rows);
  const double unbias = g.rows > 1 ? rows / (rows - 1) : 1.;
  for (int c = 0; c < g.channels; ++c) {
    const double off = total.first[c] / rows, mean = static_cast<double>(centre[c]) + off;
    const double var = std::max(0., total.second[c] / rows - off * off);
    a.saved_mean[c] = static_cast<float>(mean);
    a.saved_inv_std[c] = static_cast<float>(1 / std::sqrt(var + static_cast<double>(g.eps)));
    if (a.running_mean != nullptr) {
      const auto m = static_cast<double>(a.momentum);
      a.running_mean[c] = static_cast<float>((1 - m) * static_cast<double>(a.running_mean[c]) + m * mean);
      a.running_var[c] =
          static_cast<float>((1 - m) * static_cast<double>(a.running_var[c]) + m * var * unbias);
    }
  }
  scale_and_shift(g.channels, a.gamma, a.beta, a.saved_mean, a.saved_inv_std, values.at(0), values.at(1));
  normalise(ctx, g, l, a.x, values.repeat(0), values.repeat(1), a.residual, a.y);
}

void batch_norm_inv_std(Context&, int channels, float eps, const float* var, float* inv_std) {
  for (int c = 0; c < channels; ++c) {
    inv_std[c] = static_cast<float>(1 / std::sqrt(static_cast<double>(var[c]) + static_cast<double>(eps)));
  }
}

template <class T>
void batch_norm_eval(Context& ctx, const BatchNormGeom& g, const BatchNormEval<T>& a) {
  if (g.rows == 0 || g.channels == 0) return;
  const Layout l(g, sizeof(T));
  Repeated values(ctx, l, 3);
  float* inv_std = values.at(2);
  batch_norm_inv_std(ctx, g.channels, g.eps, a.running_var, inv_std);
  scale_and_shift(g.channels, a.gamma, a.beta, a.running_mean, inv_std, values.at(0), values.at(1));
  normalise(ctx, g, l, a.x, values.repeat(0), values.repeat(1), a.residual, a.y);
}

template <class T>
void batch_norm_backward(Context& ctx, const BatchNormGeom& g, const BatchNormBackward<T>& a) {
  if (g.channels == 0) return;
  const Layout l(g, sizeof(T));
  Repeated values(ctx, l, 5);
  std::copy(a.mean, a.mean + g.channels, values.at(0));
  scale_and_shift(g.channels, a.gamma, a.beta, a.mean, a.inv_std, values.at(1), values.at(2));
  std::fill(values.at(3), values.at(3) + 2 * l.period, 0.f);
  for (int which = 0; which < 3; ++which) values.repeat(which);
  GradientArgs<T> common{
      a.dy, a.x, a.y, values.at(0), values.at(1), values.at(2), a.dresidual, a.dresidual_write};
  Mask mask = !g.relu ? Mask::kNone : a.y != nullptr ? Mask::kOutput : Mask::kRecomputed;

  if (a.dgamma != nullptr || (a.dx != nullptr && a.batch_statistics)) {
    Sums sums(ctx, l);
    with_mask(mask, a.dresidual != nullptr, [&](auto m, auto residual) {
      using Kind = GradientSums<T, m.value, residual.value>;
      parallel_for(ctx, l.chunks, [&](std::int64_t index) {
        double* lanes = sums.start(index);
        walk_chunk<Kind>(l, typename Kind::Args{{common}, lanes, lanes + l.period}, index);
        sums.fold(index);
      });
    });
    const Sums::Pair total = sums.total();
    const auto rows = static_cast<double>(g.rows);
    for (int c = 0; c < g.channels; ++c) {
      const auto inv_std = static_cast<double>(a.inv_std[c]), scale = static_cast<double>(values.at(1)[c]);
      // scale (dz - mean(dz) - (x - mean) inv_std^2 mean(dz (x - mean))), sorted by x.
      const auto slope = static_cast<float>(-scale * inv_std * inv_std * total.second[c] / rows);
      values.at(3)[c] = slope;
      values.at(4)[c] = static_cast<float>(-scale * total.first[c] / rows -
                                           static_cast<double>(slope) * static_cast<double>(a.mean[c]));
      if (a.dgamma == nullptr) continue;
      const bool adds = a.dparam_write == Write::kAccumulate;
      a.dgamma[c] = (adds ? a.dgamma[c] : 0.f) + static_cast<float>(inv_std * total.second[c]);
      a.dbeta[c] = (adds ? a.dbeta[c] : 0.f) + static_cast<float>(total.first[c]);
    }
    if (a.dresidual != nullptr && a.dresidual_write == Write::kOverwrite) {  // it now holds dz
      common.dy = a.dresidual;
      mask = Mask::kNone;
    }
    common.dresidual = nullptr;
  }
  if (a.dx == nullptr && common.dresidual == nullptr) return;
  values.repeat(3);
  values.repeat(4);
  with_mask(mask, common.dresidual != nullptr, [&](auto m, auto residual) {
    const auto run = [&](auto statistics) {
      using Kind = InputGradient<T, m.value, statistics.value, residual.value>;
      walk_backwards<Kind>(
          ctx, l, typename Kind::Args{{common}, values.at(3), values.at(4), a.dx, a.dx_write});
    };
    a.batch_statistics ? run(std::true_type{}) : run(std::false_type{});
  });
}

template void batch_norm_train(Context&, const BatchNormGeom&, const BatchNormTrain<float>&);
template void batch_norm_train(Context&, const BatchNormGeom&, const BatchNormTrain<bf16>&);
template void batch_norm_eval(Context&, const BatchNormGeom&, const BatchNormEval<float>&);
template void batch_norm_eval(Context&, const BatchNormGeom&, const BatchNormEval<bf16>&);
template void batch_norm_backward(Context&, const BatchNormGeom&, const BatchNormBackward<float>&);
template void batch_norm_backward(Context&, const BatchNormGeom&, const BatchNormBackward<bf16>&);

}  // namespace offramp::cpu
