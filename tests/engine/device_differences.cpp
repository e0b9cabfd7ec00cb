// How far each op on the CUDA device and on the CPU is from float64, beside what its rounding errors allow: a
// table and a JSON file for tools/gpu_check. Exit code 1 where the device leaves the bound.
//   device_differences [--smoke] [--json FILE]
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "engine/ops.h"
#include "engine/optimizer.h"
#include "engine/recording.h"
#include "kernels/ref/batch_norm.h"
#include "kernels/ref/conv2d.h"
#include "kernels/ref/linear.h"
#include "kernels/ref/optimizer.h"
#include "kernels/ref/pool.h"
#include "kernels/ref/softmax.h"
#include "tests/support/close.h"

namespace offramp::test {
namespace {

struct Output {
  std::string name;
  std::vector<double> expected;
  double bound;  // of every element
};
using Values = std::vector<std::vector<float>>;  // of the outputs, in order

struct Row {
  std::string name;
  double bound, cpu, cuda, apart;
};

std::vector<float> host(const Tensor& t) { return t.to_host<float>(); }

Tensor tensor(const Shape& shape, const std::vector<float>& memory, const Device& device) {
  return Tensor::from<float>(shape, memory, device);
}

double worst(const std::vector<float>& got, const std::vector<double>& expected) {
  double most = got.size() == expected.size() ? 0 : INFINITY;
  for (std::size_t i = 0; i < got.size() && most < INFINITY; ++i) {
    const double error = std::fabs(double{got[i]} - expected[i]);
    most = std::isnan(error) ? INFINITY : std::max(most, error);
  }
  return most;
}

std::vector<double> absolute(std::vector<double> values) {
  for (double& v : values) v = std::fabs(v);
  return values;
}

double largest(const std::vector<double>& values) { return *std::max_element(values.begin(), values.end()); }

std::vector<Row> compare(const std::vector<Output>& outputs,
                         const std::function<Values(const Device&)>& run) {
  const Values cpu = run(Device::cpu()), cuda = run(Device::cuda());
  std::vector<Row> rows;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    rows.push_back({outputs[i].name,
                    outputs[i].bound,
                    worst(cpu[i], outputs[i].expected),
                    worst(cuda[i], outputs[i].expected),
                    worst(cuda[i], to_double(cpu[i]))});
  }
  return rows;
}

// y, dx and dw of a convolution, each a sum of products.
std::vector<Row> convolution(const std::string& name, const Conv2dGeom& g) {
  const auto size = [](std::int64_t n) { return static_cast<std::size_t>(n); };
  const auto x = random_vector(size(g.x_size()), 1), w = random_vector(size(g.w_size()), 2),
             u = random_vector(size(g.y_size()), 3);
  const auto run_ref =
      [&](auto kernel, const std::vector<float>& a, const std::vector<float>& b, std::int64_t n, bool abs) {
        const auto da = abs ? absolute(to_double(a)) : to_double(a),
                   db = abs ? absolute(to_double(b)) : to_double(b);
        std::vector<double> out(size(n), 0.);
        kernel(da.data(), db.data(), out.data());
        return out;
      };
  const auto forward = [&](const double* a, const double* b, double* out) {
    ref::conv2d_forward(g, a, b, nullptr, out);
  };
  const auto backward_input = [&](const double* a, const double* b, double* out) {
    ref::conv2d_backward_input(g, a, b, out);
  };
  const auto backward_weight = [&](const double* a, const double* b, double* out) {
    ref::conv2d_backward_weight(g, a, b, out);
  };
  const double taps = double(g.r) * g.s;
  const std::vector<Output> outputs = {
      {name + " y",
       run_ref(forward, x, w, g.y_size(), false),
       sum_bound(taps * g.group_c(), largest(run_ref(forward, x, w, g.y_size(), true)))},
      {name + " dx",
       run_ref(backward_input, u, w, g.x_size(), false),
       sum_bound(taps * g.k / g.groups, largest(run_ref(backward_input, u, w, g.x_size(), true)))},
      {name + " dw",
       run_ref(backward_weight, x, u, g.w_size(), false),
       sum_bound(double(g.n) * g.out_h() * g.out_w(),
                 largest(run_ref(backward_weight, x, u, g.w_size(), true)))}};
  return compare(outputs, [&](const Device& device) {
    const Tensor tx = tensor({g.n, g.c, g.h, g.w}, x, device),
                 tw = tensor({g.k, g.group_c(), g.r, g.s}, w, device);
    Recording rec({tx, tw});
    const Tensor y = conv2d(tx, tw, {}, {.stride = g.stride, .pad = g.pad, .groups = g.groups});
    const GradMap grads = rec.grad(y, tensor(y.shape(), u, device));
    return Values{host(y), host(grads[tx]), host(grads[tw])};
  });
}

std::vector<Row> linear_layer(const LinearGeom& g) {
  const auto size = [](int a, int b) { return static_cast<std::size_t>(a) * static_cast<std::size_t>(b); };
  const auto x = random_vector(size(g.rows, g.in), 4), w = random_vector(size(g.out, g.in), 5),
             u = random_vector(size(g.rows, g.out), 6);
  std::vector<double> y(u.size()), dx(x.size()), dw(w.size());
  const auto xd = to_double(x), wd = to_double(w), ud = to_double(u);
  ref::linear_forward(g, xd.data(), wd.data(), nullptr, y.data());
  ref::linear_backward_input(g, ud.data(), wd.data(), dx.data());
  ref::linear_backward_weight(g, xd.data(), ud.data(), dw.data());
  // All values lie in [-1, 1]: a sum of n products has absolute terms of at most n.
  return compare({{"linear y", y, sum_bound(g.in, g.in)},
                  {"linear dx", dx, sum_bound(g.out, g.out)},
                  {"linear dw", dw, sum_bound(g.rows, g.rows)}},
                 [&](const Device& device) {
                   const Tensor tx = tensor({g.rows, g.in}, x, device), tw = tensor({g.out, g.in}, w, device);
                   Recording rec({tx, tw});
                   const Tensor out = linear(tx, tw, {});
                   const GradMap grads = rec.grad(out, tensor(out.shape(), u, device));
                   return Values{host(out), host(grads[tx]), host(grads[tw])};
                 });
}

std::vector<Row> normalisation(int n, int c, int side) {
  const BatchNormGeom g{.rows = std::int64_t{n} * side * side, .channels = c, .relu = true};
  const auto x = random_vector(static_cast<std::size_t>(g.rows) * static_cast<std::size_t>(c), 7);
  const auto channels = static_cast<std::size_t>(c);
  const auto gamma = random_vector(channels, 8, .5f, 1.5f), beta = random_vector(channels, 9);
  std::vector<double> mean(channels), var(channels), y(x.size());
  ref::batch_statistics(g, to_double(x).data(), mean.data(), var.data());
  ref::batch_norm_apply<double>(g,
                                to_double(x).data(),
                                to_double(gamma).data(),
                                to_double(beta).data(),
                                mean.data(),
                                var.data(),
                                nullptr,
                                y.data());
  // The statistics are sums over the rows; y has the size of a few deviations.
  return compare({{"batch_norm y", y, sum_bound(static_cast<double>(g.rows), largest(absolute(y)) + 1)}},
                 [&](const Device& device) {
                   const Shape per_channel{c};
                   BatchNormTensors bn{.gamma = tensor(per_channel, gamma, device),
                                       .beta = tensor(per_channel, beta, device),
                                       .running_mean = Tensor::zeros(per_channel, device),
                                       .running_var = Tensor::full(per_channel, 1.f, device)};
                   const Tensor out = batch_norm(tensor({n, c, side, side}, x, device),
                                                 bn,
                                                 {.train = true, .relu = true, .residual = {}});
                   return Values{host(out)};
                 });
}

std::vector<Row> rows_and_pools(int n, int c, int side) {
  const PoolGeom g{.n = n, .h = side, .w = side, .c = c, .k = 4, .stride = 4};
  const auto x = random_vector(static_cast<std::size_t>(n) * static_cast<std::size_t>(side) *
                                   static_cast<std::size_t>(side) * static_cast<std::size_t>(c),
                               10);
  const std::size_t pooled = x.size() / 16;
  std::vector<double> average(pooled), mixed(pooled), soft(x.size());
  const double alpha = 0.25;
  ref::avg_pool_forward(g, to_double(x).data(), average.data());
  ref::exit_pool_forward<double>(g, to_double(x).data(), &alpha, mixed.data(), nullptr, nullptr);
  const int classes = 4 * c, rows = static_cast<int>(x.size()) / classes;
  ref::softmax_rows(rows, classes, to_double(x).data(), soft.data());
  return compare({{"avg_pool", average, sum_bound(16, 1)},
                  {"exit_pool", mixed, sum_bound(16, 1)},
                  {"softmax", soft, sum_bound(classes, 1)}},
                 [&](const Device& device) {
                   const Tensor t = tensor({n, c, side, side}, x, device);
                   return Values{host(avg_pool(t, 4, 4)),
                                 host(exit_pool(t, Tensor::full({1}, 0.25f, device), 4)),
                                 host(softmax(t.reshaped({rows, classes})))};
                 });
}

// ---- bfloat16 activations, with the gradients: what training in mixed precision runs

// Numbers of bfloat16.
std::vector<float> bf16_values(std::size_t n, std::uint32_t stream) {
  std::vector<float> values;
  for (const bf16 v : random_vector<bf16>(n, stream)) values.push_back(static_cast<float>(v));
  return values;
}

Tensor bf16_tensor(const Shape& shape, const std::vector<float>& memory, const Device& device) {
  return convert(tensor(shape, memory, device), DType::kBFloat16);
}

// Values up to `largest` that are computed within `bound` and stored.
double stored(const std::vector<double>& expected, double bound) {
  return stored_bound<bf16>(largest(absolute(expected)), bound);
}

std::vector<Row> bf16_normalisation(int n, int c, int side) {
  const BatchNormGeom g{.rows = std::int64_t{n} * side * side, .channels = c};
  const auto channels = static_cast<std::size_t>(c), size = static_cast<std::size_t>(g.rows) * channels;
  const auto x = bf16_values(size, 11), noise = bf16_values(size, 12);
  const auto gamma = random_vector(channels, 13, .5f, 1.5f), beta = random_vector(channels, 14);
  // The gradient goes along with x, so that each part of dx counts whatever the number of rows.
  std::vector<float> u(size);
  for (std::size_t i = 0; i < size; ++i) u[i] = static_cast<float>(bf16((x[i] + noise[i]) / 2));
  const auto xd = to_double(x), ud = to_double(u), scale = to_double(gamma), shift = to_double(beta);
  std::vector<double> mean(channels), var(channels), inv_std(channels), y(size), dx(size), dgamma(channels),
      dbeta(channels);
  ref::batch_statistics(g, xd.data(), mean.data(), var.data());
  ref::batch_norm_apply<double>(
      g, xd.data(), scale.data(), shift.data(), mean.data(), var.data(), nullptr, y.data());
  for (std::size_t i = 0; i < channels; ++i) inv_std[i] = 1 / std::sqrt(var[i] + double{g.eps});
  ref::batch_norm_backward<double>(g,
                                   true,
                                   ud.data(),
                                   xd.data(),
                                   y.data(),
                                   scale.data(),
                                   mean.data(),
                                   inv_std.data(),
                                   dx.data(),
                                   Write::kOverwrite,
                                   nullptr,
                                   Write::kOverwrite,
                                   dgamma.data(),
                                   dbeta.data(),
                                   Write::kOverwrite);
  // |u| <= 1, |xhat| <= 4 where a channel has a few dozen values, gamma <= 1.5: sums over rows of at most 4, means
  // of them, and dx from both.
  const auto rows = static_cast<double>(g.rows);
  const double sums = sum_bound(rows, 4 * rows), slope = 1.5 * largest(inv_std);
  return compare({{"bf16 batch_norm y", y, stored(y, sum_bound(rows, largest(absolute(y)) + 1))},
                  {"bf16 batch_norm dx", dx, stored(dx, slope * (1 + 4) * sums / rows)},
                  {"bf16 batch_norm dgamma", dgamma, sums},
                  {"bf16 batch_norm dbeta", dbeta, sums}},
                 [&](const Device& device) {
                   const Shape per_channel{c};
                   const Tensor tx = bf16_tensor({n, c, side, side}, x, device);
                   BatchNormTensors bn{.gamma = tensor(per_channel, gamma, device),
                                       .beta = tensor(per_channel, beta, device),
                                       .running_mean = Tensor::zeros(per_channel, device),
                                       .running_var = Tensor::full(per_channel, 1.f, device)};
                   Recording rec({tx, bn.gamma, bn.beta});
                   const Tensor out = convert(
                       batch_norm(tx, bn, {.train = true, .relu = false, .residual = {}}), DType::kFloat32);
                   const GradMap grads = rec.grad(out, tensor(out.shape(), u, device));
                   return Values{host(out),
                                 host(convert(grads[tx], DType::kFloat32)),
                                 host(grads[bn.gamma]),
                                 host(grads[bn.beta])};
                 });
}

// Windows of the maximum and the average overlap: up to four send their gradient to a pixel.
std::vector<Row> bf16_pools(int n, int c, int side) {
  const PoolGeom g{.n = n, .h = side, .w = side, .c = c, .k = 3, .stride = 2};
  PoolGeom apart = g;
  apart.k = 2;
  const auto size = [](std::int64_t count) { return static_cast<std::size_t>(count); };
  const auto x = bf16_values(size(g.x_size()), 15), u = bf16_values(size(g.y_size()), 16),
             u_apart = bf16_values(size(apart.y_size()), 17);
  const auto xd = to_double(x), ud = to_double(u), ud_apart = to_double(u_apart);
  std::vector<double> max(u.size()), average(u.size()), max_dx(x.size()), average_dx(x.size());
  std::vector<std::uint8_t> index(u.size());
  ref::max_pool_forward(g, xd.data(), max.data(), index.data());
  ref::max_pool_backward(g, ud.data(), index.data(), max_dx.data(), Write::kOverwrite);
  ref::avg_pool_forward(g, xd.data(), average.data());
  ref::avg_pool_backward(g, ud.data(), average_dx.data(), Write::kOverwrite);
  const double alpha = 0.25, outputs = static_cast<double>(u_apart.size());
  std::vector<double> mixed(u_apart.size()), difference(u_apart.size()), mixed_dx(x.size()), dalpha(1);
  index.resize(u_apart.size());
  ref::exit_pool_forward(apart, xd.data(), &alpha, mixed.data(), difference.data(), index.data());
  ref::exit_pool_backward_input(
      apart, ud_apart.data(), &alpha, index.data(), mixed_dx.data(), Write::kOverwrite);
  ref::exit_pool_backward_alpha(apart, ud_apart.data(), difference.data(), dalpha.data(), Write::kOverwrite);
  return compare(
      {{"bf16 max_pool y", max, 0},
       {"bf16 max_pool dx", max_dx, stored(max_dx, sum_bound(4, 4))},
       {"bf16 avg_pool y", average, sum_bound(9, 1)},
       {"bf16 avg_pool dx", average_dx, stored(average_dx, sum_bound(4, 1))},
       {"bf16 exit_pool y", mixed, sum_bound(4, 1)},
       {"bf16 exit_pool dx", mixed_dx, stored(mixed_dx, sum_bound(1, 1))},
       {"bf16 exit_pool dalpha", dalpha, sum_bound(outputs, 2 * outputs)}},
      [&](const Device& device) {
        const Tensor t = bf16_tensor({n, c, side, side}, x, device),
                     weight = Tensor::full({1}, static_cast<float>(alpha), device);
        Values all;
        const auto add = [&](const std::vector<float>& cotangent, bool weighted, const auto& pool) {
          Recording rec({t, weight});
          Tensor out = pool();
          if (out.dtype() == DType::kBFloat16) out = convert(out, DType::kFloat32);
          const GradMap grads = rec.grad(out, tensor(out.shape(), cotangent, device));
          all.push_back(host(out));
          all.push_back(host(convert(grads[t], DType::kFloat32)));
          if (weighted) all.push_back(host(grads[weight]));
        };
        add(u, false, [&] { return max_pool(t, g.k, g.stride); });
        add(u, false, [&] { return avg_pool(t, g.k, g.stride); });
        add(u_apart, true, [&] { return exit_pool(t, weight, apart.k); });
        return all;
      });
}

// A few steps of both optimisers, with a tail behind the last 16 bytes.
std::vector<Row> optimizers(int n) {
  constexpr int kSteps = 3;
  constexpr float kRate = .1f;
  const AdamParams adam{.weight_decay = .01f};
  const SgdParams sgd{.momentum = .9f, .weight_decay = .01f, .nesterov = true};
  const auto size = static_cast<std::size_t>(n);
  const auto start = random_vector(size, 18);
  std::vector<std::vector<float>> gradients;
  for (int step = 0; step < kSteps; ++step) {
    gradients.push_back(random_vector(size, 19 + static_cast<std::uint32_t>(step)));
    keep_off(gradients.back(), 0.f, .2f);  // at 0 the step of Adam is 0 / 0 but for eps: no float can tell
  }
  std::vector<double> m(size, 0.), v(size, 0.), by_adam = to_double(start), velocity(size, 0.),
                                                by_sgd = to_double(start);
  for (int step = 0; step < kSteps; ++step) {
    const auto g = to_double(gradients[static_cast<std::size_t>(step)]);
    ref::adam_step(n, adam, double{kRate}, step + 1, g.data(), m.data(), v.data(), by_adam.data());
    ref::sgd_step(n, sgd, double{kRate}, g.data(), velocity.data(), by_sgd.data());
  }
  // Values are of order one (|g'| <= 1.2, the velocity below 2 * kSteps); a dozen roundings a step.
  const double bound = kSteps * 12 * kEps<float> / 2 * 1.2,
               of_sgd = kSteps * 4 * kEps<float> / 2 * 2 * kSteps;
  return compare({{"adam m", m, bound},
                  {"adam v", v, bound},
                  {"adam parameters", by_adam, 2 * bound},
                  {"sgd velocity", velocity, of_sgd},
                  {"sgd parameters", by_sgd, of_sgd}},
                 [&](const Device& device) {
                   const Shape shape{n};
                   const Tensor zeros = Tensor::zeros(shape, device);
                   Tensor tm = zeros.clone(), tv = zeros.clone(), by_adam_here = tensor(shape, start, device),
                          tvelocity = zeros.clone(), by_sgd_here = tensor(shape, start, device);
                   StepScalars state(device);
                   for (int step = 0; step < kSteps; ++step) {
                     state.set(kRate, step, 1);
                     const Tensor g = tensor(shape, gradients[static_cast<std::size_t>(step)], device);
                     dispatch(device, [&](auto& ctx) {
                       const StepState* const at = std::as_const(state).device_pointer();
                       adam_step(ctx, n, adam, at, g.data(), tm.data(), tv.data(), by_adam_here.data());
                       sgd_step(ctx, n, sgd, at, g.data(), tvelocity.data(), by_sgd_here.data());
                     });
                   }
                   return Values{host(tm), host(tv), host(by_adam_here), host(tvelocity), host(by_sgd_here)};
                 });
}

void write_json(const std::string& path, const std::vector<Row>& rows) {
  std::FILE* file = std::fopen(path.c_str(), "w");
  if (file == nullptr) return std::perror(path.c_str());
  std::fputs("[\n", file);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    std::fprintf(file,
                 " {\"output\": \"%s\", \"bound\": %.3g, \"cpu_f64\": %.3g, \"cuda_f64\": %.3g, "
                 "\"cuda_cpu\": %.3g}%s\n",
                 rows[i].name.c_str(),
                 rows[i].bound,
                 rows[i].cpu,
                 rows[i].cuda,
                 rows[i].apart,
                 i + 1 < rows.size() ? "," : "");
  }
  std::fputs("]\n", file);
  std::fclose(file);
}

