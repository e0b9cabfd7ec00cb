// JSON files as every room reads and writes them: each value is checked for its type and range, so that 3.7 classes or
// 4294967299 of them are an error and not a number that happened to fit. Who includes this links nlohmann-json.
#pragma once

#include <cmath>
#include <concepts>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/atomic_file.h"
#include "base/errors.h"

namespace offramp {

// Throws FileError: no file, no JSON (with the byte), no object.
inline nlohmann::json read_json_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in || std::filesystem::is_directory(path)) throw FileError(path.string(), "cannot be read");
  nlohmann::json json;
  try {
    json = nlohmann::json::parse(in);
  } catch (const nlohmann::json::parse_error& error) {
    throw FileError(path.string(), error.byte, "expected JSON");
  } catch (const nlohmann::json::out_of_range&) {
    throw FileError(path.string(), "expected JSON whose numbers fit a double");
  }
  if (!json.is_object()) throw FileError(path.string(), "expected a JSON object");
  return json;
}

// Indented, atomically. Text that is not UTF-8 (a file name) is written with U+FFFD in its place.
inline void write_json_file(const std::filesystem::path& path, const nlohmann::ordered_json& json) {
  write_file_atomically(path, json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

namespace json_detail {

template <class T>
inline constexpr bool kIsVector = false;
template <class T>
inline constexpr bool kIsVector<std::vector<T>> = true;

// Whether `value` is a T; what was wanted, for the message.
template <class T>
const char* wanted() {
  if constexpr (std::is_same_v<T, bool>) return "true or false";
  if constexpr (std::is_integral_v<T>) return "a whole number";
  if constexpr (std::is_floating_point_v<T>) return "a number";
  if constexpr (std::is_same_v<T, std::vector<std::string>>) return "a list of texts";
  if constexpr (kIsVector<T>) return "a list of numbers";
  return "text";
}

template <class T>
bool read(const nlohmann::json& value, T& to) {
  if constexpr (std::is_same_v<T, bool>) {
    if (!value.is_boolean()) return false;
    to = value.get<bool>();
  } else if constexpr (std::is_integral_v<T>) {
    if (!value.is_number_integer()) return false;
    const bool fits = value.is_number_unsigned() ? std::in_range<T>(value.get<std::uint64_t>())
                                                 : std::in_range<T>(value.get<std::int64_t>());
    if (!fits) return false;
    to = value.get<T>();
  } else if constexpr (std::is_floating_point_v<T>) {
    if (!value.is_number()) return false;
    to = value.get<T>();
  } else if constexpr (kIsVector<T>) {
    if (!value.is_array()) return false;
    to.clear();
    for (const auto& element : value) {
      typename T::value_type one{};
      if (!read(element, one)) return false;
      to.push_back(one);
    }
  } else {
    if (!value.is_string()) return false;
    to = value.get<std::string>();
  }
  return true;
}

}  // namespace json_detail

// The value of `key`. Throws FileError where it is missing, has another type, or does not fit T.
template <class T>
T json_member(const nlohmann::json& json, const char* key, const std::filesystem::path& path) {
  const auto at = json.find(key);
  if (at == json.end()) throw FileError(path.string(), "expected the key " + in_quotes(key));
  T value{};
  if (!json_detail::read(*at, value))
    throw FileError(path.string(),
                    std::string("expected ") + json_detail::wanted<T>() + " under " + in_quotes(key) +
                        ", got " +
                        in_quotes(at->dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)));
  return value;
}

// The same where the key may be missing: then `to` stays as it is.
template <class T>
void json_member_if_there(const nlohmann::json& json,
                          const char* key,
                          const std::filesystem::path& path,
                          T& to) {
  if (json.contains(key)) to = json_member<T>(json, key, path);
}

}  // namespace offramp
