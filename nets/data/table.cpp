#include "nets/data/table.h"

#include <cmath>
#include <map>

#include "nets/data/data_error.h"
#include "nets/data/text.h"

namespace offramp::data {
namespace {

std::string_view unquoted(std::string_view field) {
  if (field.size() >= 2 && field.front() == '"' && field.back() == '"')
    return field.substr(1, field.size() - 2);
  return field;
}

}  // namespace

TableSet read_csv_table(const std::filesystem::path& path) {
  const std::string text = read_text(path);
  const auto lines = split_lines(text);
  TableSet set;
  std::vector<std::int64_t> classes;
  std::map<std::int64_t, std::int32_t> label_of;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const auto fields = split_fields(lines[i], ',');
    const auto label = parse_int(unquoted(fields[0]));
    if (!label)
      fail_at_line(
          "csv", "expected a whole number as class, found '" + std::string(fields[0]) + "'", path, i + 1);
    if (i == 0) set.d = static_cast<int>(fields.size()) - 1;
    if (set.d < 1) fail_at_line("csv", "expected a class and at least one feature", path, i + 1);
    if (fields.size() != static_cast<std::size_t>(set.d) + 1)
      fail_at_line("csv",
                   "expected " + std::to_string(set.d + 1) + " fields as in the first row, found " +
                       std::to_string(fields.size()),
                   path,
                   i + 1);
    classes.push_back(*label);
    label_of.emplace(*label, 0);
    for (std::size_t j = 1; j < fields.size(); ++j) {
      const auto value = parse_double(unquoted(fields[j]));
      if (!value || !std::isfinite(*value))
        fail_at_line("csv",
                     "expected a finite number in field " + std::to_string(j + 1) + ", found '" +
                         std::string(fields[j]) + "'",
                     path,
                     i + 1);
      set.features.push_back(static_cast<float>(*value));
    }
  }
  if (classes.empty()) fail_at_line("csv", "expected rows, the file is empty", path, 1);
  for (auto& [value, label] : label_of) {
    label = static_cast<std::int32_t>(set.class_names.size());
    set.class_names.push_back(std::to_string(value));
  }
  for (const std::int64_t value : classes) set.labels.push_back(label_of.at(value));
  set.n = static_cast<int>(classes.size());
  set.family = "csv";
  set.source = path.string();
  return set;
}

}  // namespace offramp::data
