// Pools. Forward reads every input once (k * k times from the cache where windows overlap) and keeps maximum,
// its place and the sum of a window in registers: the mixed pool of an exit is one pass. Backward stores
// every pixel once: windows that tile the image are spread over their pixels; otherwise a pixel gathers the
// windows that cover it, in window order, so that overlaps, gaps and a rest at the edge need no zeroing and
// give the same bits for any thread count.
#include "kernels/pool.h"

#include <algorithm>

#include "kernels/cpu/loops.h"
#include "kernels/reduce.h"

namespace offramp::cpu {
namespace {

struct Window {
  f32x16 max, place, sum;
};

template <bool kMax, bool kSum, class T, class Lanes>
OFFRAMP_SIMD_FN Window scan_window(const PoolGeom& g, const T* x, Lanes lanes) {
  const f32x16 first = load(x, lanes);
  Window out{first, zero(), first};
  for (int r = 0; r < g.k; ++r) {
    for (int s = r == 0 ? 1 : 0; s < g.k; ++s) {
      const f32x16 v = load(x + (std::int64_t{r} * g.w + s) * g.c, lanes);
      if constexpr (kSum) out.sum += v;
      if constexpr (kMax) {
        const mask16 better = greater(v, out.max) | (differs(v, v) & equal(out.max, out.max));
        out.max = select(better, v, out.max);
        out.place = select(better, splat(static_cast<float>(r * g.k + s)), out.place);
      }
    }
  }
  return out;
}

// body(output offset, pointer to the window's first pixel, lanes) for all outputs.
template <class T, class Body>
void each_window(const Context& ctx, const PoolGeom& g, const T* x, Body body) {
  parallel_for(ctx, std::int64_t{g.n} * g.out_h(), [&](std::int64_t row) {
    const std::int64_t n = row / g.out_h(), i = row % g.out_h();
    for (std::int64_t j = 0; j < g.out_w(); ++j) {
      const T* corner = x + ((n * g.h + i * g.stride) * g.w + j * g.stride) * g.c;
      const std::int64_t out = (row * g.out_w() + j) * g.c;
      each_vector(0, g.c, [&](std::int64_t c, auto lanes) { body(out + c, corner + c, lanes); });
    }
  });
}

// The outputs first .. last along one side whose windows cover a position; moves with it.
struct Cover {
  int out, k, stride;
  int first = 0, last = -1;
  void move_to(int position) {
    while (last + 1 < out && (last + 1) * stride <= position) ++last;
    while (first * stride + k <= position) ++first;
  }
};

// dx = sum over covering windows of term(output offset, place of the pixel in the window, lanes).
template <class T, class Term>
void gather_gradient(const Context& ctx, const PoolGeom& g, T* dx, Write write, Term term) {
  parallel_for(ctx, std::int64_t{g.n} * g.h, [&](std::int64_t row) {
    const auto y = static_cast<int>(row % g.h);
    const std::int64_t image = row / g.h * g.out_h();
    Cover rows{g.out_h(), g.k, g.stride}, columns{g.out_w(), g.k, g.stride};
    rows.move_to(y);
    for (int x = 0; x < g.w; ++x) {
      columns.move_to(x);
      each_vector(0, g.c, [&](std::int64_t c, auto lanes) {
        f32x16 sum = zero();
        for (int i = rows.first; i <= rows.last; ++i) {
          for (int j = columns.first; j <= columns.last; ++j) {
            const int place = (y - i * g.stride) * g.k + x - j * g.stride;
            sum += term(((image + i) * g.out_w() + j) * g.c + c, place, lanes);
          }
        }
        put(dx + (row * g.w + x) * g.c + c, sum, lanes, write);
      });
    }
  });
}

// Windows that tile the image: every pixel has one window. each(output offset, lanes) gives what a window
// contributes to its pixels as a function of the place, so that its inputs are read once per window instead
// of once per pixel.
bool tiles(const PoolGeom& g) { return g.stride == g.k && g.h % g.k == 0 && g.w % g.k == 0; }

template <class T, class Each>
void spread_gradient(const Context& ctx, const PoolGeom& g, T* dx, Write write, Each each) {
  parallel_for(ctx, std::int64_t{g.n} * g.out_h(), [&](std::int64_t row) {
    for (int j = 0; j < g.out_w(); ++j) {
      const std::int64_t out = (row * g.out_w() + j) * g.c;
      T* corner = dx + (row * g.k * g.w + j * g.k) * g.c;
      each_vector(0, g.c, [&](std::int64_t c, auto lanes) {
        const auto at_place = each(out + c, lanes);
        for (int r = 0; r < g.k; ++r) {
          for (int s = 0; s < g.k; ++s) {
            put(corner + (std::int64_t{r} * g.w + s) * g.c + c, at_place(r * g.k + s), lanes, write);
          }
        }
      });
    }
  });
}

// Either way; `each` as above.
template <class T, class Each>
void pool_gradient(const Context& ctx, const PoolGeom& g, T* dx, Write write, Each each) {
  if (tiles(g)) return spread_gradient(ctx, g, dx, write, each);
  gather_gradient(
      ctx, g, dx, write, [&](std::int64_t out, int place, auto lanes) { return each(out, lanes)(place); });
}

// A window whose chosen pixel gets one value and whose other pixels get another.
struct ChosenPixel {
  f32x16 place, chosen, others;
  OFFRAMP_SIMD_FN f32x16 operator()(int where) const {
    return select(equal(place, splat(static_cast<float>(where))), chosen, others);
  }
};

float window_share(const PoolGeom& g) { return 1.f / static_cast<float>(g.k * g.k); }

}  // namespace

template <class T>
void max_pool_forward(Context& ctx, const PoolGeom& g, const T* x, T* y, std::uint8_t* index) {
  each_window(ctx, g, x, [&](std::int64_t out, const T* corner, auto lanes) {
    const Window window = scan_window<true, false>(g, corner, lanes);
    store(y + out, window.max, lanes);
    if (index != nullptr) store_bytes_n(index + out, window.place, lanes.count);
  });
}

template <class T>
void max_pool_backward(
    Context& ctx, const PoolGeom& g, const T* dy, const std::uint8_t* index, T* dx, Write write) {
  pool_gradient(ctx, g, dx, write, [&](std::int64_t out, auto lanes) {
    return ChosenPixel{load_bytes_n(index + out, lanes.count), load(dy + out, lanes), zero()};
  });
}

template <class T>
void avg_pool_forward(Context& ctx, const PoolGeom& g, const T* x, float* y) {
  const float share = window_share(g);
  each_window(ctx, g, x, [&](std::int64_t out, const T* corner, auto lanes) {
    store(y + out, scan_window<false, true>(g, corner, lanes).sum * splat(share), lanes);
  });
}

template <class T>
void avg_pool_backward(Context& ctx, const PoolGeom& g, const float* dy, T* dx, Write write) {
  const float share = window_share(g);
  pool_gradient(ctx, g, dx, write, [&](std::int64_t out, auto lanes) {
    return [d = load(dy + out, lanes) * splat(share)](int) { return d; };
  });
}

template <class T>
void exit_pool_forward(Context& ctx,
                       const PoolGeom& g,
                       const T* x,
                       const float* alpha,
                       float* y,
                       float* max_minus_avg,
                       std::uint8_t* index) {
  const float share = window_share(g), a = *alpha;
  each_window(ctx, g, x, [&](std::int64_t out, const T* corner, auto lanes) {
    const Window window = scan_window<true, true>(g, corner, lanes);
    const f32x16 avg = window.sum * splat(share);
    store(y + out, fma(splat(a), window.max, splat(1.f - a) * avg), lanes);
    if (max_minus_avg != nullptr) store(max_minus_avg + out, window.max - avg, lanes);
    if (index != nullptr) store_bytes_n(index + out, window.place, lanes.count);
  });
}

template <class T>
void exit_pool_backward_input(Context& ctx,
                              const PoolGeom& g,
                              const float* dy,
                              const float* alpha,
                              const std::uint8_t* index,
                              T* dx,
                              Write write) {
  const float others = (1.f - *alpha) * window_share(g), chosen = *alpha + others;
  pool_gradient(ctx, g, dx, write, [&](std::int64_t out, auto lanes) {
    const f32x16 d = load(dy + out, lanes);
    return ChosenPixel{load_bytes_n(index + out, lanes.count), d * splat(chosen), d * splat(others)};
  });
}

void exit_pool_backward_alpha(Context& ctx,
                              const PoolGeom& g,
                              const float* dy,
                              const float* max_minus_avg,
                              float* dalpha,
                              Write write) {
  float sum = 0;
  dot(ctx, g.y_size(), dy, max_minus_avg, &sum);
  *dalpha = write == Write::kAccumulate ? *dalpha + sum : sum;
}

#define OFFRAMP_INSTANTIATE(T)                                                                          \
  template void max_pool_forward(Context&, const PoolGeom&, const T*, T*, std::uint8_t*);               \
  template void max_pool_backward(Context&, const PoolGeom&, const T*, const std::uint8_t*, T*, Write); \
  template void avg_pool_forward(Context&, const PoolGeom&, const T*, float*);                          \
  template void avg_pool_backward(Context&, const PoolGeom&, const float*, T*, Write);                  \
  template void exit_pool_forward(                                                                      \
      Context&, const PoolGeom&, const T*, const float*, float*, float*, std::uint8_t*);                \
  template void exit_pool_backward_input(                                                               \
      Context&, const PoolGeom&, const float*, const float*, const std::uint8_t*, T*, Write);
OFFRAMP_INSTANTIATE(float)
OFFRAMP_INSTANTIATE(bf16)
#undef OFFRAMP_INSTANTIATE

}  // namespace offramp::cpu
