#pragma once
// SVHN's cropped digits: MATLAB files with X [32,32,3,n] uint8 and y [n] (1..10, where 10 is the digit 0),
// through libmatio. http://ufldl.stanford.edu/housenumbers/
#include <filesystem>

#include "nets/data/image_set.h"

namespace offramp::data {

// Labels are the digits 0..9. Throws DataError (no MATLAB file, arrays missing or of another form, labels out
// of range). libmatio gives no byte offsets; the message names the array and the element.
// A build without libmatio (OFFRAMP_MATIO=OFF) throws DataError that says so.
ImageSet read_svhn(const std::filesystem::path& path);

}  // namespace offramp::data
