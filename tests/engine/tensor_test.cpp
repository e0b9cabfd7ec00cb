#include "engine/tensor.h"

#include <gtest/gtest.h>

#include "base/errors.h"
#include "tests/support/close.h"
#include "tests/support/random.h"

namespace offramp::test {
namespace {

TEST(Tensor, FourDimensionsArePrintedNchwAndStoredNhwc) {
  const std::vector<float> nchw{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};  // n=1, c=2, h=2, w=3
  const Tensor t = Tensor::from_nchw({1, 2, 2, 3}, nchw, Device::cpu());
  EXPECT_EQ(t.to_host<float>(), (std::vector<float>{0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11}));
  EXPECT_EQ(t.to_nchw(), nchw);
}

TEST(Tensor, HandlesShareAndClonesDoNot) {
  Tensor a = Tensor::full({3}, 1.f, Device::cpu());
  const Tensor b = a, c = a.clone();
  a.data()[0] = 5;
  EXPECT_EQ(b.to_host<float>()[0], 5.f);
  EXPECT_EQ(c.to_host<float>()[0], 1.f);
  EXPECT_FALSE(a.sole_owner());
  EXPECT_TRUE(c.sole_owner());
}

TEST(Tensor, ReshapingSharesMemoryAndChecksTheSize) {
  const Tensor a = Tensor::full({2, 3}, 2.f, Device::cpu());
  const Tensor b = a.reshaped({6});
  EXPECT_EQ(b.raw(), a.raw());
  EXPECT_FALSE(a.sole_owner());
  EXPECT_THROW(a.reshaped({5}), ShapeError);
}

TEST(Tensor, MutableAccessRaisesTheVersion) {
  Tensor a = Tensor::zeros({2}, Device::cpu());
  const auto before = a.version();
  static_cast<void>(std::as_const(a).data());
  EXPECT_EQ(a.version(), before);
  a.data()[0] = 1;
  EXPECT_GT(a.version(), before);
}

TEST(Tensor, MovesBetweenDevices) {
  const Device other = Device::make_cpu({.threads = 1});
  const std::vector<float> values = random_vector<float>(10, 1);
  const Tensor a = Tensor::from<float>({10}, values, Device::cpu());
  const Tensor b = a.to(other);
  EXPECT_TRUE(b.device() == other);
  EXPECT_SAME_BITS(b.to_host<float>(), values);
  EXPECT_EQ(a.to(Device::cpu()).raw(), a.raw());
}

TEST(Tensor, EmptyTensorsHaveNoValues) {
  const Tensor t = Tensor::zeros({0, 3}, Device::cpu());
  EXPECT_EQ(t.size(), 0);
  EXPECT_TRUE(t.to_host<float>().empty());
  EXPECT_EQ(Shape().size(), 1);
  EXPECT_EQ((Shape{4, 5}).to_string(), "[4,5]");
}

}  // namespace
}  // namespace offramp::test
