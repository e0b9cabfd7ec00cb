#include "kernels/cpu/conv2d_tiles.h"

#include <gtest/gtest.h>

#include <iterator>
#include <utility>
#include <vector>

#include "tests/kernels/tile_geoms.h"
#include "tests/support/conv2d_data.h"

namespace offramp::test {
namespace {

TEST(Conv2dTiles, AnImageHasTheSameBitsInEveryBatchAndOnEveryThreadCount) {
  for (const Conv2dGeom& g : kTileGeoms) {
    SCOPED_TRACE(::testing::Message() << "geometry " << &g - kTileGeoms);
    const ConvData<bf16>& d = ConvData<bf16>::of(g);
    const auto run = [&](int threads, int batch) {
      cpu::Context ctx({.threads = threads});
      std::vector<bf16> y(static_cast<std::size_t>(g.y_size())), dx(static_cast<std::size_t>(g.x_size()));
      Conv2dGeom part = g;
      for (int first = 0; first < g.n; first += part.n) {
        part.n = std::min(batch, g.n - first);
        const std::int64_t x_at = first * (g.x_size() / g.n), y_at = first * (g.y_size() / g.n);
        EXPECT_TRUE(cpu::conv2d_forward_by(cpu::ConvAlgorithm::kTiles,
                                           ctx,
                                           part,
                                           d.x.data() + x_at,
                                           d.w.data(),
                                           d.b.data(),
                                           y.data() + y_at));
        cpu::conv2d_backward_input_by(cpu::ConvAlgorithm::kTiles,
                                      ctx,
                                      part,
                                      d.dy.data() + y_at,
                                      d.w.data(),
                                      dx.data() + x_at,
                                      Write::kOverwrite);
      }
      return std::pair(y, dx);
    };
    const auto whole = run(1, g.n);
    EXPECT_EQ(run(1, 1), whole);
    EXPECT_EQ(run(3, 1), whole);
    EXPECT_EQ(run(2, g.n), whole);
    EXPECT_EQ(run(4, 2), whole);
    const auto weights = [&](int threads) {
      cpu::Context ctx({.threads = threads});
      std::vector<float> dw(static_cast<std::size_t>(g.w_size()), 1.f);
      EXPECT_TRUE(cpu::conv2d_backward_weight_by(
          cpu::ConvAlgorithm::kTiles, ctx, g, d.x.data(), d.dy.data(), dw.data(), Write::kAccumulate));
      return dw;
    };
    EXPECT_EQ(weights(2), weights(1));
    EXPECT_EQ(weights(5), weights(1));
  }
}

// Where the unit is there it takes what it can of bf16, and nothing of float32.
TEST(Conv2dTiles, ThePlanTakesThemInBf16WhereTheProcessorHasTheUnit) {
  const cpu::ConvMachine machine{.bf16 = cpu::Bf16Products::kMatrixUnit, .tiles = true};
  int taken = 0;
  for (const Conv2dGeom& g : kTileGeoms) {
    for (const auto direction : {cpu::ConvDirection::kForward,
                                 cpu::ConvDirection::kBackwardInput,
                                 cpu::ConvDirection::kBackwardWeight}) {
      const bool handled = cpu::tiles::handles(g, direction);
      taken += handled;
      EXPECT_EQ(cpu::default_algorithm(g, direction, true, machine) == cpu::ConvAlgorithm::kTiles, handled);
      EXPECT_NE(cpu::default_algorithm(g, direction, false, machine), cpu::ConvAlgorithm::kTiles);
    }
  }
  EXPECT_GT(taken, 2 * static_cast<int>(std::size(kTileGeoms)));
  // The pictures themselves, groups, and channels that fill no tile are left to others.
  for (const Conv2dGeom& g : {Conv2dGeom{8, 32, 32, 3, 16, 3, 3, 1, 1, 1},
                              {8, 8, 8, 32, 32, 3, 3, 1, 1, 2},
                              {8, 8, 8, 64, 64, 3, 3, 1, 1, 64},
                              {8, 8, 8, 32, 40, 3, 3, 1, 1, 1}}) {
    EXPECT_FALSE(cpu::tiles::handles(g, cpu::ConvDirection::kForward));
    EXPECT_FALSE(cpu::tiles::handles(g, cpu::ConvDirection::kBackwardInput));
    EXPECT_FALSE(cpu::tiles::handles(g, cpu::ConvDirection::kBackwardWeight));
  }
  // The gradient of every second pixel is no correlation.
  EXPECT_FALSE(cpu::tiles::handles({8, 16, 16, 32, 64, 3, 3, 2, 1, 1}, cpu::ConvDirection::kBackwardInput));
}

}  // namespace
}  // namespace offramp::test
