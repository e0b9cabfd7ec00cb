// Tensors that the tape makes again instead of keeping them: what batch norm without a residual gives.
#include <gtest/gtest.h>

#include <optional>
#include <random>

#include "engine/ops.h"
#include "engine/recording.h"
#include "engine/shards.h"
#include "tests/support/close.h"

namespace offramp::test {
namespace {

struct Layer {
  Tensor x, w, filters, gamma, beta, mean, var;
  explicit Layer(DType type, const Device& device, std::int64_t images = 5) {
    std::mt19937 rng(3);
    const auto random = [&](const Shape& shape) {
      std::normal_distribution<float> normal;
      std::vector<float> values(static_cast<std::size_t>(shape.size()));
      for (float& v : values) v = normal(rng);
      return Tensor::from_nchw(shape, values, device);
    };
    x = convert(random({images, 19, 7, 6}), type);
    w = random({19, 19, 1, 1}), filters = random({11, 19, 3, 3});
    gamma = random({19}), beta = random({19});
    mean = random({19}), var = Tensor::full({19}, 2.f, device);
  }
};

struct Gradients {
  std::vector<std::vector<float>> values;
  std::size_t kept = 0;  // bytes of the tape before it was walked
};

// Of x, gamma, beta and both filters through conv - batch norm - conv; `remade` false: y is kept as it is.
Gradients gradients_of(Layer l, bool train, bool relu, bool remade, int shards) {
  const Device device = l.x.device();
  std::optional<Shards> parts;
  std::optional<ShardScope> scope;
  if (shards > 1) parts.emplace(shards).set_batch(l.x.shape()[0]), scope.emplace(*parts);
  const auto row = [&](const Tensor& t) { return Tensor::zeros({shards, t.size()}, device); };
  const Tensor memory[] = {row(l.w), row(l.filters), row(l.gamma), row(l.beta)};
  const Tensor* const parameters[] = {&l.w, &l.filters, &l.gamma, &l.beta};
  std::vector<Target> targets;
  for (int i = 0; i < 4; ++i) {
    const Tensor& p = *parameters[i];
    targets.push_back(
        {p, Tensor::view(memory[i].storage(), 0, p.shape(), DType::kFloat32), shards, p.bytes()});
  }
  Recording rec(targets, {l.x});
  const auto before = device.memory().live_bytes;
  Tensor z;
  {
    BatchNormTensors bn{l.gamma, l.beta, l.mean.clone(), l.var.clone()};
    const Tensor y = batch_norm(conv2d(l.x, l.w, {}, {}), bn, {.train = train, .relu = relu, .residual = {}});
    if (!remade) y.set_remake(nullptr);
    z = conv2d(y, l.filters, {}, {.pad = 1});
  }
  Gradients g;
  g.kept = device.memory().live_bytes - before;
  Tensor cotangent = z.clone();
  const GradMap map = rec.grad(z, cotangent);
  g.values.push_back(map[l.x].to_nchw());
  for (const Tensor& m : memory) g.values.push_back(m.to_host<float>());
  return g;
}

TEST(Remake, GradientsHaveTheBitsOfThoseWithEverythingKept) {
  for (const DType type : {DType::kFloat32, DType::kBFloat16}) {
    for (const bool train : {true, false}) {
      for (const bool relu : {true, false}) {
        for (const int shards : {1, 2}) {
          const Device device = Device::make_cpu({.threads = 2});
          const Layer layer(type, device);
          const Gradients kept = gradients_of(layer, train, relu, false, shards),
                          remade = gradients_of(layer, train, relu, true, shards);
          EXPECT_EQ(kept.values, remade.values) << dtype_name(type) << train << relu << shards;
        }
      }
    }
  }
}

TEST(Remake, TheTapeDoesNotKeepTheOutputOfABatchNorm) {
  const Device device = Device::make_cpu({.threads = 1});
  const Layer layer(DType::kFloat32, device, 64);
  const std::size_t y = layer.x.bytes();
  EXPECT_GE(gradients_of(layer, true, true, false, 1).kept,
            gradients_of(layer, true, true, true, 1).kept + y);
}

// A tensor of two consumers, one of which writes it later, is not made again from what no longer leads to it.
TEST(Remake, IsForgottenOnceTheTensorIsWritten) {
  const Device device = Device::make_cpu({.threads = 1});
  const Layer layer(DType::kFloat32, device);
  const Recording rec({layer.x});
  BatchNormTensors bn{layer.gamma, layer.beta, layer.mean.clone(), layer.var.clone()};
  Tensor y = batch_norm(layer.x, bn, {.train = true, .relu = true, .residual = {}});
  const auto remake = y.remake();
  ASSERT_TRUE(remake);
  EXPECT_EQ(remake->make().to_host<float>(), y.to_host<float>());
  y.data()[0] += 1;
  EXPECT_FALSE(y.remake());
  EXPECT_EQ(Saved(y).get().identity(), y.identity());
}

TEST(Remake, ARemadeTensorNeedsWhatItIsMadeOf) {
  const Device device = Device::make_cpu({.threads = 1});
  Layer layer(DType::kFloat32, device);
  const Recording rec({layer.x});
  BatchNormTensors bn{layer.gamma, layer.beta, layer.mean.clone(), layer.var.clone()};
  const Saved y(batch_norm(layer.x, bn, {.train = true, .relu = true, .residual = {}}));
  layer.gamma.data()[3] = 7;
  EXPECT_THROW(y.get(), std::logic_error);
}

}  // namespace
}  // namespace offramp::test
