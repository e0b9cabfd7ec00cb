// What a step keeps in memory, op by op: a small net with two exits, once with its parameters as targets,
// once with its input, once with nothing recorded.
#include <string>
#include <vector>

#include "engine/device.h"
#include "engine/ops.h"
#include "engine/recording.h"
#include "figures.h"
#include "kernels/range.h"
#include "tools/report/svg_writer.h"
#include "tools/report/xy_chart.h"

namespace offramp::guide {
namespace {

constexpr int kBatch = 128, kSide = 32, kWidth = 16, kBlocks = 6, kClasses = 10;

// Bytes of the device's tensors after every op.
class LiveBytes final : public RangeListener {
 public:
  LiveBytes(const Device& device, std::size_t before) : device_(device), before_(before) {}
  void begin(RangeKind, const char*, const Work&) override {}
  void end(RangeKind kind) override {
    if (kind != RangeKind::kScope)
      megabytes.push_back(static_cast<double>(device_.memory().live_bytes - before_) / 1e6);
  }
  std::vector<double> megabytes;

 private:
  const Device& device_;
  std::size_t before_;
};

struct Block {
  Tensor weight;
  BatchNormTensors norm;
};

struct Net {
  explicit Net(const Device& device) {
    const PhiloxKey key{.seed = 1};
    const auto drawn = [&](const Shape& shape) {
      std::vector<float> values(static_cast<std::size_t>(shape.size()));
      for (std::size_t i = 0; i < values.size(); ++i) values[i] = 0.2f * (key.uniform(i) - 0.5f);
      return Tensor::from<float>(shape, values, device);
    };
    for (int b = 0; b < kBlocks; ++b) {
      Block block{drawn({kWidth, b == 0 ? 3 : kWidth, 3, 3}), {}};
      for (Tensor* t : {&block.norm.gamma, &block.norm.running_var}) *t = Tensor::full({kWidth}, 1, device);
      for (Tensor* t : {&block.norm.beta, &block.norm.running_mean}) *t = Tensor::full({kWidth}, 0, device);
      blocks.push_back(block);
    }
    for (Tensor& classifier : classifiers) classifier = drawn({kClasses, kWidth});
    image = Tensor::full({kBatch, 3, kSide, kSide}, 0.5f, device);
    labels = Tensor::zeros({kBatch}, device, DType::kInt32);
    exit_weight = Tensor::full({2}, 1, device);
  }

  std::vector<Target> parameters() const {
    std::vector<Target> all;
    for (const Block& block : blocks)
      for (const Tensor& t : {block.weight, block.norm.gamma, block.norm.beta}) all.push_back({t, {}});
    for (const Tensor& t : classifiers) all.push_back({t, {}});
    return all;
  }

  // The loss of an exit behind the third block and of the end.
  Tensor loss(bool train) {
    Tensor h = image;
    std::vector<Tensor> logits;
    for (int b = 0; b < kBlocks; ++b) {
      Block& block = blocks[static_cast<std::size_t>(b)];
      h = conv2d(h, block.weight, {}, {.pad = 1});
      h = batch_norm(h, block.norm, {.train = train, .relu = true, .residual = {}});
      if (b == kBlocks / 2 - 1) logits.push_back(linear(flatten(global_avg_pool(h)), classifiers[0], {}));
    }
    logits.push_back(linear(flatten(global_avg_pool(h)), classifiers[1], {}));
    return multi_exit_loss(
               logits,
               {.labels = labels, .target = {}, .exit_weight = exit_weight, .strategy = {}, .exits = {}})
        .loss;
  }

  std::vector<Block> blocks;
  Tensor classifiers[2], image, labels, exit_weight;
};

report::Series curve(const std::string& name, int colour, const std::vector<double>& megabytes) {
  report::Series series{.name = name, .colour = colour};
  for (std::size_t i = 0; i < megabytes.size(); ++i) {
    series.x.push_back(static_cast<double>(i + 1));
    series.y.push_back(megabytes[i]);
  }
  return series;
}

}  // namespace

std::string tape_figure() {
  const Device device = Device::make_cpu({.threads = 1});
  Net net(device);
  const std::size_t before = device.memory().live_bytes;
  LiveBytes training(device, before), attack(device, before), inference(device, before);
  std::size_t forward_ops = 0;
  {
    const Listening listening(training);
    Recording recording(net.parameters());
    const Tensor loss = net.loss(true);
    forward_ops = training.megabytes.size();
    recording.grad(loss);
  }
  {
    const Listening listening(attack);
    Recording recording({net.image});
    recording.grad(net.loss(false));
  }
  {
    const Listening listening(inference);
    net.loss(false);
  }

  report::XyChart chart;
  chart.frame.title = "What a step keeps in memory";
  chart.frame.subtitle =
      "six 3x3 convolutions with batch norm, an exit behind the third; 128 pictures of 32 x 32";
  chart.frame.x.label = "ops done";
  chart.frame.y = {.label = "MB, beside parameters and batch", .min = 0.0};
  chart.frame.height = 360;
  chart.series = {curve("targets: the parameters (training)", 0, training.megabytes),
                  curve("target: the pictures (an attack)", 1, attack.megabytes),
                  curve("nothing recorded (inference)", 2, inference.megabytes)};
  chart.rules = {{.at = static_cast<double>(forward_ops), .label = "the walk backwards begins"}};
  return report::standalone_svg(report::render(chart));
}

}  // namespace offramp::guide
