#include "stats/checks.h"

#include <cstdio>

namespace offramp::stats {

std::string to_text(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.6g", value);
  return text;
}

void require_finite(std::span<const double> values, const char* what, const char* name) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) {
      throw DataError(std::string(what) + ": " + name + " must be finite, got " + to_text(values[i]) +
                      " at index " + std::to_string(i));
    }
  }
}

void require_some(std::span<const double> values, const char* what, const char* name) {
  if (values.empty()) {
    throw DataError(std::string(what) + ": " + name + " must hold at least one value, got none");
  }
}

void require_same_size(
    std::size_t a, const char* name_a, std::size_t b, const char* name_b, const char* what) {
  if (a != b) {
    throw DataError(std::string(what) + ": " + name_a + " and " + name_b + " must have equal lengths, got " +
                    std::to_string(a) + " and " + std::to_string(b));
  }
}

}  // namespace offramp::stats
