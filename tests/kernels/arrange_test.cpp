#include "kernels/arrange.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/ref/arrange.h"
#include "tests/kernels/op_test.h"

namespace offramp::test {
namespace {

template <class B>
class Arrange : public BackendTest<B> {};
TYPED_TEST_SUITE(Arrange, Backends, BackendNames);

TYPED_TEST(Arrange, ColumnsGoIntoTheirPlaceAndBack) {
  using Device = typename TypeParam::Device;
  using T = typename TypeParam::Value;
  struct Case {
    std::int64_t rows;
    int total, offset, width;
  };
  for (const Case c :
       {Case{5, 11, 3, 4}, Case{1, 3, 0, 3}, Case{37, 50, 17, 33}, Case{900, 40, 24, 16}, Case{0, 5, 1, 2}}) {
    const auto size = static_cast<std::size_t>(c.rows * c.total),
               part_size = static_cast<std::size_t>(c.rows * c.width);
    const auto part = random_vector<T>(part_size, 1), start = random_vector<T>(size, 2);
    const Fenced<T, Device> d_part(part, 1);
    Fenced<T, Device> whole(start, 1);
    write_columns(Device::context(), c.rows, c.total, c.offset, c.width, d_part.data(), whole.data());
    std::vector<T> expected = start;
    ref::write_columns(c.rows, c.total, c.offset, c.width, part.data(), expected.data());
    EXPECT_SAME_BITS(whole.values(), expected);
    for (const Write write : kWrites) {
      const auto before = random_vector<T>(part_size, 3);
      Fenced<T, Device> back(start_values(write, before), 1);
      read_columns(Device::context(), c.rows, c.total, c.offset, c.width, whole.data(), back.data(), write);
      std::vector<double> sum = start_doubles(write, before);
      ref::read_columns(c.rows, c.total, c.offset, c.width, to_double(expected).data(), sum.data(), write);
      EXPECT_CLOSE(back.values(), sum, stored_bounds<T>(sum, 0));
      if (write == Write::kOverwrite) {
        EXPECT_SAME_BITS(back.values(), part);
      }
    }
  }
}

TYPED_TEST(Arrange, DropoutTakesItsMaskFromTheKeyAndTheStep) {
  using Device = typename TypeParam::Device;
  using T = typename TypeParam::Value;
  struct Case {
    std::size_t n, offset;  // 0: in 16-byte accesses, but for the tail
  };
  for (const auto [n, offset] :
       {Case{0, 0}, Case{1, 0}, Case{67, 1}, Case{67, 0}, Case{4003, 0}, Case{40001, 1}}) {
    for (const float p : {0.f, 0.3f, 0.5f, 1.f}) {
      for (const Write write : kWrites) {
        const PhiloxKey key{.seed = 0x123456789abcdefull, .stream = 4, .op = 9, .step = 777};
        PhiloxKey stepped = key;
        stepped.step = 13;  // the state's step counts, not the key's
        const Fenced<StepState, Device> state(std::vector<StepState>{{.step = 13}});
        const auto x = random_vector<T>(n, 1), before = random_vector<T>(n, 2);
        const Fenced<T, Device> dx(x, offset);
        Fenced<T, Device> y(start_values(write, before), offset);
        dropout(Device::context(),
                static_cast<std::int64_t>(n),
                p,
                key,
                state.data(),
                dx.data(),
                y.data(),
                write);
        std::vector<double> expected = start_doubles(write, before);
        ref::dropout(static_cast<std::int64_t>(n), p, stepped, to_double(x).data(), expected.data(), write);
        // x / (1 - p) <= 2, as a product with a rounded reciprocal.
        EXPECT_CLOSE(y.values(), expected, stored_bounds<T>(expected, 2 * kEps<float>)) << n << ", p " << p;
      }
    }
  }
}

TYPED_TEST(Arrange, DropoutOfTheGradientUsesTheSameMask) {
  using Device = typename TypeParam::Device;
  using T = typename TypeParam::Value;
  constexpr std::size_t kCount = 5003;
  const Fenced<StepState, Device> state(std::vector<StepState>{{.step = 2}});
  const Fenced<T, Device> ones(std::vector<T>(kCount, T(1.f)));
  Fenced<T, Device> y(kCount), dx(kCount);
  const PhiloxKey key = test_key(3);
  dropout(Device::context(), kCount, 0.25f, key, state.data(), ones.data(), y.data(), Write::kOverwrite);
  dropout(Device::context(), kCount, 0.25f, key, state.data(), ones.data(), dx.data(), Write::kOverwrite);
  EXPECT_SAME_BITS(y.values(), dx.values());
  const std::vector<double> kept = to_double(y.values());
  const auto zeros = static_cast<double>(std::count(kept.begin(), kept.end(), 0.));
  EXPECT_NEAR(zeros / kCount, 0.25, 5 * std::sqrt(0.25 * 0.75 / kCount));  // five sigma
}

TYPED_TEST(Arrange, PixelsAreNormalisedPerChannel) {
  using Device = typename TypeParam::Device;
  using T = typename TypeParam::Value;
  for (const int channels : {1, 3, 5, 16}) {
    for (const std::int64_t rows : {0, 1, 7, 9001}) {
      const auto size = static_cast<std::size_t>(rows * channels);
      const auto x = random_vector<float>(size, 1, 0, 1), before = random_vector<float>(size, 2);
      const auto dy = random_vector<T>(size, 3);
      const auto width = static_cast<std::size_t>(channels);
      const auto mean = random_vector<float>(width, 4, 0, 1), inv_std = random_vector<float>(width, 5, 2, 5);
      const Fenced<float, Device> dx_in(x, 1), d_mean(mean), d_inv_std(inv_std);
      const Fenced<T, Device> d_dy(dy, 1);
      Fenced<T, Device> y(size, 1);
      normalize_pixels(
          Device::context(), rows, channels, d_mean.data(), d_inv_std.data(), dx_in.data(), y.data());
      std::vector<double> expected(size);
      ref::normalize_pixels(
          rows, channels, mean.data(), inv_std.data(), to_double(x).data(), expected.data());
      EXPECT_CLOSE(y.values(), expected, stored_bounds<T>(expected, 2 * kEps<float> * 5));
      for (const Write write : kWrites) {
        Fenced<float, Device> dx(start_values(write, before), 1);
        normalize_pixels_backward(
            Device::context(), rows, channels, d_inv_std.data(), d_dy.data(), dx.data(), write);
        std::vector<double> gradient = start_doubles(write, before);
        ref::normalize_pixels_backward(
            rows, channels, inv_std.data(), to_double(dy).data(), gradient.data(), write);
        EXPECT_CLOSE(dx.values(), gradient, stored_bounds<float>(gradient, 2 * kEps<float> * 5));
      }
    }
  }
}

template <class B>
class ArrangeFloat : public BackendTest<B> {};
TYPED_TEST_SUITE(ArrangeFloat, FloatBackends, BackendNames);

TYPED_TEST(ArrangeFloat, RowsAreGatheredAndScattered) {
  using Device = typename TypeParam::Device;
  struct Case {
    std::size_t bytes, offset;  // CUDA moves rows of 16-byte words that start aligned as such
  };
  for (const auto [bytes, offset] :
       {Case{1, 1}, Case{12, 0}, Case{67, 1}, Case{4096, 1}, Case{16, 0}, Case{48, 0}, Case{4096, 0}}) {
    constexpr std::size_t kRows = 23, kPicked = 9;
    std::vector<std::uint8_t> src(kRows * bytes);
    const PhiloxKey key = test_key(1);
    for (std::size_t i = 0; i < src.size(); ++i) src[i] = static_cast<std::uint8_t>(key.word(i));
    const std::vector<std::int32_t> index = {22, 0, 7, 3, 19, 1, 20, 11, 4};
    const Fenced<std::uint8_t, Device> d_src(src, offset);
    const Fenced<std::int32_t, Device> d_index(index);
    Fenced<std::uint8_t, Device> picked(kPicked * bytes, offset),
        back(std::vector<std::uint8_t>(src.size(), 9), offset);
    gather_rows(Device::context(),
                kPicked,
                static_cast<std::int64_t>(bytes),
                d_index.data(),
                d_src.data(),
                picked.data());
    scatter_rows(Device::context(),
                 kPicked,
                 static_cast<std::int64_t>(bytes),
                 d_index.data(),
                 picked.data(),
                 back.data());
    std::vector<std::uint8_t> rows, whole(src.size(), 9);
    for (const std::int32_t row : index) {
      const auto first = src.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(row) * bytes);
      const auto last = first + static_cast<std::ptrdiff_t>(bytes);
      rows.insert(rows.end(), first, last);
      std::copy(first, last, whole.begin() + (first - src.begin()));
    }
    EXPECT_EQ(picked.values(), rows);
    EXPECT_EQ(back.values(), whole);
    gather_rows(
        Device::context(), 0, static_cast<std::int64_t>(bytes), d_index.data(), d_src.data(), picked.data());
    EXPECT_EQ(picked.values(), rows);
  }
}

TYPED_TEST(ArrangeFloat, GatheringMayRepeatARow) {
  using Device = typename TypeParam::Device;
  const Fenced<float, Device> src(std::vector<float>{1, 2, 3, 4});
  const Fenced<std::int32_t, Device> index(std::vector<std::int32_t>{1, 1, 0});
  Fenced<float, Device> dst(6);
  gather_rows(Device::context(), 3, 8, index.data(), src.data(), dst.data());
  EXPECT_EQ(dst.values(), (std::vector<float>{3, 4, 3, 4, 1, 2}));
}

TYPED_TEST(ArrangeFloat, LayoutsArePermutationsOfEachOther) {
  using Device = typename TypeParam::Device;
  struct Case {
    int n, c, h, w;
  };
  for (const Case s :
       {Case{2, 3, 5, 7}, Case{1, 17, 3, 2}, Case{3, 1, 4, 5}, Case{0, 3, 2, 2}, Case{2, 33, 18, 19}}) {
    const auto size = static_cast<std::size_t>(s.n) * static_cast<std::size_t>(s.c * s.h * s.w);
    std::vector<float> x(size), expected(size);
    std::iota(x.begin(), x.end(), 1.f);
    const Fenced<float, Device> dx(x, 1);
    Fenced<float, Device> y(size, 1), back(size, 1);
    nchw_to_nhwc(Device::context(), s.n, s.c, s.h, s.w, dx.data(), y.data());
    nhwc_to_nchw(Device::context(), s.n, s.c, s.h, s.w, y.data(), back.data());
    ref::nchw_to_nhwc(s.n, s.c, s.h, s.w, x.data(), expected.data());
    EXPECT_SAME_BITS(y.values(), expected);
    EXPECT_SAME_BITS(back.values(), x);
  }
}

TEST(ArrangeReference, GradientOfNormalisationMatchesCentralDifferences) {
  const std::vector<float> mean = {0.4f, 0.5f, 0.6f}, inv_std = {4.f, 3.f, 5.f};
  const std::vector<double> x = to_double(random_vector<float>(21, 1, 0, 1)), u = random_cotangent(21, 2);
  std::vector<double> dx(21);
  ref::normalize_pixels_backward(7, 3, inv_std.data(), u.data(), dx.data(), Write::kOverwrite);
  expect_gradient(
      [&](const std::vector<double>& in) {
        std::vector<double> y(in.size());
        ref::normalize_pixels(7, 3, mean.data(), inv_std.data(), in.data(), y.data());
        return y;
      },
      x,
      u,
      dx);
}

TEST(ArrangeCpu, BitsDoNotDependOnTheThreadCount) {
  constexpr std::int64_t kCount = 50003;
  const auto x = random_vector<float>(kCount, 1);
  const StepState state{.step = 5};
  expect_same_bits_for_any_thread_count([&](cpu::Context& ctx) {
    std::vector<float> y(kCount);
    dropout(ctx, kCount, 0.4f, test_key(2), &state, x.data(), y.data(), Write::kOverwrite);
    return y;
  });
}

}  // namespace
}  // namespace offramp::test
