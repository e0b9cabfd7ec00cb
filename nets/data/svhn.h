#pragma once
// SVHN's cropped digits: MATLAB files (mat5.h) with X [32,32,3,n] uint8 and y [n] (1..10 of any number type, where 10 is
// the digit 0). http://ufldl.stanford.edu/housenumbers/
#include <cstdint>
#include <filesystem>
#include <span>

#include "nets/data/image_set.h"

namespace offramp::data {

// Labels are the digits 0..9. Throws DataError (no MATLAB file, arrays missing or of another form, labels out
// of range). `name` is for messages.
ImageSet parse_svhn(std::span<const std::uint8_t> bytes, const std::filesystem::path& name);
ImageSet read_svhn(const std::filesystem::path& path);

}  // namespace offramp::data
