// One line of a CSV file (RFC 4180, without line ends inside of quotes): where its fields end, and what they say.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace offramp {

// Length of the field at the start of `line`: up to a comma that stands outside of quotes.
std::size_t csv_field_length(std::string_view line);
// All fields, as they stand.
std::vector<std::string_view> csv_fields(std::string_view line);
// Without blanks around it and the quotes around that: for numbers.
std::string_view csv_bare(std::string_view field);
// The same for text: a doubled quote inside of quotes is one.
std::string csv_text(std::string_view field);

}  // namespace offramp
