#pragma once
// Numbers, lists and named values as the text of a checkpoint's metadata.
#include <array>
#include <charconv>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/errors.h"

namespace offramp::nets::text {

template <class E, std::size_t N>
using Names = std::array<std::pair<E, const char*>, N>;

template <class E, std::size_t N>
const char* of(const Names<E, N>& names, E value) {
  for (const auto& [candidate, name] : names) {
    if (candidate == value) return name;
  }
  throw ValueError("options: a value outside its enumeration");
}

template <class E, std::size_t N>
E value_of(const Names<E, N>& names, const char* what, const std::string& text) {
  std::string known;
  for (const auto& [value, name] : names) {
    if (text == name) return value;
    if (!known.empty()) known += ", ";
    known += name;
  }
  throw ValueError(std::string(what) + ": expected one of " + known + ", got " + in_quotes(text));
}

// Shortest text that reads back to the same value.
template <class T>
std::string number(T value) {
  std::array<char, 32> buffer;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr;
  return {buffer.data(), end};
}

template <class T>
std::string list(const std::vector<T>& values) {
  std::string text;
  for (const T value : values) {
    if (!text.empty()) text += ',';
    text += number(value);
  }
  return text;
}

template <class T>
T read_number(const std::string& key, std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) {
    throw ValueError("metadata " + key + ": expected a number, got " + in_quotes(text));
  }
  return value;
}

template <class T>
std::vector<T> read_list(const std::string& key, std::string_view text) {
  std::vector<T> values;
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    values.push_back(read_number<T>(key, text.substr(0, comma)));
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
  }
  return values;
}

// Throws ValueError where the key is missing.
template <class Map>
const std::string& required(const Map& metadata, const std::string& key) {
  const auto found = metadata.find(key);
  if (found == metadata.end()) throw ValueError("metadata: '" + key + "' is missing");
  return found->second;
}

}  // namespace offramp::nets::text
