#pragma once
// HopSkipJump (Chen, Jordan and Wainwright, IEEE S&P 2020), untargeted, L2, as the ART library has it: the distance of an
// image to the decision boundary of a victim that gives labels alone (specs/membership.md 4.3). Threat model: black box,
// labels; what is asked of it are images in the clip range.
//
// All images advance together, so the victim answers whole batches; each has random numbers of its own and comes out the
// same in any company, where the victim's answers do. Queries are counted image by image.
// CCS: 10 iterations. Its code gives no clip range, so that of the images at hand is taken; here [0, 1] by default.
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "attacks/extraction/listener.h"
#include "attacks/membership/attack.h"
#include "attacks/query/black_box.h"

namespace offramp::attacks::membership {

struct HopSkipJumpOptions {
  int iterations = 10;
  int start_tries = 100;       // uniform images among which a start is looked for
  int first_directions = 100;  // of iteration 0; int(first * sqrt(it + 1)) later
  int most_directions = 10000;
  double low = 0, high = 1;   // clip range
  bool clip_to_data = false;  // boundary_distance: least and largest value of the images asked about instead
  int together = 32;          // images that advance together
  int batch = 500;            // images in one question
  std::uint64_t seed = 1;
};

// Labels of `count` images that lie one after the other, in the memory order of engine/shape.h.
using LabelsOf = std::function<std::vector<std::int32_t>(std::span<const float> images, int count)>;

struct BoundaryPoint {
  double distance = 0;            // L2, of the last iterate; 0: no image of another label was found
  std::vector<float> image = {};  // it; empty with distance 0
  std::int64_t queries = 0;
};
// images: [count, d]. `names` [count] seed each image's own random numbers. Throws ValueError for options outside their
// domain, DataError for pixels outside the clip range.
std::vector<BoundaryPoint> hop_skip_jump(std::span<const float> images,
                                         std::span<const std::uint32_t> names,
                                         const LabelsOf& labels,
                                         const HopSkipJumpOptions& options);

// Distances of the records' images as a signal of one column; a record that is classified wrongly has 0 without a query.
Signal boundary_distance(BlackBox& victim,
                         const Samples& samples,
                         const Records& records,
                         std::span<const std::size_t> asked,
                         const HopSkipJumpOptions& options,
                         Listener& listener);

}  // namespace offramp::attacks::membership
