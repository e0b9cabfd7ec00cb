#pragma once
// Distances between an image and what an attack made of it, and the sets that it may not leave. Bounds hold exactly for
// the float32 values that are returned, measured in double: no sum that was rounded upwards passes.
#include <cstdint>
#include <span>
#include <vector>

namespace offramp::attacks::evasion {

enum class Norm { kLinf, kL2, kL1, kNone };
const char* to_text(Norm norm);

// Of image - origin, in double. kNone: 0.
double distance(Norm norm, std::span<const float> origin, std::span<const float> image);
// 10 log10(1 / mean squared difference), peak 1; infinite where nothing changed.
double psnr_db(std::span<const float> origin, std::span<const float> image);

// Per value the least and the greatest float v in [0,1] with |v - origin| <= eps.
struct LinfBox {
  std::vector<float> low, high;
};
LinfBox box_around(std::span<const float> origin, double eps);

// image = origin + delta with its norm at most `radius` and all values in [0,1]: L-inf clamps, L2 and L1 scale. `delta`
// becomes what is left of it.
void place(
    Norm norm, double radius, std::span<const float> origin, std::span<double> delta, std::span<float> image);

}  // namespace offramp::attacks::evasion
