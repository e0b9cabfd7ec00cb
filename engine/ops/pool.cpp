// Max, average, global average and the mixed pool of an internal classifier (specs: networks 1.1).
#include "kernels/pool.h"

#include "engine/ops.h"
#include "engine/ops/check.h"
#include "engine/ops/work.h"
#include "engine/recording.h"
#include "engine/shards.h"

namespace offramp {
namespace {

PoolGeom checked_pool(const char* op, const Tensor& x, int k, int stride) {
  check::floating(op, "input", x);
  check::rank(op, "input", x, 4);
  const PoolGeom g{.n = x.shape().n(),
                   .h = x.shape().h(),
                   .w = x.shape().w(),
                   .c = x.shape().c(),
                   .k = k,
                   .stride = stride};
  if (k < 1 || stride < 1) {
    throw ValueError(std::string(op) + ": window and stride are at least 1, got " + std::to_string(k) +
                     " and " + std::to_string(stride));
  }
  if (k > g.h || k > g.w) {
    throw ShapeError(std::string(op) + ": a window of " + std::to_string(k) +
                     " does not fit into the input " + x.shape().to_string());
  }
  return g;
}

void checked_index_window(const char* op, int k) {
  if (k > kMaxIndexedWindow) {
    throw ValueError(std::string(op) + ": windows are at most " + std::to_string(kMaxIndexedWindow) +
                     " wide, got " + std::to_string(k));
  }
}

Shape pooled(const PoolGeom& g) { return {g.n, g.c, g.out_h(), g.out_w()}; }
Shape unpooled(const PoolGeom& g) { return {g.n, g.c, g.h, g.w}; }

template <class T>
class MaxPoolNode final : public Node {
 public:
  MaxPoolNode(const PoolGeom& g, const Tensor& index) : g_(g), index_(index) {}
  const char* name() const override { return "max_pool"; }
  void backward(Tensor dy, GradSink& dx) override {
    const GradOut out = dx.out(0, unpooled(g_), kDTypeOf<T>);
    dispatch(dy.device(), [&](auto& ctx) {
      max_pool_backward(ctx,
                        g_,
                        std::as_const(dy).data<T>(),
                        index_.get().template data<std::uint8_t>(),
                        out.as<T>(),
                        out.write);
    });
  }

 private:
  PoolGeom g_;
  Saved index_;
};

template <class T>
class AvgPoolNode final : public Node {
 public:
  explicit AvgPoolNode(const PoolGeom& g) : g_(g) {}
  const char* name() const override { return "avg_pool"; }
  void backward(Tensor dy, GradSink& dx) override {
    const GradOut out = dx.out(0, unpooled(g_), kDTypeOf<T>);
    dispatch(dy.device(), [&](auto& ctx) {
      avg_pool_backward(ctx, g_, std::as_const(dy).data(), out.as<T>(), out.write);
    });
  }

 private:
  PoolGeom g_;
};

template <class T>
class ExitPoolNode final : public Node {
 public:
  ExitPoolNode(const PoolGeom& g, const Tensor& alpha, const Tensor& difference, const Tensor& index)
      : g_(g), alpha_(alpha), difference_(difference), index_(index) {}
  const char* name() const override { return "exit_pool"; }
  void backward(Tensor dy, GradSink& dx) override {
    const float* up = std::as_const(dy).data();
    dispatch(dy.device(), [&](auto& ctx) {
      if (dx.wants(1)) {
        const GradOut out = dx.out_of_shards(1, {1}, DType::kFloat32);
        const float* difference = difference_.get().data();
        for_each_shard(g_.n, [&](const ShardOfOp& shard) {
          PoolGeom g = g_;
          g.n = static_cast<int>(shard.count);
          const std::int64_t at = shard.begin * pooled(g).size() / std::max<std::int64_t>(1, shard.count);
          exit_pool_backward_alpha(ctx, g, up + at, difference + at, out.as<float>(shard.index), out.write);
        });
      }
      if (dx.wants(0)) {
        const GradOut out = dx.out(0, unpooled(g_), kDTypeOf<T>);
        exit_pool_backward_input(ctx,
                                 g_,
                                 up,
                                 alpha_.get().data(),
                                 index_.get().template data<std::uint8_t>(),
                                 out.as<T>(),
                                 out.write);
      }
    });
  }

