#pragma once
// Sets of 8-bit images as what a black box is asked.
#include "attacks/query/black_box.h"
#include "nets/data/image_set.h"

namespace offramp::attacks {

// The set must outlive the source.
ImageSource image_source(const data::ImageSet& set);

}  // namespace offramp::attacks
