#pragma once
// Tables in CSV: one row a line, a class (a whole number), then features, all numbers. A header line, a byte order mark,
// blanks around fields, quotes and blank lines are taken as other programs write them. The class is the first column,
// or, where a header has one, the column named class, label or target.
// The Foursquare "Location" file is of this form: "class 1-30", then 446 columns of 0 and 1.
#include <filesystem>
#include <span>

#include "nets/data/image_set.h"

namespace offramp::data {

// Classes are mapped to 0..C-1 in increasing order; their names are the numbers in the file. Throws DataError
// with the line (ragged rows, fields that are no number, an empty file). `name` is for messages.
TableSet parse_csv_table(std::span<const std::uint8_t> bytes, const std::filesystem::path& name);
TableSet read_csv_table(const std::filesystem::path& path);

}  // namespace offramp::data
