#pragma once
// Who draws from Philox in this room: the `stream` word of each key, so that no two users share a number.
#include <cstdint>

namespace offramp::nets::streams {

inline constexpr std::uint32_t kInit = 1;     // op: place of the parameter; element: place in disk order
inline constexpr std::uint32_t kDropout = 2;  // op: place of the layer; step: training step

}  // namespace offramp::nets::streams
