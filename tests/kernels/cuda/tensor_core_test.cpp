// Our tensor-core convolution against the reference, for every width of its tiles; the generic tests of
// conv2d see it only where no library takes its place.
#include <gtest/gtest.h>

#include "kernels/cuda/conv2d_tensor_core.h"
#include "kernels/ref/conv2d.h"
#include "tests/support/backends.h"
#include "tests/support/close.h"
#include "tests/support/fenced.h"
#include "tests/support/random.h"
#if defined(OFFRAMP_CUDA_HOST)
#include "kernels/cuda/host/config.h"
#endif

namespace offramp::test {
namespace {

class TensorCore : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = CudaDevice::missing(); !why.empty()) GTEST_SKIP() << why;
    if (CudaDevice::context().properties().major < 8) GTEST_SKIP() << "bf16 on tensor cores needs sm_80";
  }
};

const Conv2dGeom kGeoms[] = {{3, 7, 6, 8, 8, 3, 3, 1, 1, 1},      // one block, most of it empty
                             {2, 9, 8, 16, 24, 3, 3, 2, 1, 1},    // stride; 24 filters in a tile of 32
                             {5, 6, 7, 40, 56, 1, 1, 1, 0, 1},    // a sum that ends within a tile
                             {2, 8, 8, 24, 72, 2, 3, 1, 0, 1},    // an even filter; two tiles of columns
                             {9, 8, 8, 64, 16, 1, 1, 2, 0, 1},    // pixels without gradient
                             {3, 12, 12, 16, 16, 5, 5, 1, 2, 1},  // weight gradient in parts
                             {3, 4, 4, 64, 64, 3, 3, 1, 1, 1},    // sums in parts: forward and input gradient
                             {2, 7, 6, 8, 64, 5, 5, 2, 2, 1},   // phases whose parts end before others begin
                             {1, 7, 8, 8, 16, 3, 3, 3, 1, 1},   // nine phases, one tap each
                             {1, 8, 7, 32, 32, 3, 3, 2, 0, 1},  // rows that no tap reaches
                             {33, 32, 32, 8, 72, 1, 1, 1, 0, 1},   // tiles of 128 columns: forward,
                             {33, 32, 32, 72, 8, 1, 1, 1, 0, 1}};  // and input gradient

std::vector<double> absolute(std::vector<double> values) {
  for (double& value : values) value = std::fabs(value);
  return values;
}

// kernel(out) against reference(x, dy, w, out), which adds to its output.
template <class Out, class Kernel, class Reference>
void compare(const std::array<std::vector<double>, 3>& operands,
             const std::vector<Out>& like,
             double length,
             Write write,
             Kernel kernel,
             Reference reference) {
  const bool adds = write == Write::kAccumulate;
  Fenced<Out, CudaDevice> out(like.size());
  if (adds) out.assign(like);
  ASSERT_TRUE(kernel(out.data()));
  std::vector<double> expected(like.size()), sums(like.size()), bounds(like.size());
  reference(operands[0], operands[1], operands[2], expected.data());
  reference(absolute(operands[0]), absolute(operands[1]), absolute(operands[2]), sums.data());
  const std::vector<double> before = to_double(like);
  for (std::size_t i = 0; i < like.size(); ++i) {
    if (adds) expected[i] += before[i];
    if (adds) sums[i] += std::fabs(before[i]);
    bounds[i] = stored_bound<Out>(expected[i], sum_bound(length + 1, sums[i]));
  }
  EXPECT_CLOSE(out.values(), expected, bounds);
}

