#pragma once
// Convolutions whose channels fill tiles: every way in which kernels/cpu/conv2d_tiles_planes.h and _layout.h place pixels.
#include "kernels/conv2d.h"

namespace offramp::test {

inline const Conv2dGeom kTileGeoms[] = {
    {2, 4, 16, 16, 16, 3, 3, 1, 1, 1},   // lines of two taps
    {3, 5, 32, 16, 48, 3, 3, 2, 1, 1},   // and every second pixel
    {2, 3, 16, 16, 32, 5, 5, 1, 2, 1},   // and an odd column left
    {2, 3, 32, 16, 32, 1, 1, 2, 0, 1},   // one tap and its neighbour
    {2, 20, 16, 64, 32, 3, 3, 1, 1, 1},  // planes: bands of an image
    {2, 4, 32, 32, 16, 3, 3, 2, 1, 1},
    {1, 3, 18, 32, 32, 3, 3, 1, 0, 1},
    {5, 8, 8, 32, 64, 3, 3, 1, 1, 1},  // copies: two rows a tile
    {3, 7, 9, 32, 96, 3, 3, 1, 1, 1},  // rows of odd width
    {3, 9, 11, 64, 32, 3, 3, 2, 1, 1},
    {2, 6, 10, 32, 32, 5, 3, 3, 2, 1},
    {2, 7, 8, 32, 32, 2, 2, 1, 0, 1},
    {37, 4, 4, 32, 48, 3, 3, 1, 1, 1},  // flat: several images a tile
    {150, 2, 2, 64, 32, 3, 3, 1, 1, 1},
    {70, 3, 3, 32, 16, 3, 3, 2, 1, 1},
    {9, 1, 1, 32, 32, 3, 3, 1, 1, 1},
    {40, 5, 5, 32, 64, 1, 1, 1, 0, 1},  // in place
    {3, 4, 4, 288, 64, 1, 1, 1, 0, 1},  // and not: too many channels
    {2, 8, 32, 32, 32, 1, 1, 2, 0, 1},
    {3, 4, 4, 128, 192, 3, 3, 1, 1, 1},  // sums so large that there is one set
    {1, 5, 9, 160, 160, 3, 3, 1, 1, 1},
    {33, 4, 4, 448, 448, 1, 1, 1, 0, 1}};

}  // namespace offramp::test
