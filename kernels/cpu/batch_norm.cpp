// Batch normalisation, memory-bound: training reads x twice and writes y (3 passes over the array). The
// second sweep of each thread runs backwards over its chunks, because their ends are still in its cache.
#include "kernels/cpu/batch_norm_walk.h"

namespace offramp::cpu {
namespace {

using namespace batch_norm;

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
    const double raw = total.second[c] / rows - off * off;
    const double var = raw < 0 ? 0 : raw;  // a little below zero by rounding; NaN stays NaN
    a.saved_mean[c] = static_cast<float>(mean);
    a.saved_inv_std[c] = static_cast<float>(1 / std::sqrt(var + static_cast<double>(g.eps)));
    if (a.running_mean != nullptr) {
      const auto m = static_cast<double>(a.momentum);
      a.running_mean[c] = static_cast<float>((1 - m) * static_cast<double>(a.running_mean[c]) + m * mean);
      a.running_var[c] =
          static_cast<float>((1 - m) * static_cast<double>(a.running_var[c]) + m * var * unbias);
    }
  }
  if (a.y == nullptr) return;
  scale_and_shift(g.channels, a.gamma, a.beta, a.saved_mean, a.saved_inv_std, values.at(0), values.at(1));
  normalise(ctx, g, l, a.x, values.repeat(0), values.repeat(1), a.residual, a.y);
}

void batch_norm_inv_std(Context&, int channels, float eps, const float* var, float* inv_std) {
  for (int c = 0; c < channels; ++c) {
    inv_std[c] = static_cast<float>(1 / std::sqrt(static_cast<double>(var[c]) + static_cast<double>(eps)));
  }
}

void batch_norm_combine(Context&, const BatchNormShards& b) {
  for (int c = 0; c < b.channels; ++c) combine_channel(b, c);
}

template <class T>
void batch_norm_eval(Context& ctx, const BatchNormGeom& g, const BatchNormEval<T>& a) {
  if (g.rows == 0 || g.channels == 0) return;
  const Layout l(g, sizeof(T));
  Repeated values(ctx, l, 3);
  const float* inv_std = a.inv_std;
  if (inv_std == nullptr) {
    batch_norm_inv_std(ctx, g.channels, g.eps, a.running_var, values.at(2));
    inv_std = values.at(2);
  }
  scale_and_shift(g.channels, a.gamma, a.beta, a.running_mean, inv_std, values.at(0), values.at(1));
  normalise(ctx, g, l, a.x, values.repeat(0), values.repeat(1), a.residual, a.y);
}

template void batch_norm_train(Context&, const BatchNormGeom&, const BatchNormTrain<float>&);
template void batch_norm_train(Context&, const BatchNormGeom&, const BatchNormTrain<bf16>&);
template void batch_norm_eval(Context&, const BatchNormGeom&, const BatchNormEval<float>&);
template void batch_norm_eval(Context&, const BatchNormGeom&, const BatchNormEval<bf16>&);

}  // namespace offramp::cpu
