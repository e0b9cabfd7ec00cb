#include "tests/engine/op_table.h"

namespace offramp::test {
namespace {

using Inputs = std::span<const Tensor>;

Tensor labels(const Tensor& like, std::initializer_list<std::int32_t> values) {
  return Tensor::from<std::int32_t>(
      {static_cast<std::int64_t>(values.size())}, std::span(values.begin(), values.size()), like.device());
}

Tensor run_batch_norm(Inputs in, bool train, bool relu) {
  const std::int64_t c = in[0].shape()[1];
  BatchNormTensors bn{.gamma = in[1],
                      .beta = in[2],
                      .running_mean = Tensor::full({c}, .25f, in[0].device()),
                      .running_var = Tensor::full({c}, .5f, in[0].device())};
  return batch_norm(in[0], bn, {.train = train, .relu = relu, .residual = in.size() > 3 ? in[3] : Tensor()});
}

Tensor run_multi_exit(Inputs in, TargetLoss kind, float lambda) {
  const Device& device = in[0].device();
  MultiExitTargets t;
  t.kind = kind;
  t.exit_weight = Tensor::from<float>({3}, std::vector<float>{.25f, .5f, 1.f}, device);
  t.labels = labels(in[0], {2, 0, 3, 1, 2});
  t.exits = labels(in[0], {1, 2, 3, 3, 2});
  t.lambda = lambda;
  t.strategy = {.phi1 = .95f, .phi2 = .01f};  // every hinge active: away from its corner
  if (kind != TargetLoss::kCrossEntropy) t.target = in[3];
  return multi_exit_loss(in.subspan(0, 3), t).loss;
}

std::vector<OpCase> make_table() {
  const Shape image{2, 3, 5, 7}, rows{5, 4};
  const OpInput x{image}, logits{rows}, off{image, Values::kOffZero}, distinct{image, Values::kDistinct};
  const OpInput target{rows, Values::kProbability, false};
  const Shape wide_image{2, 24, 3, 5};  // rows of channels that CUDA reads in 16-byte accesses
  const OpInput wide{wide_image}, wide_distinct{wide_image, Values::kDistinct};
  std::vector<OpCase> table;
  const auto op = [&](std::string name, std::vector<OpInput> inputs, auto run, bool bf16 = false) {
    table.push_back({std::move(name), std::move(inputs), run, bf16});
  };
  op(
      "conv2d",
      {x, {{4, 3, 3, 3}}, {{4}}},
      [](Inputs in) { return conv2d(in[0], in[1], in[2], {.stride = 2, .pad = 1}); },
      true);
  op(
      "conv2d_no_bias", {x, {{4, 3, 3, 2}}}, [](Inputs in) { return conv2d(in[0], in[1], {}, {}); }, true);
  op(
      "conv2d_depthwise",
      {x, {{3, 1, 3, 3}}},
      [](Inputs in) { return conv2d(in[0], in[1], {}, {.pad = 1, .groups = 3}); },
      true);
  op(
      "conv_transpose2d",
      {x, {{3, 4, 3, 3}}, {{4}}},
      [](Inputs in) {
        return conv_transpose2d(in[0], in[1], in[2], {.stride = 2, .pad = 1, .output_pad = 1});
      },
      true);
  op(
      "conv_transpose2d_no_bias",
      {x, {{3, 4, 2, 3}}},
      [](Inputs in) { return conv_transpose2d(in[0], in[1], {}, {}); },
      true);
  op(
      "conv_transpose2d_groups",
      {{{2, 6, 3, 4}}, {{6, 2, 4, 4}}, {{6}}},
      [](Inputs in) { return conv_transpose2d(in[0], in[1], in[2], {.stride = 2, .pad = 1, .groups = 3}); },
      true);
  op("linear", {{{5, 6}}, {{3, 6}}, {{3}}}, [](Inputs in) { return linear(in[0], in[1], in[2]); });
  op(
      "batch_norm_train",
      {x, {{3}, Values::kOffZero}, {{3}}},
      [](Inputs in) { return run_batch_norm(in, true, false); },
      true);
  op(
      "batch_norm_eval",
      {x, {{3}, Values::kOffZero}, {{3}}},
      [](Inputs in) { return run_batch_norm(in, false, false); },
      true);
  op(
      "batch_norm_train_residual",
      {x, {{3}, Values::kOffZero}, {{3}}, x},
      [](Inputs in) { return run_batch_norm(in, true, false); },
      true);
  op(
      "batch_norm_train_wide",
      {wide, {{24}, Values::kOffZero}, {{24}}, wide},
      [](Inputs in) { return run_batch_norm(in, true, false); },
      true);
  op(
      "batch_norm_eval_wide",
      {wide, {{24}, Values::kOffZero}, {{24}}},
      [](Inputs in) { return run_batch_norm(in, false, false); },
      true);
  op("batch_norm_rows", {{{9, 3}}, {{3}, Values::kOffZero}, {{3}}}, [](Inputs in) {
    return run_batch_norm(in, true, false);
  });
  op(
      "relu", {off}, [](Inputs in) { return relu(in[0]); }, true);
  op(
      "add", {x, x}, [](Inputs in) { return add(in[0], in[1]); }, true);
  op(
      "scale", {x}, [](Inputs in) { return scale(in[0], -2.5f); }, true);
  op("multiply", {x, x}, [](Inputs in) { return multiply(in[0], in[1]); });
  op("axpby", {x, x}, [](Inputs in) { return axpby(2.f, in[0], -3.f, in[1]); });
  op("tanh", {x}, [](Inputs in) { return tanh(in[0]); });
  op("clamp", {off}, [](Inputs in) { return clamp(in[0], 0.f, 2.f); });
  op("pixels_from_tanh", {x}, [](Inputs in) { return pixels_from_tanh(in[0]); });
  op(
      "max_pool", {distinct}, [](Inputs in) { return max_pool(in[0], 2, 2); }, true);
  op(
      "max_pool_overlapping", {distinct}, [](Inputs in) { return max_pool(in[0], 3, 1); }, true);
  op(
      "avg_pool", {x}, [](Inputs in) { return avg_pool(in[0], 2, 2); }, true);
  op(
      "global_avg_pool", {{{2, 3, 4, 4}}}, [](Inputs in) { return global_avg_pool(in[0]); }, true);
  op(
      "exit_pool", {distinct, {{1}}}, [](Inputs in) { return exit_pool(in[0], in[1], 2); }, true);
  op(
      "max_pool_wide", {wide_distinct}, [](Inputs in) { return max_pool(in[0], 2, 1); }, true);
  op(
      "avg_pool_wide", {wide}, [](Inputs in) { return avg_pool(in[0], 2, 1); }, true);
  op(
      "exit_pool_wide", {wide_distinct, {{1}}}, [](Inputs in) { return exit_pool(in[0], in[1], 2); }, true);
  op(
      "flatten", {x}, [](Inputs in) { return flatten(in[0]); }, true);
  op(
      "concat_channels", {x, {{2, 2, 5, 7}}, x}, [](Inputs in) { return concat_channels(in); }, true);
  op(
      "concat_channels_rows",
      {{{5, 3}}, {{5, 1}}, {{5, 4}}},
      [](Inputs in) { return concat_channels(in); },
      true);
  op(
      "dropout", {x}, [](Inputs in) { return dropout(in[0], .3f, {.seed = 5, .stream = 1}, nullptr); }, true);
  op("normalize_pixels", {x}, [](Inputs in) {
    const std::vector<float> mean{.5f, .25f, .125f}, inv_std{2.f, 4.f, 3.f};
    return normalize_pixels(in[0],
                            Tensor::from<float>({3}, mean, in[0].device()),
                            Tensor::from<float>({3}, inv_std, in[0].device()),
                            DType::kFloat32);
  });
  op("softmax", {logits}, [](Inputs in) { return softmax(in[0]); });
  op("log_softmax", {logits}, [](Inputs in) { return log_softmax(in[0]); });
  op("confidence", {{rows, Values::kDistinct}}, [](Inputs in) { return confidence(in[0]); });
  op("row_norm_l1", {off}, [](Inputs in) { return row_norm(in[0], RowNorm::kL1); });
  op("row_norm_l2", {x}, [](Inputs in) { return row_norm(in[0], RowNorm::kL2); });
  op("row_norm_squared_l2", {x}, [](Inputs in) { return row_norm(in[0], RowNorm::kSquaredL2); });
  op("row_norm_linf", {distinct}, [](Inputs in) { return row_norm(in[0], RowNorm::kLinf); });
  op("sum", {x}, [](Inputs in) { return sum(in[0]); });
  op("mean", {x}, [](Inputs in) { return mean(in[0]); });
  op("cross_entropy", {logits}, [](Inputs in) {
    return cross_entropy(in[0], labels(in[0], {2, 0, 3, 1, 2}));
  });
  op("soft_cross_entropy", {logits, target}, [](Inputs in) {
    return target_loss(in[0], in[1], TargetLoss::kSoftCrossEntropy);
  });
  op("kl_target_first", {logits, target}, [](Inputs in) {
    return target_loss(in[0], in[1], TargetLoss::kKlTargetFirst);
  });
  op("kl_output_first", {logits, target}, [](Inputs in) {
    return target_loss(in[0], in[1], TargetLoss::kKlOutputFirst);
  });
  op("strategy_loss", {{{3, 5}, Values::kOffZero}}, [](Inputs in) {
    return strategy_loss(in[0], labels(in[0], {1, 2, 3, 3, 2}), {.phi1 = 2.f, .phi2 = -2.f});
  });
  op("multi_exit_cross_entropy", {logits, logits, logits}, [](Inputs in) {
    return run_multi_exit(in, TargetLoss::kCrossEntropy, 0);
  });
  op("multi_exit_kl_and_hinge",
     {{rows, Values::kDistinct}, {rows, Values::kDistinct}, {rows, Values::kDistinct}, target},
     [](Inputs in) { return run_multi_exit(in, TargetLoss::kKlTargetFirst, .5f); });
  return table;
}

}  // namespace

const std::vector<OpCase>& op_table() {
  static const std::vector<OpCase> table = make_table();
  return table;
}

}  // namespace offramp::test
