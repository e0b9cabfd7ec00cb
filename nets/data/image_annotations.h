#pragma once
// The text files that name and label pictures in the official layouts of GTSRB and Tiny ImageNet: from bytes to rows. A
// byte order mark and blank lines are passed over; every fault is named by its line. `name` is for messages.
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace offramp::data {

struct ListedPicture {
  std::string file;  // without folders
  std::int32_t label;
  std::size_t line;  // from 1
};

// Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId with that header; `want_class` < 0: any of the 43.
std::vector<ListedPicture> parse_gtsrb_csv(std::span<const std::uint8_t> bytes,
                                           int want_class,
                                           const std::filesystem::path& name);

// wnids.txt: a class a line. Labels are positions in sorted order.
using WordNetLabels = std::map<std::string, std::int32_t, std::less<>>;
WordNetLabels parse_wnids(std::span<const std::uint8_t> bytes, const std::filesystem::path& name);
// words.txt, "wnid TAB synonym, synonym": the first synonym becomes the name of the label; unknown lines are passed over.
void name_by_words(std::span<const std::uint8_t> bytes,
                   const WordNetLabels& label_of,
                   std::vector<std::string>& class_names);
// val_annotations.txt: file, wnid and four numbers, separated by tabs.
std::vector<ListedPicture> parse_val_annotations(std::span<const std::uint8_t> bytes,
                                                 const WordNetLabels& label_of,
                                                 const std::filesystem::path& name);

}  // namespace offramp::data
