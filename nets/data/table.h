#pragma once
// Tables in CSV: one row a line, the class first (a whole number, quotes allowed), then features; no header.
// The Foursquare "Location" file is of this form: "class 1-30", then 446 columns of 0 and 1.
#include <filesystem>

#include "nets/data/image_set.h"

namespace offramp::data {

// Classes are mapped to 0..C-1 in increasing order; their names are the numbers in the file. Throws DataError
// with the line (ragged rows, fields that are no number, an empty file).
TableSet read_csv_table(const std::filesystem::path& path);

}  // namespace offramp::data
