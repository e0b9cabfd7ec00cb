#pragma once
// The only way an attack sees a victim: images in, probabilities (or labels) and running times out
// (docs/architecture.md, "The black box"). This folder is a room of its own that links engine, stats and the
// data readers: no header that shows a net's exits can be reached from it (tests/attacks/walls_test.cpp).
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/tensor.h"

namespace offramp::attacks {

enum class Timing {
  kPerQuery,  // one image at a time, each with its own clock reading
  kNone,      // no times; images may be answered in batches
};

struct Answer {
  Tensor probabilities;              // [n, classes] float32 on the CPU; empty: the victim gives labels only
  std::vector<std::int32_t> labels;  // [n] most probable class
  std::vector<std::int64_t> nanoseconds;  // [n] with Timing::kPerQuery, else empty
};

class BlackBox {
 public:
  virtual ~BlackBox() = default;
  virtual int classes() const = 0;
  // images: [n,c,h,w] float32 in [0,1], or rows of features [n,d]. With kPerQuery they are asked in the order given. Throws ShapeError
  // where the victim does not take images of this size.
  virtual Answer query(const Tensor& images, Timing timing) = 0;
};

// Query images by index: [indices.size(), c, h, w] float32 in [0,1]; or rows of features, [indices.size(), d].
struct ImageSource {
  int count = 0;
  std::function<Tensor(std::span<const std::int32_t> indices)> load;
};

// Argmax of each row of [n, classes]; of equals the first.
std::vector<std::int32_t> labels_of(const Tensor& probabilities);

}  // namespace offramp::attacks
