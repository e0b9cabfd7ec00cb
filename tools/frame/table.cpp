#include "tools/frame/table.h"

#include "base/atomic_file.h"
#include "base/errors.h"

#include <fmt/format.h>

#include <algorithm>

namespace offramp::tools {
namespace {

// A number with or without sign, exponent, thousands commas and a unit sign; "-" and "" stand for a missing
// one.
bool looks_like_number(const std::string& cell) {
  if (cell.empty() || cell == "-" || cell == "nan" || cell == "inf") return true;
  return cell.find_first_not_of("0123456789+-.,eE%x ") == std::string::npos &&
         cell.find_first_of("0123456789") != std::string::npos;
}

std::string csv_cell(const std::string& cell) {
  if (cell.find_first_of(",\"\r\n") == std::string::npos) return cell;
  std::string out = "\"";
  for (const char ch : cell) out += ch == '"' ? std::string("\"\"") : std::string(1, ch);
  return out + "\"";
}

}  // namespace

Table::Table(std::vector<std::string> header) : header_(std::move(header)) {}

Table& Table::row(std::vector<std::string> cells) {
  if (cells.size() != header_.size()) {
    throw ValueError(fmt::format("table: {} cells wanted, got {}", header_.size(), cells.size()));
  }
  rows_.push_back(std::move(cells));
  return *this;
}

std::string Table::text() const {
  std::vector<std::size_t> width(header_.size());
  std::vector<bool> right(header_.size(), !rows_.empty());
  for (std::size_t c = 0; c < header_.size(); ++c) {
    width[c] = header_[c].size();
    for (const auto& row : rows_) {
      width[c] = std::max(width[c], row[c].size());
      right[c] = right[c] && looks_like_number(row[c]);
    }
  }
  std::string out;
  const auto add_line = [&](const std::vector<std::string>& cells) {
    std::string line;
    for (std::size_t c = 0; c < cells.size(); ++c) {
      if (c > 0) line += "  ";
      const std::string pad(width[c] - cells[c].size(), ' ');
      line += right[c] ? pad + cells[c] : cells[c] + pad;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  };
  add_line(header_);
  std::vector<std::string> rule;
  for (const std::size_t w : width) rule.emplace_back(w, '-');
  add_line(rule);
  for (const auto& row : rows_) add_line(row);
  return out;
}

std::string Table::csv() const {
  std::string out;
  const auto add_line = [&](const std::vector<std::string>& cells) {
    for (std::size_t c = 0; c < cells.size(); ++c) out += (c > 0 ? "," : "") + csv_cell(cells[c]);
    out += "\n";
  };
  add_line(header_);
  for (const auto& row : rows_) add_line(row);
  return out;
}

void Table::write_csv(const std::filesystem::path& path) const { write_file_atomically(path, csv()); }

std::string with_thousands(std::int64_t value) {
  std::string digits = std::to_string(value);
  const std::size_t first = digits.front() == '-' ? 1 : 0;
  for (std::size_t at = digits.size(); at > first + 3;) {
    at -= 3;
    digits.insert(at, ",");
  }
  return digits;
}

}  // namespace offramp::tools
