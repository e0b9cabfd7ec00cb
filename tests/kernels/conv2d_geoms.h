#pragma once
// Small convolutions, each with sizes that some kernel has to treat apart.
#include <ostream>

#include "kernels/conv2d.h"

namespace offramp {
inline void PrintTo(const Conv2dGeom& g, std::ostream* out) {
  *out << "n" << g.n << " " << g.h << "x" << g.w << "x" << g.c << " -> " << g.k << ", " << g.r << "x" << g.s
       << " stride " << g.stride << " pad " << g.pad << " groups " << g.groups;
}
}  // namespace offramp

namespace offramp::test {

inline const Conv2dGeom kConvGeoms[] = {
    {2, 5, 7, 3, 4, 3, 3, 2, 1, 1},     // all sizes different
    {1, 1, 1, 1, 1, 1, 1, 1, 0, 1},     // all sizes one
    {3, 6, 5, 5, 7, 3, 3, 1, 1, 1},     // no multiple of a vector
    {2, 4, 5, 3, 6, 2, 3, 1, 0, 1},     // even filter, no padding
    {2, 9, 8, 17, 33, 3, 3, 1, 1, 1},   // one more than a vector, than a tile
    {17, 8, 8, 16, 16, 3, 3, 1, 1, 1},  // ResNet body; batch no multiple of the shards
    {9, 8, 8, 16, 32, 3, 3, 2, 1, 1},
    {5, 8, 6, 16, 32, 1, 1, 2, 0, 1},  // shortcut: three pixels of four have no gradient
    {3, 7, 5, 32, 48, 1, 1, 1, 0, 1},  // pointwise
    {2, 12, 9, 3, 64, 3, 3, 1, 1, 1},  // image layer
    {2, 2, 2, 64, 64, 3, 3, 1, 1, 1},  // map smaller than the filter's reach
    {3, 4, 4, 40, 96, 3, 3, 1, 1, 1},
    {2, 11, 10, 4, 8, 5, 5, 1, 2, 1},
    {2, 6, 7, 6, 9, 3, 3, 1, 1, 3},    // groups
    {2, 7, 6, 32, 64, 3, 3, 2, 1, 2},  // groups of whole vectors
    {4, 7, 6, 5, 5, 3, 3, 1, 1, 5},    // depthwise
    {3, 8, 9, 37, 37, 3, 3, 2, 1, 37},
    {2, 2, 2, 64, 64, 3, 3, 1, 1, 64},
    {2, 6, 6, 16, 16, 5, 5, 1, 2, 16},
    {2, 5, 6, 4, 12, 3, 3, 1, 1, 4},    // depthwise with a multiplier
    {14, 2, 2, 20, 17, 3, 3, 1, 1, 1},  // maps of few pixels, which the CPU walks pixel by pixel
    {25, 4, 3, 10, 18, 3, 3, 2, 1, 2},
    {67, 1, 2, 5, 3, 3, 3, 1, 1, 1},
    {4, 1, 1, 8, 8, 3, 3, 2, 1, 1},  // outer columns of the filter meet no pixel
    {5, 16, 1, 48, 33, 3, 3, 3, 1, 1},
    {1, 30, 30, 16, 3, 1, 1, 1, 0, 1},  // an odd number of pointwise filters
    {2, 6, 7, 32, 32, 1, 1, 1, 1, 1},   // pointwise with padding
    {3, 1, 1, 3, 16, 5, 5, 1, 2, 1},
    {1, 1, 1, 48, 48, 1, 1, 1, 0, 48},
    {1, 6, 6, 144, 24, 1, 1, 1, 0, 1},  // pointwise with a residual, where the library writes behind the map
    {2, 4, 12, 48, 54, 1, 1, 1, 0, 1},
    {2, 10, 12, 15, 6, 1, 1, 1, 0, 1}};  // the same, odd channels

}  // namespace offramp::test
