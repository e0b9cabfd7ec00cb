#include "tools/report/text.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>

namespace offramp::report {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// Length of the valid UTF-8 sequence that starts at text[0], 0 if there is none (overlong forms, surrogates
// and values beyond U+10FFFF are not valid).
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  std::uint32_t code = first & (0xffu >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    code = (code << 6) | (byte(i) & 0x3fu);
  }
  constexpr std::uint32_t kSmallest[5] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xd800 && code <= 0xdfff;
  return code < kSmallest[length] || code > 0x10ffff || surrogate ? 0 : length;
}

std::string chars(double value, std::chars_format format, int precision) {
  char buffer[400];
  const auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, value, format, precision);
  return error == std::errc{} ? std::string(buffer, end) : std::string("n/a");
}

std::string not_finite(double value) { return std::isnan(value) ? "n/a" : value > 0 ? "inf" : "-inf"; }

std::string without_zero_sign(std::string text) {
  const bool zero = text.find_first_not_of("-0.") == std::string::npos;
  if (zero && text.starts_with('-')) text.erase(0, 1);
  return text;
}

void cut_zeros(std::string& text) {
  if (text.find('.') == std::string::npos) return;
  while (text.ends_with('0')) text.pop_back();
  if (text.ends_with('.')) text.pop_back();
}

void add_commas(std::string& text) {
  std::size_t end = std::min(text.find('.'), text.size());
  const std::size_t start = text.starts_with('-') ? 1 : 0;
  for (; end > start + 3; end -= 3) text.insert(end - 3, ",");
}

}  // namespace

std::string escape(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    const char first = text[0];
    if (length == 0) {
      out += kReplacement;
    } else if (length > 1) {
      out += text.substr(0, length);
    } else if (first == '&') {
      out += "&amp;";
    } else if (first == '<') {
      out += "&lt;";
    } else if (first == '>') {
      out += "&gt;";
    } else if (first == '"') {
      out += "&quot;";
    } else if (first == '\'') {
      out += "&#39;";
    } else if (static_cast<unsigned char>(first) < 0x20 && first != '\n' && first != '\t') {
      out += kReplacement;
    } else {
      out += first;
    }
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return out;
}

std::string fixed(double value, int decimals) {
  if (!std::isfinite(value)) return not_finite(value);
  return without_zero_sign(chars(value, std::chars_format::fixed, decimals));
}

std::string coordinate(double value) {
  std::string text = fixed(value, 2);
  cut_zeros(text);
  return text;
}

std::string pretty(double value, int digits) {
  if (!std::isfinite(value)) return not_finite(value);
  if (value == 0) return "0";
  const double size = std::abs(value);
  if (size < 1e-4 || size >= 1e9) {
    std::string text = chars(value, std::chars_format::scientific, digits - 1);
    std::string mantissa = text.substr(0, text.find('e'));
    cut_zeros(mantissa);
    const int exponent = std::atoi(text.c_str() + text.find('e') + 1);
    return mantissa + "e" + std::to_string(exponent);
  }
  const int decimals = std::max(0, digits - 1 - static_cast<int>(std::floor(std::log10(size))));
  std::string text = without_zero_sign(chars(value, std::chars_format::fixed, decimals));
  cut_zeros(text);
  add_commas(text);
  return text;
}

std::string with_commas(long long value) {
  std::string text = std::to_string(value);
  add_commas(text);
  return text;
}

double text_width(std::string_view text, double size) {
  double em = 0;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = std::max<std::size_t>(utf8_length(text.substr(i)), 1);
    const char c = text[i];
    if (length > 1)
      em += .62;
    else if (std::string_view("il.,:;|'!()[]tfrjI ").find(c) != std::string_view::npos)
      em += .31;
    else if (std::string_view("mwMW%@").find(c) != std::string_view::npos)
      em += .86;
    else if (c >= 'A' && c <= 'Z')
      em += .66;
    else
      em += .56;
    i += length;
  }
  return em * size * 1.06;  // DejaVu Sans, what a bare Linux shows, is the widest of the list
}

}  // namespace offramp::report