 private:
  PoolGeom g_;
  Saved alpha_, difference_, index_;
};

}  // namespace

Tensor max_pool(const Tensor& x, int k, int stride) {
  const PoolGeom g = checked_pool("max_pool", x, k, stride);
  checked_index_window("max_pool", k);
  Tensor y = Tensor::empty(pooled(g), x.device(), x.dtype(), "max_pool");
  const OpRange range("max_pool", moving(x, y));
  Recording* rec = Recording::wanting(x);
  Tensor index;
  if (rec) index = Tensor::empty(pooled(g), x.device(), DType::kUInt8, "max_pool index");
  by_float_type(x.dtype(), "max_pool", [&]<class T>() {
    T* out = y.data<T>();
    std::uint8_t* places = rec ? index.data<std::uint8_t>() : nullptr;
    dispatch(x.device(), [&](auto& ctx) { max_pool_forward(ctx, g, x.data<T>(), out, places); });
    if (rec) rec->push(std::make_unique<MaxPoolNode<T>>(g, index), y, {x});
  });
  return y;
}

Tensor avg_pool(const Tensor& x, int k, int stride) {
  const PoolGeom g = checked_pool("avg_pool", x, k, stride);
  Tensor y = Tensor::empty(pooled(g), x.device(), DType::kFloat32, "avg_pool");
  const OpRange range("avg_pool", moving(x, y));
  by_float_type(x.dtype(), "avg_pool", [&]<class T>() {
    float* out = y.data();
    dispatch(x.device(), [&](auto& ctx) { avg_pool_forward(ctx, g, x.data<T>(), out); });
    if (Recording* rec = Recording::wanting(x)) rec->push(std::make_unique<AvgPoolNode<T>>(g), y, {x});
  });
  return y;
}

Tensor global_avg_pool(const Tensor& x) {
  check::floating("global_avg_pool", "input", x);
  check::rank("global_avg_pool", "input", x, 4);
  if (x.shape().h() != x.shape().w()) {
    throw ShapeError("global_avg_pool: square maps only, got " + x.shape().to_string());
  }
  return avg_pool(x, x.shape().h(), x.shape().h());
}

Tensor exit_pool(const Tensor& x, const Tensor& alpha, int k) {
  const PoolGeom g = checked_pool("exit_pool", x, k, k);
  checked_index_window("exit_pool", k);
  check::type("exit_pool", "alpha", alpha, DType::kFloat32);
  check::shape("exit_pool", "alpha", alpha, {1});
  check::same_device("exit_pool", x, alpha);
  Tensor y = Tensor::empty(pooled(g), x.device(), DType::kFloat32, "exit_pool");
  const OpRange range("exit_pool", moving(x, y));
  Recording* rec = Recording::wanting(x, alpha);
  Tensor difference, index;
  if (rec && rec->wants(alpha))
    difference = Tensor::empty(pooled(g), x.device(), DType::kFloat32, "exit_pool");
  if (rec && rec->wants(x)) index = Tensor::empty(pooled(g), x.device(), DType::kUInt8, "exit_pool index");
  by_float_type(x.dtype(), "exit_pool", [&]<class T>() {
    float* out = y.data();
    float* diff = difference ? difference.data() : nullptr;
    std::uint8_t* places = index ? index.data<std::uint8_t>() : nullptr;
    dispatch(x.device(),
             [&](auto& ctx) { exit_pool_forward(ctx, g, x.data<T>(), alpha.data(), out, diff, places); });
    if (rec) rec->push(std::make_unique<ExitPoolNode<T>>(g, alpha, difference, index), y, {x, alpha});
  });
  return y;
}

}  // namespace offramp