int run(int argc, char** argv) {
  bool smoke = false;
  std::string json;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--smoke") == 0) {
      smoke = true;
    } else if (std::strcmp(argv[i], "--json") == 0 && i + 1 < argc) {
      json = argv[++i];
    } else {
      std::fprintf(stderr, "device_differences [--smoke] [--json FILE]\n");
      return 2;
    }
  }
  const int n = smoke ? 2 : 16, side = smoke ? 8 : 32, c = smoke ? 4 : 32;
  std::vector<Row> rows;
  const auto add = [&](const std::vector<Row>& more) { rows.insert(rows.end(), more.begin(), more.end()); };
  const Conv2dGeom plain{
      .n = n, .h = side, .w = side, .c = c, .k = c, .r = 3, .s = 3, .stride = 1, .pad = 1, .groups = 1};
  Conv2dGeom strided = plain, pointwise = plain, depthwise = plain;
  strided.stride = 2, strided.k = 2 * c;
  pointwise.r = pointwise.s = 1, pointwise.pad = 0, pointwise.k = 2 * c;
  depthwise.groups = c;
  add(convolution("conv 3x3", plain));
  add(convolution("conv 3x3 stride 2", strided));
  add(convolution("conv 1x1", pointwise));
  add(convolution("depthwise 3x3", depthwise));
  add(linear_layer({.rows = 4 * n, .in = 16 * c, .out = 10}));
  add(normalisation(n, c, side));
  add(rows_and_pools(n, c, side));
  const int wide = std::max(c, 8);  // a 16-byte access has eight of bfloat16
  add(bf16_normalisation(n, wide, side));
  add(bf16_pools(n, wide, side));
  add(optimizers(1000 * c + 3));

  int outside = 0;
  std::printf(
      "%-22s %10s %10s %10s %10s\n", "largest difference", "allowed", "cpu-f64", "cuda-f64", "cuda-cpu");
  for (const Row& r : rows) {
    const bool good = r.cuda <= r.bound;
    outside += good ? 0 : 1;
    std::printf("%-22s %10.3g %10.3g %10.3g %10.3g%s\n",
                r.name.c_str(),
                r.bound,
                r.cpu,
                r.cuda,
                r.apart,
                good ? "" : "  OUTSIDE");
  }
  if (!json.empty()) write_json(json, rows);
  return outside > 0 ? 1 : 0;
}

}  // namespace
}  // namespace offramp::test

int main(int argc, char** argv) {
  try {
    return offramp::test::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "device_differences: %s\n", error.what());
    return 1;
  }
}
