// Text from outside: is it UTF-8, as every format that is written here (TOML, JSON, safetensors, HTML) wants
// it, and how it is shown without driving the terminal.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace offramp {

// The first byte that is no part of a well-formed UTF-8 sequence (RFC 3629: shortest forms, no surrogates, at
// most U+10FFFF); npos where the whole text is UTF-8.
std::size_t first_bad_utf8(std::string_view text);
inline bool is_utf8(std::string_view text) { return first_bad_utf8(text) == std::string_view::npos; }

// The text with control bytes (but newline and tab), C1 controls and bytes that are no UTF-8 as \xNN.
std::string visible(std::string_view text);

}  // namespace offramp
