#include "nets/data/image_annotations.h"

#include "nets/data/data_error.h"
#include "nets/data/text.h"

namespace offramp::data {
namespace {

// A name that cannot lead out of the picture folder.
std::string file_name(const std::string& reader,
                      std::string_view field,
                      const std::filesystem::path& name,
                      std::size_t line) {
  const bool plain = !field.empty() && field != "." && field != ".." &&
                     field.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
  if (!plain)
    fail_at_line(reader, "expected a file name without folders, found " + in_quotes(field), name, line);
  return std::string(field);
}

}  // namespace

std::vector<ListedPicture> parse_gtsrb_csv(std::span<const std::uint8_t> bytes,
                                           int want_class,
                                           const std::filesystem::path& name) {
  constexpr int kClasses = 43;
  const auto lines = split_lines(without_bom(text_of(bytes)));
  if (lines.empty() || trimmed(lines[0]) != "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId")
    fail_at_line("gtsrb", "expected the header Filename;Width;...;ClassId", name, 1);
  std::vector<ListedPicture> out;
  for (std::size_t i = 1; i < lines.size(); ++i) {
    if (trimmed(lines[i]).empty()) continue;
    const auto fields = split_fields(lines[i], ';');
    if (fields.size() != 8)
      fail_at_line("gtsrb", "expected 8 fields, found " + std::to_string(fields.size()), name, i + 1);
    const auto label = parse_int(trimmed(fields[7]));
    if (!label || *label < 0 || *label >= kClasses)
      fail_at_line("gtsrb", "expected a class in 0..42, found " + in_quotes(fields[7]), name, i + 1);
    if (want_class >= 0 && *label != want_class)
      fail_at_line("gtsrb",
                   "expected class " + std::to_string(want_class) + " as the folder says, found " +
                       std::to_string(*label),
                   name,
                   i + 1);
    out.push_back(
        {file_name("gtsrb", trimmed(fields[0]), name, i + 1), static_cast<std::int32_t>(*label), i + 1});
  }
  return out;
}

WordNetLabels parse_wnids(std::span<const std::uint8_t> bytes, const std::filesystem::path& name) {
  WordNetLabels label_of;
  for (const auto line : split_lines(without_bom(text_of(bytes))))
    if (const auto wnid = trimmed(line); !wnid.empty()) label_of.emplace(std::string(wnid), 0);
  if (label_of.empty()) fail_at_line("tiny-imagenet", "expected class names, found none", name, 1);
  std::int32_t next = 0;
  for (auto& [wnid, label] : label_of) label = next++;
  return label_of;
}

void name_by_words(std::span<const std::uint8_t> bytes,
                   const WordNetLabels& label_of,
                   std::vector<std::string>& class_names) {
  for (const auto line : split_lines(without_bom(text_of(bytes)))) {
    const std::size_t tab = line.find('\t');
    if (tab == std::string_view::npos) continue;
    const auto found = label_of.find(line.substr(0, tab));
    if (found == label_of.end()) continue;
    const std::size_t comma = line.find(',', tab);
    class_names[static_cast<std::size_t>(found->second)] =
        std::string(line.substr(tab + 1, comma == std::string_view::npos ? comma : comma - tab - 1));
  }
}

std::vector<ListedPicture> parse_val_annotations(std::span<const std::uint8_t> bytes,
                                                 const WordNetLabels& label_of,
                                                 const std::filesystem::path& name) {
  const auto lines = split_lines(without_bom(text_of(bytes)));
  std::vector<ListedPicture> out;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (trimmed(lines[i]).empty()) continue;
    const auto fields = split_fields(lines[i], '\t');
    if (fields.size() != 6)
      fail_at_line("tiny-imagenet",
                   "expected 6 tab-separated fields, found " + std::to_string(fields.size()),
                   name,
                   i + 1);
    const auto found = label_of.find(trimmed(fields[1]));
    if (found == label_of.end())
      fail_at_line("tiny-imagenet", "class " + in_quotes(fields[1]) + " is not in wnids.txt", name, i + 1);
    out.push_back({file_name("tiny-imagenet", fields[0], name, i + 1), found->second, i + 1});
  }
  return out;
}

}  // namespace offramp::data
