#include "kernels/pool.h"

#include <cmath>
#include <limits>
#include <string>

#include "kernels/ref/pool.h"
#include "tests/kernels/op_test.h"

namespace offramp::test {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Windows side by side, overlapping, with gaps, with a rest at the edge, as large as the image, of one pixel;
// channels below, at and above the vector width; no images. They start at odd elements, so that CUDA reads one by
// one.
const PoolGeom kOddGeoms[] = {{.n = 2, .h = 5, .w = 7, .c = 3, .k = 2, .stride = 2},
                              {.n = 2, .h = 7, .w = 6, .c = 17, .k = 3, .stride = 2},
                              {.n = 1, .h = 6, .w = 5, .c = 16, .k = 3, .stride = 1},
                              {.n = 3, .h = 8, .w = 7, .c = 5, .k = 2, .stride = 3},
                              {.n = 2, .h = 8, .w = 12, .c = 33, .k = 4, .stride = 4},
                              {.n = 2, .h = 15, .w = 16, .c = 2, .k = 15, .stride = 1},
                              {.n = 2, .h = 17, .w = 18, .c = 5, .k = 16, .stride = 1},
                              {.n = 1, .h = 32, .w = 16, .c = 19, .k = 16, .stride = 16},
                              {.n = 2, .h = 4, .w = 3, .c = 18, .k = 1, .stride = 1},
                              {.n = 1, .h = 4, .w = 5, .c = 1, .k = 1, .stride = 2},
                              {.n = 0, .h = 4, .w = 4, .c = 3, .k = 2, .stride = 2}};

// Aligned starts and channels for CUDA's 16-byte forms: one access, a few, more than a block has lanes.
const PoolGeom kEvenGeoms[] = {{.n = 2, .h = 5, .w = 7, .c = 8, .k = 2, .stride = 2},
                               {.n = 2, .h = 6, .w = 5, .c = 24, .k = 3, .stride = 1},
                               {.n = 1, .h = 3, .w = 5, .c = 264, .k = 2, .stride = 2}};

struct Case {
  PoolGeom g;
  std::size_t offset;  // of every tensor's start, in elements
};
std::vector<Case> cases() {
  std::vector<Case> all;
  for (const PoolGeom& g : kOddGeoms) all.push_back({g, 1});
  for (const PoolGeom& g : kEvenGeoms) all.push_back({g, 0});
  return all;
}

std::string name_of(const PoolGeom& g) {
  return std::to_string(g.n) + "x" + std::to_string(g.h) + "x" + std::to_string(g.w) + "x" +
         std::to_string(g.c) + ", window " + std::to_string(g.k) + ", step " + std::to_string(g.stride);
}

template <class T>
std::vector<T> inputs(const PoolGeom& g) {
  return random_vector<T>(static_cast<std::size_t>(g.x_size()), 1);
}

// Places of the maxima, from the reference.
template <class T>
std::vector<std::uint8_t> places(const PoolGeom& g, const std::vector<T>& x) {
  std::vector<std::uint8_t> index(static_cast<std::size_t>(g.y_size()));
  std::vector<double> y(index.size());
  ref::max_pool_forward(g, to_double(x).data(), y.data(), index.data());
  return index;
}

// Values of a window sum to at most k * k times the largest, 1.
double mean_bound(const PoolGeom& g) { return sum_bound(g.k * g.k, g.k * g.k) / (g.k * g.k); }

template <class B>
class Pool : public BackendTest<B> {};
TYPED_TEST_SUITE(Pool, Backends, BackendNames);

TYPED_TEST(Pool, MaximaAndTheirPlacesAreExact) {
  using Device = typename TypeParam::Device;
  using T = typename TypeParam::Value;
  for (const auto& [g, offset] : cases()) {
    std::vector<T> x = inputs<T>(g);
    for (const bool ties : {false, true}) {
      if (ties) {
        for (T& value : x) value = T(std::round(static_cast<float>(value) * 1.5f));  // -1, 0 or 1
      }
      const Fenced<T, Device> dx(x, offset);
      const auto size = static_cast<std::size_t>(g.y_size());
      Fenced<T, Device> y(size, offset), y_alone(size, offset);
      Fenced<std::uint8_t, Device> index(size, offset);
      max_pool_forward(Device::context(), g, dx.data(), y.data(), index.data());
      max_pool_forward(Device::context(), g, dx.data(), y_alone.data(), nullptr);
      std::vector<double> expected(size);
      std::vector<std::uint8_t> place(size);
      ref::max_pool_forward(g, to_double(x).data(), expected.data(), place.data());
      EXPECT_CLOSE(y.values(), expected, 0) << name_of(g);
      EXPECT_EQ(index.values(), place) << name_of(g);
      EXPECT_SAME_BITS(y_alone.values(), y.values());
    }
  }
}

TYPED_TEST(Pool, TheLastPlaceOfTheWidestWindowFillsItsByte) {
  using Device = typename TypeParam::Device;
  using T = typename TypeParam::Value;
  for (const int channels : {17, 24}) {
    const auto width = static_cast<std::size_t>(channels);
    const PoolGeom g{.n = 1, .h = 16, .w = 16, .c = channels, .k = kMaxIndexedWindow, .stride = 16};
    std::vector<T> x(static_cast<std::size_t>(g.x_size()), T(0.f));
    std::vector<double> expected(x.size(), 0);
    for (std::size_t c = 0; c < width; ++c) x[255 * width + c] = T(1.f), expected[255 * width + c] = 2;
    const Fenced<T, Device> device_x(x), dy(std::vector<T>(width, T(2.f)));
    Fenced<T, Device> y(width), dx(x.size());
    Fenced<std::uint8_t, Device> index(width);
    max_pool_forward(Device::context(), g, device_x.data(), y.data(), index.data());
    EXPECT_EQ(index.values(), std::vector<std::uint8_t>(width, 255));
    max_pool_backward(Device::context(), g, dy.data(), index.data(), dx.data(), Write::kOverwrite);
    EXPECT_CLOSE(dx.values(), expected, 0);
  }
}

TYPED_TEST(Pool, TheFirstNanOfAWindowWins) {
  using Device = typename TypeParam::Device;
  using T = typename TypeParam::Value;
  for (const int channels : {1, 8}) {  // of several the last one has them
    const auto width = static_cast<std::size_t>(channels);
    const PoolGeom g{.n = 1, .h = 2, .w = 4, .c = channels, .k = 2, .stride = 2};
    // Left window: NaN at places 1 and 2; right window: NaN first, then larger numbers.
    const float pixels[] = {1.f, kNan, kNan, 5.f, kNan, 9.f, 7.f, 8.f};
    std::vector<T> x(8 * width, T(0.f));
    for (std::size_t i = 0; i < 8; ++i) x[i * width + width - 1] = T(pixels[i]);
    const Fenced<T, Device> dx(x);
    Fenced<T, Device> y(2 * width);
    Fenced<float, Device> mixed(2 * width), difference(2 * width);
    Fenced<std::uint8_t, Device> index(2 * width), mixed_index(2 * width);
    const Fenced<float, Device> alpha(std::vector<float>{0.25f});
    max_pool_forward(Device::context(), g, dx.data(), y.data(), index.data());
    exit_pool_forward(
        Device::context(), g, dx.data(), alpha.data(), mixed.data(), difference.data(), mixed_index.data());
    const std::vector<double> largest = to_double(y.values()), mean = to_double(mixed.values());
    std::vector<std::uint8_t> nan_places(2 * width, 0);
    nan_places[width - 1] = 1;
    for (std::size_t i = 0; i < 2 * width; ++i) {
      EXPECT_EQ(std::isnan(largest[i]), i % width == width - 1) << i;
      EXPECT_EQ(std::isnan(mean[i]), i % width == width - 1) << i;
    }
    EXPECT_EQ(index.values(), nan_places);
    EXPECT_EQ(mixed_index.values(), nan_places);
  }
}

TYPED_TEST(Pool, AverageMatchesTheReference) {
  using Device = typename TypeParam::Device;
  using T = typename TypeParam::Value;
  for (const auto& [g, offset] : cases()) {
    const std::vector<T> x = inputs<T>(g);
    const Fenced<T, Device> dx(x, offset);
    Fenced<float, Device> y(static_cast<std::size_t>(g.y_size()), offset);
    avg_pool_forward(Device::context(), g, dx.data(), y.data());
    std::vector<double> expected(y.size());
    ref::avg_pool_forward(g, to_double(x).data(), expected.data());
    EXPECT_CLOSE(y.values(), expected, mean_bound(g)) << name_of(g);
  }
}

TYPED_TEST(Pool, ExitPoolMatchesTheReference) {
  using Device = typename TypeParam::Device;
  using T = typename TypeParam::Value;
  for (const auto& [g, offset] : cases()) {
    for (const float a : {0.3f, 1.7f, -0.4f}) {  // alpha may leave [0, 1]
      const std::vector<T> x = inputs<T>(g);
      const auto size = static_cast<std::size_t>(g.y_size());
      const Fenced<T, Device> dx(x, offset);
      const Fenced<float, Device> alpha(std::vector<float>{a});
      Fenced<float, Device> y(size, offset), y_alone(size, offset), max_minus_avg(size, offset);
      Fenced<std::uint8_t, Device> index(size, offset);
      exit_pool_forward(
          Device::context(), g, dx.data(), alpha.data(), y.data(), max_minus_avg.data(), index.data());
      exit_pool_forward<T>(Device::context(), g, dx.data(), alpha.data(), y_alone.data(), nullptr, nullptr);
      std::vector<double> expected(size), difference(size);
      std::vector<std::uint8_t> place(size);
      const double ref_alpha = a;
      ref::exit_pool_forward(
          g, to_double(x).data(), &ref_alpha, expected.data(), difference.data(), place.data());
      EXPECT_CLOSE(y.values(), expected, 4 * mean_bound(g)) << name_of(g);
      EXPECT_CLOSE(max_minus_avg.values(), difference, 2 * mean_bound(g)) << name_of(g);
      EXPECT_EQ(index.values(), place) << name_of(g);
      EXPECT_SAME_BITS(y_alone.values(), y.values());
    }
  }
}

TYPED_TEST(Pool, BackwardsMatchTheReference) {
  using Device = typename TypeParam::Device;
  using T = typename TypeParam::Value;
  for (const auto& [g, offset] : cases()) {
    for (const Write write : kWrites) {
      const auto size = static_cast<std::size_t>(g.y_size());
      const std::vector<T> x = inputs<T>(g), before = random_vector<T>(x.size(), 2),
                           dy = random_vector<T>(size, 3);
      const std::vector<float> dy_float = random_vector<float>(size, 4);
      const std::vector<std::uint8_t> place = places(g, x);
      const Fenced<T, Device> d_dy(dy, offset);
      const Fenced<float, Device> d_dy_float(dy_float, offset), alpha(std::vector<float>{0.3f});
      const Fenced<std::uint8_t, Device> index(place, offset);
      const double ref_alpha = static_cast<double>(0.3f);
      // At most (k / stride + 1)^2 windows cover a pixel.
      const double covers = std::pow(g.k / g.stride + 1, 2), bound = sum_bound(covers, covers + 1);
      const auto check = [&](auto run, auto reference) {
        Fenced<T, Device> dx(start_values(write, before), offset);
        run(dx.data());
        std::vector<double> expected = start_doubles(write, before);
        reference(expected.data());
        EXPECT_CLOSE(dx.values(), expected, stored_bounds<T>(expected, bound)) << name_of(g);
      };
      check([&](T* dx) { max_pool_backward(Device::context(), g, d_dy.data(), index.data(), dx, write); },
            [&](double* dx) { ref::max_pool_backward(g, to_double(dy).data(), place.data(), dx, write); });
      check([&](T* dx) { avg_pool_backward(Device::context(), g, d_dy_float.data(), dx, write); },
            [&](double* dx) { ref::avg_pool_backward(g, to_double(dy_float).data(), dx, write); });
      check(
          [&](T* dx) {
            exit_pool_backward_input(
                Device::context(), g, d_dy_float.data(), alpha.data(), index.data(), dx, write);
          },
          [&](double* dx) {
            ref::exit_pool_backward_input(g, to_double(dy_float).data(), &ref_alpha, place.data(), dx, write);
          });
    }
  }
}

template <class B>
class PoolFloat : public BackendTest<B> {};
TYPED_TEST_SUITE(PoolFloat, FloatBackends, BackendNames);

TYPED_TEST(PoolFloat, GradientOfAlphaMatchesTheReference) {
  using Device = typename TypeParam::Device;
  for (const PoolGeom& g :
       {kOddGeoms[1], kOddGeoms[8], PoolGeom{.n = 20, .h = 8, .w = 8, .c = 67, .k = 2, .stride = 2}}) {
    for (const Write write : kWrites) {
      const auto size = static_cast<std::size_t>(g.y_size());
      const auto dy = random_vector<float>(size, 1), difference = random_vector<float>(size, 2, 0, 2);
      const Fenced<float, Device> d_dy(dy, 1), d_difference(difference, 1);
      Fenced<float, Device> dalpha(start_values(write, std::vector<float>{0.5f}));
      exit_pool_backward_alpha(Device::context(), g, d_dy.data(), d_difference.data(), dalpha.data(), write);
      double expected = 0.5, products = 0.5;
      ref::exit_pool_backward_alpha(g, to_double(dy).data(), to_double(difference).data(), &expected, write);
      for (std::size_t i = 0; i < size; ++i)
        products += std::fabs(static_cast<double>(dy[i] * difference[i]));
      EXPECT_CLOSE(dalpha.values(), {expected}, sum_bound(static_cast<double>(size), products)) << name_of(g);
    }
  }
}

TEST(PoolReference, GradientsMatchCentralDifferences) {
  for (const PoolGeom& g : {PoolGeom{.n = 2, .h = 5, .w = 4, .c = 3, .k = 2, .stride = 2},
                            PoolGeom{.n = 1, .h = 5, .w = 6, .c = 2, .k = 3, .stride = 2}}) {
    // All different by more than the step of the differences, so that no maximum changes its place.
    std::vector<double> x(static_cast<std::size_t>(g.x_size()));
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<double>(i * 37 % x.size()) / 50 - 0.6;
    const std::vector<double> u = random_cotangent(static_cast<std::size_t>(g.y_size()), 5), alpha = {0.3};
    const auto forward = [&](const std::vector<double>& in, const std::vector<double>& a) {
      std::vector<double> y(u.size());
      ref::exit_pool_forward<double>(g, in.data(), a.data(), y.data(), nullptr, nullptr);
      return y;
    };
    std::vector<double> y(u.size()), difference(u.size()), dx(x.size()), dalpha(1);
    std::vector<std::uint8_t> index(u.size());
    ref::exit_pool_forward(g, x.data(), alpha.data(), y.data(), difference.data(), index.data());
    ref::exit_pool_backward_input(g, u.data(), alpha.data(), index.data(), dx.data(), Write::kOverwrite);
    expect_gradient([&](const auto& in) { return forward(in, alpha); }, x, u, dx);
    ref::exit_pool_backward_alpha(g, u.data(), difference.data(), dalpha.data(), Write::kOverwrite);
    expect_gradient([&](const auto& in) { return forward(x, in); }, alpha, u, dalpha);

    ref::max_pool_backward(g, u.data(), index.data(), dx.data(), Write::kOverwrite);
    expect_gradient(
        [&](const auto& in) {
          std::vector<double> out(u.size());
          ref::max_pool_forward(g, in.data(), out.data(), nullptr);
          return out;
        },
        x,
        u,
        dx);
    ref::avg_pool_backward(g, u.data(), dx.data(), Write::kOverwrite);
    expect_gradient(
        [&](const auto& in) {
          std::vector<double> out(u.size());
          ref::avg_pool_forward(g, in.data(), out.data());
          return out;
        },
        x,
        u,
        dx);
  }
}

TEST(PoolCpu, BitsDoNotDependOnTheThreadCount) {
  const PoolGeom g{.n = 5, .h = 9, .w = 9, .c = 19, .k = 3, .stride = 2};
  const std::vector<float> x = inputs<float>(g);
  const std::vector<std::uint8_t> index = places(g, x);
  const auto dy = random_vector<float>(index.size(), 3);
  expect_same_bits_for_any_thread_count([&](cpu::Context& ctx) {
    std::vector<float> out(x.size() + index.size() + 1);
    const float alpha = 0.3f;
    exit_pool_forward<float>(ctx, g, x.data(), &alpha, out.data() + x.size(), nullptr, nullptr);
    exit_pool_backward_input(ctx, g, dy.data(), &alpha, index.data(), out.data(), Write::kAccumulate);
    exit_pool_backward_alpha(ctx, g, dy.data(), out.data() + x.size(), &out.back(), Write::kOverwrite);
    return out;
  });
}

}  // namespace
}  // namespace offramp::test
