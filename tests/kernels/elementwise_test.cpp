#include "kernels/elementwise.h"

#include <bit>
#include <cmath>
#include <limits>

#include "kernels/ref/elementwise.h"
#include "tests/kernels/op_test.h"

namespace offramp::test {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Sizes around the vector width and over several chunks; the last one also starts misaligned.
struct Size {
  std::size_t n, offset;
};
constexpr Size kSizes[] = {{0, 0}, {1, 0}, {15, 1}, {16, 0}, {17, 1}, {1003, 0}, {40001, 1}};

template <class B>
class Elementwise : public BackendTest<B> {};
TYPED_TEST_SUITE(Elementwise, Backends, BackendNames);

template <class B>
class ElementwiseFloat : public BackendTest<B> {};
TYPED_TEST_SUITE(ElementwiseFloat, FloatBackends, BackendNames);

// An op with up to two inputs of values in [-2, 2): op(context, n, a, b, y, write) against reference(n, a, b,
// y, write). `error` bounds what the op computes before it is stored.
template <class B, class Op, class Reference>
void check_op(Op op, Reference reference, double error, bool has_write) {
  using Device = typename B::Device;
  using T = typename B::Value;
  for (const auto [n, offset] : kSizes) {
    for (const Write write : kWrites) {
      if (write == Write::kAccumulate && !has_write) continue;
      const auto a = random_vector<T>(n, 1, -2, 2), b = random_vector<T>(n, 2, -2, 2),
                 before = random_vector<T>(n, 3);
      const Fenced<T, Device> da(a, offset), db(b, offset);
      Fenced<T, Device> dy(start_values(write, before), offset);
      op(Device::context(), static_cast<std::int64_t>(n), da.data(), db.data(), dy.data(), write);
      std::vector<double> y = start_doubles(write, before);
      reference(static_cast<std::int64_t>(n), to_double(a).data(), to_double(b).data(), y.data(), write);
      EXPECT_CLOSE(dy.values(), y, stored_bounds<T>(y, error)) << "n " << n;
      EXPECT_SAME_BITS(da.values(), a);
    }
  }
}

TYPED_TEST(Elementwise, ReluForwardAndBackwardMatchTheReference) {
  check_op<TypeParam>([](auto& ctx, auto n, auto* a, auto*, auto* y, Write) { relu_forward(ctx, n, a, y); },
                      [](auto n, auto* a, auto*, auto* y, Write) { ref::relu_forward(n, a, y); },
                      0,
                      false);
  check_op<TypeParam>(
      [](auto& ctx, auto n, auto* a, auto* b, auto* y, Write w) { relu_backward(ctx, n, a, b, y, w); },
      [](auto n, auto* a, auto* b, auto* y, Write w) { ref::relu_backward(n, a, b, y, w); },
      0,
      true);
}

TYPED_TEST(Elementwise, SumsAndScalesMatchTheReference) {
  check_op<TypeParam>([](auto& ctx, auto n, auto* a, auto* b, auto* y, Write) { add(ctx, n, a, b, y); },
                      [](auto n, auto* a, auto* b, auto* y, Write) { ref::add(n, a, b, y); },
                      0,
                      false);
  // With a start value of its own, accumulate is an op that adds.
  using Device = typename TypeParam::Device;
  using T = typename TypeParam::Value;
  const auto x = random_vector<T>(1003, 1), before = random_vector<T>(1003, 2);
  const Fenced<T, Device> dx(x);
  Fenced<T, Device> dy(before);
  accumulate(Device::context(), 1003, dx.data(), dy.data());
  std::vector<double> y = to_double(before);
  ref::accumulate(1003, to_double(x).data(), y.data());
  EXPECT_CLOSE(dy.values(), y, stored_bounds<T>(y, 0));

  constexpr float kFactor = -0.3f;
  const double product_error = kEps<float> / 2 * 2 * std::fabs(static_cast<double>(kFactor));
  const auto scaled = [](auto n, auto* a, auto*, auto* out, Write w) {
    ref::scale(n, static_cast<double>(kFactor), a, out, w);
  };
  check_op<TypeParam>(
      [](auto& ctx, auto n, auto* a, auto*, auto* out, Write w) { scale(ctx, n, kFactor, a, out, w); },
      scaled,
      product_error,
      true);
  const Fenced<float, Device> factor(std::vector<float>{kFactor});
  check_op<TypeParam>(
      [&](auto& ctx, auto n, auto* a, auto*, auto* out, Write w) {
        scale_by(ctx, n, factor.data(), a, out, w);
      },
      scaled,
      product_error,
      true);
}

TYPED_TEST(Elementwise, FillSetsEveryValueAndNothingElse) {
  using Device = typename TypeParam::Device;
  using T = typename TypeParam::Value;
  for (const auto [n, offset] : kSizes) {
    Fenced<T, Device> y(n, offset);
    fill(Device::context(), static_cast<std::int64_t>(n), 1.5f, y.data());
    EXPECT_SAME_BITS(y.values(), std::vector<T>(n, T(1.5f)));
  }
}

TYPED_TEST(Elementwise, OutputsMayBeTheirInputs) {
  using Device = typename TypeParam::Device;
  using T = typename TypeParam::Value;
  constexpr std::int64_t kCount = 1003;
  const auto x = random_vector<T>(kCount, 1);
  Fenced<T, Device> in_place(x), apart(kCount);
  const Fenced<T, Device> input(x);
  relu_forward(Device::context(), kCount, input.data(), apart.data());
  relu_forward(Device::context(), kCount, in_place.data(), in_place.data());
  EXPECT_SAME_BITS(in_place.values(), apart.values());
  in_place.assign(x);
  add(Device::context(), kCount, input.data(), input.data(), apart.data());
  add(Device::context(), kCount, in_place.data(), in_place.data(), in_place.data());
  EXPECT_SAME_BITS(in_place.values(), apart.values());
  in_place.assign(x);
  scale(Device::context(), kCount, 3.f, input.data(), apart.data(), Write::kOverwrite);
  scale(Device::context(), kCount, 3.f, in_place.data(), in_place.data(), Write::kOverwrite);
  EXPECT_SAME_BITS(in_place.values(), apart.values());
}

TYPED_TEST(Elementwise, ReluKeepsNanAndPassesItNoGradient) {
  using Device = typename TypeParam::Device;
  using T = typename TypeParam::Value;
  const Fenced<T, Device> x(std::vector<T>{T(kNan), T(-kInfinity), T(kInfinity), T(-1.f), T(0.f)});
  const Fenced<T, Device> dy(std::vector<T>(5, T(2.f)));
  Fenced<T, Device> y(5), dx(5);
  relu_forward(Device::context(), 5, x.data(), y.data());
  relu_backward(Device::context(), 5, y.data(), dy.data(), dx.data(), Write::kOverwrite);
  EXPECT_CLOSE(y.values(), (std::vector<double>{std::nan(""), 0, kInfinity, 0, 0}), 0);
  EXPECT_CLOSE(dx.values(), (std::vector<double>{0, 0, 2, 0, 0}), 0);
}

// Every way a float can round to bf16: ties to even both ways, up across a binade, overflow, denormals, NaN.
const std::vector<std::uint32_t> kRoundingCases = {
    0x3f800000, 0x3f808000, 0x3f818000, 0x3f808001, 0x3f807fff, 0x3fffffff, 0x7f7fffff, 0x7f7f7fff,
    0x7f800000, 0xff800000, 0x7f800001, 0x7fc00000, 0xffffffff, 0x00000001, 0x00007fff, 0x00008000,
    0x00008001, 0x007fffff, 0x807fffff, 0x80000000, 0x00000000, 0x00018000};

TYPED_TEST(ElementwiseFloat, ConvertRoundsToNearestEvenAndKeepsNanAndDenormals) {
  using Device = typename TypeParam::Device;
  std::vector<float> x;
  for (const std::uint32_t u : kRoundingCases) x.push_back(std::bit_cast<float>(u));
  const auto more = random_vector<float>(40001, 4, -1000, 1000);
  x.insert(x.end(), more.begin(), more.end());
  std::vector<bf16> expected;
  for (const float value : x) expected.emplace_back(value);
  const auto n = static_cast<std::int64_t>(x.size());
  const Fenced<float, Device> dx(x);
  Fenced<bf16, Device> narrow(x.size());
  convert(Device::context(), n, dx.data(), narrow.data(), Write::kOverwrite);
  EXPECT_SAME_BITS(narrow.values(), expected);
  Fenced<float, Device> wide(x.size());
  convert(Device::context(), n, narrow.data(), wide.data(), Write::kOverwrite);
  for (std::size_t i = 0; i < x.size(); ++i) {
    ASSERT_EQ(std::bit_cast<std::uint32_t>(wide.values()[i]),
              static_cast<std::uint32_t>(expected[i].bits) << 16);
    if (i > kRoundingCases.size()) break;  // the copies of values() are what takes time here
  }
}

TYPED_TEST(ElementwiseFloat, ConvertAccumulatesInFloat) {
  using Device = typename TypeParam::Device;
  const auto x = random_vector<bf16>(37, 1);
  const auto before = random_vector<float>(37, 2);
  const Fenced<bf16, Device> dx(x);
  Fenced<float, Device> y(before);
  convert(Device::context(), 37, dx.data(), y.data(), Write::kAccumulate);
  Fenced<bf16, Device> z(std::vector<bf16>(37, bf16(0.5f)));
  convert(Device::context(), 37, y.data(), z.data(), Write::kAccumulate);
  std::vector<float> sum(37);
  std::vector<bf16> halves;
  for (std::size_t i = 0; i < 37; ++i) {
    sum[i] = before[i] + static_cast<float>(x[i]);
    halves.emplace_back(0.5f + sum[i]);
  }
  EXPECT_SAME_BITS(y.values(), sum);
  EXPECT_SAME_BITS(z.values(), halves);
}

TYPED_TEST(ElementwiseFloat, ProductsAndCombinationsMatchTheReference) {
  const double half_step = kEps<float> / 2;
  check_op<TypeParam>(
      [](auto& ctx, auto n, auto* a, auto* b, auto* y, Write w) { multiply(ctx, n, a, b, y, w); },
      [](auto n, auto* a, auto* b, auto* y, Write w) { ref::multiply(n, a, b, y, w); },
      half_step * 4,
      true);
  check_op<TypeParam>(
      [](auto& ctx, auto n, auto* a, auto* b, auto* y, Write) { axpby(ctx, n, 0.7f, a, -1.3f, b, y); },
      [](auto n, auto* a, auto* b, auto* y, Write) {
        ref::axpby(n, static_cast<double>(0.7f), a, static_cast<double>(-1.3f), b, y);
      },
      half_step * (2 * 0.7 + 2 * 1.3),
      false);
  check_op<TypeParam>([](auto& ctx, auto n, auto* a, auto*, auto* y, Write) { absolute(ctx, n, a, y); },
                      [](auto n, auto* a, auto*, auto* y, Write) { ref::absolute(n, a, y); },
                      0,
                      false);
  check_op<TypeParam>([](auto& ctx, auto n, auto* a, auto*, auto* y, Write) { sign(ctx, n, a, y); },
                      [](auto n, auto* a, auto*, auto* y, Write) { ref::sign(n, a, y); },
                      0,
                      false);
}

TYPED_TEST(ElementwiseFloat, TanhAndItsPixelsMatchTheReference) {
  constexpr double kTanhError = 4 * kEps<float>;  // libraries promise at most 2 ulp
  check_op<TypeParam>([](auto& ctx, auto n, auto* a, auto*, auto* y, Write) { tanh_forward(ctx, n, a, y); },
                      [](auto n, auto* a, auto*, auto* y, Write) { ref::tanh_forward(n, a, y); },
                      kTanhError,
                      false);
  check_op<TypeParam>(
      [](auto& ctx, auto n, auto* a, auto*, auto* y, Write) { pixels_from_tanh(ctx, n, a, y); },
      [](auto n, auto* a, auto*, auto* y, Write) { ref::pixels_from_tanh(n, a, y); },
      kTanhError,
      false);
  // Backward takes any number for the forward's output: |1 - y^2| <= 3, |2 x (1 - x)| <= 12, times |dy| <= 2.
  check_op<TypeParam>(
      [](auto& ctx, auto n, auto* a, auto* b, auto* y, Write w) { tanh_backward(ctx, n, a, b, y, w); },
      [](auto n, auto* a, auto* b, auto* y, Write w) { ref::tanh_backward(n, a, b, y, w); },
      2 * kEps<float> * 2 * 5,
      true);
  check_op<TypeParam>(
      [](auto& ctx, auto n, auto* a, auto* b, auto* y, Write w) {
        pixels_from_tanh_backward(ctx, n, a, b, y, w);
      },
      [](auto n, auto* a, auto* b, auto* y, Write w) { ref::pixels_from_tanh_backward(n, a, b, y, w); },
      2 * kEps<float> * 2 * 13,
      true);
}

TYPED_TEST(ElementwiseFloat, PixelsFromTanhStayInRangeAtTheEnds) {
  using Device = typename TypeParam::Device;
  const Fenced<float, Device> w(std::vector<float>{-100.f, -20.f, 0.f, 20.f, 100.f, kInfinity, -kInfinity});
  Fenced<float, Device> x(7);
  pixels_from_tanh(Device::context(), 7, w.data(), x.data());
  EXPECT_EQ(x.values(), (std::vector<float>{0.f, 0.f, 0.5f, 1.f, 1.f, 1.f, 0.f}));
}

TYPED_TEST(ElementwiseFloat, ClampPassesGradientsInsideAndAtTheBounds) {
  check_op<TypeParam>(
      [](auto& ctx, auto n, auto* a, auto*, auto* y, Write) { clamp(ctx, n, -0.5f, 1.25f, a, y); },
      [](auto n, auto* a, auto*, auto* y, Write) { ref::clamp(n, -0.5, 1.25, a, y); },
      0,
      false);
  check_op<TypeParam>(
      [](auto& ctx, auto n, auto* a, auto* b, auto* y, Write w) {
        clamp_backward(ctx, n, -0.5f, 1.25f, a, b, y, w);
      },
      [](auto n, auto* a, auto* b, auto* y, Write w) { ref::clamp_backward(n, -0.5, 1.25, a, b, y, w); },
      0,
      true);
  using Device = typename TypeParam::Device;
  const Fenced<float, Device> x(std::vector<float>{0.f, 1.f, -0x1p-149f, 1.0000001f, kNan});
  const Fenced<float, Device> dy(std::vector<float>(5, 3.f));
  Fenced<float, Device> y(5), dx(5);
  clamp(Device::context(), 5, 0.f, 1.f, x.data(), y.data());
  clamp_backward(Device::context(), 5, 0.f, 1.f, x.data(), dy.data(), dx.data(), Write::kOverwrite);
  EXPECT_CLOSE(y.values(), (std::vector<double>{0, 1, 0, 1, std::nan("")}), 0);
  EXPECT_EQ(dx.values(), (std::vector<float>{3.f, 3.f, 0.f, 0.f, 0.f}));
}

TYPED_TEST(ElementwiseFloat, SignOfZeroIsZeroAndOfNanIsNan) {
  using Device = typename TypeParam::Device;
  const Fenced<float, Device> x(
      std::vector<float>{0.f, -0.f, 0x1p-149f, -0x1p-149f, kInfinity, -kInfinity, kNan});
  Fenced<float, Device> y(7);
  sign(Device::context(), 7, x.data(), y.data());
  EXPECT_CLOSE(y.values(), (std::vector<double>{0, 0, 1, -1, 1, -1, std::nan("")}), 0);
}

// Pixels with all mantissas, small ones and the ends of the range.
std::vector<float> many_pixels(std::size_t n) {
  std::vector<float> x = random_vector<float>(n, 11, 0, 1);
  for (std::size_t i = 0; i < n; ++i) {
    if (i % 3 == 1) x[i] = static_cast<float>(i % 256) / 255.f;
    if (i % 3 == 2) x[i] = std::ldexp(x[i], -static_cast<int>(i % 40));
  }
  x[0] = 0.f;
  x[1] = 1.f;
  x[2] = 1.f - 0x1p-24f;
  return x;
}

TYPED_TEST(ElementwiseFloat, LinfStepNeverLeavesTheBallNorTheRange) {
  using Device = typename TypeParam::Device;
  constexpr std::size_t kCount = 40001;
  const std::vector<float> origin = many_pixels(kCount), grad = random_vector<float>(kCount, 12);
  const Fenced<float, Device> d_origin(origin), d_grad(grad);
  for (const float eps : {1.f / 255, 2.f / 255, 8.f / 255, 0.03f, 0.1f, 0.3f, 1e-3f, 1e-7f, 1.f}) {
    // Far over the edge in both directions, then steps that creep up to it.
    for (const float step : {10.f, 0.4f * eps}) {
      Fenced<float, Device> x(origin, 1);
      for (int i = 0; i < 4; ++i) {
        linf_step(Device::context(), kCount, d_origin.data(), d_grad.data(), step, eps, x.data());
      }
      const std::vector<float> got = x.values();
      double furthest = 0;
      for (std::size_t i = 0; i < kCount; ++i) {
        ASSERT_LE(std::fabs(got[i] - origin[i]), eps) << "pixel " << origin[i] << ", eps " << eps;
        ASSERT_GE(got[i], 0.f);
        ASSERT_LE(got[i], 1.f);
        furthest =
            std::max(furthest, std::fabs(static_cast<double>(got[i]) - static_cast<double>(origin[i])));
      }
      EXPECT_GT(furthest, 0.999 * static_cast<double>(eps));  // the ball is used up to its edge
    }
  }
}

TYPED_TEST(ElementwiseFloat, LinfStepMatchesTheReferenceWithinARounding) {
  using Device = typename TypeParam::Device;
  constexpr std::size_t kCount = 1003;
  const std::vector<float> origin = many_pixels(kCount);
  std::vector<float> grad = random_vector<float>(kCount, 12);
  grad[5] = 0.f;
  Fenced<float, Device> x(origin);
  const Fenced<float, Device> d_origin(origin), d_grad(grad);
  std::vector<double> expected = to_double(origin);
  for (int i = 0; i < 3; ++i) {
    linf_step(Device::context(), kCount, d_origin.data(), d_grad.data(), 0.02f, 0.05f, x.data());
    ref::linf_step(kCount,
                   to_double(origin).data(),
                   to_double(grad).data(),
                   static_cast<double>(0.02f),
                   static_cast<double>(0.05f),
                   expected.data());
  }
  EXPECT_CLOSE(x.values(), expected, 3 * kEps<float>);  // one rounding a step, one for the bound, in [0, 1]
}

TYPED_TEST(ElementwiseFloat, LinfStepWithoutRadiusReturnsTheInputBitForBit) {
  using Device = typename TypeParam::Device;
  constexpr std::size_t kCount = 40001;
  const std::vector<float> origin = many_pixels(kCount);
  const Fenced<float, Device> d_origin(origin), grad(random_vector<float>(kCount, 12));
  Fenced<float, Device> x(origin);
  linf_step(Device::context(), kCount, d_origin.data(), grad.data(), 0.1f, 0.f, x.data());
  EXPECT_SAME_BITS(x.values(), origin);
}

TYPED_TEST(ElementwiseFloat, LinfStepShowsANanGradient) {
  using Device = typename TypeParam::Device;
  const Fenced<float, Device> origin(std::vector<float>{0.5f, 0.5f}), grad(std::vector<float>{kNan, 1.f});
  Fenced<float, Device> x(std::vector<float>{0.5f, 0.5f});
  linf_step(Device::context(), 2, origin.data(), grad.data(), 0.25f, 0.25f, x.data());
  EXPECT_TRUE(std::isnan(x.values()[0]));
  EXPECT_EQ(x.values()[1], 0.75f);
}

TEST(ElementwiseReference, GradientsMatchCentralDifferences) {
  constexpr std::size_t kCount = 23;
  auto values = random_vector<float>(kCount, 21, -2, 2);
  keep_off(values, 0.f, 0.05f);
  keep_off(values, -0.5f, 0.05f);
  keep_off(values, 1.25f, 0.05f);
  const std::vector<double> x = to_double(values), u = random_cotangent(kCount, 22);
  const auto check = [&](auto forward, auto backward) {
    const VectorFn f = [&](const std::vector<double>& in) {
      std::vector<double> y(in.size());
      forward(in.data(), y.data());
      return y;
    };
    std::vector<double> dx(kCount);
    backward(f(x).data(), dx.data());
    expect_gradient(f, x, u, dx);
  };
  constexpr auto n = static_cast<std::int64_t>(kCount);
  check([](auto* in, auto* y) { ref::relu_forward(n, in, y); },
        [&](auto* y, auto* dx) { ref::relu_backward(n, y, u.data(), dx, Write::kOverwrite); });
  check([](auto* in, auto* y) { ref::tanh_forward(n, in, y); },
        [&](auto* y, auto* dx) { ref::tanh_backward(n, y, u.data(), dx, Write::kOverwrite); });
  check([](auto* in, auto* y) { ref::pixels_from_tanh(n, in, y); },
        [&](auto* y, auto* dx) { ref::pixels_from_tanh_backward(n, y, u.data(), dx, Write::kOverwrite); });
  check([](auto* in, auto* y) { ref::clamp(n, -0.5, 1.25, in, y); },
        [&](auto*, auto* dx) {
          ref::clamp_backward(n, -0.5, 1.25, x.data(), u.data(), dx, Write::kOverwrite);
        });
}

TEST(ElementwiseCpu, BitsDoNotDependOnTheThreadCount) {
  constexpr std::size_t kCount = 50003;
  const auto x = random_vector<float>(kCount, 1);
  expect_same_bits_for_any_thread_count([&](cpu::Context& ctx) {
    std::vector<float> y(kCount, 1.f);
    pixels_from_tanh(ctx, kCount, x.data(), y.data());
    axpby(ctx, kCount, 0.3f, x.data(), 0.9f, y.data(), y.data());
    relu_backward(ctx, kCount, x.data(), x.data(), y.data(), Write::kAccumulate);
    return y;
  });
}

}  // namespace
}  // namespace offramp::test
