#pragma once
// Text for SVG and HTML: escaping, numbers that look the same on every machine, and a guess of text widths.
#include <string>
#include <string_view>

#include "base/errors.h"

namespace offramp {
class ReportError : public Error {
 public:
  using Error::Error;
};
}  // namespace offramp

namespace offramp::report {

// For element content and quoted attributes: & < > " ' become references; bytes that are no valid UTF-8 and
// control characters other than tab and line feed become U+FFFD.
std::string escape(std::string_view text);

// Exactly `decimals` digits behind the point, no thousands separator; "-0.00" loses its sign. NaN: "n/a",
// infinities: "inf", "-inf".
std::string fixed(double value, int decimals);
// For coordinates: at most two decimals, trailing zeros cut.
std::string coordinate(double value);
// For people: about `digits` significant digits, commas between thousands, e notation beyond 1e-4 and 1e9.
std::string pretty(double value, int digits = 4);
// 12345 -> "12,345".
std::string with_commas(long long value);

// Width in pixels of `text` in the charts' sans-serif face at `size` pixels; a guess good to about a tenth.
double text_width(std::string_view text, double size);

}  // namespace offramp::report
