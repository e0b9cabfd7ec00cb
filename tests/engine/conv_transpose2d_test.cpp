// PyTorch's numbers for a transposed convolution. All values are multiples of 1/16, so every sum is exact.
//   v = lambda *s: torch.tensor([((7 * i) % 11 - 5) / 4 for i in range(torch.Size(s).numel())]).reshape(s)
//   x, w, b = v(1, 2, 2, 3).requires_grad_(), v(2, 1, 3, 2).requires_grad_(), v(2).requires_grad_()
//   y = torch.nn.functional.conv_transpose2d(x, w, b, stride=2, padding=1, output_padding=1, groups=2)
//   y.backward(v(*y.shape))
#include <gtest/gtest.h>

#include "engine/ops.h"
#include "engine/recording.h"
#include "tests/engine/devices.h"

namespace offramp::test {
namespace {

std::vector<float> pattern(const Shape& shape) {
  std::vector<float> v;
  for (int i = 0; i < shape.size(); ++i) v.push_back(static_cast<float>(7 * i % 11 - 5) / 4);
  return v;
}

class ConvTranspose2dOp : public ::testing::TestWithParam<std::string> {};

TEST_P(ConvTranspose2dOp, GivesPyTorchsNumbers) {
  if (const std::string why = device_missing(GetParam()); !why.empty()) GTEST_SKIP() << why;
  const Device device = device_named(GetParam());
  const auto patterned = [&](const Shape& shape) { return Tensor::from_nchw(shape, pattern(shape), device); };
  const Tensor x = patterned({1, 2, 2, 3}), w = patterned({2, 1, 3, 2});
  const Tensor b = Tensor::from<float>({2}, pattern({2}), device);
  Recording rec({x, w, b});
  const Tensor y = conv_transpose2d(x, w, b, {.stride = 2, .pad = 1, .output_pad = 1, .groups = 2});
  ASSERT_EQ(y.shape(), (Shape{1, 2, 4, 5}));
  const GradMap g = rec.grad(sum(multiply(y, patterned(y.shape()))));
  EXPECT_EQ(
      y.to_nchw(),
      (std::vector<float>{-2.8125f, -1.5f,    -0.625f,  -1.0f,    -1.875f,  0.3125f, -1.4375f, -1.5f,
                          -0.4375f, -1.25f,   0.3125f,  -1.375f,  -0.9375f, -0.875f, -2.1875f, -2.1875f,
                          -1.1875f, -1.4375f, -1.4375f, -0.6875f, 1.25f,    0.5f,    0.5f,     1.5f,
                          -0.25f,   -0.75f,   0.25f,    0.5f,     -0.5f,    1.75f,   1.0625f,  0.75f,
                          0.3125f,  1.75f,    -0.4375f, -0.4375f, 0.5625f,  0.8125f, 0.8125f,  2.0625f}));
  EXPECT_EQ(g[x].to_nchw(),
            (std::vector<float>{-1.0f,
                                -0.625f,
                                -1.125f,
                                -0.875f,
                                -0.9375f,
                                4.1875f,
                                -1.0f,
                                0.1875f,
                                -1.125f,
                                -0.125f,
                                -1.3125f,
                                1.5625f}));
  EXPECT_EQ(g[w].to_nchw(),
            (std::vector<float>{1.0f,
                                -1.5f,
                                -0.3125f,
                                0.0625f,
                                0.8125f,
                                1.875f,
                                -1.3125f,
                                1.125f,
                                0.875f,
                                -0.0625f,
                                -0.375f,
                                -0.4375f}));
  EXPECT_EQ(g[b].to_host<float>(), (std::vector<float>{-0.5f, 1.0f}));
}

INSTANTIATE_TEST_SUITE_P(Devices,
                         ConvTranspose2dOp,
                         ::testing::ValuesIn(device_names()),
                         [](const auto& device) { return device.param; });

}  // namespace
}  // namespace offramp::test
