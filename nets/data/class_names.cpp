#include "nets/data/class_names.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <string_view>

#include "base/utf8.h"
#include "nets/data/data_error.h"

namespace offramp::data {
namespace {

bool are_numbers(const std::vector<std::string>& names) {
  for (std::size_t k = 0; k < names.size(); ++k)
    if (names[k] != std::to_string(k)) return false;
  return true;
}

std::string listed(const std::vector<std::string>& names) {
  constexpr std::size_t kShown = 10;
  std::string out;
  for (std::size_t i = 0; i < std::min(names.size(), kShown); ++i)
    out += (out.empty() ? "" : ", ") + in_quotes(names[i]);
  return names.size() > kShown ? out + ", .. (" + std::to_string(names.size()) + " in all)" : out;
}

int hex_digit(char ch) {
  if (ch >= '0' && ch <= '9') return ch - '0';
  return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

}  // namespace

void match_classes(const std::vector<std::string>& trained,
                   std::vector<std::string>& names,
                   std::vector<std::int32_t>& labels,
                   const std::string& what) {
  if (names == trained) return;
  std::map<std::string, std::int32_t> position;
  for (std::size_t k = 0; k < trained.size(); ++k) position.emplace(trained[k], static_cast<std::int32_t>(k));
  std::vector<std::int32_t> moved;
  std::vector<std::string> unknown;
  for (const std::string& name : names) {
    const auto found = position.find(name);
    if (found == position.end())
      unknown.push_back(name);
    else
      moved.push_back(found->second);
  }
  if (!unknown.empty()) {
    const bool by_place = (are_numbers(names) && names.size() <= trained.size()) ||
                          (are_numbers(trained) && names.size() == trained.size());
    if (!by_place)
      throw DataError(what + ": expected classes among the " + std::to_string(trained.size()) +
                      " trained on (" + listed(trained) + "), found also " + listed(unknown));
  } else {
    for (std::int32_t& label : labels) label = moved[static_cast<std::size_t>(label)];
  }
  names = trained;
}

std::string encode_class_names(const std::vector<std::string>& names) {
  std::string out;
  for (std::size_t k = 0; k < names.size(); ++k) {
    if (k > 0) out += '\n';
    const bool plain = is_utf8(names[k]);
    for (const char ch : names[k]) {
      const auto byte = static_cast<unsigned char>(ch);
      if (byte < 0x20 || byte == 0x7f || ch == '\\' || (byte >= 0x80 && !plain)) {
        char escaped[5];
        std::snprintf(escaped, sizeof escaped, "\\x%02x", static_cast<unsigned>(byte));
        out += escaped;
      } else {
        out += ch;
      }
    }
  }
  return out;
}

std::vector<std::string> decode_class_names(const std::string& text) {
  std::vector<std::string> names(1);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\n') {
      names.emplace_back();
    } else if (text[i] != '\\') {
      names.back() += text[i];
    } else {
      const bool whole = i + 3 < text.size() && text[i + 1] == 'x';
      const int high = whole ? hex_digit(text[i + 2]) : -1, low = whole ? hex_digit(text[i + 3]) : -1;
      if (high < 0 || low < 0)
        throw DataError("class names: expected \\xNN at byte " + std::to_string(i) + " of " +
                        in_quotes(text));
      names.back() += static_cast<char>(high * 16 + low);
      i += 3;
    }
  }
  return names;
}

}  // namespace offramp::data
