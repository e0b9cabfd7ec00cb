// What `stats` asks of its arguments: DataError where samples cannot be taken, ValueError for a setting outside its
// domain. Messages: `function: what was expected, what came, where`.
#pragma once

#include "base/errors.h"

#include <cmath>
#include <cstddef>
#include <span>
#include <string>

namespace offramp::stats {

// A number as it stands in a message: as many digits as a reader wants.
std::string to_text(double value);

// Throws DataError unless every value is finite; `what` is the function, `name` the argument.
void require_finite(std::span<const double> values, const char* what, const char* name);
// Throws DataError when `values` is empty.
void require_some(std::span<const double> values, const char* what, const char* name);
// Throws DataError unless a == b.
void require_same_size(
    std::size_t a, const char* name_a, std::size_t b, const char* name_b, const char* what);

}  // namespace offramp::stats
