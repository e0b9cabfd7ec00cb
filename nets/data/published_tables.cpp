#include "nets/data/published_tables.h"

#include <string>
#include <vector>

#include "nets/data/bytes.h"
#include "nets/data/data_error.h"
#include "nets/data/text.h"

namespace offramp::data {
namespace fs = std::filesystem;
namespace {

struct Published {
  const char* name;
  const char* file;  // in the archive
  int features, classes;
};
constexpr Published kLocations = {"locations", "bangkok", 446, 30};
constexpr Published kPurchases = {"purchases", "dataset_purchase", 600, 100};
constexpr Published kTexas = {"texas", "feats", 6169, 100};

fs::path file_in(const Published& table, const fs::path& given) {
  std::error_code error;
  const fs::path path = fs::is_directory(given, error) ? given / table.file : given;
  if (!fs::exists(path, error))
    fail_in_file(table.name, std::string("expected the file ") + in_quotes(table.file), given);
  return path;
}

TableSet empty_set(const Published& table, const fs::path& path) {
  TableSet set;
  set.d = table.features;
  for (int c = 1; c <= table.classes; ++c) set.class_names.push_back(std::to_string(c));
  set.family = table.name;
  set.source = path.string();
  return set;
}

std::string_view without_quotes(std::string_view field) {
  field = trimmed(field);
  return field.size() >= 2 && field.front() == '"' && field.back() == '"' ? field.substr(1, field.size() - 2)
                                                                          : field;
}

void take_class(
    const Published& table, std::string_view field, const fs::path& path, std::size_t line, TableSet& to) {
  const auto label = parse_int(without_quotes(field));
  if (!label || *label < 1 || *label > table.classes)
    fail_at_line(
        table.name,
        "expected a class from 1 to " + std::to_string(table.classes) + ", found " + in_quotes(field),
        path,
        line);
  to.labels.push_back(static_cast<std::int32_t>(*label - 1));
}

// Features are single digits, so a row is read without splitting it into fields: Texas has 415 million of them.
void take_features(
    const Published& table, std::string_view text, const fs::path& path, std::size_t line, TableSet& to) {
  text = trimmed(text);
  const auto wrong = [&](const std::string& what) { fail_at_line(table.name, what, path, line); };
  const std::size_t width = static_cast<std::size_t>(table.features);
  for (std::size_t j = 0; j < width; ++j) {
    if (2 * j >= text.size() || (j > 0 && text[2 * j - 1] != ','))
      wrong("expected " + std::to_string(width) + " features of 0 or 1 with commas between, found " +
            std::to_string(split_fields(text, ',').size()) + " fields");
    const char digit = text[2 * j];
    if (digit != '0' && digit != '1')
      wrong("expected 0 or 1 as feature " + std::to_string(j + 1) + ", found " +
            in_quotes(text.substr(2 * j, text.find(',', 2 * j) - 2 * j)));
    to.features.push_back(digit == '1' ? 1.f : 0.f);
  }
  if (text.size() != 2 * width - 1)
    wrong("expected " + std::to_string(width) + " features of 0 or 1 with commas between, found " +
          std::to_string(split_fields(text, ',').size()) + " fields");
}

TableSet read_rows(const Published& table, const fs::path& given) {
  const fs::path path = file_in(table, given);
  const std::string text = read_text(path);
  TableSet set = empty_set(table, path);
  const auto lines = split_lines(without_bom(text));
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (trimmed(lines[i]).empty()) continue;
    const std::size_t comma = lines[i].find(',');
    if (comma == std::string_view::npos)
      fail_at_line(table.name,
                   "expected a class and features, found " + in_quotes(lines[i].substr(0, 40)),
                   path,
                   i + 1);
    take_class(table, lines[i].substr(0, comma), path, i + 1, set);
    take_features(table, lines[i].substr(comma + 1), path, i + 1, set);
  }
  set.n = static_cast<int>(set.labels.size());
  if (set.n == 0) fail_in_file(table.name, "expected rows, the file is empty", path);
  return set;
}

}  // namespace

TableSet read_locations(const fs::path& path) { return read_rows(kLocations, path); }
TableSet read_purchases(const fs::path& path) { return read_rows(kPurchases, path); }

TableSet read_texas(const fs::path& given) {
  fs::path folder = given;
  std::error_code error;
  for (const char* inner : {"texas/100", "100"})
    if (!fs::exists(folder / kTexas.file, error) && fs::exists(given / inner / kTexas.file, error))
      folder = given / inner;
  const fs::path features = file_in(kTexas, folder), labels = folder / "labels";
  if (!fs::exists(labels, error))
    fail_in_file(kTexas.name, "expected the file 'labels' beside feats", folder);
  TableSet set = empty_set(kTexas, folder);
  const std::string text = read_text(features), label_text = read_text(labels);
  const auto lines = split_lines(without_bom(text)), label_lines = split_lines(without_bom(label_text));
  if (lines.size() != label_lines.size())
    fail_in_file(kTexas.name,
                 "expected a label for each row, found " + std::to_string(lines.size()) + " rows and " +
                     std::to_string(label_lines.size()) + " labels",
                 folder);
  if (lines.empty()) fail_in_file(kTexas.name, "expected rows, the file is empty", features);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    take_class(kTexas, label_lines[i], labels, i + 1, set);
    take_features(kTexas, lines[i], features, i + 1, set);
  }
  set.n = static_cast<int>(lines.size());
  return set;
}

}  // namespace offramp::data
