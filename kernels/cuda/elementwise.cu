// Elementwise passes: each reads its inputs once and writes its output once, in 16-byte accesses.
#include "kernels/elementwise.h"

#include <cmath>

#include "kernels/cuda/elements.h"

namespace offramp::cuda {
namespace {

struct Relu {
  __device__ float operator()(float x) const { return x < 0.f ? 0.f : x; }  // NaN stays NaN
};
struct ReluBackward {
  __device__ float operator()(float y, float dy) const { return y > 0.f ? dy : 0.f; }
};
struct Add {
  __device__ float operator()(float a, float b) const { return a + b; }
};
struct Same {
  __device__ float operator()(float x) const { return x; }
};
struct Scale {
  float factor;
  __device__ float operator()(float x) const { return factor * x; }
};
struct ScaleBy {
  const float* factor;
  __device__ float operator()(float x) const { return *factor * x; }
};
struct Multiply {
  __device__ float operator()(float a, float b) const { return a * b; }
};
struct Axpby {
  float a, b;
  __device__ float operator()(float x, float y) const { return a * x + b * y; }
};
struct Tanh {
  __device__ float operator()(float x) const { return tanhf(x); }
};
struct TanhBackward {
  __device__ float operator()(float y, float dy) const { return dy * (1.f - y * y); }
};
struct Sign {
  __device__ float operator()(float x) const { return x > 0.f ? 1.f : x < 0.f ? -1.f : x == 0.f ? 0.f : x; }
};
struct Clamp {
  float low, high;
  __device__ float operator()(float x) const { return x < low ? low : x > high ? high : x; }
};
struct ClampBackward {
  float low, high;
  __device__ float operator()(float x, float dy) const { return x >= low && x <= high ? dy : 0.f; }
};
struct Absolute {
  __device__ float operator()(float x) const { return fabsf(x); }
};
struct PixelsFromTanh {
  __device__ float operator()(float w) const { return (tanhf(w) + 1.f) * 0.5f; }
};
// tanh(w) = 2 x - 1, so (1 - tanh(w)^2) / 2 = 2 x (1 - x).
struct PixelsFromTanhBackward {
  __device__ float operator()(float x, float dx) const { return dx * (2.f * x * (1.f - x)); }
};

template <class T>
struct Fill {
  float value;
  T* y;
  template <int N>
  __device__ void run(std::int64_t i) const {
    float values[N];
#pragma unroll
    for (int j = 0; j < N; ++j) values[j] = value;
    store(y + i, values, false);
  }
};

struct LinfStep {
  const float* origin;
  const float* grad;
  float step, eps;
  float* x;

  // The largest (smallest) float within eps of the origin, by the float difference that a caller computes.
  __device__ static float limit(float o, float bound, float eps) {
    while (fabsf(bound - o) > eps) bound = nextafterf(bound, o);
    return bound;
  }
  template <int N>
  __device__ void run(std::int64_t i) const {
    float o[N], g[N], v[N];
    load(origin + i, o);
    load(grad + i, g);
    load(x + i, v);
#pragma unroll
    for (int j = 0; j < N; ++j) {
      const float direction = Sign{}(g[j]);
      float moved = v[j] + step * direction;
      const float low = limit(o[j], o[j] - eps, eps), high = limit(o[j], o[j] + eps, eps);
      moved = moved < low ? low : moved > high ? high : moved;
      v[j] = moved < 0.f ? 0.f : moved > 1.f ? 1.f : moved;
    }
    store(x + i, v, false);
  }
};

}  // namespace

template <class T>
void relu_forward(Context& ctx, std::int64_t n, const T* x, T* y) {
  map(ctx, n, Relu{}, x, y);
}
template <class T>
void relu_backward(Context& ctx, std::int64_t n, const T* y, const T* dy, T* dx, Write write) {
  map(ctx, n, ReluBackward{}, y, dy, dx, write);
}
template <class T>
void add(Context& ctx, std::int64_t n, const T* a, const T* b, T* y) {
  map(ctx, n, Add{}, a, b, y);
}
template <class T>
void accumulate(Context& ctx, std::int64_t n, const T* x, T* y) {
  map(ctx, n, Same{}, x, y, Write::kAccumulate);
}
template <class T>
void scale(Context& ctx, std::int64_t n, float factor, const T* x, T* y, Write write) {
  map(ctx, n, Scale{factor}, x, y, write);
}
template <class T>
void scale_by(Context& ctx, std::int64_t n, const float* factor, const T* x, T* y, Write write) {
  map(ctx, n, ScaleBy{factor}, x, y, write);
}
template <class T>
void fill(Context& ctx, std::int64_t n, float value, T* y) {
  run_elements<kElementStep<T>>(ctx, n, aligned(y), Fill<T>{value, y});
}
template <class From, class To>
void convert(Context& ctx, std::int64_t n, const From* x, To* y, Write write) {
  map(ctx, n, Same{}, x, y, write);
}

void multiply(Context& ctx, std::int64_t n, const float* a, const float* b, float* y, Write write) {
  map(ctx, n, Multiply{}, a, b, y, write);
}
void axpby(Context& ctx, std::int64_t n, float a, const float* x, float b, const float* y, float* out) {
  map(ctx, n, Axpby{a, b}, x, y, out);
}
void tanh_forward(Context& ctx, std::int64_t n, const float* x, float* y) { map(ctx, n, Tanh{}, x, y); }
void tanh_backward(Context& ctx, std::int64_t n, const float* y, const float* dy, float* dx, Write write) {
  map(ctx, n, TanhBackward{}, y, dy, dx, write);
}
void sign(Context& ctx, std::int64_t n, const float* x, float* y) { map(ctx, n, Sign{}, x, y); }
void clamp(Context& ctx, std::int64_t n, float low, float high, const float* x, float* y) {
  map(ctx, n, Clamp{low, high}, x, y);
}
void clamp_backward(Context& ctx,
                    std::int64_t n,
                    float low,
                    float high,
                    const float* x,
                    const float* dy,
                    float* dx,
                    Write write) {
  map(ctx, n, ClampBackward{low, high}, x, dy, dx, write);
}
void absolute(Context& ctx, std::int64_t n, const float* x, float* y) { map(ctx, n, Absolute{}, x, y); }
void linf_step(
    Context& ctx, std::int64_t n, const float* origin, const float* grad, float step, float eps, float* x) {
  run_elements<4>(
      ctx, n, aligned(origin) && aligned(grad) && aligned(x), LinfStep{origin, grad, step, eps, x});
}
void pixels_from_tanh(Context& ctx, std::int64_t n, const float* w, float* x) {
  map(ctx, n, PixelsFromTanh{}, w, x);
}
void pixels_from_tanh_backward(
    Context& ctx, std::int64_t n, const float* x, const float* dx, float* dw, Write write) {
  map(ctx, n, PixelsFromTanhBackward{}, x, dx, dw, write);
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

}  // namespace offramp::cuda
