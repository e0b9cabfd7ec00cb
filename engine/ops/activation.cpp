// ReLU, tanh, clamp and the change of variables of unconstrained attacks.
#include "engine/ops.h"
#include "engine/ops/check.h"
#include "engine/ops/work.h"
#include "engine/recording.h"
#include "kernels/elementwise.h"

namespace offramp {
namespace {

// A node that keeps one tensor (the output, or the input) and makes dx from it and dy in one elementwise
// pass. F: (context, n, kept, dy, dx, Write).
template <class T, class F>
class ElementwiseNode final : public Node {
 public:
  ElementwiseNode(const char* name, const Tensor& kept, F f) : name_(name), kept_(kept), f_(f) {}
  const char* name() const override { return name_; }
  void backward(Tensor dy, GradSink& dx) override {
    const Tensor& kept = kept_.get();
    const GradOut out = dx.out(0, kept.shape(), kDTypeOf<T>);
    dispatch(kept.device(), [&](auto& ctx) {
      f_(ctx, kept.size(), kept.data<T>(), std::as_const(dy).data<T>(), out.as<T>(), out.write);
    });
  }

 private:
  const char* name_;
  Saved kept_;
  F f_;
};

template <class T, class F>
void record(const char* name, const Tensor& x, const Tensor& y, const Tensor& kept, F f) {
  if (Recording* rec = Recording::wanting(x))
    rec->push(std::make_unique<ElementwiseNode<T, F>>(name, kept, f), y, {x});
}

}  // namespace

Tensor relu(const Tensor& x) {
  check::floating("relu", "input", x);
  Tensor y = Tensor::empty(x.shape(), x.device(), x.dtype(), "relu");
  const OpRange range("relu", moving(x, y));
  by_float_type(x.dtype(), "relu", [&]<class T>() {
    T* out = y.data<T>();
    dispatch(x.device(), [&](auto& ctx) { relu_forward(ctx, x.size(), x.data<T>(), out); });
    record<T>("relu", x, y, y, [](auto& ctx, std::int64_t n, const T* kept, const T* dy, T* dx, Write write) {
      relu_backward(ctx, n, kept, dy, dx, write);
    });
  });
  return y;
}

Tensor tanh(const Tensor& x) {
  check::type("tanh", "input", x, DType::kFloat32);
  Tensor y = Tensor::empty(x.shape(), x.device(), x.dtype(), "tanh");
  const OpRange range("tanh", moving(x, y));
  float* out = y.data();
  dispatch(x.device(), [&](auto& ctx) { tanh_forward(ctx, x.size(), x.data(), out); });
  record<float>("tanh",
                x,
                y,
                y,
                [](auto& ctx, std::int64_t n, const float* kept, const float* dy, float* dx, Write write) {
                  tanh_backward(ctx, n, kept, dy, dx, write);
                });
  return y;
}

Tensor clamp(const Tensor& x, float low, float high) {
  check::type("clamp", "input", x, DType::kFloat32);
  if (!(low <= high)) {
    throw ValueError("clamp: the lower bound " + std::to_string(low) + " is above the upper " +
                     std::to_string(high));
  }
  Tensor y = Tensor::empty(x.shape(), x.device(), x.dtype(), "clamp");
  const OpRange range("clamp", moving(x, y));
  float* out = y.data();
  dispatch(x.device(), [&](auto& ctx) { clamp(ctx, x.size(), low, high, x.data(), out); });
  record<float>(
      "clamp",
      x,
      y,
      x,
      [low, high](auto& ctx, std::int64_t n, const float* kept, const float* dy, float* dx, Write write) {
        clamp_backward(ctx, n, low, high, kept, dy, dx, write);
      });
  return y;
}

Tensor pixels_from_tanh(const Tensor& w) {
  check::type("pixels_from_tanh", "input", w, DType::kFloat32);
  Tensor x = Tensor::empty(w.shape(), w.device(), w.dtype(), "pixels_from_tanh");
  const OpRange range("pixels_from_tanh", moving(w, x));
  float* out = x.data();
  dispatch(w.device(), [&](auto& ctx) { pixels_from_tanh(ctx, w.size(), w.data(), out); });
  record<float>("pixels_from_tanh",
                w,
                x,
                x,
                [](auto& ctx, std::int64_t n, const float* kept, const float* dy, float* dx, Write write) {
                  pixels_from_tanh_backward(ctx, n, kept, dy, dx, write);
                });
  return x;
}

}  // namespace offramp
