#include "kernels/reduce.h"

#include <cmath>
#include <limits>

#include "kernels/ref/reduce.h"
#include "tests/kernels/op_test.h"

namespace offramp::test {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr std::size_t kSizes[] = {0, 1, 17, 1003, 50003};
constexpr RowNorm kNorms[] = {RowNorm::kSum, RowNorm::kL1, RowNorm::kSquaredL2, RowNorm::kL2, RowNorm::kLinf};

double absolute_sum(const std::vector<double>& values) {
  double sum = 0;
  for (const double v : values) sum += std::fabs(v);
  return sum;
}

template <class B>
class Reduce : public BackendTest<B> {};
TYPED_TEST_SUITE(Reduce, Backends, BackendNames);

TYPED_TEST(Reduce, SumMatchesTheReference) {
  using Device = typename TypeParam::Device;
  using T = typename TypeParam::Value;
  for (const std::size_t n : kSizes) {
    for (const Write write : kWrites) {
      const auto x = random_vector<T>(n, 1);
      const Fenced<T, Device> dx(x, 1);
      Fenced<float, Device> out(start_values(write, std::vector<float>{2.5f}));
      sum_all(Device::context(), static_cast<std::int64_t>(n), dx.data(), out.data(), write);
      double expected = 2.5;
      ref::sum_all(static_cast<std::int64_t>(n), to_double(x).data(), &expected, write);
      EXPECT_CLOSE(
          out.values(), {expected}, sum_bound(static_cast<double>(n), absolute_sum(to_double(x)) + 2.5))
          << n;
    }
  }
}

TYPED_TEST(Reduce, NonfiniteValuesAreCounted) {
  using Device = typename TypeParam::Device;
  using T = typename TypeParam::Value;
  for (const std::size_t n : kSizes) {
    auto x = random_vector<T>(n, 1);
    std::int32_t expected = 0;
    for (std::size_t i = n % 7; i < n; i += 5 + i % 11) {
      x[i] = T(i % 3 == 0 ? kNan : i % 3 == 1 ? kInfinity : -kInfinity);
      ++expected;
    }
    if (n > 0) x[0] = T(std::numeric_limits<float>::denorm_min());
    if (n > 0 && n % 7 == 0) --expected;
    const Fenced<T, Device> dx(x, 1);
    Fenced<std::int32_t, Device> out(1);
    count_nonfinite(Device::context(), static_cast<std::int64_t>(n), dx.data(), out.data());
    EXPECT_EQ(out.values()[0], expected) << n;
    EXPECT_EQ(ref::count_nonfinite(static_cast<std::int64_t>(n), to_double(x).data()), expected);
  }
}

template <class B>
class ReduceFloat : public BackendTest<B> {};
TYPED_TEST_SUITE(ReduceFloat, FloatBackends, BackendNames);

TYPED_TEST(ReduceFloat, DotMatchesTheReference) {
  using Device = typename TypeParam::Device;
  for (const std::size_t n : kSizes) {
    const auto a = random_vector<float>(n, 1), b = random_vector<float>(n, 2);
    const Fenced<float, Device> da(a, 1), db(b);
    Fenced<float, Device> out(1);
    dot(Device::context(), static_cast<std::int64_t>(n), da.data(), db.data(), out.data());
    double expected = 0, products = 0;
    ref::dot(static_cast<std::int64_t>(n), to_double(a).data(), to_double(b).data(), &expected);
    for (std::size_t i = 0; i < n; ++i)
      products += std::fabs(static_cast<double>(a[i]) * static_cast<double>(b[i]));
    EXPECT_CLOSE(out.values(), {expected}, sum_bound(static_cast<double>(n), products)) << n;
  }
}

struct Rows {
  int rows;
  std::int64_t cols;
};
constexpr Rows kRows[] = {{3, 1}, {5, 17}, {2, 48}, {4, 3072}, {1, 20011}, {0, 7}, {3, 0}};

TYPED_TEST(ReduceFloat, RowNormsAndTheirGradientsMatchTheReference) {
  using Device = typename TypeParam::Device;
  for (const Rows r : kRows) {
    const auto rows = static_cast<std::size_t>(r.rows), cols = static_cast<std::size_t>(r.cols);
    std::vector<float> x = random_vector<float>(rows * cols, 1);
    if (rows > 1 && cols > 0) {
      for (std::size_t k = 0; k < cols; ++k)
        x[cols + k] = 0.f;              // a row of zeros: every norm has its kink there
      x[cols - 1] = -2.f;               // a negative maximum,
      if (cols > 2) x[cols - 2] = 2.f;  // reached twice
    }
    const std::vector<float> dnorm = random_vector<float>(rows, 2, 0.5f, 2),
                             before = random_vector<float>(x.size(), 3);
    const Fenced<float, Device> dx_in(x, 1), d_dnorm(dnorm);
    for (const RowNorm kind : kNorms) {
      Fenced<float, Device> norm(rows, 1);
      row_norm(Device::context(), r.rows, r.cols, kind, dx_in.data(), norm.data());
      std::vector<double> expected(rows), bound(rows);
      ref::row_norm(r.rows, r.cols, kind, to_double(x).data(), expected.data());
      for (std::size_t i = 0; i < rows; ++i) {
        // |x| <= 2, most |x| <= 1; a root halves the relative error.
        bound[i] =
            kind == RowNorm::kLinf
                ? 0
                : stored_bound<float>(expected[i],
                                      sum_bound(static_cast<double>(cols), static_cast<double>(cols) + 8));
        if (kind == RowNorm::kL2 && expected[i] > 0) bound[i] /= expected[i];
      }
      EXPECT_CLOSE(norm.values(), expected, bound)
          << r.rows << " x " << r.cols << ", kind " << static_cast<int>(kind);
      for (const Write write : kWrites) {
        Fenced<float, Device> dx(start_values(write, before), 1);
        row_norm_backward(Device::context(),
                          r.rows,
                          r.cols,
                          kind,
                          dx_in.data(),
                          norm.data(),
                          d_dnorm.data(),
                          dx.data(),
                          write);
        std::vector<double> gradient = start_doubles(write, before);
        ref::row_norm_backward(r.rows,
                               r.cols,
                               kind,
                               to_double(x).data(),
                               to_double(norm.values()).data(),
                               to_double(dnorm).data(),
                               gradient.data(),
                               write);
        EXPECT_CLOSE(dx.values(), gradient, stored_bounds<float>(gradient, 3 * kEps<float> * 8))
            << r.rows << " x " << r.cols << ", kind " << static_cast<int>(kind);
      }
    }
  }
}

TYPED_TEST(ReduceFloat, ANanShowsInEveryNorm) {
  using Device = typename TypeParam::Device;
  const Fenced<float, Device> x(std::vector<float>{1.f, kNan, 3.f, 1.f, 2.f, 3.f});
  for (const RowNorm kind : kNorms) {
    Fenced<float, Device> norm(2);
    row_norm(Device::context(), 2, 3, kind, x.data(), norm.data());
    EXPECT_TRUE(std::isnan(norm.values()[0])) << static_cast<int>(kind);
    EXPECT_FALSE(std::isnan(norm.values()[1])) << static_cast<int>(kind);
  }
}

TYPED_TEST(ReduceFloat, ColumnSumsMatchTheReference) {
  using Device = typename TypeParam::Device;
  for (const Rows r : {Rows{0, 5}, Rows{1, 3}, Rows{130, 17}, Rows{37, 201}}) {
    for (const Write write : kWrites) {
      const auto cols = static_cast<std::size_t>(r.cols);
      const auto x = random_vector<float>(static_cast<std::size_t>(r.rows) * cols, 1),
                 before = random_vector<float>(cols, 2);
      const Fenced<float, Device> dx(x, 1);
      Fenced<float, Device> out(start_values(write, before), 1);
      column_sum(Device::context(), r.rows, static_cast<int>(r.cols), dx.data(), out.data(), write);
      std::vector<double> expected = start_doubles(write, before);
      ref::column_sum(r.rows, static_cast<int>(r.cols), to_double(x).data(), expected.data(), write);
      EXPECT_CLOSE(out.values(), expected, sum_bound(r.rows, r.rows + 1));
    }
  }
}

TEST(ReduceReference, GradientsOfNormsMatchCentralDifferences) {
  auto values = random_vector<float>(3 * 7, 1);
  keep_off(values, 0.f, 0.05f);
  const std::vector<double> x = to_double(values), u = {0.7, -1.3, 0.4};
  for (const RowNorm kind : kNorms) {
    const auto forward = [&](const std::vector<double>& in) {
      std::vector<double> norm(3);
      ref::row_norm(3, 7, kind, in.data(), norm.data());
      return norm;
    };
    std::vector<double> dx(x.size());
    ref::row_norm_backward(3, 7, kind, x.data(), forward(x).data(), u.data(), dx.data(), Write::kOverwrite);
    expect_gradient(forward, x, u, dx);
  }
}

TEST(ReduceCpu, BitsDoNotDependOnTheThreadCount) {
  const auto x = random_vector<float>(100003, 1), y = random_vector<float>(100003, 2);
  expect_same_bits_for_any_thread_count([&](cpu::Context& ctx) {
    std::vector<float> out(2 + 29 + 3448);
    sum_all(ctx, 100003, x.data(), out.data(), Write::kOverwrite);
    dot(ctx, 100003, x.data(), y.data(), out.data() + 1);
    row_norm(ctx, 29, 3448, RowNorm::kL2, x.data(), out.data() + 2);
    column_sum(ctx, 29, 3448, x.data(), out.data() + 31, Write::kOverwrite);
    return out;
  });
}

}  // namespace
}  // namespace offramp::test
