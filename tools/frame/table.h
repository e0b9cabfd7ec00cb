// Tables: aligned text for people, CSV for programs, from the same rows.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace offramp::tools {

class Table {
 public:
  explicit Table(std::vector<std::string> header);

  // One cell per column, or ValueError.
  Table& row(std::vector<std::string> cells);

  // Columns are two spaces apart; a column whose cells all look like numbers is aligned to the right.
  std::string text() const;
  // RFC 4180: quotes where a cell needs them, lines end with \n.
  std::string csv() const;
  void write_csv(const std::filesystem::path& path) const;  // atomically

  std::size_t rows() const { return rows_.size(); }

 private:
  std::vector<std::string> header_;
  std::vector<std::vector<std::string>> rows_;
};

// "1,234,567".
std::string with_thousands(std::int64_t value);

}  // namespace offramp::tools
