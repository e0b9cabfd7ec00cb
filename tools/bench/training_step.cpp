#include "tools/bench/training_step.h"

#include <sys/resource.h>

#include "engine/ops.h"
#include "engine/optimizer.h"
#include "engine/recording.h"
#include "nets/network.h"
#include "tools/bench/timing.h"

namespace offramp::bench {
StepResult measure_training_step(const StepOptions& options, const Device& device) {
  nets::Network net(options.net, device);
  nets::initialize(net, options.seed);
  const auto sgd = make_sgd(net.parameters(), {.momentum = .9f, .weight_decay = 5e-4f});
  StepScalars scalars(device);

  const nets::Extent& in = net.input();
  const Shape shape{options.batch, in.c, in.h, in.w};
  const Tensor x = random_tensor(shape, options.seed, device);
  std::vector<std::int32_t> labels(static_cast<std::size_t>(options.batch));
  for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<std::int32_t>(i) % net.classes();
  const std::vector<float> weights(static_cast<std::size_t>(net.num_exits()), .5f);
  MultiExitTargets targets;
  targets.labels = Tensor::from<std::int32_t>({options.batch}, labels, device);
  targets.exit_weight = Tensor::from<float>({net.num_exits()}, weights, device);
  targets.state = scalars.device_pointer();

  StepResult result;
  for (int step = -options.warm_up; step < options.steps; ++step) {
    const double start = seconds_now();
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
    if (step >= 0) result.step_ms.push_back((seconds_now() - start) * 1e3);
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

}  // namespace offramp::bench
