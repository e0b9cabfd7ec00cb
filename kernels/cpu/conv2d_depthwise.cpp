// Memory-bound: reads every input row three times, from the first-level cache but for the first, and writes
// the output once. Each output is one chain of multiply-adds over its taps in the order r, s.
#include "kernels/cpu/conv2d_depthwise.h"

#include <array>
#include <cstring>

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/shards.h"
#include "kernels/cpu/simd.h"

namespace offramp::cpu::depthwise {
namespace {

constexpr int kSide = 3, kTaps = kSide * kSide;

// [c][3][3] -> [9][c], turned by 180 degrees on request.
void taps_first(int channels, const float* w, bool turned, float* packed) {
  for (int c = 0; c < channels; ++c) {
    for (int t = 0; t < kTaps; ++t) {
      packed[std::int64_t{t} * channels + c] = w[std::int64_t{c} * kTaps + (turned ? kTaps - 1 - t : t)];
    }
  }
}

// Visits the windows of an output row for one vector of channels: use(j, v) with v[3 * a + b] the pixel of
// input row a under column b of the filter, zero outside. A step to the right loads only the columns that
// came in, so that bf16 pixels are widened once or twice and not nine times.
template <int Stride, class T, class Load, class Use>
OFFRAMP_SIMD_FN void slide(
    const T* const* rows, int width, int channels, int stride, int pad, int out_w, Load load_lanes, Use use) {
  f32x16 v[kTaps];
  const auto fill = [&](int b, int column) {
    const bool inside = column >= 0 && column < width;
    for (int a = 0; a < kSide; ++a) {
      v[a * kSide + b] = inside ? load_lanes(rows[a] + std::int64_t{column} * channels) : zero();
    }
  };
  for (int b = 0; b < kSide; ++b) fill(b, b - pad);
  for (int j = 0;; ++j) {
    use(j, v);
    if (j + 1 == out_w) break;
    const int left = (j + 1) * stride - pad;
    constexpr int kKept = Stride == 1 ? 2 : Stride == 2 ? 1 : 0;
    for (int a = 0; a < kSide; ++a) {
      for (int b = 0; b < kKept; ++b) v[a * kSide + b] = v[a * kSide + b + Stride];
    }
    for (int b = kKept; b < kSide; ++b) fill(b, left + b);
  }
}

template <class T, class Load, class Use>
OFFRAMP_SIMD_FN void slide_any(
    const T* const* rows, int width, int channels, int stride, int pad, int out_w, Load load_lanes, Use use) {
  if (stride == 1) {
    slide<1>(rows, width, channels, stride, pad, out_w, load_lanes, use);
  } else if (stride == 2) {
    slide<2>(rows, width, channels, stride, pad, out_w, load_lanes, use);
  } else {
    slide<0>(rows, width, channels, stride, pad, out_w, load_lanes, use);
  }
}

// The three rows of `image` [height][row_size] under a filter whose first row is `top`; `zeros` stands for
// rows outside.
template <class T>
std::array<const T*, kSide> rows_under(
    const T* image, int height, std::int64_t row_size, int top, const T* zeros) {
  std::array<const T*, kSide> rows;
  for (int a = 0; a < kSide; ++a) {
    const int row = top + a;
    rows[static_cast<std::size_t>(a)] = row >= 0 && row < height ? image + row * row_size : zeros;
  }
  return rows;
}

template <class T>
const T* zero_row(Context& ctx, std::int64_t size) {
  const std::size_t bytes = static_cast<std::size_t>(size) * sizeof(T);
  return static_cast<const T*>(std::memset(ctx.workspace(Context::kColumns, bytes), 0, bytes));
}

// Correlation of NHWC maps with one 3x3 filter a channel, weights [9][c]: the forward, and the input gradient
// at stride 1 (with the filter turned). finish(at, c, lanes, value) stores.
template <class T, class Finish>
void correlate(Context& ctx,
               int n,
               int h,
               int w,
               int c,
               int stride,
               int pad,
               int out_h,
               int out_w,
               const T* x,
               const float* weights,
               Finish finish) {
  const std::int64_t row_size = std::int64_t{w} * c;
  const T* zeros = zero_row<T>(ctx, row_size);
  parallel_for(ctx, std::int64_t{n} * out_h, [&](std::int64_t row) {
    const int top = static_cast<int>(row % out_h) * stride - pad;
    const auto rows = rows_under(x + row / out_h * h * row_size, h, row_size, top, zeros);
    for (int first = 0; first < c; first += kLanes) {
      const int lanes = lanes_left(c - first);
      f32x16 filter[kTaps];
      for (int t = 0; t < kTaps; ++t) filter[t] = load_n(weights + std::int64_t{t} * c + first, lanes);
      const auto pass = [&](int count, auto load_lanes) {
        const T* from[kSide] = {rows[0] + first, rows[1] + first, rows[2] + first};
        slide_any(from, w, c, stride, pad, out_w, load_lanes, [&](int j, const f32x16(&v)[kTaps]) {
          f32x16 total = v[0] * filter[0];
#pragma GCC unroll 9
          for (int t = 1; t < kTaps; ++t) total = fma(v[t], filter[t], total);
          finish((row * out_w + j) * c + first, first, count, total);
        });
      };
      if (lanes == kLanes) {
        pass(kLanes, [](const T* p) { return load(p); });
      } else {
        pass(lanes, [lanes](const T* p) { return load_n(p, lanes); });
      }
    }
  });
}

// Input gradient at any stride, pixel by pixel: the output pixels that saw it, by a list of taps.
template <class T, class Finish>
void gather(Context& ctx, const Conv2dGeom& g, const T* dy, const float* weights, Finish finish) {
  const int oh = g.out_h(), ow = g.out_w();
  parallel_for(ctx, std::int64_t{g.n} * g.h, [&](std::int64_t row) {
    const int bottom = static_cast<int>(row % g.h) + g.pad;  // i * stride + r == bottom
    const T* image = dy + row / g.h * oh * ow * g.c;
    for (int column = 0; column < g.w; ++column) {
      const int right = column + g.pad;
      int count = 0;
      const T* from[kTaps];
      const float* weight[kTaps];
      for (int r = 0; r < kSide; ++r) {
        const int i = (bottom - r) / g.stride;
        if (bottom < r || i * g.stride + r != bottom || i >= oh) continue;
        for (int s = 0; s < kSide; ++s) {
          const int j = (right - s) / g.stride;
          if (right < s || j * g.stride + s != right || j >= ow) continue;
          from[count] = image + (std::int64_t{i} * ow + j) * g.c;
          weight[count++] = weights + std::int64_t{r * kSide + s} * g.c;
        }
      }
      for (int c = 0; c < g.c; c += kLanes) {
        const int lanes = lanes_left(g.c - c);
        f32x16 total = zero();
        if (lanes == kLanes) {
          for (int t = 0; t < count; ++t) total = fma(load(from[t] + c), load(weight[t] + c), total);
        } else {
          for (int t = 0; t < count; ++t)
            total = fma(load_n(from[t] + c, lanes), load_n(weight[t] + c, lanes), total);
        }
        finish((row * g.w + column) * g.c + c, c, lanes, total);
      }
    }
  });
}

}  // namespace

bool handles(const Conv2dGeom& g) { return g.depthwise() && g.r == kSide && g.s == kSide; }

void pack_forward_weights(const Conv2dGeom& g, const float* w, float* packed) {
  taps_first(g.c, w, false, packed);
}

template <class T>
void conv2d_forward(
    Context& ctx, const Conv2dGeom& g, const T* x, const float* packed, const Epilogue<T>& epilogue) {
  correlate(ctx,
            g.n,
            g.h,
            g.w,
            g.c,
            g.stride,
            g.pad,
            g.out_h(),
            g.out_w(),
            x,
            packed,
            [=](std::int64_t at, int c, int lanes, f32x16 value) { epilogue.store(at, c, lanes, value); });
}

template <class T>
void conv2d_backward_input(
    Context& ctx, const Conv2dGeom& g, const T* dy, const float* w, T* dx, Write write) {
  const auto finish = [=](std::int64_t at, int, int lanes, f32x16 value) {
    if (write == Write::kAccumulate) value += load_n(dx + at, lanes);
    store_n(dx + at, value, lanes);
  };
  auto* weights = static_cast<float*>(
      ctx.workspace(Context::kPacked, static_cast<std::size_t>(g.w_size()) * sizeof(float)));
  if (g.stride == 1) {
    // dx[p] = sum over r of dy[p + pad - r] w[r]: the turned filter over dy, which begins pad - 2 before p.
    taps_first(g.c, w, true, weights);
    correlate(ctx, g.n, g.out_h(), g.out_w(), g.c, 1, kSide - 1 - g.pad, g.h, g.w, dy, weights, finish);
  } else {
    taps_first(g.c, w, false, weights);
    gather(ctx, g, dy, weights, finish);
  }
}

template <class T>
void conv2d_backward_weight(
    Context& ctx, const Conv2dGeom& g, const T* x, const T* dy, float* dw, Write write) {
  const BatchShards shards = weight_gradient_shards(g);
  const std::int64_t size = g.w_size(), row_size = std::int64_t{g.w} * g.c;
  auto* partials = static_cast<float*>(
      ctx.workspace(Context::kPartials, static_cast<std::size_t>((shards.count + 1) * size) * sizeof(float)));
  const T* zeros = zero_row<T>(ctx, row_size);
  const int oh = g.out_h(), ow = g.out_w(), blocks = (g.c + kLanes - 1) / kLanes;
  parallel_for(ctx, shards.count * blocks, [&](std::int64_t job) {
    const std::int64_t shard = job / blocks;
    const int first = static_cast<int>(job % blocks) * kLanes, lanes = lanes_left(g.c - first);
    f32x16 sum[kTaps];
    for (f32x16& s : sum) s = zero();
    const auto all_rows = [&](auto load_lanes) {
      for (std::int64_t row = shards.begin(shard) * oh; row < shards.end(shard) * oh; ++row) {
        const int top = static_cast<int>(row % oh) * g.stride - g.pad;
        const auto rows = rows_under(x + row / oh * g.h * row_size, g.h, row_size, top, zeros);
        const T* from[kSide] = {rows[0] + first, rows[1] + first, rows[2] + first};
        const T* dy_row = dy + row * ow * g.c + first;
        slide_any(from, g.w, g.c, g.stride, g.pad, ow, load_lanes, [&](int j, const f32x16(&v)[kTaps]) {
          const f32x16 d = load_lanes(dy_row + std::int64_t{j} * g.c);
#pragma GCC unroll 9
          for (int t = 0; t < kTaps; ++t) sum[t] = fma(d, v[t], sum[t]);
        });
      }
    };
    if (lanes == kLanes) {
      all_rows([](const T* p) { return load(p); });
    } else {
      all_rows([lanes](const T* p) { return load_n(p, lanes); });
    }
    for (int t = 0; t < kTaps; ++t)
      store_n(partials + shard * size + std::int64_t{t} * g.c + first, sum[t], lanes);
  });
  float* total = partials + shards.count * size;
  sum_partials(ctx, static_cast<int>(shards.count), size, partials, total, Write::kOverwrite);
  for (int c = 0; c < g.c; ++c) {
    for (int t = 0; t < kTaps; ++t) {
      float& to = dw[std::int64_t{c} * kTaps + t];
      const float value = total[std::int64_t{t} * g.c + c];
      to = write == Write::kAccumulate ? to + value : value;
    }
  }
}

template void conv2d_forward(Context&, const Conv2dGeom&, const float*, const float*, const Epilogue<float>&);
template void conv2d_forward(Context&, const Conv2dGeom&, const bf16*, const float*, const Epilogue<bf16>&);
template void conv2d_backward_input(Context&, const Conv2dGeom&, const float*, const float*, float*, Write);
template void conv2d_backward_input(Context&, const Conv2dGeom&, const bf16*, const float*, bf16*, Write);
template void conv2d_backward_weight(Context&, const Conv2dGeom&, const float*, const float*, float*, Write);
template void conv2d_backward_weight(Context&, const Conv2dGeom&, const bf16*, const bf16*, float*, Write);

}  // namespace offramp::cpu::depthwise
