// The tile unit against its twin in plain C++, bit for bit, and what packs for both against plain loops.
#include "kernels/cpu/tiles.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "kernels/cpu/conv2d_tiles_planes.h"
#include "kernels/cpu/conv2d_tiles_weight.h"

namespace offramp::cpu {
namespace {

std::vector<bf16> random_halves(std::size_t count, std::uint32_t seed, bool with_denormals) {
  std::mt19937 bits(seed);
  std::vector<bf16> values(count);
  for (bf16& v : values) {
    const auto u = static_cast<std::uint32_t>(bits());
    // A sign, 7 bits of mantissa and exponents about 1; one value in eight is denormal or zero where asked for.
    const std::uint32_t exponent = with_denormals && u % 8 == 0 ? 0 : 110 + (u >> 8) % 24;
    v.bits = static_cast<std::uint16_t>((u >> 31 << 15) | (exponent << 7) | (u >> 16 & 127));
  }
  return values;
}

template <class Unit>
std::vector<float> products(const std::vector<bf16>& a, const std::vector<bf16>& b, std::vector<float> sums) {
  Unit unit;
  unit.template load<0>(sums.data(), 64);
  unit.template load<4>(a.data(), 64);
  unit.template load<6>(b.data(), 128);
  unit.template multiply<0, 4, 6>();
  unit.template zero<1>();
  unit.template load<5>(b.data(), 64);
  unit.template multiply<1, 4, 5>();
  unit.template store<0>(sums.data(), 64);
  unit.template store<1>(sums.data() + 256, 64);
  return sums;
}

TEST(Tiles, TheTwinMultipliesAsTheTextSays) {
  const std::vector<bf16> a = random_halves(512, 1, false), b = random_halves(1024, 2, false);
  std::vector<float> sums(512, 3.f);
  const std::vector<float> out = products<TileArray>(a, b, sums);
  for (std::size_t m = 0; m < 16; ++m) {
    for (std::size_t n = 0; n < 16; ++n) {
      double sum = 3, size = 3;
      for (std::size_t d = 0; d < 32; ++d) {
        const double product = static_cast<double>(static_cast<float>(a[m * 32 + d])) *
                               static_cast<double>(static_cast<float>(b[d / 2 * 64 + 2 * n + d % 2]));
        sum += product;
        size += std::fabs(product);
      }
      EXPECT_NEAR(static_cast<double>(out[m * 16 + n]), sum, size * 20 * 0x1p-24);
    }
  }
}

TEST(Tiles, TheUnitHasTheBitsOfItsTwin) {
#if OFFRAMP_HAS_TILES
  if (!TileUnit::usable())
    GTEST_SKIP() << "this processor has no tile unit (AMX), or the system does not let us use it";
  for (std::uint32_t seed = 0; seed < 200; ++seed) {
    const std::vector<bf16> a = random_halves(512, 2 * seed, seed % 2 != 0),
                            b = random_halves(1024, 2 * seed + 1, seed % 2 != 0);
    std::vector<float> sums(512);
    std::mt19937 bits(seed);
    for (float& v : sums)
      v = static_cast<float>(static_cast<std::int32_t>(static_cast<std::uint32_t>(bits()))) * 0x1p-31f;
    if (seed % 4 == 3) sums[5] = 0x1p-130f;  // denormal
    const std::vector<float> by_unit = products<TileUnit>(a, b, sums),
                             by_twin = products<TileArray>(a, b, sums);
    EXPECT_EQ(std::memcmp(by_unit.data(), by_twin.data(), by_unit.size() * sizeof(float)), 0)
        << "seed " << seed;
  }
#else
  GTEST_SKIP() << "this build has no instructions for the tile unit";
#endif
}

TEST(Tiles, PackingIsAPermutation) {
  const std::vector<bf16> from = random_halves(32 * 48, 3, true);
  std::vector<bf16> to(512);
  tiles::transpose(from.data() + 3, 48, to.data());
  for (std::size_t c = 0; c < 16; ++c) {
    for (std::size_t p = 0; p < 32; ++p) ASSERT_EQ(to[c * 32 + p], from[3 + p * 48 + c]);
  }
  tiles::interleave(from.data() + 5, from.data() + 70, to.data());
  for (std::size_t n = 0; n < 16; ++n) {
    ASSERT_EQ(to[2 * n], from[5 + n]);
    ASSERT_EQ(to[2 * n + 1], from[70 + n]);
  }
  tiles::transpose_pairs(from.data(), to.data());
  for (std::size_t i = 0; i < 16; ++i) {
    for (std::size_t j = 0; j < 16; ++j) {
      ASSERT_EQ(to[j * 32 + 2 * i], from[i * 32 + 2 * j]);
      ASSERT_EQ(to[j * 32 + 2 * i + 1], from[i * 32 + 2 * j + 1]);
    }
  }
}

#if OFFRAMP_HAS_TILES

template <class Unit, class Input>
std::vector<float> correlate_with(const Conv2dGeom& g,
                                  const std::vector<bf16>& x,
                                  const std::vector<bf16>& packed) {
  const Input source(g, 1 << 20);
  std::vector<bf16> input(static_cast<std::size_t>(source.values()) + 32);
  std::vector<const bf16*> places(static_cast<std::size_t>(source.tiles()));
  std::vector<tiles::PixelTiles::Tile> list(places.size());
  std::vector<std::int64_t> offsets;
  const tiles::Lines& lines = source.lines();
  for (int line = 0; line < lines.count; ++line) {
    const int tap = line / lines.blocks;
    offsets.push_back(source.offset(tap / lines.columns, tap % lines.columns, line % lines.blocks));
  }
  std::vector<float> y(static_cast<std::size_t>(g.y_size()));
  tiles::PixelTiles of{offsets.data(), lines.count, source.stride(), places.data(), list.data(), 0};
  Unit unit;
  for (int group = 0; group < source.groups(); ++group) {
    source.pack(x.data(), group, input.data(), of);
    tiles::correlate_tiles(unit, of, packed.data(), 0, g.k / 16, g.k, [&](std::int64_t at, int, f32x16 sums) {
      store(y.data() + at, sums);
    });
  }
  return y;
}

template <class Unit>
std::vector<float> weights_with(const Conv2dGeom& g,
                                const std::vector<bf16>& x,
                                const std::vector<bf16>& dy) {
  const tiles::TileLayout layout(g, 64, true);
  std::vector<bf16> a(static_cast<std::size_t>(tiles::kWide * tiles::a_block(layout))),
      b(static_cast<std::size_t>(tiles::b_size(layout, g.c)));
  std::vector<float> dw(static_cast<std::size_t>(g.w_size()));
  tiles::add_weight_gradient<Unit>({.layout = &layout,
                                    .x = x.data(),
                                    .dy = dy.data(),
                                    .images = g.n,
                                    .c0 = 0,
                                    .c1 = g.c,
                                    .b = b.data(),
                                    .a = a.data(),
                                    .a_is_packed = false,
                                    .dw = dw.data(),
                                    .adds = false});
  return dw;
}

TEST(Tiles, ConvolutionsHaveTheBitsOfTheTwins) {
  if (!TileUnit::usable())
    GTEST_SKIP() << "this processor has no tile unit (AMX), or the system does not let us use it";
  for (const Conv2dGeom& g : {Conv2dGeom{2, 3, 16, 16, 16, 3, 3, 1, 1, 1},
                              {1, 4, 32, 32, 48, 3, 3, 2, 1, 1},
                              {3, 8, 8, 64, 32, 3, 3, 1, 1, 1},
                              {9, 2, 2, 32, 64, 3, 3, 1, 1, 1},
                              {2, 5, 7, 32, 16, 1, 1, 1, 0, 1}}) {
    const std::vector<bf16> x = random_halves(static_cast<std::size_t>(g.x_size()), 1, false),
                            dy = random_halves(static_cast<std::size_t>(g.y_size()), 2, false);
    std::vector<float> w;
    for (const bf16 v : random_halves(static_cast<std::size_t>(g.w_size()), 3, false))
      w.push_back(static_cast<float>(v));
    std::vector<bf16> packed(static_cast<std::size_t>(tiles::packed_weight_values(g)));
    tiles::pack_forward(g, w.data(), 0, g.k / 16, packed.data());
    const auto same = [&](auto input) {
      using Input = typename decltype(input)::type;
      if (Input::fits(g)) {
        EXPECT_EQ((correlate_with<TileUnit, Input>(g, x, packed)),
                  (correlate_with<TileArray, Input>(g, x, packed)));
      }
    };
    same(std::type_identity<tiles::InPlace>{});
    same(std::type_identity<tiles::Planes>{});
    same(std::type_identity<tiles::Copies>{});
    EXPECT_EQ(weights_with<TileUnit>(g, x, dy), weights_with<TileArray>(g, x, dy));
  }
}

#endif

}  // namespace
}  // namespace offramp::cpu
