// Flatten, concatenation, rows, dropout, pixel normalisation.
#include "kernels/arrange.h"

#include "engine/ops.h"
#include "engine/ops/check.h"
#include "engine/ops/work.h"
#include "engine/recording.h"
#include "engine/shards.h"

namespace offramp {
namespace {

class FlattenNode final : public Node {
 public:
  explicit FlattenNode(const Shape& shape) : shape_(shape) {}
  const char* name() const override { return "flatten"; }
  void backward(Tensor dy, GradSink& dx) override { dx.give(0, dy.reshaped(shape_)); }

 private:
  Shape shape_;
};

template <class T>
class ConcatNode final : public Node {
 public:
  ConcatNode(std::vector<Shape> shapes, std::int64_t rows, int total)
      : shapes_(std::move(shapes)), rows_(rows), total_(total) {}
  const char* name() const override { return "concat_channels"; }
  void backward(Tensor dy, GradSink& dx) override {
    int offset = 0;
    for (int i = 0; i < static_cast<int>(shapes_.size()); ++i) {
      const Shape& shape = shapes_[static_cast<std::size_t>(i)];
      if (dx.wants(i)) {
        const GradOut out = dx.out(i, shape, kDTypeOf<T>);
        dispatch(dy.device(), [&](auto& ctx) {
          read_columns(
              ctx, rows_, total_, offset, shape.c(), std::as_const(dy).data<T>(), out.as<T>(), out.write);
        });
      }
      offset += shape.c();
    }
  }

 private:
  std::vector<Shape> shapes_;
  std::int64_t rows_;
  int total_;
};

// Each shard draws from a stream of its own, the first from that of a whole batch.
template <class T>
void dropout_by_shards(const Device& device,
                       const Shape& shape,
                       float p,
                       const PhiloxKey& key,
                       const StepState* state,
                       const T* x,
                       T* y,
                       Write write) {
  constexpr std::uint32_t kOpsOfANet = 1u << 16;
  const std::int64_t samples = shape[0], each = samples == 0 ? 0 : shape.size() / samples;
  dispatch(device, [&](auto& ctx) {
    for_each_shard(samples, [&](const ShardOfOp& shard) {
      PhiloxKey own = key;
      own.op += kOpsOfANet * static_cast<std::uint32_t>(shard.global);
      const std::int64_t at = shard.begin * each;
      dropout(ctx, shard.count * each, p, own, state, x + at, y + at, write);
    });
  });
}

template <class T>
class DropoutNode final : public Node {
 public:
  DropoutNode(float p, const PhiloxKey& key, const StepState* state) : p_(p), key_(key), state_(state) {}
  const char* name() const override { return "dropout"; }
  void backward(Tensor dy, GradSink& dx) override {
    const GradOut out = dx.out(0, dy.shape(), kDTypeOf<T>);
    dropout_by_shards(
        dy.device(), dy.shape(), p_, key_, state_, std::as_const(dy).data<T>(), out.as<T>(), out.write);
  }

 private:
  float p_;
  PhiloxKey key_;
  const StepState* state_;
};

template <class T>
class NormalizeNode final : public Node {
 public:
  explicit NormalizeNode(const Tensor& inv_std) : inv_std_(inv_std) {}
  const char* name() const override { return "normalize_pixels"; }
  void backward(Tensor dy, GradSink& dx) override {
    const GradOut out = dx.out(0, dy.shape(), DType::kFloat32);
    const int channels = dy.shape().c();
    dispatch(dy.device(), [&](auto& ctx) {
      normalize_pixels_backward(ctx,
                                dy.size() / channels,
                                channels,
                                inv_std_.get().data(),
                                std::as_const(dy).data<T>(),
                                out.as<float>(),
                                out.write);
    });
  }

