#include "tools/bench/training_step.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>

#include "engine/ops.h"
#include "engine/optimizer.h"
#include "engine/recording.h"
#include "kernels/elementwise.h"
#include "kernels/linear.h"
#include "nets/network.h"

namespace offramp::bench {
namespace {

using Clock = std::chrono::steady_clock;

double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::nth_element(
      values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

std::vector<float> random_pixels(std::int64_t count, std::uint64_t seed) {
  const PhiloxKey key{.seed = seed, .stream = 1};
  std::vector<float> pixels(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = key.uniform(i);
  return pixels;
}

// Median seconds of `body` over enough runs for a quarter of a second.
template <class F>
double median_seconds(const Device& device, F body) {
  body();
  device.synchronize();
  std::vector<double> times;
  const auto start = Clock::now();
  while (times.size() < 5 || milliseconds_since(start) < 250) {
    const auto begin = Clock::now();
    body();
    device.synchronize();
    times.push_back(milliseconds_since(begin) / 1e3);
  }
  return median(times);
}

}  // namespace

StepResult measure_training_step(const StepOptions& options, const Device& device) {
  nets::Network net(options.net, device);
  nets::initialize(net, options.seed);
  const auto sgd = make_sgd(net.parameters(), {.momentum = .9f, .weight_decay = 5e-4f});
  StepScalars scalars(device);

  const nets::Extent& in = net.input();
  const Shape shape{options.batch, in.c, in.h, in.w};
  const Tensor x = Tensor::from<float>(shape, random_pixels(shape.size(), options.seed), device);
  std::vector<std::int32_t> labels(static_cast<std::size_t>(options.batch));
  for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<std::int32_t>(i) % net.classes();
  const std::vector<float> weights(static_cast<std::size_t>(net.num_exits()), .5f);
  MultiExitTargets targets;
  targets.labels = Tensor::from<std::int32_t>({options.batch}, labels, device);
  targets.exit_weight = Tensor::from<float>({net.num_exits()}, weights, device);
  targets.state = scalars.device_pointer();

  StepResult result;
  for (int step = -options.warm_up; step < options.steps; ++step) {
    const auto start = Clock::now();
    scalars.set(.01f, step + options.warm_up, options.batch);
    Tensor loss;
    {
      Recording rec(net.parameters().targets());
      const std::vector<Tensor> logits =
          net.forward(x, nets::TrainPass{.seed = options.seed, .state = scalars.device_pointer()});
      loss = multi_exit_loss(logits, targets).loss;
      rec.grad(loss);
    }
    sgd->step(scalars);
    device.synchronize();
    if (step >= 0) result.step_ms.push_back(milliseconds_since(start));
    result.last_loss = loss.item();
    if (step == -options.warm_up) result.first_loss = result.last_loss;
  }
  result.median_ms = median(result.step_ms);
  result.images_per_s = options.batch / result.median_ms * 1e3;
  result.arena_peak_mb = static_cast<double>(device.memory().peak_bytes) / 1e6;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  result.resident_peak_mb = static_cast<double>(usage.ru_maxrss) / 1024;
  result.gflop = 2e-9 * 3 * static_cast<double>(net.costs().exits.back().macs) * options.batch;
  return result;
}

double gemm_gflops(const Device& device) {
  constexpr int kSide = 512;
  const LinearGeom g{.rows = kSide, .in = kSide, .out = kSide};
  const Tensor a = Tensor::from<float>({kSide, kSide}, random_pixels(kSide * kSide, 1), device);
  Tensor y = Tensor::empty({kSide, kSide}, device);
  float* out = y.data();
  const double seconds = median_seconds(device, [&] {
    dispatch(device, [&](auto& ctx) { linear_forward(ctx, g, a.data(), a.data(), nullptr, out); });
  });
  return 2.0 * kSide * kSide * kSide / seconds / 1e9;
}

double copy_gbytes(const Device& device) {
  constexpr std::int64_t kFloats = std::int64_t{1} << 26;  // 256 MiB
  const Tensor a = Tensor::zeros({kFloats}, device);
  Tensor b = Tensor::zeros({kFloats}, device);
  float* out = b.data();
  const double seconds = median_seconds(device, [&] {
    dispatch(device, [&](auto& ctx) { scale(ctx, kFloats, 1.f, a.data(), out, Write::kOverwrite); });
  });
  return 2.0 * sizeof(float) * static_cast<double>(kFloats) / seconds / 1e9;
}

}  // namespace offramp::bench
