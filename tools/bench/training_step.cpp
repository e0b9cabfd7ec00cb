#include "tools/bench/training_step.h"

#include <sys/resource.h>

#include "engine/captured_step.h"
#include "engine/ops.h"
#include "engine/optimizer.h"
#include "engine/recording.h"
#include "nets/graph/network.h"
#include "tools/bench/timing.h"

#include <optional>
#include <utility>

namespace offramp::bench {

struct TrainingStep::State {
  State(const StepOptions& o, const Device& device) : options(o), net(o.net, device), scalars(device) {
    nets::initialize(net, o.seed);
    sgd = make_sgd(net.parameters(), {.momentum = .9f, .weight_decay = 5e-4f});
    const nets::Extent& in = net.input();
    x = random_tensor({o.batch, in.c, in.h, in.w}, o.seed, device);
    std::vector<std::int32_t> labels(static_cast<std::size_t>(o.batch));
    for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<std::int32_t>(i) % net.classes();
    const std::vector<float> weights(static_cast<std::size_t>(net.num_exits()), .5f);
    targets.labels = Tensor::from<std::int32_t>({o.batch}, labels, device);
    targets.exit_weight = Tensor::from<float>({net.num_exits()}, weights, device);
    targets.state = scalars.device_pointer();
    if (o.capture) captured.emplace(device);
  }

  void program() {
    loss = {};
    {
      Recording rec(net.parameters().targets());
      const std::vector<Tensor> logits = [&] {
        const Range range("train/forward");
        return net.forward(x, nets::TrainPass{.seed = options.seed, .state = scalars.device_pointer()});
      }();
      loss = multi_exit_loss(logits, targets).loss;
      const Range range("train/backward");
      static_cast<void>(rec.grad(loss));
    }
    const Range range("train/optimizer");
    sgd->step(scalars);
  }

  StepOptions options;
  nets::Network net;
  std::unique_ptr<Optimizer> sgd;
  StepScalars scalars;
  Tensor x, loss;
  MultiExitTargets targets;
  std::optional<CapturedStep> captured;
  int steps = 0;
  double fetch_seconds = 0;
};

TrainingStep::TrainingStep(const StepOptions& options, const Device& device)
    : state_(std::make_unique<State>(options, device)) {}
TrainingStep::~TrainingStep() = default;

void TrainingStep::run() {
  State& s = *state_;
  if (s.options.data != nullptr) {
    const double start = seconds_now();
    nets::Batch batch = s.options.data->next();
    s.x = std::move(batch.inputs);
    s.targets.labels = std::move(batch.labels);
    s.fetch_seconds += seconds_now() - start;
  }
  s.scalars.set(.01f, s.steps++, static_cast<int>(s.x.shape()[0]));
  if (s.captured) {
    s.captured->run([&] { s.program(); });
  } else {
    s.program();
  }
}

std::size_t TrainingStep::operations() const { return state_->captured ? state_->captured->operations() : 0; }

double TrainingStep::fetch_seconds() const { return state_->fetch_seconds; }

float TrainingStep::loss() const { return state_->loss.item(); }

double TrainingStep::gflop() const {
  return 2e-9 * 3 * static_cast<double>(state_->net.costs().exits.back().macs) * state_->options.batch;
}

StepResult measure_training_step(const StepOptions& options,
                                 const Device& device,
                                 const std::function<void(int)>& before_step) {
  TrainingStep training(options, device);
  StepResult result;
  for (int step = -options.warm_up; step < options.steps; ++step) {
    if (before_step) before_step(step + options.warm_up);
    const double start = seconds_now();
    training.run();
    device.synchronize();
    if (step >= 0) result.step_ms.push_back((seconds_now() - start) * 1e3);
    result.last_loss = training.loss();
    if (step == -options.warm_up) result.first_loss = result.last_loss;
  }
  result.median_ms = median(result.step_ms);
  result.images_per_s = options.batch / result.median_ms * 1e3;
  result.arena_peak_mb = static_cast<double>(device.memory().peak_bytes) / 1e6;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  result.resident_peak_mb = static_cast<double>(usage.ru_maxrss) / 1024;
  result.gflop = training.gflop();
  return result;
}

}  // namespace offramp::bench
