#include "tools/bench/op_bench.h"

#include "base/errors.h"
#include "kernels/batch_norm.h"
#include "kernels/conv2d.h"
#include "kernels/elementwise.h"
#include "kernels/linear.h"
#include "kernels/losses.h"
#include "kernels/optimizer.h"
#include "kernels/pool.h"
#include "tools/bench/timing.h"

namespace offramp::bench {
namespace {

class Bench {
 public:
  Bench(std::string filter, const Device& device) : filter_(std::move(filter)), device_(device) {}

  // body(context) is timed; gbytes and gflop are per run.
  template <class F>
  void run(const std::string& op, const std::string& detail, double bytes, double flop, F body) {
    if (op.find(filter_) == std::string::npos) return;
    const double seconds = median_seconds(device_, [&] { dispatch(device_, body); });
    results.push_back({op, detail, seconds * 1e3, bytes / 1e9, flop / 1e9});
  }

  std::vector<OpTiming> results;

 private:
  std::string filter_;
  Device device_;
};

template <class T>
void convolutions(Bench& bench, int batch, const Device& device) {
  struct Layer {
    int c, side, k, r, stride, groups;
  };
  const Layer layers[] = {{3, 32, 16, 3, 1, 1},
                          {16, 32, 16, 3, 1, 1},
                          {16, 32, 32, 3, 2, 1},
                          {32, 16, 32, 3, 1, 1},
                          {64, 8, 64, 3, 1, 1},
                          {512, 4, 512, 3, 1, 512},
                          {512, 4, 512, 1, 1, 1}};
  for (const Layer& l : layers) {
    const Conv2dGeom g{.n = batch,
                       .h = l.side,
                       .w = l.side,
                       .c = l.c,
                       .k = l.k,
                       .r = l.r,
                       .s = l.r,
                       .stride = l.stride,
                       .pad = l.r / 2,
                       .groups = l.groups};
    const Tensor x = random_tensor({g.n, g.c, g.h, g.w}, 1, device, kDTypeOf<T>);
    const Tensor w = random_tensor({g.k, g.group_c(), g.r, g.s}, 2, device);
    Tensor y = random_tensor({g.n, g.k, g.out_h(), g.out_w()}, 3, device, kDTypeOf<T>);
    Tensor dx = Tensor::empty(x.shape(), device, x.dtype()), dw = Tensor::empty(w.shape(), device);
    const double bytes = static_cast<double>(x.bytes() + w.bytes() + y.bytes());
    const double flop = 2 * static_cast<double>(g.macs());
    const std::string detail = std::to_string(l.c) + "x" + std::to_string(l.side) + "x" +
                               std::to_string(l.side) + " -> " + std::to_string(l.k) + ", " +
                               std::to_string(l.r) + "x" + std::to_string(l.r) + (l.stride > 1 ? " /2" : "") +
                               (l.groups > 1 ? " depthwise" : "");
    T* out = y.data<T>();
    T* input_gradient = dx.data<T>();
    float* weight_gradient = dw.data();
    const T* in = x.data<T>();
    const float* weights = w.data();
    bench.run("conv2d_forward", detail, bytes, flop, [&](auto& ctx) {
      conv2d_forward(ctx, g, in, weights, nullptr, out);
    });
    bench.run("conv2d_backward_input", detail, bytes, flop, [&](auto& ctx) {
      conv2d_backward_input(ctx, g, const_cast<const T*>(out), weights, input_gradient, Write::kOverwrite);
    });
    bench.run("conv2d_backward_weight", detail, bytes, flop, [&](auto& ctx) {
      conv2d_backward_weight(ctx, g, in, const_cast<const T*>(out), weight_gradient, Write::kOverwrite);
    });
  }
}

template <class T>
void normalisation_and_pools(Bench& bench, int batch, const Device& device) {
  const int side = 32, channels = 16;
  const Shape map{batch, channels, side, side};
  const BatchNormGeom g{.rows = std::int64_t{batch} * side * side, .channels = channels, .relu = true};
  const std::string detail = map.to_string();
  const Tensor x = random_tensor(map, 1, device, kDTypeOf<T>),
               residual = random_tensor(map, 2, device, kDTypeOf<T>);
  const Tensor gamma = random_tensor({channels}, 3, device), beta = random_tensor({channels}, 4, device);
  Tensor y = Tensor::empty(map, device, x.dtype()), dx = Tensor::empty(map, device, x.dtype());
  Tensor mean = Tensor::zeros({channels}, device), variance = Tensor::zeros({channels}, device);
  Tensor saved_mean = Tensor::zeros({channels}, device), inv_std = Tensor::zeros({channels}, device);
  Tensor dgamma = Tensor::zeros({channels}, device), dbeta = Tensor::zeros({channels}, device);
  const double map_bytes = static_cast<double>(x.bytes());
  const BatchNormTrain<T> train{.x = x.data<T>(),
                                .gamma = gamma.data(),
                                .beta = beta.data(),
                                .residual = residual.data<T>(),
                                .momentum = .1f,
                                .running_mean = mean.data(),
                                .running_var = variance.data(),
                                .saved_mean = saved_mean.data(),
                                .saved_inv_std = inv_std.data(),
                                .y = y.data<T>()};
  bench.run("batch_norm_train", detail + " + residual, relu", 4 * map_bytes, 0, [&](auto& ctx) {
    batch_norm_train(ctx, g, train);
  });
  BatchNormBackward<T> backward{.dy = residual.data<T>(),
                                .x = x.data<T>(),
                                .y = nullptr,
                                .gamma = gamma.data(),
                                .beta = beta.data(),
                                .mean = train.saved_mean,
                                .inv_std = train.saved_inv_std,
                                .batch_statistics = true,
                                .dx = dx.data<T>(),
                                .dx_write = Write::kOverwrite,
                                .dresidual = nullptr,
                                .dresidual_write = Write::kOverwrite,
                                .dgamma = dgamma.data(),
                                .dbeta = dbeta.data(),
                                .dparam_write = Write::kOverwrite};
  bench.run("batch_norm_backward", detail + " relu", 5 * map_bytes, 0, [&](auto& ctx) {
    batch_norm_backward(ctx, g, backward);
  });

  T* out = y.data<T>();
  bench.run("relu_forward", detail, 2 * map_bytes, 0, [&](auto& ctx) {
    relu_forward(ctx, x.size(), x.data<T>(), out);
  });
  bench.run("add", detail, 3 * map_bytes, 0, [&](auto& ctx) {
    add(ctx, x.size(), x.data<T>(), residual.data<T>(), out);
  });

  const PoolGeom pool{.n = batch, .h = side, .w = side, .c = channels, .k = 8, .stride = 8};
  const Shape pooled{batch, channels, 4, 4};
  const Tensor alpha = Tensor::full({1}, .5f, device);
  Tensor z = Tensor::zeros(pooled, device), difference = Tensor::zeros(pooled, device);
  Tensor index = Tensor::zeros(pooled, device, DType::kUInt8);
  float *pool_out = z.data(), *diff = difference.data();
  auto* places = index.data<std::uint8_t>();
  T* pool_dx = dx.data<T>();
  bench.run("exit_pool_forward", detail + " window 8", map_bytes, 0, [&](auto& ctx) {
    exit_pool_forward(ctx, pool, x.data<T>(), alpha.data(), pool_out, diff, places);
  });
  bench.run("exit_pool_backward_input", detail + " window 8", map_bytes, 0, [&](auto& ctx) {
    exit_pool_backward_input(ctx,
                             pool,
                             const_cast<const float*>(pool_out),
                             alpha.data(),
                             const_cast<const std::uint8_t*>(places),
                             pool_dx,
                             Write::kOverwrite);
  });
}

void classifiers_and_updates(Bench& bench, int batch, const Device& device) {
  const LinearGeom g{.rows = batch, .in = 1024, .out = 10};
  const Tensor x = random_tensor({g.rows, g.in}, 1, device), w = random_tensor({g.out, g.in}, 2, device);
  Tensor y = Tensor::zeros({g.rows, g.out}, device);
  float* out = y.data();
  const std::string detail =
      std::to_string(g.rows) + "x" + std::to_string(g.in) + " -> " + std::to_string(g.out);
  bench.run("linear_forward",
            detail,
            static_cast<double>(x.bytes() + w.bytes() + y.bytes()),
            2.0 * g.rows * g.in * g.out,
            [&](auto& ctx) { linear_forward(ctx, g, x.data(), w.data(), nullptr, out); });

  constexpr int kExits = 4, kClasses = 10;
  std::vector<std::int32_t> labels(static_cast<std::size_t>(batch), 3),
      exits(static_cast<std::size_t>(batch), 2);
  const Tensor label = Tensor::from<std::int32_t>({batch}, labels, device);
  const Tensor exit = Tensor::from<std::int32_t>({batch}, exits, device);
  const Tensor weight = Tensor::full({kExits}, 1.f, device);
  const Tensor logits = random_tensor({kExits, std::int64_t{batch} * kClasses}, 5, device);
  Tensor gradients = Tensor::zeros(logits.shape(), device), loss = Tensor::zeros({kExits + 2}, device);
  MultiExitLoss k;
  k.num_exits = kExits, k.n = batch, k.classes = kClasses;
  k.labels = label.data<std::int32_t>(), k.exits = exit.data<std::int32_t>();
  k.exit_weight = weight.data(), k.lambda = .5f, k.loss = loss.data();
  float* gradient = gradients.data();
  for (int e = 0; e < kExits; ++e) {
    k.logits[e] = logits.data() + std::int64_t{e} * batch * kClasses;
    k.dlogits[e] = gradient + std::int64_t{e} * batch * kClasses;
  }
  bench.run("multi_exit_loss",
            "4 exits, " + std::to_string(batch) + "x10",
            2.0 * static_cast<double>(logits.bytes()),
            0,
            [&](auto& ctx) { multi_exit_loss(ctx, k); });

  constexpr std::int64_t kParameters = 856'000;  // about ResNet-56's
  const Tensor grad = random_tensor({kParameters}, 6, device);
  Tensor velocity = Tensor::zeros({kParameters}, device), values = Tensor::zeros({kParameters}, device);
  Tensor state = Tensor::zeros({static_cast<std::int64_t>(sizeof(StepState))}, device, DType::kUInt8);
  float *v = velocity.data(), *p = values.data();
  const auto* scalars = static_cast<const StepState*>(std::as_const(state).raw());
  bench.run("sgd_step",
            std::to_string(kParameters) + " parameters",
            5.0 * sizeof(float) * kParameters,
            0,
            [&](auto& ctx) { sgd_step(ctx, kParameters, SgdParams{}, scalars, grad.data(), v, p); });
}

}  // namespace

std::vector<OpTiming> measure_ops(const std::string& filter, int batch, DType dtype, const Device& device) {
  if (batch < 1) throw ValueError("bench: the batch is at least 1, got " + std::to_string(batch));
  Bench bench(filter, device);
  by_float_type(dtype, "bench", [&]<class T>() {
    convolutions<T>(bench, batch, device);
    normalisation_and_pools<T>(bench, batch, device);
  });
  classifiers_and_updates(bench, batch, device);
  if (bench.results.empty()) throw ValueError("bench: no kernel's name contains " + in_quotes(filter));
  return bench.results;
}

}  // namespace offramp::bench
