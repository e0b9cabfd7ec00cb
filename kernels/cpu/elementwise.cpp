// Elementwise passes: one read per input, one write per output, 16 lanes at a time, chunks over threads. All
// of them are memory-bound except tanh.
#include "kernels/elementwise.h"

#include <cmath>

#include "kernels/cpu/loops.h"

namespace offramp::cpu {
namespace {

// NaN stays NaN: min and max return their second operand where one is NaN.
OFFRAMP_SIMD_FN f32x16 clipped(f32x16 x, f32x16 low, f32x16 high) { return min(high, max(low, x)); }

OFFRAMP_SIMD_FN f32x16 sign_of(f32x16 x) {
  const f32x16 one = splat(1.f);
  return select(greater(x, zero()), one, select(greater(zero(), x), -one, select(differs(x, x), x, zero())));
}

}  // namespace

template <class T>
void relu_forward(Context& ctx, std::int64_t n, const T* x, T* y) {
  parallel_vectors(
      ctx, n, [=](std::int64_t i, auto lanes) { store(y + i, max(zero(), load(x + i, lanes)), lanes); });
}

template <class T>
void relu_backward(Context& ctx, std::int64_t n, const T* y, const T* dy, T* dx, Write write) {
  parallel_vectors(ctx, n, [=](std::int64_t i, auto lanes) {
    put(dx + i, keep(greater(load(y + i, lanes), zero()), load(dy + i, lanes)), lanes, write);
  });
}

template <class T>
void add(Context& ctx, std::int64_t n, const T* a, const T* b, T* y) {
  parallel_vectors(ctx, n, [=](std::int64_t i, auto lanes) {
    store(y + i, load(a + i, lanes) + load(b + i, lanes), lanes);
  });
}

template <class T>
void accumulate(Context& ctx, std::int64_t n, const T* x, T* y) {
  add(ctx, n, y, x, y);
}

template <class T>
void scale(Context& ctx, std::int64_t n, float factor, const T* x, T* y, Write write) {
  parallel_vectors(ctx, n, [=](std::int64_t i, auto lanes) {
    put(y + i, splat(factor) * load(x + i, lanes), lanes, write);
  });
}

template <class T>
void scale_by(Context& ctx, std::int64_t n, const float* factor, const T* x, T* y, Write write) {
  scale(ctx, n, *factor, x, y, write);
}

template <class T>
void fill(Context& ctx, std::int64_t n, float value, T* y) {
  parallel_vectors(ctx, n, [=](std::int64_t i, auto lanes) { store(y + i, splat(value), lanes); });
}

template <class From, class To>
void convert(Context& ctx, std::int64_t n, const From* x, To* y, Write write) {
  parallel_vectors(ctx, n, [=](std::int64_t i, auto lanes) { put(y + i, load(x + i, lanes), lanes, write); });
}

void multiply(Context& ctx, std::int64_t n, const float* a, const float* b, float* y, Write write) {
  parallel_vectors(ctx, n, [=](std::int64_t i, auto lanes) {
    put(y + i, load(a + i, lanes) * load(b + i, lanes), lanes, write);
  });
}

void axpby(Context& ctx, std::int64_t n, float a, const float* x, float b, const float* y, float* out) {
  parallel_vectors(ctx, n, [=](std::int64_t i, auto lanes) {
    store(out + i, fma(splat(a), load(x + i, lanes), splat(b) * load(y + i, lanes)), lanes);
  });
}

void tanh_forward(Context& ctx, std::int64_t n, const float* x, float* y) {
  for_chunks(ctx, n, kChunk, [=](std::int64_t, std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) y[i] = std::tanh(x[i]);
  });
}

void tanh_backward(Context& ctx, std::int64_t n, const float* y, const float* dy, float* dx, Write write) {
  parallel_vectors(ctx, n, [=](std::int64_t i, auto lanes) {
    const f32x16 t = load(y + i, lanes);
    put(dx + i, load(dy + i, lanes) * fma(-t, t, splat(1.f)), lanes, write);
  });
}

