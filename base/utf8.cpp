#include "base/utf8.h"

#include "base/errors.h"

#include <algorithm>
#include <cstdio>

namespace offramp {
namespace {

// Bytes of the sequence that `text` begins with; 0 if it begins with none.
std::size_t sequence_bytes(std::string_view text) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const auto follows = [&](std::size_t i) { return byte(i) >= 0x80 && byte(i) <= 0xbf; };
  const unsigned lead = byte(0), second = byte(1);
  if (text.empty()) return 0;
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead <= 0xdf) return follows(1) ? 2 : 0;
  if (lead >= 0xe0 && lead <= 0xef) {
    const bool shortest = lead != 0xe0 || second >= 0xa0, no_surrogate = lead != 0xed || second <= 0x9f;
    return follows(1) && follows(2) && shortest && no_surrogate ? 3 : 0;
  }
  if (lead >= 0xf0 && lead <= 0xf4) {
    const bool shortest = lead != 0xf0 || second >= 0x90, in_range = lead != 0xf4 || second <= 0x8f;
    return follows(1) && follows(2) && follows(3) && shortest && in_range ? 4 : 0;
  }
  return 0;
}

void append_escaped(std::string& out, std::string_view bytes) {
  for (const char ch : bytes) {
    char hex[5];
    std::snprintf(hex, sizeof hex, "\\x%02x", static_cast<unsigned>(static_cast<unsigned char>(ch)));
    out += hex;
  }
}

std::string shown(std::string_view text, std::string_view kept_controls) {
  std::string out;
  while (!text.empty()) {
    const std::size_t length = sequence_bytes(text);
    const std::string_view bytes = text.substr(0, std::max<std::size_t>(length, 1));
    const auto first = static_cast<unsigned char>(bytes[0]);
    const bool c0 = (first < 0x20 && kept_controls.find(bytes[0]) == std::string_view::npos) || first == 0x7f;
    const bool c1 = length == 2 && first == 0xc2 && static_cast<unsigned char>(bytes[1]) < 0xa0;
    if (length == 0 || c0 || c1) {
      append_escaped(out, bytes);
    } else {
      out += bytes;
    }
    text.remove_prefix(bytes.size());
  }
  return out;
}

}  // namespace

std::size_t first_bad_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = sequence_bytes(text.substr(at));
    if (length == 0) return at;
    at += length;
  }
  return std::string_view::npos;
}

std::string visible(std::string_view text) { return shown(text, "\n\t"); }

std::string in_quotes(std::string_view text) {
  constexpr std::size_t kShown = 80;
  std::size_t end = std::min(text.size(), kShown);
  // Not in the middle of a character.
  while (end > 0 && end < text.size() && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  std::string out = "'" + shown(text.substr(0, end), "") + "'";
  if (end < text.size()) out += "... (" + std::to_string(text.size()) + " bytes)";
  return out;
}

std::string shell_quoted(const std::string& word) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) return word;
  std::string out = "'";
  for (const char ch : word) out += ch == '\'' ? std::string("'\\''") : std::string(1, ch);
  return out + "'";
}

}  // namespace offramp
