// A CSV file of numbers under a header line, as the stats verbs take it from anywhere.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace offramp::tools {

struct NumberTable {
  std::filesystem::path path;
  std::vector<std::string> header;
  std::vector<std::vector<double>> columns;  // [column][row]
  std::size_t rows = 0;

  // Index of the column called `name`, if there.
  std::optional<std::size_t> find(const std::string& name) const;
  // Values of the column called `name`. Throws FileError listing the columns that are there.
  const std::vector<double>& column(const std::string& name) const;
  // How many columns PREFIX1, PREFIX2, .. follow each other without a gap.
  std::size_t numbered(const std::string& prefix) const;
};

// Comma-separated; LF or CRLF; blank lines at the end ignored; names may be quoted; "nan" and "inf" are
// numbers (the caller says whether it takes them). Throws FileError naming path, line and column: no file,
// no header, no rows, ragged rows, fields that are no number, a name that occurs twice.
NumberTable read_number_table(const std::filesystem::path& path);

}  // namespace offramp::tools
