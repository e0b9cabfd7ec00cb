// The long list of numbers in a JSON request, read without a tree of JSON values: these cost seven times what the numbers do.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace offramp::tools {

struct NumberList {
  std::vector<float> numbers;  // as they stand, nested lists flat
  std::string rest;            // the text with `placeholder` in the place of the list
};

inline constexpr const char* kListPlaceholder = R"("\u0001numbers")";  // JSON text
inline constexpr const char* kListPlaceholderText = "\x01numbers";     // what it says

// The value of the first key `key` of `text`, where it is a list of finite JSON numbers, or of such lists, at most four deep.
// Nothing where it is anything else or not exactly JSON: then a JSON parser has the word. Each number has the bits that
// rounding its double gives.
std::optional<NumberList> take_number_list(std::string_view text, const std::string& key);

}  // namespace offramp::tools
