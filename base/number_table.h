// A CSV file of numbers under a header line, as one brings it from anywhere: what traces, assignments, confidences and
// the tables of the statistics are read with. Only the columns that are asked for must be numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace offramp {

class NumberTable {
 public:
  // Comma-separated; LF or CRLF; a byte order mark and blank lines at the end are passed over; fields may be quoted
  // ("a, b" is one field). Throws FileError naming path and line: no header, no rows, rows with more or fewer
  // fields than the header, a name that occurs twice.
  NumberTable(std::string text, std::filesystem::path path);

  const std::filesystem::path& path() const { return path_; }
  const std::vector<std::string>& header() const { return header_; }
  std::size_t rows() const { return rows_; }

  // Index of the column called `name`, if there.
  std::optional<std::size_t> find(std::string_view name) const;
  // The columns PREFIX0, PREFIX1, .. or PREFIX1, PREFIX2, .., in the order of their numbers; empty where there is
  // none. Throws FileError for a gap: the columns behind it would be lost without a word.
  std::vector<std::size_t> numbered(std::string_view prefix) const;

  // Values of a column; "nan" and "inf" are numbers (the caller says whether it takes them). Throws FileError naming
  // line and column for a field that is none, or listing the columns that are there.
  std::vector<double> numbers(std::size_t column) const;
  std::vector<double> numbers(std::string_view name) const { return numbers(index_of(name)); }
  // Whole numbers from `least` to `most`, exact to 64 bits; 151907.0 is one, 1.5 is not. `what` names them in the
  // message.
  std::vector<std::int64_t> whole_numbers(std::size_t column,
                                          const std::string& what,
                                          std::int64_t least,
                                          std::int64_t most) const;

  // The fields of a column, quotes taken off.
  std::vector<std::string> words(std::string_view name) const;

  // The index of a column that must be there.
  std::size_t index_of(std::string_view name) const;
  // The names of the columns in quotes, for messages.
  std::string columns_found() const;
  // The line of the file that holds `row` (from 0).
  std::size_t line_of(std::size_t row) const { return row + 2; }

 private:
  std::string_view field(std::size_t row, std::size_t column) const;

  std::string text_;
  std::filesystem::path path_;
  std::vector<std::string> header_;
  std::size_t rows_ = 0;
  std::vector<std::size_t> starts_;  // [rows, columns] where each field begins in text_
};

// Throws FileError: no file, and as above.
NumberTable read_number_table(const std::filesystem::path& path);

}  // namespace offramp
