#include "nets/data/table.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <variant>

#include "base/csv_fields.h"
#include "nets/data/bytes.h"
#include "nets/data/data_error.h"
#include "nets/data/text.h"

namespace offramp::data {
namespace {

std::string_view content_of(std::string_view field) { return trimmed(csv_bare(field)); }

// pandas and R write the class 3 as 3.0 where the column once held a gap.
std::optional<std::int64_t> class_of(std::string_view field) {
  const std::string_view text = content_of(field);
  if (const auto whole = parse_int(text)) return whole;
  const auto value = parse_double(text);
  constexpr double kExact = 0x1p53;
  if (!value || !(std::abs(*value) <= kExact) || *value != std::floor(*value)) return std::nullopt;
  return static_cast<std::int64_t>(*value);
}

// Names, or the numbers from 0 on that pandas gives to columns without a name.
bool is_header(const std::vector<std::string_view>& fields) {
  const auto counts = [&] {
    for (std::size_t j = 0; j < fields.size(); ++j)
      if (content_of(fields[j]) != std::to_string(j)) return false;
    return fields.size() > 4;  // fewer may well be a row
  };
  return counts() || std::ranges::none_of(fields, [](std::string_view field) {
           const std::string_view text = content_of(field);
           return text.empty() || parse_double(text).has_value();
         });
}

// What each column holds of a file whose header allows for text, by its first row.
struct Columns {
  std::size_t class_at = 0;
  bool named_classes = false;  // the classes are text, not whole numbers
  std::vector<bool> is_text;   // beside the class: no feature, passed over
};

Columns columns_of(const std::vector<std::string_view>& row, std::size_t class_at) {
  Columns out{.class_at = class_at, .is_text = std::vector<bool>(row.size())};
  const auto is_text = [](std::string_view field) {
    return !content_of(field).empty() && !parse_double(content_of(field));
  };
  out.named_classes = is_text(row[class_at]);
  for (std::size_t j = 0; j < row.size(); ++j) out.is_text[j] = j != class_at && is_text(row[j]);
  return out;
}

std::size_t class_column(const std::vector<std::string_view>& header, const std::filesystem::path& path) {
  std::optional<std::size_t> found;
  for (std::size_t j = 0; j < header.size(); ++j) {
    std::string name(content_of(header[j]));
    std::ranges::transform(
        name, name.begin(), [](unsigned char ch) { return static_cast<char>(std::tolower(ch)); });
    if (name != "class" && name != "label" && name != "target") continue;
    if (found)
      fail_in_file(
          "csv",
          "the columns " + in_quotes(content_of(header[*found])) + " and " +
              in_quotes(content_of(header[j])) +
              " may both be the class, and one of them would be learnt from: leave one out or rename it",
          path);
    found = j;
  }
  return found.value_or(0);
}

}  // namespace

TableSet parse_csv_table(std::span<const std::uint8_t> bytes, const std::filesystem::path& name) {
  const auto lines = split_lines(without_bom(text_of(bytes)));
  TableSet set;
  using Class = std::variant<std::int64_t, std::string>;
  std::vector<Class> classes;
  std::map<Class, std::int32_t> label_of;
  std::size_t columns = 0;               // 0: no line yet
  std::vector<std::string_view> header;  // empty: none
  std::optional<Columns> held;           // empty: no row yet
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (trimmed(lines[i]).empty()) continue;
    const auto fields = csv_fields(lines[i]);
    const bool first = columns == 0;
    if (first) columns = fields.size();
    if (columns < 2) fail_at_line("csv", "expected a class and at least one feature", name, i + 1);
    if (fields.size() != columns)
      fail_at_line("csv",
                   "expected " + std::to_string(columns) + " fields as in the first row, found " +
                       std::to_string(fields.size()),
                   name,
                   i + 1);
    if (first && is_header(fields)) {
      header = fields;
      continue;
    }
    if (!held && header.empty()) held = Columns{.is_text = std::vector<bool>(columns)};
    if (!held) held = columns_of(fields, class_column(header, name));
    const std::string_view said = content_of(fields[held->class_at]);
    const auto label = class_of(said);
    if (held->named_classes ? label.has_value() || said.empty() : !label.has_value())
      fail_at_line("csv",
                   (held->named_classes ? "expected a class name as in the first row, found "
                                        : "expected a whole number as class, found ") +
                       in_quotes(fields[held->class_at]) +
                       (header.empty() ? "" : "; the header names its column class, label or target"),
                   name,
                   i + 1);
    classes.push_back(held->named_classes ? Class(csv_text(fields[held->class_at])) : Class(*label));
    label_of.emplace(classes.back(), 0);
    for (std::size_t j = 0; j < fields.size(); ++j) {
      if (j == held->class_at) continue;
      if (held->is_text[j]) {
        if (parse_double(content_of(fields[j])))
          fail_at_line("csv",
                       "expected text in field " + std::to_string(j + 1) + " as in the first row, found " +
                           in_quotes(fields[j]),
                       name,
                       i + 1);
        continue;
      }
      const auto value = parse_double(content_of(fields[j]));
      if (!value || !(std::abs(*value) <= std::numeric_limits<float>::max()))
        fail_at_line(
            "csv",
            "expected a finite number in field " + std::to_string(j + 1) + ", found " + in_quotes(fields[j]),
            name,
            i + 1);
      set.features.push_back(static_cast<float>(*value));
    }
  }
  if (classes.empty()) fail_at_line("csv", "expected rows, the file is empty", name, 1);
  for (auto& [value, label] : label_of) {
    label = static_cast<std::int32_t>(set.class_names.size());
    const auto* number = std::get_if<std::int64_t>(&value);
    set.class_names.push_back(number != nullptr ? std::to_string(*number) : std::get<std::string>(value));
  }
  for (const Class& value : classes) set.labels.push_back(label_of.at(value));
  set.n = static_cast<int>(classes.size());
  set.d = static_cast<int>(columns) - 1;
  set.family = "csv";
  set.source = name.string();
  for (std::size_t j = 0; j < columns; ++j) {
    if (!held->is_text[j]) continue;
    --set.d;
    set.left_out.emplace_back(content_of(header[j]));
  }
  if (set.d < 1) fail_in_file("csv", "expected at least one column of numbers beside the class", name);
  return set;
}

TableSet read_csv_table(const std::filesystem::path& path) { return parse_csv_table(read_file(path), path); }

}  // namespace offramp::data
