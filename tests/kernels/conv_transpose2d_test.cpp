#include "kernels/conv_transpose2d.h"

#include <gtest/gtest.h>

#include "kernels/ref/conv_transpose2d.h"
#include "tests/kernels/op_test.h"
#include "tests/support/conv2d_data.h"
#include "tests/support/winograd_bound.h"

namespace offramp::test {
namespace {

template <class B>
class ConvTranspose2d : public BackendTest<B> {};
TYPED_TEST_SUITE(ConvTranspose2d, Backends, BackendNames);

//                                n  h  w  c   k   r  s stride pad output_pad groups
const ConvTranspose2dGeom kGeoms[] = {
    {2, 3, 5, 4, 3, 3, 3, 2, 1, 1, 1},    // all sizes different
    {1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1},    // all sizes one
    {0, 3, 5, 4, 3, 3, 3, 2, 1, 1, 1},    // no images
    {3, 4, 5, 17, 33, 4, 4, 2, 1, 0, 1},  // a generator's layer: twice as large
    {2, 4, 3, 5, 7, 2, 3, 1, 0, 0, 1},    // even filter, stride 1
    {5, 8, 8, 16, 16, 3, 3, 1, 1, 0, 1},  // stride 1: also Winograd's case
    {2, 3, 4, 5, 6, 2, 2, 4, 0, 1, 1},    // a stride beyond the filter: pixels that no filter reaches
    {2, 5, 4, 6, 9, 3, 3, 2, 0, 1, 3},    // groups
    {3, 4, 5, 7, 7, 3, 3, 2, 1, 1, 7},    // depthwise
    {2, 6, 6, 3, 20, 5, 5, 3, 2, 2, 1}};

std::vector<double> zeros(std::int64_t n) { return std::vector<double>(static_cast<std::size_t>(n)); }

template <class T>
struct Data {
  explicit Data(const ConvTranspose2dGeom& g)
      : x(random_vector<T>(static_cast<std::size_t>(g.x_size()), 1)),
        dy(random_vector<T>(static_cast<std::size_t>(g.y_size()), 2)),
        w(exact_in<T>(random_vector(static_cast<std::size_t>(g.w_size()), 3))),
        b(exact_in<T>(random_vector(static_cast<std::size_t>(g.k), 4))) {}
  std::vector<T> x, dy;
  std::vector<float> w, b;
};

// What adds two operands into `size` sums, and the same of their absolute values.
template <class Reference>
Sums sums_of(std::int64_t size,
             const std::vector<double>& p,
             const std::vector<double>& q,
             Reference reference) {
  Sums sums{zeros(size), zeros(size)};
  reference(p.data(), q.data(), sums.value.data());
  reference(absolute(p).data(), absolute(q).data(), sums.size.data());
  return sums;
}

enum class Starts { kAsWritten, kPoisoned };

// `run(out)` against the reference's sums on top of `before` (poison where it overwrites).
template <class B, class Out, class Run>
void check(const Sums& sums,
           double length,
           const std::vector<double>& winograd,
           Write write,
           const std::vector<Out>& before,
           std::size_t offset,
           Run run,
           Starts starts = Starts::kAsWritten) {
  const bool adds = write == Write::kAccumulate;
  Fenced<Out, typename B::Device> out(sums.value.size(), offset);
  if (adds && starts == Starts::kAsWritten) out.assign(before);
  run(out.data());
  std::vector<double> expected = sums.value, bound(expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    bound[i] = sum_bound(length, sums.size[i]);
    if (!winograd.empty()) bound[i] = std::max(bound[i], winograd[i]);
    bound[i] = stored_bound<Out>(expected[i], bound[i]);
    if (!adds) continue;
    expected[i] += to_double(before)[i];
    bound[i] = stored_bound<Out>(expected[i], bound[i]);
  }
  EXPECT_CLOSE(out.values(), expected, bound);
}

template <class B>
void check_geometry(const ConvTranspose2dGeom& g, std::size_t offset) {
  using T = typename B::Value;
  using Device = typename B::Device;
  SCOPED_TRACE(::testing::Message() << g.n << "x" << g.h << "x" << g.w << "x" << g.c << " -> " << g.k << ", "
                                    << g.r << "x" << g.s << " stride " << g.stride << " pad " << g.pad << "+"
                                    << g.output_pad << " groups " << g.groups);
  ASSERT_EQ(g.adjoint().out_h(), g.h);
  ASSERT_EQ(g.adjoint().out_w(), g.w);
  const Data<T> d(g);
  auto& ctx = Device::context();
  const Fenced<T, Device> x(d.x, offset), dy(d.dy, offset);
  const Fenced<float, Device> w(d.w, offset), b(d.b, offset);
  const auto xd = to_double(d.x), dyd = to_double(d.dy), wd = to_double(d.w);
  const double taps = g.r * g.s;
  const bool winograd = g.r == 3 && g.s == 3 && g.stride == 1 && g.groups == 1;
  const auto bound = [&](WinogradSum which, double length, const std::vector<double>& maps) {
    return winograd
               ? winograd_bounds(g.adjoint(), which, length, maps, which == WinogradSum::kWeight ? xd : wd)
               : std::vector<double>();
  };
  const Sums forward = sums_of(g.y_size(), xd, wd, [&](const double* p, const double* q, double* out) {
    ref::conv_transpose2d_forward(g, p, q, nullptr, out);
  });
  // In bf16 the bias and the sum are each rounded before they are added, as what kAccumulate adds to is.
  std::vector<T> biases(d.dy.size());
  for (std::size_t i = 0; i < biases.size(); ++i) biases[i] = static_cast<T>(d.b[i % d.b.size()]);
  for (const bool biased : {false, true}) {
    check<B, T>(
        forward,
        taps * g.c + 2,
        bound(WinogradSum::kInput, taps * g.c, xd),
        biased ? Write::kAccumulate : Write::kOverwrite,
        biases,
        offset,
        [&](T* y) { conv_transpose2d_forward(ctx, g, x.data(), w.data(), biased ? b.data() : nullptr, y); },
        Starts::kPoisoned);
  }
  check<B, T>(sums_of(g.x_size(),
                      dyd,
                      wd,
                      [&](const double* p, const double* q, double* out) {
                        ref::conv_transpose2d_backward_input(g, p, q, out);
                      }),
              taps * g.group_k() + 1,
              bound(WinogradSum::kForward, taps * g.group_k(), dyd),
              Write::kOverwrite,
              {},
              offset,
              [&](T* dx) { conv_transpose2d_backward_input(ctx, g, dy.data(), w.data(), dx); });
  for (const Write write : kWrites) {
    SCOPED_TRACE(write == Write::kOverwrite ? "overwrite" : "accumulate");
    const double pixels = static_cast<double>(g.n) * g.h * g.w + 1;
    check<B, float>(
        sums_of(g.w_size(),
                xd,
                dyd,
                [&](const double* p, const double* q, double* out) {
                  ref::conv_transpose2d_backward_weight(g, p, q, out);
                }),
        pixels,
        bound(WinogradSum::kWeight, pixels, dyd),
        write,
        d.w,
        offset,
        [&](float* dw) { conv_transpose2d_backward_weight(ctx, g, x.data(), dy.data(), dw, write); });
    check<B, float>(sums_of(g.k,
                            dyd,
                            dyd,
                            [&](const double* p, const double*, double* out) {
                              ref::conv_transpose2d_backward_bias(g, p, out);
                            }),
                    static_cast<double>(g.n) * g.out_h() * g.out_w() + 1,
                    {},
                    write,
                    d.b,
                    offset,
                    [&](float* db) { conv_transpose2d_backward_bias(ctx, g, dy.data(), db, write); });
  }
}

TYPED_TEST(ConvTranspose2d, EveryDirectionMatchesTheReference) {
  for (const auto& g : kGeoms) check_geometry<TypeParam>(g, 0);
}
TYPED_TEST(ConvTranspose2d, MisalignedBuffersAreFine) {
  for (const std::size_t i : {0, 3, 5}) check_geometry<TypeParam>(kGeoms[i], 1);
}

TEST(ConvTranspose2dCpu, SameBitsForAnyThreadCount) {
  const ConvTranspose2dGeom g{7, 5, 6, 20, 9, 4, 4, 2, 1, 0, 1};
  const Data<float> d(g);
  expect_same_bits_for_any_thread_count([&](cpu::Context& ctx) {
    std::vector<float> y(d.dy.size());
    cpu::conv_transpose2d_forward(ctx, g, d.x.data(), d.w.data(), d.b.data(), y.data());
    return y;
  });
}

TEST(ConvTranspose2dReference, GradientsMatchCentralDifferences) {
  const ConvTranspose2dGeom g{2, 3, 2, 4, 6, 3, 2, 2, 1, 1, 2};
  const auto x = to_double(random_vector(static_cast<std::size_t>(g.x_size()), 1)),
             w = to_double(random_vector(static_cast<std::size_t>(g.w_size()), 2)),
             b = to_double(random_vector(static_cast<std::size_t>(g.k), 3));
  const auto u = random_cotangent(static_cast<std::size_t>(g.y_size()), 4);
  const auto forward = [&](const auto& xs, const auto& ws, const auto& bs) {
    auto y = zeros(g.y_size());
    ref::conv_transpose2d_forward(g, xs.data(), ws.data(), bs.data(), y.data());
    return y;
  };
  auto dx = zeros(g.x_size()), dw = zeros(g.w_size()), db = zeros(g.k);
  ref::conv_transpose2d_backward_input(g, u.data(), w.data(), dx.data());
  ref::conv_transpose2d_backward_weight(g, x.data(), u.data(), dw.data());
  ref::conv_transpose2d_backward_bias(g, u.data(), db.data());
  expect_gradient([&](const auto& v) { return forward(v, w, b); }, x, u, dx);
  expect_gradient([&](const auto& v) { return forward(x, v, b); }, w, u, dw);
  expect_gradient([&](const auto& v) { return forward(x, w, v); }, b, u, db);
}

}  // namespace
}  // namespace offramp::test
