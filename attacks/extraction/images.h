#pragma once
// Sets of 8-bit images as what a black box is asked.
#include <functional>

#include "attacks/query/black_box.h"
#include "nets/data/image_set.h"

namespace offramp::attacks {

// Of long passes over a set: called with the number of images finished since the last call. What it throws
// ends the pass.
using ImagesDone = std::function<void(int)>;

// The set must outlive the source.
ImageSource image_source(const data::ImageSet& set);

}  // namespace offramp::attacks
