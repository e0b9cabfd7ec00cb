#include "kernels/softmax.h"

#include <cmath>
#include <limits>

#include "kernels/ref/softmax.h"
#include "tests/kernels/op_test.h"

namespace offramp::test {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Shape {
  int rows, cols;
};
constexpr Shape kShapes[] = {
    {3, 1}, {5, 2}, {37, 10}, {2, 16}, {7, 17}, {300, 43}, {3, 200}, {2, 2500}, {0, 10}};
constexpr float kRange = 6.f;  // logits lie in [-6, 6)

// x - max is rounded once (12 eps at most), exp turns that into a relative error, the sum of `cols` terms and
// the division add theirs; a probability is at most 1, a log probability at most 12 + ln(cols).
double probability_bound(int cols) {
  return kEps<float> * (2 * static_cast<double>(kRange) + 4 + std::sqrt(cols));
}

std::vector<float> logits_of(Shape s) {
  return random_vector<float>(static_cast<std::size_t>(s.rows * s.cols), 1, -kRange, kRange);
}

template <class B>
class Softmax : public BackendTest<B> {};
TYPED_TEST_SUITE(Softmax, FloatBackends, BackendNames);

TYPED_TEST(Softmax, ForwardsMatchTheReference) {
  using Device = typename TypeParam::Device;
  for (const Shape s : kShapes) {
    const std::vector<float> x = logits_of(s);
    const Fenced<float, Device> dx(x, 1);
    Fenced<float, Device> p(x.size(), 1), log_p(x.size(), 1);
    softmax_rows(Device::context(), s.rows, s.cols, dx.data(), p.data());
    log_softmax_rows(Device::context(), s.rows, s.cols, dx.data(), log_p.data());
    std::vector<double> expected(x.size());
    ref::softmax_rows(s.rows, s.cols, to_double(x).data(), expected.data());
    EXPECT_CLOSE(p.values(), expected, probability_bound(s.cols)) << s.cols;
    ref::log_softmax_rows(s.rows, s.cols, to_double(x).data(), expected.data());
    EXPECT_CLOSE(log_p.values(), expected, 2 * probability_bound(s.cols)) << s.cols;
  }
}

TYPED_TEST(Softmax, BackwardsMatchTheReference) {
  using Device = typename TypeParam::Device;
  for (const Shape s : kShapes) {
    for (const Write write : kWrites) {
      const std::vector<float> x = logits_of(s), dy = random_vector<float>(x.size(), 2),
                               before = random_vector<float>(x.size(), 3);
      std::vector<double> p(x.size()), log_p(x.size());
      ref::softmax_rows(s.rows, s.cols, to_double(x).data(), p.data());
      ref::log_softmax_rows(s.rows, s.cols, to_double(x).data(), log_p.data());
      const auto check = [&](const std::vector<double>& y, auto run, auto reference, double sum) {
        const std::vector<float> rounded(y.begin(), y.end());
        const Fenced<float, Device> d_y(rounded, 1), d_dy(dy, 1);
        Fenced<float, Device> dx(start_values(write, before), 1);
        run(d_y.data(), d_dy.data(), dx.data());
        std::vector<double> expected = start_doubles(write, before);
        reference(to_double(rounded).data(), to_double(dy).data(), expected.data());
        // exp of a log probability repeats its rounding, 2 * 6 + ln(cols) in size.
        const double bound = sum_bound(s.cols, sum) + 24 * kEps<float> * sum;
        EXPECT_CLOSE(dx.values(), expected, stored_bounds<float>(expected, bound)) << s.cols;
      };
      check(
          p,
          [&](auto* y, auto* d, auto* dx) {
            softmax_rows_backward(Device::context(), s.rows, s.cols, y, d, dx, write);
          },
          [&](auto* y, auto* d, auto* dx) { ref::softmax_rows_backward(s.rows, s.cols, y, d, dx, write); },
          2);
      check(
          log_p,
          [&](auto* y, auto* d, auto* dx) {
            log_softmax_rows_backward(Device::context(), s.rows, s.cols, y, d, dx, write);
          },
          [&](auto* y, auto* d, auto* dx) {
            ref::log_softmax_rows_backward(s.rows, s.cols, y, d, dx, write);
          },
          s.cols);
    }
  }
}

TYPED_TEST(Softmax, ConfidenceAndItsGradientMatchTheReference) {
  using Device = typename TypeParam::Device;
  for (const Shape s : kShapes) {
    const std::vector<float> x = logits_of(s);
    const auto rows = static_cast<std::size_t>(s.rows);
    const Fenced<float, Device> dx_in(x, 1);
    Fenced<float, Device> confidence(rows, 1), alone(rows);
    Fenced<std::int32_t, Device> argmax(rows, 1);
    row_confidence(Device::context(), s.rows, s.cols, dx_in.data(), confidence.data(), argmax.data());
    row_confidence(Device::context(), s.rows, s.cols, dx_in.data(), alone.data(), nullptr);
    std::vector<double> expected(rows);
    std::vector<std::int32_t> place(rows);
    ref::row_confidence(s.rows, s.cols, to_double(x).data(), expected.data(), place.data());
    EXPECT_CLOSE(confidence.values(), expected, probability_bound(s.cols)) << s.cols;
    EXPECT_EQ(argmax.values(), place);
    EXPECT_SAME_BITS(alone.values(), confidence.values());

    const std::vector<float> dconf = random_vector<float>(rows, 2),
                             before = random_vector<float>(x.size(), 3);
    const Fenced<float, Device> d_dconf(dconf, 1);
    for (const Write write : kWrites) {
      Fenced<float, Device> dlogits(start_values(write, before), 1);
      row_confidence_backward(Device::context(),
                              s.rows,
                              s.cols,
                              dx_in.data(),
                              confidence.data(),
                              argmax.data(),
                              d_dconf.data(),
                              dlogits.data(),
                              write);
      std::vector<double> gradient = start_doubles(write, before);
      ref::row_confidence_backward(s.rows,
                                   s.cols,
                                   to_double(x).data(),
                                   expected.data(),
                                   place.data(),
                                   to_double(dconf).data(),
                                   gradient.data(),
                                   write);
      EXPECT_CLOSE(dlogits.values(), gradient, stored_bounds<float>(gradient, 4 * probability_bound(s.cols)))
          << s.cols;
    }
  }
}

TYPED_TEST(Softmax, TheFirstOfEqualClassesIsTheArgmax) {
  using Device = typename TypeParam::Device;
  std::vector<float> x(2 * 40, 1.f);
  x[17] = x[38] = 3.f;
  const Fenced<float, Device> dx(x);
  Fenced<float, Device> confidence(2);
  Fenced<std::int32_t, Device> argmax(2);
  row_confidence(Device::context(), 2, 40, dx.data(), confidence.data(), argmax.data());
  EXPECT_EQ(argmax.values(), (std::vector<std::int32_t>{17, 0}));
  EXPECT_CLOSE(
      confidence.values(), (std::vector<double>{1 / (2 + 38 * std::exp(-2.)), 1. / 40}), 16 * kEps<float>);
}

TYPED_TEST(Softmax, HugeAndImpossibleLogitsStayFinite) {
  using Device = typename TypeParam::Device;
  const Fenced<float, Device> x(std::vector<float>{1e30f, -1e30f, 0.f, -kInfinity, 5.f, 5.f});
  Fenced<float, Device> p(6), confidence(2);
  softmax_rows(Device::context(), 2, 3, x.data(), p.data());
  row_confidence(Device::context(), 2, 3, x.data(), confidence.data(), nullptr);
  EXPECT_EQ(p.values(), (std::vector<float>{1, 0, 0, 0, 0.5f, 0.5f}));
  EXPECT_EQ(confidence.values(), (std::vector<float>{1, 0.5f}));
}

TYPED_TEST(Softmax, ANanStaysInItsRow) {
  using Device = typename TypeParam::Device;
  const Fenced<float, Device> x(std::vector<float>{1, std::nanf(""), 2, 1, 2, 3});
  Fenced<float, Device> p(6), confidence(2);
  Fenced<std::int32_t, Device> argmax(2);
  softmax_rows(Device::context(), 2, 3, x.data(), p.data());
  row_confidence(Device::context(), 2, 3, x.data(), confidence.data(), argmax.data());
  for (std::size_t i = 0; i < 6; ++i) EXPECT_EQ(std::isnan(p.values()[i]), i < 3);
  EXPECT_TRUE(std::isnan(confidence.values()[0]));
  EXPECT_GE(argmax.values()[0], 0);
  EXPECT_LT(argmax.values()[0], 3);
}

TYPED_TEST(Softmax, ARowDoesNotDependOnItsPlaceInTheBatch) {
  using Device = typename TypeParam::Device;
  const Shape s{9, 23};
  const std::vector<float> x = logits_of(s);
  const Fenced<float, Device> all(x);
  Fenced<float, Device> p(x.size()), confidence(9);
  softmax_rows(Device::context(), s.rows, s.cols, all.data(), p.data());
  row_confidence(Device::context(), s.rows, s.cols, all.data(), confidence.data(), nullptr);
  for (std::size_t r = 0; r < 9; ++r) {
    const auto first = static_cast<std::ptrdiff_t>(r * 23);
    const Fenced<float, Device> row(std::vector<float>(x.begin() + first, x.begin() + first + 23));
    Fenced<float, Device> p_row(23), one(1);
    softmax_rows(Device::context(), 1, 23, row.data(), p_row.data());
    row_confidence(Device::context(), 1, 23, row.data(), one.data(), nullptr);
    const std::vector<float> batch = p.values();
    EXPECT_SAME_BITS(p_row.values(), std::vector<float>(batch.begin() + first, batch.begin() + first + 23));
    EXPECT_EQ(one.values()[0], confidence.values()[r]);
  }
}

TEST(SoftmaxReference, GradientsMatchCentralDifferences) {
  const Shape s{3, 7};
  const std::vector<double> x = to_double(random_vector<float>(21, 1, -2, 2)), u = random_cotangent(21, 2);
  const auto check = [&](auto forward, auto backward) {
    const VectorFn f = [&](const std::vector<double>& in) {
      std::vector<double> y(in.size());
      forward(in.data(), y.data());
      return y;
    };
    std::vector<double> dx(x.size());
    backward(f(x).data(), dx.data());
    expect_gradient(f, x, u, dx);
  };
  check([&](auto* in, auto* y) { ref::softmax_rows(s.rows, s.cols, in, y); },
        [&](auto* y, auto* dx) {
          ref::softmax_rows_backward(s.rows, s.cols, y, u.data(), dx, Write::kOverwrite);
        });
  check([&](auto* in, auto* y) { ref::log_softmax_rows(s.rows, s.cols, in, y); },
        [&](auto* y, auto* dx) {
          ref::log_softmax_rows_backward(s.rows, s.cols, y, u.data(), dx, Write::kOverwrite);
        });

  const std::vector<double> dconf = {0.7, -1.3, 0.4};
  std::vector<std::int32_t> argmax(3);
  const VectorFn confidences = [&](const std::vector<double>& in) {
    std::vector<double> c(3);
    ref::row_confidence(s.rows, s.cols, in.data(), c.data(), argmax.data());
    return c;
  };
  const std::vector<double> c = confidences(x);
  std::vector<double> dx(x.size());
  ref::row_confidence_backward(
      s.rows, s.cols, x.data(), c.data(), argmax.data(), dconf.data(), dx.data(), Write::kOverwrite);
  expect_gradient(confidences, x, dconf, dx);
}

TEST(SoftmaxCpu, BitsDoNotDependOnTheThreadCount) {
  const Shape s{700, 43};
  const std::vector<float> x = logits_of(s);
  expect_same_bits_for_any_thread_count([&](cpu::Context& ctx) {
    std::vector<float> p(x.size());
    softmax_rows(ctx, s.rows, s.cols, x.data(), p.data());
    softmax_rows_backward(ctx, s.rows, s.cols, p.data(), x.data(), p.data(), Write::kAccumulate);
    return p;
  });
}

}  // namespace
}  // namespace offramp::test
