// Sums, products and type conversion.
#include "engine/ops.h"
#include "engine/ops/check.h"
#include "engine/ops/work.h"
#include "engine/recording.h"
#include "kernels/elementwise.h"

namespace offramp {
namespace {

class AddNode final : public Node {
 public:
  const char* name() const override { return "add"; }
  void backward(Tensor dy, GradSink& dx) override {
    if (dx.wants(0)) dx.give(0, dy);
    if (dx.wants(1)) dx.give(1, std::move(dy));
  }
};

// dx_i = factor_i * dy.
class ScaleNode final : public Node {
 public:
  ScaleNode(float a, float b) : factor_{a, b} {}
  const char* name() const override { return "scale"; }
  void backward(Tensor dy, GradSink& dx) override {
    for (int i = 0; i < inputs_; ++i) {
      if (!dx.wants(i)) continue;
      by_float_type(dy.dtype(), "scale", [&]<class T>() {
        const GradOut out = dx.out(i, dy.shape(), dy.dtype());
        dispatch(dy.device(), [&](auto& ctx) {
          scale(ctx, dy.size(), factor_[i], std::as_const(dy).data<T>(), out.as<T>(), out.write);
        });
      });
    }
  }
  int inputs_ = 2;

 private:
  float factor_[2];
};

class MultiplyNode final : public Node {
 public:
  MultiplyNode(Saved a, Saved b) : a_(std::move(a)), b_(std::move(b)) {}
  const char* name() const override { return "multiply"; }
  void backward(Tensor dy, GradSink& dx) override {
    for (int i = 0; i < 2; ++i) {
      if (!dx.wants(i)) continue;
      const Tensor& other = (i == 0 ? b_ : a_).get();
      const GradOut out = dx.out(i, dy.shape(), DType::kFloat32);
      dispatch(dy.device(), [&](auto& ctx) {
        multiply(ctx, dy.size(), std::as_const(dy).data(), other.data(), out.as<float>(), out.write);
      });
    }
  }

 private:
  Saved a_, b_;
};

class ConvertNode final : public Node {
 public:
  explicit ConvertNode(DType from) : from_(from) {}
  const char* name() const override { return "convert"; }
  void backward(Tensor dy, GradSink& dx) override {
    const GradOut out = dx.out(0, dy.shape(), from_);
    dispatch(dy.device(), [&](auto& ctx) {
      if (from_ == DType::kFloat32) {
        convert(ctx, dy.size(), std::as_const(dy).data<bf16>(), out.as<float>(), out.write);
      } else {
        convert(ctx, dy.size(), std::as_const(dy).data<float>(), out.as<bf16>(), out.write);
      }
    });
  }

 private:
  DType from_;
};

}  // namespace

Tensor add(const Tensor& a, const Tensor& b) {
  check::alike("add", a, b);
  Tensor y = Tensor::empty(a.shape(), a.device(), a.dtype(), "add");
  const OpRange range("add", moving(a, b, y));
  by_float_type(a.dtype(), "add", [&]<class T>() {
    T* out = y.data<T>();
    dispatch(a.device(), [&](auto& ctx) { add(ctx, a.size(), a.data<T>(), b.data<T>(), out); });
  });
  if (Recording* rec = Recording::wanting(a, b)) rec->push(std::make_unique<AddNode>(), y, {a, b});
  return y;
}

Tensor scale(const Tensor& x, float factor) {
  check::floating("scale", "input", x);
  Tensor y = Tensor::empty(x.shape(), x.device(), x.dtype(), "scale");
  const OpRange range("scale", moving(x, y));
  by_float_type(x.dtype(), "scale", [&]<class T>() {
    T* out = y.data<T>();
    dispatch(x.device(),
             [&](auto& ctx) { scale(ctx, x.size(), factor, x.data<T>(), out, Write::kOverwrite); });
  });
  if (Recording* rec = Recording::wanting(x)) {
    auto node = std::make_unique<ScaleNode>(factor, 0.f);
    node->inputs_ = 1;
    rec->push(std::move(node), y, {x});
  }
  return y;
}

Tensor convert(const Tensor& x, DType dtype) {
  check::floating("convert", "input", x);
  if (dtype != DType::kFloat32 && dtype != DType::kBFloat16) throw_not_float(dtype, "convert");
  if (x.dtype() == dtype) return x;
  Tensor y = Tensor::empty(x.shape(), x.device(), dtype, "convert");
  const OpRange range("convert", moving(x, y));
  if (dtype == DType::kFloat32) {
    float* out = y.data();
    dispatch(x.device(), [&](auto& ctx) { convert(ctx, x.size(), x.data<bf16>(), out, Write::kOverwrite); });
  } else {
    bf16* out = y.data<bf16>();
    dispatch(x.device(), [&](auto& ctx) { convert(ctx, x.size(), x.data<float>(), out, Write::kOverwrite); });
  }
  if (Recording* rec = Recording::wanting(x)) rec->push(std::make_unique<ConvertNode>(x.dtype()), y, {x});
  return y;
}

Tensor multiply(const Tensor& a, const Tensor& b) {
  check::alike("multiply", a, b);
  check::type("multiply", "the first operand", a, DType::kFloat32);
  Tensor y = Tensor::empty(a.shape(), a.device(), a.dtype(), "multiply");
  const OpRange range("multiply", moving(a, b, y));
  float* out = y.data();
  dispatch(a.device(),
           [&](auto& ctx) { multiply(ctx, a.size(), a.data(), b.data(), out, Write::kOverwrite); });
  if (Recording* rec = Recording::wanting(a, b)) {
    const Saved keep_a(rec->wants(b) ? a : Tensor()), keep_b(rec->wants(a) ? b : Tensor());
    rec->push(std::make_unique<MultiplyNode>(keep_a, keep_b), y, {a, b});
  }
  return y;
}

Tensor axpby(float a, const Tensor& x, float b, const Tensor& y) {
  check::alike("axpby", x, y);
  check::type("axpby", "the first operand", x, DType::kFloat32);
  Tensor z = Tensor::empty(x.shape(), x.device(), x.dtype(), "axpby");
  const OpRange range("axpby", moving(x, y, z));
  float* out = z.data();
  dispatch(x.device(), [&](auto& ctx) { axpby(ctx, x.size(), a, x.data(), b, y.data(), out); });
  if (Recording* rec = Recording::wanting(x, y)) rec->push(std::make_unique<ScaleNode>(a, b), z, {x, y});
  return z;
}

Tensor sign(const Tensor& x) {
  check::type("sign", "input", x, DType::kFloat32);
  Tensor y = Tensor::empty(x.shape(), x.device(), x.dtype(), "sign");
  const OpRange range("sign", moving(x, y));
  float* out = y.data();
  dispatch(x.device(), [&](auto& ctx) { sign(ctx, x.size(), x.data(), out); });
  return y;
}

void linf_step(Tensor& x, const Tensor& origin, const Tensor& grad, float step, float eps) {
  check::alike("linf_step", x, origin);
  check::alike("linf_step", x, grad);
  check::type("linf_step", "image", x, DType::kFloat32);
  if (!(eps >= 0) || !(step >= 0)) {
    throw ValueError("linf_step: step and eps are not negative, got " + std::to_string(step) + " and " +
                     std::to_string(eps));
  }
  const OpRange range("linf_step", moving(x, x, origin, grad));
  float* out = x.data();
  dispatch(x.device(),
           [&](auto& ctx) { linf_step(ctx, x.size(), origin.data(), grad.data(), step, eps, out); });
}

}  // namespace offramp
