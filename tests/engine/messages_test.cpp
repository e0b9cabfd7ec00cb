// What an op says when it is used wrongly.
#include <gtest/gtest.h>

#include "base/errors.h"
#include "engine/ops.h"

namespace offramp::test {
namespace {

Tensor zeros(const Shape& shape, DType dtype = DType::kFloat32) {
  return Tensor::zeros(shape, Device::cpu(), dtype);
}

template <class E, class F>
void expect_message(F f, const std::string& message) {
  try {
    f();
    FAIL() << "no exception, expected: " << message;
  } catch (const E& error) {
    EXPECT_EQ(error.what(), message);
  }
}

TEST(Messages, ConvolutionNamesBothShapes) {
  expect_message<ShapeError>(
      [] {
        conv2d(zeros({128, 3, 32, 32}), zeros({32, 16, 3, 3}), {}, {});
      },
      "conv2d: weight wants 16 input channels, input has 3 (input [128,3,32,32], weight "
      "[32,16,3,3])");
  expect_message<ShapeError>(
      [] {
        conv2d(zeros({1, 3, 2, 2}), zeros({4, 3, 5, 5}), {}, {});
      },
      "conv2d: the filter is larger than the padded input (input [1,3,2,2], weight [4,3,5,5])");
  expect_message<ShapeError>(
      [] {
        conv2d(zeros({1, 3, 8, 8}), zeros({4, 1, 3, 3}), {}, {.groups = 2});
      },
      "conv2d: 2 groups do not divide the channels (input [1,3,8,8], weight [4,1,3,3])");
  expect_message<ShapeError>(
      [] {
        conv2d(zeros({1, 3, 8, 8}), zeros({4, 3, 3, 3}), zeros({3}), {});
      },
      "conv2d: bias wants [4], got [3] float32");
  expect_message<ValueError>(
      [] {
        conv2d(zeros({1, 3, 8, 8}), zeros({4, 3, 3, 3}), {}, {.stride = 0});
      },
      "conv2d: stride and groups are at least 1 and pad at least 0, got stride 0, pad 0, groups 1");
}

TEST(Messages, TransposedConvolutionNamesBothShapes) {
  expect_message<ShapeError>(
      [] {
        conv_transpose2d(zeros({2, 3, 4, 4}), zeros({16, 8, 3, 3}), {}, {});
      },
      "conv_transpose2d: weight wants 16 input channels, input has 3 (input [2,3,4,4], weight [16,8,3,3])");
  expect_message<ShapeError>(
      [] {
        conv_transpose2d(zeros({2, 3, 4, 4}), zeros({3, 8, 3, 3}), {}, {.groups = 2});
      },
      "conv_transpose2d: 2 groups do not divide the input's channels (input [2,3,4,4], weight [3,8,3,3])");
  expect_message<ShapeError>(
      [] {
        conv_transpose2d(zeros({2, 3, 1, 1}), zeros({3, 8, 2, 2}), {}, {.pad = 1});
      },
      "conv_transpose2d: nothing is left of the output, 0 x 0 (input [2,3,1,1], weight [3,8,2,2])");
  expect_message<ShapeError>(
      [] {
        conv_transpose2d(zeros({2, 3, 4, 4}), zeros({3, 8, 3, 3}), zeros({3}), {});
      },
      "conv_transpose2d: bias wants [8], got [3] float32");
  expect_message<ValueError>(
      [] {
        conv_transpose2d(zeros({2, 3, 4, 4}), zeros({3, 8, 3, 3}), {}, {.stride = 2, .output_pad = 2});
      },
      "conv_transpose2d: stride and groups are at least 1, pad at least 0 and output_pad 0 to stride - 1, got "
      "stride 2, pad 0, output_pad 2, groups 1");
}

TEST(Messages, TypesAreChecked) {
  expect_message<ValueError>([] { relu(zeros({2}, DType::kInt32)); },
                             "relu: input wants float32 or bfloat16, got [2] int32");
  expect_message<ValueError>(
      [] {
        linear(zeros({2, 3}, DType::kBFloat16), zeros({4, 3}), {});
      },
      "linear: input wants float32, got [2,3] bfloat16");
  expect_message<ValueError>([] { zeros({2}, DType::kInt32).to_host<float>(); },
                             "tensor: asked for float32 values of a int32 tensor [2]");
}

TEST(Messages, EmptyHandlesAndDevicesAreChecked) {
  expect_message<ValueError>([] { relu(Tensor()); }, "relu: input is an empty tensor");
  const Device other = Device::make_cpu({.threads = 1});
  expect_message<DeviceError>([&] { add(zeros({2}), Tensor::zeros({2}, other)); },
                              "add: tensors on two devices, cpu [2] float32 and cpu [2] float32");
  expect_message<ValueError>([] { Device::by_name("gpu"); }, "device: expected cpu or cuda, got 'gpu'");
}

TEST(Messages, ShapesOfPairsAndPools) {
  expect_message<ShapeError>(
      [] {
        add(zeros({2, 3}), zeros({3, 2}));
      },
      "add: the operands differ, [2,3] float32 and [3,2] float32");
  expect_message<ShapeError>(
      [] {
        max_pool(zeros({1, 1, 2, 3}), 3, 1);
      },
      "max_pool: a window of 3 does not fit into the input [1,1,2,3]");
  expect_message<ShapeError>(
      [] {
        linear(zeros({2, 3}), zeros({4, 5}), {});
      },
      "linear: weight wants 5 features, input has 3 (input [2,3], weight [4,5])");
  expect_message<ShapeError>(
      [] {
        Tensor::from<float>({2, 2}, std::vector<float>{1, 2, 3}, Device::cpu());
      },
      "tensor: [2,2] holds 4 values, got 3");
  expect_message<ShapeError>([] { zeros({2}).item(); }, "item: expected one element, got [2]");
  expect_message<ShapeError>([] { Shape{1, -2}; }, "shape: sizes are not negative, got -2");
  expect_message<ShapeError>([] { (Shape{1, 2, 3, 4, 5}); }, "shape: at most 4 dimensions, got 5");
}

TEST(Messages, LossesCheckTheirTargets) {
  expect_message<ShapeError>(
      [] {
        cross_entropy(zeros({2, 3}), zeros({3}, DType::kInt32));
      },
      "cross_entropy: labels wants [2], got [3] int32");
  expect_message<ValueError>([] { multi_exit_loss({}, {}); },
                             "multi_exit_loss: expected 1 to 16 exits, got 0");
  expect_message<ValueError>([] { dropout(zeros({2}), 1.f, {}, nullptr); },
                             "dropout: the probability lies in [0, 1), got 1.000000");
  expect_message<ValueError>([] { clamp(zeros({2}), 1.f, 0.f); },
                             "clamp: the lower bound 1.000000 is above the upper 0.000000");
}

}  // namespace
}  // namespace offramp::test