TEST_F(TensorCore, EveryDirectionMatchesTheReferenceForEveryTile) {
  cuda::Context& ctx = CudaDevice::context();
  for (const Conv2dGeom& g : kGeoms) {
    SCOPED_TRACE(::testing::Message() << g.n << " x " << g.h << "x" << g.w << "x" << g.c << " to " << g.k
                                      << ", " << g.r << "x" << g.s);
    ASSERT_TRUE(cuda::tensor_core_can(ctx, g));
    const auto x = random_vector<bf16>(static_cast<std::size_t>(g.x_size()), 1);
    const auto dy = random_vector<bf16>(static_cast<std::size_t>(g.y_size()), 2);
    const auto w = random_vector<bf16>(static_cast<std::size_t>(g.w_size()), 3);
    const auto dw = random_vector(static_cast<std::size_t>(g.w_size()), 4);
    const Fenced<bf16, CudaDevice> d_x(x), d_dy(dy), d_w(w);
    const std::array<std::vector<double>, 3> operands{to_double(x), to_double(dy), to_double(w)};
    compare(
        operands,
        dy,
        g.r * g.s * g.c,
        Write::kOverwrite,
        [&](bf16* y) { return cuda::tensor_core_forward(ctx, g, d_x.data(), d_w.data(), {}, y); },
        [&](const auto& xr, const auto&, const auto& wr, double* y) {
          ref::conv2d_forward(g, xr.data(), wr.data(), nullptr, y);
        });
    for (const Write write : {Write::kOverwrite, Write::kAccumulate}) {
      compare(
          operands,
          x,
          g.r * g.s * g.k,
          write,
          [&](bf16* dx) {
            return cuda::tensor_core_backward_input(ctx, g, d_dy.data(), d_w.data(), dx, write);
          },
          [&](const auto&, const auto& dyr, const auto& wr, double* dx) {
            ref::conv2d_backward_input(g, dyr.data(), wr.data(), dx);
          });
      compare(
          operands,
          dw,
          static_cast<double>(g.n) * g.out_h() * g.out_w(),
          write,
          [&](float* out) {
            return cuda::tensor_core_backward_weight(ctx, g, d_x.data(), d_dy.data(), out, write);
          },
          [&](const auto& xr, const auto& dyr, const auto&, double* out) {
            ref::conv2d_backward_weight(g, xr.data(), dyr.data(), out);
          });
    }
  }
}

TEST_F(TensorCore, TheEpilogueIsRoundedOnce) {
  cuda::Context& ctx = CudaDevice::context();
  const Conv2dGeom g{2, 5, 6, 16, 24, 3, 3, 1, 1, 1};
  const auto x = random_vector<bf16>(static_cast<std::size_t>(g.x_size()), 1);
  const auto residual = random_vector<bf16>(static_cast<std::size_t>(g.y_size()), 2);
  const auto w = random_vector<bf16>(static_cast<std::size_t>(g.w_size()), 3);
  const auto bias = random_vector(static_cast<std::size_t>(g.k), 4);
  const Fenced<bf16, CudaDevice> d_x(x), d_residual(residual), d_w(w);
  const Fenced<float, CudaDevice> d_bias(bias);
  const std::vector<double> biasd = to_double(bias);
  compare(
      {to_double(x), to_double(residual), to_double(w)},
      residual,
      g.r * g.s * g.c + 2,
      Write::kOverwrite,
      [&](bf16* y) {
        return cuda::tensor_core_forward(
            ctx, g, d_x.data(), d_w.data(), {d_bias.data(), d_residual.data(), true}, y);
      },
      [&](const auto& xr, const auto& rr, const auto& wr, double* y) {
        const bool bounds = wr == absolute(wr);  // sums of absolute values: nothing is cut
        const std::vector<double> b = bounds ? absolute(biasd) : biasd;
        ref::conv2d_forward(g, xr.data(), wr.data(), b.data(), y);
        for (std::size_t i = 0; i < rr.size(); ++i) y[i] = std::max(y[i] + rr[i], 0.0);
      });
}

TEST_F(TensorCore, WhatDoesNotFitIsRefused) {
  cuda::Context& ctx = CudaDevice::context();
  EXPECT_FALSE(cuda::tensor_core_can(ctx, {1, 4, 4, 3, 16, 3, 3, 1, 1, 1}));
  EXPECT_FALSE(cuda::tensor_core_can(ctx, {1, 4, 4, 16, 10, 3, 3, 1, 1, 1}));
  EXPECT_FALSE(cuda::tensor_core_can(ctx, {1, 4, 4, 16, 16, 3, 3, 1, 1, 2}));
  EXPECT_FALSE(cuda::tensor_core_can(ctx, {1, 9, 9, 16, 16, 6, 6, 1, 0, 1}))
      << "more taps than the table has";
  EXPECT_FALSE(cuda::tensor_core_can(ctx, {2048, 128, 128, 64, 16, 1, 1, 1, 0, 1})) << "offsets of 32 bits";
  const Conv2dGeom g{1, 4, 4, 8, 8, 1, 1, 1, 0, 1};
  const Fenced<bf16, CudaDevice> x(random_vector<bf16>(128, 1), 1), w(random_vector<bf16>(64, 2));
  Fenced<bf16, CudaDevice> y(128);
  EXPECT_FALSE(cuda::tensor_core_forward(ctx, g, x.data(), w.data(), {}, y.data())) << "misaligned";
#if defined(OFFRAMP_CUDA_HOST)
  // A program for sm_75 alone: its PTX runs on this newer device, with an empty kernel.
  cuda::host::config().architecture = 75;
  EXPECT_FALSE(cuda::tensor_core_can(ctx, g));
  cuda::host::config().architecture = 90;
  EXPECT_TRUE(cuda::tensor_core_can(ctx, g));
#endif
}

}  // namespace
}  // namespace offramp::test
