#include "base/number_table.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>
#include <utility>

#include "base/csv_fields.h"
#include "base/errors.h"

namespace offramp {
namespace {

std::string at_line(std::size_t line) { return "line " + std::to_string(line) + ": "; }

std::optional<double> parse_double(std::string_view field) {
  if (field.starts_with('+')) field.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
  if (error != std::errc() || end != field.data() + field.size()) return std::nullopt;
  return value;
}

std::optional<std::int64_t> parse_whole(std::string_view field) {
  if (field.starts_with('+')) field.remove_prefix(1);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
  if (error == std::errc() && end == field.data() + field.size()) return value;
  const auto real = parse_double(field);
  constexpr double kExact = 0x1p53;  // below it every whole double is the number that was written
  if (!real || !(std::abs(*real) <= kExact) || *real != std::floor(*real)) return std::nullopt;
  return static_cast<std::int64_t>(*real);
}

}  // namespace

NumberTable::NumberTable(std::string text, std::filesystem::path path)
    : text_(std::move(text)), path_(std::move(path)) {
  const std::string_view all = text_;
  std::size_t at = all.starts_with("\xEF\xBB\xBF") ? 3 : 0;
  for (std::size_t number = 1; at < all.size(); ++number) {
    const std::size_t end = std::min(all.find('\n', at), all.size());
    const std::string_view line = all.substr(at, end - at);
    const std::size_t line_begin = at;
    at = std::min(end + 1, all.size());
    const bool empty = csv_bare(line).empty();
    if (header_.empty() && empty) break;
    if (empty && all.find_first_not_of(" \t\r\n", at) == std::string_view::npos) break;
    std::size_t fields = 0;
    for (std::size_t begin = 0;; ++fields) {
      const std::size_t length = csv_field_length(line.substr(begin));
      if (number > 1) {
        if (fields < header_.size()) starts_.push_back(line_begin + begin);
      } else {
        const std::string name = csv_text(line.substr(begin, length));
        if (find(name))
          throw FileError(path_.string(), at_line(number) + "column " + in_quotes(name) + " occurs twice");
        header_.push_back(name);
      }
      begin += length + 1;
      if (begin > line.size()) break;
    }
    ++fields;
    if (number == 1) continue;
    if (fields != header_.size())
      throw FileError(path_.string(),
                      at_line(number) + "expected " + std::to_string(header_.size()) +
                          " fields as in the header, found " + std::to_string(fields));
    ++rows_;
  }
  if (header_.empty()) throw FileError(path_.string(), "expected a header line, the file is empty");
  if (rows_ == 0) throw FileError(path_.string(), "expected at least one row below the header, found none");
}

std::string_view NumberTable::field(std::size_t row, std::size_t column) const {
  const std::size_t begin = starts_[row * header_.size() + column];
  const std::string_view rest = std::string_view(text_).substr(begin);
  const std::string_view line = rest.substr(0, std::min(rest.find('\n'), rest.size()));
  return line.substr(0, csv_field_length(line));
}

std::optional<std::size_t> NumberTable::find(std::string_view name) const {
  const auto at = std::find(header_.begin(), header_.end(), name);
  if (at == header_.end()) return std::nullopt;
  return static_cast<std::size_t>(at - header_.begin());
}

std::string NumberTable::columns_found() const {
  std::string text;
  for (const std::string& name : header_) text += (text.empty() ? "" : ", ") + in_quotes(name);
  return text;
}

std::size_t NumberTable::index_of(std::string_view name) const {
  if (const auto index = find(name)) return *index;
  throw FileError(path_.string(), "expected a column " + in_quotes(name) + ", found " + columns_found());
}

std::vector<std::size_t> NumberTable::numbered(std::string_view prefix) const {
  std::vector<std::pair<std::uint64_t, std::size_t>> found;  // number, column
  for (std::size_t i = 0; i < header_.size(); ++i) {
    const std::string_view name = header_[i];
    if (!name.starts_with(prefix)) continue;
    const std::string_view digits = name.substr(prefix.size());
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (digits.empty() || digits.size() > 9 || error != std::errc() || end != digits.data() + digits.size())
      continue;
    found.emplace_back(value, i);
  }
  std::sort(found.begin(), found.end());
  std::vector<std::size_t> columns;
  const std::uint64_t first = !found.empty() && found.front().first == 0 ? 0 : 1;
  for (const auto& [value, column] : found) {
    const std::uint64_t wanted = first + columns.size();
    if (value != wanted)
      throw FileError(path_.string(),
                      "expected a column " + in_quotes(std::string(prefix) + std::to_string(wanted)) +
                          " before " + in_quotes(header_[column]) + ", found none");
    columns.push_back(column);
  }
  return columns;
}

std::vector<double> NumberTable::numbers(std::size_t column) const {
  std::vector<double> values;
  values.reserve(rows_);
  for (std::size_t row = 0; row < rows_; ++row) {
    const std::string_view text = csv_bare(field(row, column));
    const auto value = parse_double(text);
    if (!value)
      throw FileError(path_.string(),
                      at_line(line_of(row)) + "expected a number in column " + in_quotes(header_[column]) +
                          ", found " + in_quotes(text));
    values.push_back(*value);
  }
  return values;
}

std::vector<std::string> NumberTable::words(std::string_view name) const {
  const std::size_t column = index_of(name);
  std::vector<std::string> out;
  out.reserve(rows_);
  for (std::size_t row = 0; row < rows_; ++row) out.push_back(csv_text(field(row, column)));
  return out;
}

std::vector<std::int64_t> NumberTable::whole_numbers(std::size_t column,
                                                     const std::string& what,
                                                     std::int64_t least,
                                                     std::int64_t most) const {
  std::vector<std::int64_t> values;
  values.reserve(rows_);
  for (std::size_t row = 0; row < rows_; ++row) {
    const std::string_view text = csv_bare(field(row, column));
    const auto value = parse_whole(text);
    if (!value || *value < least || *value > most)
      throw FileError(path_.string(),
                      at_line(line_of(row)) + "expected " + what + " in column " +
                          in_quotes(header_[column]) + ", found " + in_quotes(text));
    values.push_back(*value);
  }
  return values;
}

NumberTable read_number_table(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file || std::filesystem::is_directory(path))
    throw FileError(path.string(), "expected a CSV file, it cannot be opened");
  std::ostringstream text;
  text << file.rdbuf();
  return {std::move(text).str(), path};
}

}  // namespace offramp