 private:
  Saved inv_std_;
};

}  // namespace

Tensor flatten(const Tensor& x) {
  check::present("flatten", "input", x);
  if (x.shape().rank() == 2) return x;
  check::rank("flatten", "input", x, 4);
  const std::int64_t n = x.shape()[0];
  Tensor y = x.reshaped({n, x.shape()[1] * x.shape()[2] * x.shape()[3]});
  if (Recording* rec = Recording::wanting(x)) rec->push(std::make_unique<FlattenNode>(x.shape()), y, {x});
  return y;
}

Tensor concat_channels(std::span<const Tensor> parts) {
  constexpr const char* kOp = "concat_channels";
  if (parts.empty()) throw ValueError("concat_channels: expected at least one tensor");
  std::vector<Shape> shapes;
  int total = 0;
  for (const Tensor& part : parts) {
    check::floating(kOp, "a part", part);
    if (part.shape().rank() != 2) check::rank(kOp, "a part that is no rows", part, 4);
    check::same_device(kOp, parts[0], part);
    const Shape &a = parts[0].shape(), &b = part.shape();
    if (a.n() != b.n() || a.h() != b.h() || a.w() != b.w() || a.rank() != b.rank() ||
        parts[0].dtype() != part.dtype()) {
      throw ShapeError("concat_channels: the parts differ beyond their channels, " +
                       check::describe(parts[0]) + " and " + check::describe(part));
    }
    shapes.push_back(b);
    total += b.c();
  }
  const Shape& first = parts[0].shape();
  const Shape joined =
      first.rank() == 2 ? Shape{first.n(), total} : Shape{first.n(), total, first.h(), first.w()};
  Tensor y = Tensor::empty(joined, parts[0].device(), parts[0].dtype(), kOp);
  const OpRange range(kOp, moving(y, y));
  const std::int64_t rows = std::int64_t{first.n()} * first.h() * first.w();
  by_float_type(y.dtype(), kOp, [&]<class T>() {
    T* out = y.data<T>();
    int offset = 0;
    for (const Tensor& part : parts) {
      dispatch(y.device(), [&](auto& ctx) {
        write_columns(ctx, rows, total, offset, part.shape().c(), part.data<T>(), out);
      });
      offset += part.shape().c();
    }
    if (Recording* rec = Recording::wanting_any(parts)) {
      rec->push(std::make_unique<ConcatNode<T>>(std::move(shapes), rows, total), y, parts);
    }
  });
  return y;
}

Tensor dropout(const Tensor& x, float p, const PhiloxKey& key, const StepState* state) {
  check::floating("dropout", "input", x);
  if (!(p >= 0 && p < 1))
    throw ValueError("dropout: the probability lies in [0, 1), got " + std::to_string(p));
  if (p == 0) return x;
  Tensor y = Tensor::empty(x.shape(), x.device(), x.dtype(), "dropout");
  const OpRange range("dropout", moving(x, y));
  by_float_type(x.dtype(), "dropout", [&]<class T>() {
    T* out = y.data<T>();
    dropout_by_shards(x.device(), x.shape(), p, key, state, x.data<T>(), out, Write::kOverwrite);
    if (Recording* rec = Recording::wanting(x))
      rec->push(std::make_unique<DropoutNode<T>>(p, key, state), y, {x});
  });
  return y;
}

Tensor normalize_pixels(const Tensor& x, const Tensor& mean, const Tensor& inv_std, DType dtype) {
  constexpr const char* kOp = "normalize_pixels";
  check::type(kOp, "pixels", x, DType::kFloat32);
  check::rank(kOp, "pixels", x, 4);
  const int channels = x.shape().c();
  if (channels < 1 || channels > 16) {
    throw ShapeError("normalize_pixels: images have 1 to 16 channels, got " + x.shape().to_string());
  }
  for (const Tensor* t : {&mean, &inv_std}) {
    check::type(kOp, "mean and deviation", *t, DType::kFloat32);
    check::shape(kOp, "mean and deviation", *t, {channels});
    check::same_device(kOp, x, *t);
  }
  Tensor y = Tensor::empty(x.shape(), x.device(), dtype, kOp);
  const OpRange range(kOp, moving(x, y));
  by_float_type(dtype, kOp, [&]<class T>() {
    T* out = y.data<T>();
    dispatch(x.device(), [&](auto& ctx) {
      normalize_pixels(ctx, x.size() / channels, channels, mean.data(), inv_std.data(), x.data(), out);
    });
    if (Recording* rec = Recording::wanting(x))
      rec->push(std::make_unique<NormalizeNode<T>>(inv_std), y, {x});
  });
  return y;
}

Tensor gather_rows(const Tensor& x, const Tensor& index) {
  check::present("gather_rows", "input", x);
  check::type("gather_rows", "index", index, DType::kInt32);
  check::rank("gather_rows", "index", index, 1);
  check::same_device("gather_rows", x, index);
  if (x.shape().rank() < 1) throw ShapeError("gather_rows: a scalar has no rows");
  std::int64_t dims[Shape::kMaxRank];
  for (int i = 0; i < x.shape().rank(); ++i) dims[i] = x.shape()[i];
  dims[0] = index.size();
  Tensor y =
      Tensor::empty(Shape(std::span<const std::int64_t>(dims, static_cast<std::size_t>(x.shape().rank()))),
                    x.device(),
                    x.dtype(),
                    "gather_rows");
  const OpRange range("gather_rows", moving(y, y));
  if (y.size() == 0) return y;
  const auto row_bytes = static_cast<std::int64_t>(y.bytes()) / index.size();
  void* out = y.raw();
  dispatch(x.device(), [&](auto& ctx) {
    gather_rows(ctx, static_cast<int>(index.size()), row_bytes, index.data<std::int32_t>(), x.raw(), out);
  });
  return y;
}

}  // namespace offramp
