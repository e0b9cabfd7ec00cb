#include "kernels/linear.h"

#include <gtest/gtest.h>

#include "kernels/ref/linear.h"
#include "tests/support/backends.h"
#include "tests/support/close.h"
#include "tests/support/fenced.h"
#include "tests/support/gradcheck.h"

namespace offramp::test {
namespace {

template <class B>
class Linear : public BackendTest<B> {};
TYPED_TEST_SUITE(Linear, FloatBackends, BackendNames);

// All sizes different, size 1, remainders of the vector and of the register tile, more than one row block.
const LinearGeom kGeoms[] = {{2, 3, 5},
                             {1, 1, 1},
                             {1, 40, 10},
                             {7, 1, 3},
                             {3, 64, 1},
                             {13, 33, 17},
                             {128, 100, 10},
                             {97, 16, 48},
                             {200, 70, 523},
                             {65, 130, 31},
                             {9, 50, 128},
                             {9, 50, 129}};

std::vector<double> absolute(std::vector<double> values) {
  for (double& value : values) value = std::fabs(value);
  return values;
}

struct LinearData {
  explicit LinearData(const LinearGeom& geom)
      : g(geom),
        x(random_vector(size(g.rows, g.in), 1)),
        w(random_vector(size(g.out, g.in), 2)),
        b(random_vector(size(g.out, 1), 3)),
        dy(random_vector(size(g.rows, g.out), 4)) {}
  static std::size_t size(int a, int b_) {
    return static_cast<std::size_t>(a) * static_cast<std::size_t>(b_);
  }
  LinearGeom g;
  std::vector<float> x, w, b, dy;
};

// Bounds of sums of `length` products; `before` is what Write::kAccumulate adds to (or empty).
std::vector<double> bounds(double length, const std::vector<double>& absolute_sums) {
  std::vector<double> out(absolute_sums.size());
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = sum_bound(length, absolute_sums[i]);
  return out;
}

template <class Device>
void check(const LinearGeom& g, std::size_t offset) {
  SCOPED_TRACE(::testing::Message() << g.rows << " x " << g.in << " -> " << g.out);
  const LinearData d(g);
  auto& ctx = Device::context();
  const Fenced<float, Device> x(d.x, offset), w(d.w, offset), b(d.b, offset), dy(d.dy, offset);
  const std::vector<double> xd = to_double(d.x), wd = to_double(d.w), bd = to_double(d.b),
                            dyd = to_double(d.dy);
  for (const bool with_bias : {false, true}) {
    Fenced<float, Device> y(d.dy.size(), offset);
    linear_forward(ctx, g, x.data(), w.data(), with_bias ? b.data() : nullptr, y.data());
    std::vector<double> expected(d.dy.size()), sums(d.dy.size());
    ref::linear_forward(g, xd.data(), wd.data(), with_bias ? bd.data() : nullptr, expected.data());
    ref::linear_forward(
        g, absolute(xd).data(), absolute(wd).data(), with_bias ? absolute(bd).data() : nullptr, sums.data());
    EXPECT_CLOSE(y.values(), expected, bounds(g.in + 1, sums));
  }
  for (const Write write : {Write::kOverwrite, Write::kAccumulate}) {
    const bool adds = write == Write::kAccumulate;
    const auto run = [&](const std::vector<float>& like, double length, auto kernel, auto reference) {
      Fenced<float, Device> out(like.size(), offset);
      if (adds) out.assign(like);
      std::vector<double> expected(like.size()), sums(like.size());
      if (adds) expected = to_double(like), sums = absolute(expected);
      kernel(out.data());
      reference(xd, wd, dyd, expected.data());
      reference(absolute(xd), absolute(wd), absolute(dyd), sums.data());
      EXPECT_CLOSE(out.values(), expected, bounds(length + 1, sums));
    };
    run(
        d.x,
        g.out,
        [&](float* out) { linear_backward_input(ctx, g, dy.data(), w.data(), out, write); },
        [&](const auto&, const auto& wr, const auto& dyr, double* out) {
          ref::linear_backward_input(g, dyr.data(), wr.data(), out);
        });
    run(
        d.w,
        g.rows,
        [&](float* out) { linear_backward_weight(ctx, g, x.data(), dy.data(), out, write); },
        [&](const auto& xr, const auto&, const auto& dyr, double* out) {
          ref::linear_backward_weight(g, xr.data(), dyr.data(), out);
        });
    run(
        d.b,
        g.rows,
        [&](float* out) { linear_backward_bias(ctx, g, dy.data(), out, write); },
        [&](const auto&, const auto&, const auto& dyr, double* out) {
          ref::linear_backward_bias(g, dyr.data(), out);
        });
  }
}

TYPED_TEST(Linear, AllDirectionsMatchTheReference) {
  for (const LinearGeom& g : kGeoms) {
    for (const std::size_t offset : {0, 1}) check<typename TypeParam::Device>(g, offset);
  }
}

TEST(LinearReference, GradientsMatchCentralDifferences) {
  const LinearGeom g{3, 4, 5};
  const LinearData d(g);
  const std::vector<double> x = to_double(d.x), w = to_double(d.w), b = to_double(d.b), u = to_double(d.dy);
  const auto forward = [&](const auto& xv, const auto& wv, const auto& bv) {
    std::vector<double> y(u.size());
    ref::linear_forward(g, xv.data(), wv.data(), bv.data(), y.data());
    return y;
  };
  std::vector<double> dx(x.size()), dw(w.size()), db(b.size());
  ref::linear_backward_input(g, u.data(), w.data(), dx.data());
  ref::linear_backward_weight(g, x.data(), u.data(), dw.data());
  ref::linear_backward_bias(g, u.data(), db.data());
  expect_gradient([&](const auto& v) { return forward(v, w, b); }, x, u, dx);
  expect_gradient([&](const auto& v) { return forward(x, v, b); }, w, u, dw);
  expect_gradient([&](const auto& v) { return forward(x, w, v); }, b, u, db);
}

void expect_the_same_bits(const LinearGeom& g) {
  SCOPED_TRACE(g.out);
  const LinearData d(g);
  std::vector<std::vector<float>> ys, dxs, dws, dbs;
  for (const int threads : {1, 2, 3}) {
    cpu::Context ctx(cpu::ContextOptions{.threads = threads});
    std::vector<float> y(d.dy.size()), dx(d.x.size()), dw(d.w.size()), db(d.b.size());
    cpu::linear_forward(ctx, g, d.x.data(), d.w.data(), d.b.data(), y.data());
    cpu::linear_backward_input(ctx, g, d.dy.data(), d.w.data(), dx.data(), Write::kOverwrite);
    cpu::linear_backward_weight(ctx, g, d.x.data(), d.dy.data(), dw.data(), Write::kOverwrite);
    cpu::linear_backward_bias(ctx, g, d.dy.data(), db.data(), Write::kOverwrite);
    ys.push_back(y), dxs.push_back(dx), dws.push_back(dw), dbs.push_back(db);
  }
  for (const std::size_t i : {1, 2}) {
    EXPECT_SAME_BITS(ys[0], ys[i]);
    EXPECT_SAME_BITS(dxs[0], dxs[i]);
    EXPECT_SAME_BITS(dws[0], dws[i]);
    EXPECT_SAME_BITS(dbs[0], dbs[i]);
  }
  cpu::Context ctx;
  for (const int row : {0, 1, 50, 130}) {
    std::vector<float> y(static_cast<std::size_t>(g.out));
    cpu::linear_forward(ctx, {1, g.in, g.out}, d.x.data() + row * g.in, d.w.data(), d.b.data(), y.data());
    EXPECT_SAME_BITS(y, std::vector<float>(ys[0].begin() + row * g.out, ys[0].begin() + (row + 1) * g.out));
  }
}
TEST(LinearCpu, BitsDependNeitherOnThreadsNorOnTheBatch) {
  expect_the_same_bits({131, 77, 45});
  expect_the_same_bits({131, 77, 145});
  expect_the_same_bits({131, 190, 1100});  // columns divided among the threads
}

}  // namespace
}  // namespace offramp::test
