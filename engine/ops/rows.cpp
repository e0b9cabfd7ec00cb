// Softmax, confidence, norms, sums.
#include "engine/ops.h"
#include "engine/ops/check.h"
#include "engine/ops/work.h"
#include "engine/recording.h"
#include "kernels/elementwise.h"
#include "kernels/reduce.h"
#include "kernels/softmax.h"

namespace offramp {
namespace {

void checked_rows(const char* op, const Tensor& x) {
  check::type(op, "logits", x, DType::kFloat32);
  check::rank(op, "logits", x, 2);
  if (x.shape().c() < 1) throw ShapeError(std::string(op) + ": no classes in " + x.shape().to_string());
}

class SoftmaxNode final : public Node {
 public:
  SoftmaxNode(const Tensor& y, bool log) : y_(y), log_(log) {}
  const char* name() const override { return log_ ? "log_softmax" : "softmax"; }
  void backward(Tensor dy, GradSink& dx) override {
    const Tensor& y = y_.get();
    const int rows = y.shape().n(), cols = y.shape().c();
    const GradOut out = dx.out(0, y.shape(), DType::kFloat32);
    const float* up = std::as_const(dy).data();
    dispatch(y.device(), [&](auto& ctx) {
      if (log_) {
        log_softmax_rows_backward(ctx, rows, cols, y.data(), up, out.as<float>(), out.write);
      } else {
        softmax_rows_backward(ctx, rows, cols, y.data(), up, out.as<float>(), out.write);
      }
    });
  }

 private:
  Saved y_;
  bool log_;
};

Tensor softmax_of(const Tensor& logits, bool log) {
  checked_rows(log ? "log_softmax" : "softmax", logits);
  const int rows = logits.shape().n(), cols = logits.shape().c();
  Tensor y = Tensor::empty(logits.shape(), logits.device(), DType::kFloat32, "softmax");
  const OpRange range(log ? "log_softmax" : "softmax", moving(logits, y));
  float* out = y.data();
  dispatch(logits.device(), [&](auto& ctx) {
    if (log) {
      log_softmax_rows(ctx, rows, cols, logits.data(), out);
    } else {
      softmax_rows(ctx, rows, cols, logits.data(), out);
    }
  });
  if (Recording* rec = Recording::wanting(logits))
    rec->push(std::make_unique<SoftmaxNode>(y, log), y, {logits});
  return y;
}

class ConfidenceNode final : public Node {
 public:
  ConfidenceNode(const Tensor& logits, const Tensor& confidence, const Tensor& argmax)
      : logits_(logits), confidence_(confidence), argmax_(argmax) {}
  const char* name() const override { return "confidence"; }
  void backward(Tensor dy, GradSink& dx) override {
    const Tensor& logits = logits_.get();
    const GradOut out = dx.out(0, logits.shape(), DType::kFloat32);
    dispatch(logits.device(), [&](auto& ctx) {
      row_confidence_backward(ctx,
                              logits.shape().n(),
                              logits.shape().c(),
                              logits.data(),
                              confidence_.get().data(),
                              argmax_.get().data<std::int32_t>(),
                              std::as_const(dy).data(),
                              out.as<float>(),
                              out.write);
    });
  }

 private:
  Saved logits_, confidence_, argmax_;
};

class RowNormNode final : public Node {
 public:
  RowNormNode(const Tensor& x, const Tensor& norm, RowNorm kind) : x_(x), norm_(norm), kind_(kind) {}
  const char* name() const override { return "row_norm"; }
  void backward(Tensor dy, GradSink& dx) override {
    const Tensor& x = x_.get();
    const int rows = x.shape().n();
    const GradOut out = dx.out(0, x.shape(), DType::kFloat32);
    dispatch(x.device(), [&](auto& ctx) {
      row_norm_backward(ctx,
                        rows,
                        rows == 0 ? 0 : x.size() / rows,
                        kind_,
                        x.data(),
                        norm_.get().data(),
                        std::as_const(dy).data(),
                        out.as<float>(),
                        out.write);
    });
  }

 private:
  Saved x_, norm_;
  RowNorm kind_;
};

// y = factor * sum(x): dx = factor * dy for every element.
class SumNode final : public Node {
 public:
  SumNode(const Shape& shape, float factor) : shape_(shape), factor_(factor) {}
  const char* name() const override { return "sum"; }
  void backward(Tensor dy, GradSink& dx) override {
    Tensor ones = Tensor::full(shape_, factor_, dy.device());
    const GradOut out = dx.out(0, shape_, DType::kFloat32);
    dispatch(dy.device(), [&](auto& ctx) {
      scale_by(
          ctx, ones.size(), std::as_const(dy).data(), std::as_const(ones).data(), out.as<float>(), out.write);
    });
  }

 private:
  Shape shape_;
  float factor_;
};

Tensor sum_of(const char* op, const Tensor& x, float factor) {
  check::type(op, "input", x, DType::kFloat32);
  Tensor y = Tensor::empty({1}, x.device(), DType::kFloat32, op);
  const OpRange range(op, moving(x));
  float* out = y.data();
  dispatch(x.device(), [&](auto& ctx) {
    sum_all(ctx, x.size(), x.data(), out, Write::kOverwrite);
    if (factor != 1) scale(ctx, 1, factor, const_cast<const float*>(out), out, Write::kOverwrite);
  });
  if (Recording* rec = Recording::wanting(x)) rec->push(std::make_unique<SumNode>(x.shape(), factor), y, {x});
  return y;
}

}  // namespace

Tensor softmax(const Tensor& logits) { return softmax_of(logits, false); }
Tensor log_softmax(const Tensor& logits) { return softmax_of(logits, true); }

Tensor confidence(const Tensor& logits) {
  checked_rows("confidence", logits);
  const int rows = logits.shape().n(), cols = logits.shape().c();
  Tensor c = Tensor::empty({rows}, logits.device(), DType::kFloat32, "confidence");
  Tensor argmax = Tensor::empty({rows}, logits.device(), DType::kInt32, "confidence");
  const OpRange range("confidence", moving(logits));
  float* out = c.data();
  std::int32_t* place = argmax.data<std::int32_t>();
  dispatch(logits.device(), [&](auto& ctx) { row_confidence(ctx, rows, cols, logits.data(), out, place); });
  if (Recording* rec = Recording::wanting(logits)) {
    rec->push(std::make_unique<ConfidenceNode>(logits, c, argmax), c, {logits});
  }
  return c;
}

Tensor row_norm(const Tensor& x, RowNorm kind) {
  check::type("row_norm", "input", x, DType::kFloat32);
  if (x.shape().rank() < 2)
    throw ShapeError("row_norm: expected samples and values, got " + x.shape().to_string());
  const int rows = x.shape().n();
  Tensor y = Tensor::empty({rows}, x.device(), DType::kFloat32, "row_norm");
  const OpRange range("row_norm", moving(x));
  float* out = y.data();
  dispatch(x.device(),
           [&](auto& ctx) { row_norm(ctx, rows, rows == 0 ? 0 : x.size() / rows, kind, x.data(), out); });
  if (Recording* rec = Recording::wanting(x)) rec->push(std::make_unique<RowNormNode>(x, y, kind), y, {x});
  return y;
}

Tensor sum(const Tensor& x) { return sum_of("sum", x, 1.f); }

Tensor mean(const Tensor& x) {
  check::present("mean", "input", x);
  if (x.size() == 0) throw ShapeError("mean: of no values, " + x.shape().to_string());
  return sum_of("mean", x, 1.f / static_cast<float>(x.size()));
}

}  // namespace offramp
