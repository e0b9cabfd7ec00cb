// What convolutions on the CPU do not depend on: threads, batches, old scratch; and that NaN is not lost.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/kernels/conv2d_geoms.h"
#include "tests/support/backends.h"
#include "tests/support/close.h"
#include "tests/support/conv2d_data.h"

namespace offramp::test {
namespace {

// Layers as they occur in the nets, with a batch that fills several shards.
const Conv2dGeom kNetLayers[] = {
    {20, 32, 32, 3, 16, 3, 3, 1, 1, 1},
    {20, 16, 16, 16, 16, 3, 3, 1, 1, 1},
    {20, 16, 16, 16, 32, 3, 3, 2, 1, 1},
    {20, 8, 8, 64, 64, 3, 3, 1, 1, 1},
    {20, 8, 8, 32, 64, 1, 1, 2, 0, 1},
    {33, 4, 4, 128, 128, 3, 3, 1, 1, 1},
    {129, 4, 4, 256, 256, 3, 3, 1, 1, 1},
    {20, 2, 2, 256, 256, 3, 3, 1, 1, 1},
    {20, 8, 8, 64, 64, 3, 3, 1, 1, 64},
    {20, 8, 8, 64, 64, 3, 3, 2, 1, 64},
    {20, 2, 2, 256, 256, 3, 3, 1, 1, 256},
    {20, 4, 4, 128, 256, 1, 1, 1, 0, 1},
    {20, 6, 6, 12, 20, 3, 3, 1, 1, 2},
    // Of filters that no net here has the library makes other sums in other batches.
    {20, 7, 12, 20, 13, 2, 2, 4, 1, 1},
    {20, 1, 11, 43, 13, 3, 3, 4, 4, 1},
    {20, 10, 9, 42, 6, 4, 4, 1, 1, 1}};

template <class T>
struct ConvResults {
  std::vector<T> y, dx, dx_added;
  std::vector<float> dw, db;
};

template <class T>
ConvResults<T> run_all(const Conv2dGeom& g, cpu::Context& ctx) {
  const ConvData<T>& d = ConvData<T>::of(g);
  ConvResults<T> out{d.dy, d.x, d.x, d.w, d.b};
  cpu::conv2d_forward(ctx, g, d.x.data(), d.w.data(), d.b.data(), out.y.data());
  cpu::conv2d_backward_input(ctx, g, d.dy.data(), d.w.data(), out.dx.data(), Write::kOverwrite);
  cpu::conv2d_backward_input(ctx, g, d.dy.data(), d.w.data(), out.dx_added.data(), Write::kAccumulate);
  cpu::conv2d_backward_weight(ctx, g, d.x.data(), d.dy.data(), out.dw.data(), Write::kOverwrite);
  cpu::conv2d_backward_bias(ctx, g, d.dy.data(), out.db.data(), Write::kOverwrite);
  return out;
}

template <class T>
void check_thread_counts(cpu::ConvBackend backend) {
  cpu::Context one(cpu::ContextOptions{.threads = 1, .conv = backend});
  for (const int threads : {2, 3}) {
    cpu::Context many(cpu::ContextOptions{.threads = threads, .conv = backend});
    for (const Conv2dGeom& g : kNetLayers) {
      SCOPED_TRACE(::testing::PrintToString(g));
      const ConvResults<T> a = run_all<T>(g, one), b = run_all<T>(g, many);
      EXPECT_SAME_BITS(a.y, b.y);
      EXPECT_SAME_BITS(a.dx, b.dx);
      EXPECT_SAME_BITS(a.dx_added, b.dx_added);
      EXPECT_SAME_BITS(a.dw, b.dw);
      EXPECT_SAME_BITS(a.db, b.db);
    }
  }
}

TEST(Conv2dCpu, BitsDoNotDependOnTheThreadCount) {
  check_thread_counts<float>(cpu::ConvBackend::kLibrary);
  check_thread_counts<bf16>(cpu::ConvBackend::kLibrary);
}
TEST(Conv2dCpu, NativeBitsDoNotDependOnTheThreadCount) {
  check_thread_counts<float>(cpu::ConvBackend::kNative);
  check_thread_counts<bf16>(cpu::ConvBackend::kNative);
}

// The default f32 forward gives an image the same bits in every batch.
void check_batch_invariance(cpu::ConvBackend backend) {
  cpu::Context ctx(cpu::ContextOptions{.threads = 2, .conv = backend});
  for (Conv2dGeom g : kNetLayers) {
    SCOPED_TRACE(::testing::PrintToString(g));
    const ConvData<float>& d = ConvData<float>::of(g);
    std::vector<float> all(d.dy.size());
    cpu::conv2d_forward(ctx, g, d.x.data(), d.w.data(), d.b.data(), all.data());
    const std::int64_t image_in = g.x_size() / g.n, image_out = g.y_size() / g.n;
    const int whole = g.n;
    for (const int batch : {1, 2, 7}) {
      g.n = batch;
      const int first = whole - batch;
      std::vector<float> part(static_cast<std::size_t>(g.y_size()));
      cpu::conv2d_forward(ctx, g, d.x.data() + first * image_in, d.w.data(), d.b.data(), part.data());
      EXPECT_SAME_BITS(part, std::vector<float>(all.begin() + first * image_out, all.end()))
          << "batch " << batch;
    }
  }
}
TEST(Conv2dCpu, AnImageHasTheSameBitsInEveryBatch) { check_batch_invariance(cpu::ConvBackend::kLibrary); }
TEST(Conv2dCpu, NativeAnImageHasTheSameBitsInEveryBatch) {
  check_batch_invariance(cpu::ConvBackend::kNative);
}

// The packed form adds the residual of each image in every batch alike, down to one image of one pixel.
TEST(Conv2dCpu, APackedImageWithAResidualHasTheSameBitsInEveryBatch) {
  cpu::Context ctx;
  for (const Conv2dGeom& whole : kConvGeoms) {
    SCOPED_TRACE(::testing::PrintToString(whole));
    const ConvData<float>& d = ConvData<float>::of(whole);
    const auto packed = cpu::conv2d_pack<float>(ctx, whole, d.w.data(), d.b.data());
    std::vector<float> all(d.dy.size()), each(d.dy.size());
    cpu::conv2d_forward_packed(ctx, whole, *packed, d.x.data(), d.dy.data(), false, all.data());
    Conv2dGeom one = whole;
    one.n = 1;
    const std::int64_t image_in = one.x_size(), image_out = one.y_size();
    for (int i = 0; i < whole.n; ++i) {
      cpu::conv2d_forward_packed(ctx,
                                 one,
                                 *packed,
                                 d.x.data() + i * image_in,
                                 d.dy.data() + i * image_out,
                                 false,
                                 each.data() + i * image_out);
    }
    EXPECT_SAME_BITS(each, all);
  }
}

// A ReLU in the same pass keeps NaN, as relu does: a net that computes none says so.
template <class T>
void check_nan_stays(cpu::ConvBackend backend) {
  cpu::Context ctx(cpu::ContextOptions{.threads = 1, .conv = backend});
  for (const Conv2dGeom& g : kConvGeoms) {
    SCOPED_TRACE(::testing::PrintToString(g));
    const ConvData<T>& d = ConvData<T>::of(g);
    std::vector<T> x = d.x, plain(d.dy.size()), rectified(d.dy.size());
    x[x.size() / 2] = T(std::nanf(""));
    const auto packed = cpu::conv2d_pack<T>(ctx, g, d.w.data(), d.b.data());
    cpu::conv2d_forward_packed<T>(ctx, g, *packed, x.data(), nullptr, false, plain.data());
    cpu::conv2d_forward_packed<T>(ctx, g, *packed, x.data(), nullptr, true, rectified.data());
    for (std::size_t i = 0; i < plain.size(); ++i) {
      const float before = static_cast<float>(plain[i]), after = static_cast<float>(rectified[i]);
      ASSERT_EQ(std::isnan(after), std::isnan(before)) << i;
      if (std::isnan(before)) continue;
      ASSERT_EQ(after, std::max(before, 0.f)) << i;
    }
  }
}
TEST(Conv2dCpu, NaNStaysInAPackedConvolutionWithAReLU) {
  for (const auto backend : {cpu::ConvBackend::kLibrary, cpu::ConvBackend::kNative}) {
    check_nan_stays<float>(backend);
    check_nan_stays<bf16>(backend);
  }
}

// A gradient does not depend on what an earlier call left in the scratch.
TEST(Conv2dCpu, WhatStandsInTheScratchDoesNotMatter) {
  for (const Conv2dGeom& g : kConvGeoms) {
    SCOPED_TRACE(::testing::PrintToString(g));
    cpu::Context fresh, used;
    for (int slot = 0; slot < cpu::Context::kSlotCount; ++slot) {
      constexpr std::size_t kFloats = 1 << 18;
      auto* scratch =
          static_cast<float*>(used.workspace(static_cast<cpu::Context::Slot>(slot), kFloats * sizeof(float)));
      std::fill_n(scratch, kFloats, 1e9f);
    }
    const ConvResults<bf16> a = run_all<bf16>(g, fresh), b = run_all<bf16>(g, used);
    EXPECT_SAME_BITS(a.y, b.y);
    EXPECT_SAME_BITS(a.dx, b.dx);
    EXPECT_SAME_BITS(a.dx_added, b.dx_added);
    EXPECT_SAME_BITS(a.dw, b.dw);
    EXPECT_SAME_BITS(a.db, b.db);
  }
}

TEST(Conv2dCpu, AnEmptyBatchIsFine) {
  cpu::Context ctx;
  const Conv2dGeom g{0, 4, 4, 3, 5, 3, 3, 1, 1, 1};
  const std::vector<float> w(static_cast<std::size_t>(g.w_size()), 1.f);
  std::vector<float> dw(w.size(), 7.f), db(5, 7.f);
  cpu::conv2d_forward<float>(ctx, g, nullptr, w.data(), nullptr, nullptr);
  cpu::conv2d_backward_input<float>(ctx, g, nullptr, w.data(), nullptr, Write::kOverwrite);
  cpu::conv2d_backward_weight<float>(ctx, g, nullptr, nullptr, dw.data(), Write::kOverwrite);
  cpu::conv2d_backward_bias<float>(ctx, g, nullptr, db.data(), Write::kOverwrite);
  EXPECT_EQ(dw, std::vector<float>(w.size(), 0.f));
  EXPECT_EQ(db, std::vector<float>(5, 0.f));
}

}  // namespace
}  // namespace offramp::test
