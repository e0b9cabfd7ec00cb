#pragma once
// synthetic:leaves: unrelated pictures with the statistics of natural ones, for use where no second image set
// exists. Each picture is drawn from Philox alone: a background (gradient, or noise whose spectrum falls like
// a power of the frequency), then opaque shapes with power-law sizes that hide one another (the dead leaves
// model: Matheron 1968; Lee, Mumford, Huang, Occlusion models for natural images, IJCV 2001), shaded or
// textured, then light, blur and sensor noise. Only + - * / sqrt and floor are used: the same bits on every
// machine that rounds as IEEE 754 says.
#include <cstdint>
#include <span>

#include "nets/data/image_set.h"

namespace offramp::data {

// Picture `index` of the family `seed`; out is [side,side,3]. A pure function of (seed, index, side).
void draw_leaves(std::uint64_t seed, std::uint32_t index, int side, std::span<std::uint8_t> out);

// Pictures first .. first + n - 1, labels all 0 (class "leaves"). Throws DataError unless n >= 1 and
// 8 <= side <= 1024. threads 0: one per core.
ImageSet synthetic_leaves(int n, int side, std::uint64_t seed, std::uint32_t first = 0, int threads = 0);

}  // namespace offramp::data
