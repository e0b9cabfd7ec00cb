// What `stats` throws on wrong use. Messages: `function: what was expected, what came, where`.
#pragma once

#include <cmath>
#include <cstddef>
#include <span>
#include <stdexcept>
#include <string>

namespace offramp::stats {

class ValueError : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

// A number as it stands in a message: as many digits as a reader wants.
std::string to_text(double value);

// Throws ValueError unless every value is finite; `what` is the function, `name` the argument.
void require_finite(std::span<const double> values, const char* what, const char* name);
// Throws ValueError when `values` is empty.
void require_some(std::span<const double> values, const char* what, const char* name);
// Throws ValueError unless a == b.
void require_same_size(
    std::size_t a, const char* name_a, std::size_t b, const char* name_b, const char* what);

}  // namespace offramp::stats
