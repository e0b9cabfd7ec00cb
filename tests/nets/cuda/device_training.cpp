// One epoch of a small net on the CPU and on the CUDA device, eager, captured, and captured with launches that overlap,
// for tools/gpu_check: the loss of every step must agree. Prints the largest relative difference; exit code 1 where it is above the
// bound.
//   device_training [--smoke]
#include <cmath>
#include <cstdio>
#include <cstring>

#include "kernels/cuda/runtime.h"
#include "nets/exits/evaluation.h"
#include "nets/training/trainer.h"
#include "tests/nets/nets.h"
#include "tests/nets/training/memory_source.h"

namespace offramp::test {
namespace {

// A step multiplies the difference of two float32 runs by a little more than one. The test of ten steps asks
// for 1e-4; over an epoch of about a hundred two convolutions of the CPU (library and native) stay within the
// bound below.
constexpr double kRelative = 1e-2;

std::vector<double> losses(const Device& device, nets::StepMode mode, bool smoke, double& accuracy) {
  nets::NetOptions options;
  options.name = "small-cnn";
  options.classes = 10;
  options.side = smoke ? 8 : 32;
  options.width_divisor = smoke ? 16 : 1;
  options.num_exits = 3;
  nets::Network net(options, device);
  nets::initialize(net, 3);
  const int batch = smoke ? 4 : 64;
  MemorySource source(net.input(), options.classes, (smoke ? 5 : 100) * batch, batch, 9, device);
  nets::TrainOptions train = nets::reference_options(options.name, nets::TrainKind::kJoint);
  train.epochs = 1;
  train.batch_size = batch;
  train.learning_rate = 0.01;
  nets::Trainer trainer(net, train, source, mode);
  std::vector<double> curve;
  while (!trainer.done()) curve.push_back(trainer.step().loss);
  accuracy = nets::accuracy(nets::exit_outputs(net, source)).back();
  return curve;
}

int run(bool smoke) {
  double cpu_accuracy = 0, eager_accuracy = 0, captured_accuracy = 0;
  const auto cpu = losses(Device::cpu(), nets::StepMode::kEager, smoke, cpu_accuracy);
  const auto eager = losses(Device::cuda(), nets::StepMode::kEager, smoke, eager_accuracy);
  const auto captured = losses(Device::cuda(), nets::StepMode::kCaptured, smoke, captured_accuracy);
  double overlapping_accuracy = 0;
  cuda::overlap_launches = true;
  const auto overlapping = losses(Device::cuda(), nets::StepMode::kCaptured, smoke, overlapping_accuracy);
  cuda::overlap_launches = false;
  double worst = 0;
  for (std::size_t i = 0; i < cpu.size(); ++i) {
    worst = std::max(worst, std::isfinite(eager[i]) ? std::fabs(eager[i] - cpu[i]) / cpu[i] : INFINITY);
  }
  const bool same = eager == captured && captured_accuracy == eager_accuracy;
  const bool overlap_same = eager == overlapping && overlapping_accuracy == eager_accuracy;
  std::printf(
      "one epoch of %zu steps: loss %.4f to %.4f on the CPU, to %.4f on CUDA; accuracy %.3f and %.3f\n",
      cpu.size(),
      cpu.front(),
      cpu.back(),
      eager.back(),
      cpu_accuracy,
      eager_accuracy);
  std::printf(
      "largest relative difference of a step's loss %.2e (at most %.0e); captured steps %s eager ones, "
      "overlapping launches %s them\n",
      worst,
      kRelative,
      same ? "equal" : "DIFFER FROM",
      overlap_same ? "equal" : "DIFFER FROM");
  return worst <= kRelative && same && overlap_same ? 0 : 1;
}

}  // namespace
}  // namespace offramp::test

int main(int argc, char** argv) {
  try {
    return offramp::test::run(argc > 1 && std::strcmp(argv[1], "--smoke") == 0);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "device_training: %s\n", error.what());
    return 1;
  }
}
