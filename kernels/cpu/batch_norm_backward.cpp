// Gradients of batch normalisation, memory-bound: reads dy and x twice and writes dx (5 passes over the
// array). The second sweep of each thread runs backwards over its chunks, because their ends are still in its
// cache.
#include <type_traits>

#include "kernels/assert.h"
#include "kernels/cpu/batch_norm_walk.h"

namespace offramp::cpu {
namespace {

using namespace batch_norm;

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

}  // namespace

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

  // scale (dz - mean(dz) - (x - mean) inv_std^2 mean(dz (x - mean))), sorted by x.
  const auto slope_and_offset = [&](int c, double dz, double product, double rows) {
    const auto inv_std = static_cast<double>(a.inv_std[c]), scale = static_cast<double>(values.at(1)[c]);
    const auto slope = static_cast<float>(-scale * inv_std * inv_std * product / rows);
    values.at(3)[c] = slope;
    values.at(4)[c] =
        static_cast<float>(-scale * dz / rows - static_cast<double>(slope) * static_cast<double>(a.mean[c]));
  };
  if (a.sums != nullptr) {
    OFFRAMP_ASSERT(a.dgamma == nullptr);
    for (int c = 0; c < g.channels; ++c) {
      slope_and_offset(c,
                       static_cast<double>(a.sums[c]),
                       static_cast<double>(a.sums[g.channels + c]) / static_cast<double>(a.inv_std[c]),
                       static_cast<double>(a.total_rows));
    }
  } else if (a.dgamma != nullptr || (a.dx != nullptr && a.batch_statistics)) {
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
      slope_and_offset(c, total.first[c], total.second[c], rows);
      if (a.dgamma == nullptr) continue;
      const bool adds = a.dparam_write == Write::kAccumulate;
      a.dgamma[c] = (adds ? a.dgamma[c] : 0.f) +
                    static_cast<float>(static_cast<double>(a.inv_std[c]) * total.second[c]);
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

template void batch_norm_backward(Context&, const BatchNormGeom&, const BatchNormBackward<float>&);
template void batch_norm_backward(Context&, const BatchNormGeom&, const BatchNormBackward<bf16>&);

}  // namespace offramp::cpu
