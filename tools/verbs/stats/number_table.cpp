#include "tools/verbs/stats/number_table.h"

#include "base/errors.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>
#include <string_view>

namespace offramp::tools {
namespace {

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r'))
    text.remove_suffix(1);
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"') text = text.substr(1, text.size() - 2);
  return text;
}

std::string at_line(std::size_t line) { return "line " + std::to_string(line) + ": "; }

std::string all_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file || std::filesystem::is_directory(path)) {
    throw FileError(path.string(), "expected a CSV file, it cannot be opened");
  }
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

// f(field, index) for each field of a line; returns how many there were.
template <class F>
std::size_t for_fields(std::string_view line, F f) {
  std::size_t index = 0;
  for (;;) {
    const std::size_t comma = line.find(',');
    f(trimmed(line.substr(0, comma)), index++);
    if (comma == std::string_view::npos) return index;
    line.remove_prefix(comma + 1);
  }
}

double number(std::string_view field, const NumberTable& table, std::size_t line, std::size_t column) {
  double value = 0;
  const std::string_view digits = field.starts_with('+') ? field.substr(1) : field;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size()) {
    throw FileError(table.path.string(),
                    at_line(line) + "expected a number in column " + in_quotes(table.header[column]) +
                        ", found " + in_quotes(field));
  }
  return value;
}

}  // namespace

std::optional<std::size_t> NumberTable::find(const std::string& name) const {
  for (std::size_t i = 0; i < header.size(); ++i) {
    if (header[i] == name) return i;
  }
  return std::nullopt;
}

const std::vector<double>& NumberTable::column(const std::string& name) const {
  if (const auto index = find(name)) return columns[*index];
  std::string there;
  for (const std::string& h : header) there += (there.empty() ? "" : ", ") + in_quotes(h);
  throw FileError(path.string(), "expected a column " + in_quotes(name) + ", found " + there);
}

std::size_t NumberTable::numbered(const std::string& prefix) const {
  std::size_t count = 0;
  while (find(prefix + std::to_string(count + 1))) ++count;
  // A gap would lose the columns behind it without a word.
  for (const std::string& name : header) {
    const std::string_view digits = std::string_view(name).substr(std::min(prefix.size(), name.size()));
    if (!name.starts_with(prefix) || digits.empty() || digits.size() > 9 ||
        digits.find_first_not_of("0123456789") != digits.npos) {
      continue;
    }
    if (std::stoul(std::string(digits)) > count) {
      throw FileError(
          path.string(),
          fmt::format("expected a column '{}{}' before {}, found none", prefix, count + 1, in_quotes(name)));
    }
  }
  return count;
}

NumberTable read_number_table(const std::filesystem::path& path) {
  NumberTable table;
  table.path = path;
  const std::string text = all_of(path);
  std::string_view rest = text;
  if (rest.starts_with("\xEF\xBB\xBF")) rest.remove_prefix(3);  // a byte order mark
  std::size_t line_number = 0;
  while (!rest.empty()) {
    const std::size_t end = rest.find('\n');
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    ++line_number;
    if (table.header.empty()) {
      if (trimmed(line).empty()) break;
      for_fields(line, [&](std::string_view name, std::size_t) {
        if (table.find(std::string(name))) {
          throw FileError(path.string(),
                          at_line(line_number) + "column " + in_quotes(name) + " occurs twice");
        }
        table.header.emplace_back(name);
      });
      table.columns.resize(table.header.size());
      continue;
    }
    if (trimmed(line).empty() && rest.find_first_not_of(" \t\r\n") == std::string_view::npos) break;
    const std::size_t fields = for_fields(line, [&](std::string_view field, std::size_t column) {
      if (column < table.columns.size()) {
        table.columns[column].push_back(number(field, table, line_number, column));
      }
    });
    if (fields != table.columns.size()) {
      throw FileError(path.string(),
                      at_line(line_number) + "expected " + std::to_string(table.columns.size()) +
                          " fields as in the header, found " + std::to_string(fields));
    }
    ++table.rows;
  }
  if (table.header.empty()) throw FileError(path.string(), "expected a header line, the file is empty");
  if (table.rows == 0)
    throw FileError(path.string(), "expected at least one row below the header, found none");
  return table;
}

}  // namespace offramp::tools