void sign(Context& ctx, std::int64_t n, const float* x, float* y) {
  parallel_vectors(
      ctx, n, [=](std::int64_t i, auto lanes) { store(y + i, sign_of(load(x + i, lanes)), lanes); });
}

void clamp(Context& ctx, std::int64_t n, float low, float high, const float* x, float* y) {
  parallel_vectors(ctx, n, [=](std::int64_t i, auto lanes) {
    store(y + i, clipped(load(x + i, lanes), splat(low), splat(high)), lanes);
  });
}

void clamp_backward(Context& ctx,
                    std::int64_t n,
                    float low,
                    float high,
                    const float* x,
                    const float* dy,
                    float* dx,
                    Write write) {
  parallel_vectors(ctx, n, [=](std::int64_t i, auto lanes) {
    const f32x16 v = load(x + i, lanes);
    // Inside, bounds included: clipping changes nothing (and NaN equals nothing).
    put(dx + i, keep(equal(clipped(v, splat(low), splat(high)), v), load(dy + i, lanes)), lanes, write);
  });
}

void absolute(Context& ctx, std::int64_t n, const float* x, float* y) {
  parallel_vectors(ctx, n, [=](std::int64_t i, auto lanes) { store(y + i, abs(load(x + i, lanes)), lanes); });
}

// The rounded bounds origin - eps and origin + eps may lie up to half a step outside; then the next number
// inside is taken: the product with 1 - 2^-24 rounds to the predecessor of a positive number, and adding a
// little more than half of 2^-23 of it rounds to its successor. Bounds below 0 need no care, the range [0, 1]
// is tighter.
void linf_step(
    Context& ctx, std::int64_t n, const float* origin, const float* grad, float step, float eps, float* x) {
  parallel_vectors(ctx, n, [=](std::int64_t i, auto lanes) {
    const f32x16 o = load(origin + i, lanes), e = splat(eps);
    f32x16 low = o - e, high = o + e;
    low = select(greater(o - low, e), fma(low, splat(0x1.00001p-24f), low), low);
    high = select(greater(high - o, e), high * splat(1.f - 0x1p-24f), high);
    const f32x16 moved = fma(splat(step), sign_of(load(grad + i, lanes)), load(x + i, lanes));
    store(x + i, clipped(clipped(moved, max(zero(), low), high), zero(), splat(1.f)), lanes);
  });
}

void pixels_from_tanh(Context& ctx, std::int64_t n, const float* w, float* x) {
  for_chunks(ctx, n, kChunk, [=](std::int64_t, std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) x[i] = 0.5f * (std::tanh(w[i]) + 1.f);
  });
}

void pixels_from_tanh_backward(
    Context& ctx, std::int64_t n, const float* x, const float* dx, float* dw, Write write) {
  parallel_vectors(ctx, n, [=](std::int64_t i, auto lanes) {
    // (1 - tanh^2) / 2 with tanh = 2 x - 1 is 2 x (1 - x).
    const f32x16 p = load(x + i, lanes), twice = p + p;
    put(dw + i, load(dx + i, lanes) * (twice * (splat(1.f) - p)), lanes, write);
  });
}

#define OFFRAMP_INSTANTIATE(T)                                                        \
  template void relu_forward(Context&, std::int64_t, const T*, T*);                   \
  template void relu_backward(Context&, std::int64_t, const T*, const T*, T*, Write); \
  template void add(Context&, std::int64_t, const T*, const T*, T*);                  \
  template void accumulate(Context&, std::int64_t, const T*, T*);                     \
  template void scale(Context&, std::int64_t, float, const T*, T*, Write);            \
  template void scale_by(Context&, std::int64_t, const float*, const T*, T*, Write);  \
  template void fill(Context&, std::int64_t, float, T*);
OFFRAMP_INSTANTIATE(float)
OFFRAMP_INSTANTIATE(bf16)
#undef OFFRAMP_INSTANTIATE
template void convert(Context&, std::int64_t, const float*, bf16*, Write);
template void convert(Context&, std::int64_t, const bf16*, float*, Write);

}  // namespace offramp::cpu
