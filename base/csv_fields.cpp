#include "base/csv_fields.h"

#include <algorithm>

namespace offramp {
namespace {

std::string_view trimmed(std::string_view text) {
  const auto blank = [](char ch) { return ch == ' ' || ch == '\t' || ch == '\r'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

bool is_quoted(std::string_view text) {
  return text.size() >= 2 && text.front() == '"' && text.back() == '"';
}

}  // namespace

std::size_t csv_field_length(std::string_view line) {
  const std::size_t begin = std::min(line.find_first_not_of(" \t"), line.size());
  if (begin == line.size() || line[begin] != '"') return std::min(line.find(','), line.size());
  bool inside = false;
  for (std::size_t i = begin; i < line.size(); ++i) {
    if (line[i] == '"') inside = !inside;  // a doubled quote closes and opens again
    if (line[i] == ',' && !inside) return i;
  }
  return line.size();
}

std::vector<std::string_view> csv_fields(std::string_view line) {
  std::vector<std::string_view> fields;
  for (;;) {
    const std::size_t length = csv_field_length(line);
    fields.push_back(line.substr(0, length));
    if (length == line.size()) return fields;
    line.remove_prefix(length + 1);
  }
}

std::string_view csv_bare(std::string_view field) {
  field = trimmed(field);
  return is_quoted(field) ? field.substr(1, field.size() - 2) : field;
}

std::string csv_text(std::string_view field) {
  field = trimmed(field);
  if (!is_quoted(field)) return std::string(field);
  std::string text;
  for (std::size_t i = 1; i + 1 < field.size(); ++i) {
    text += field[i];
    if (field[i] == '"' && i + 2 < field.size() && field[i + 1] == '"') ++i;
  }
  return text;
}

}  // namespace offramp
