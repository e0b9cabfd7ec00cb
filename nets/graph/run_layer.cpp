// The forward pass of one layer.
#include "base/errors.h"
#include "nets/graph/layers.h"
#include "nets/graph/overloaded.h"
#include "nets/graph/random_streams.h"

namespace offramp::nets {

Tensor run_residual(
    const BatchNorm& l, const Tensor& x, const Tensor& residual, bool relu, const PassContext& pass) {
  BatchNormTensors tensors = l.tensors;
  return batch_norm(x, tensors, {.train = pass.train, .relu = relu, .residual = residual});
}

Tensor run_normalised(const Conv2d& conv,
                      const BatchNorm& norm,
                      const Tensor& x,
                      const Tensor& residual,
                      bool relu,
                      const PassContext& pass) {
  BatchNormTensors tensors = norm.tensors;
  return conv2d_batch_norm(x,
                           conv.weight,
                           conv.bias,
                           {conv.stride, conv.pad, conv.groups},
                           tensors,
                           {.train = pass.train, .relu = relu, .residual = residual});
}

Tensor run(const Layer& layer, const Tensor& x, const PassContext& pass) {
  return std::visit(
      Overloaded{[&](const Conv2d& l) {
                   return conv2d(x, l.weight, l.bias, {l.stride, l.pad, l.groups});
                 },
                 [&](const Linear& l) { return linear(convert(x, DType::kFloat32), l.weight, l.bias); },
                 [&](const BatchNorm& l) {
                   BatchNormTensors tensors = l.tensors;
                   return batch_norm(x, tensors, {.train = pass.train, .relu = l.relu, .residual = {}});
                 },
                 [&](const Relu&) { return relu(x); },
                 [&](const Flatten&) { return flatten(x); },
                 [&](const MaxPool& l) { return max_pool(x, l.k, l.k); },
                 [&](const AvgPool& l) { return avg_pool(x, l.k, l.k); },
                 [&](const Dropout& l) {
                   if (!pass.train) return x;
                   if (!pass.dropout)
                     throw ValueError("network: a training pass through dropout needs a seed");
                   const PhiloxKey key{pass.dropout->seed, streams::kDropout, l.op, 0};
                   return dropout(x, l.p, key, pass.dropout->state);
                 },
                 [&](const ExitPool& l) { return exit_pool(x, l.alpha, l.k); }},
      layer);
}

}  // namespace offramp::nets
