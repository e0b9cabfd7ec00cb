// The three folder layouts: from directory entries and CSV files to a list of picture files with labels.
#include <algorithm>
#include <charconv>
#include <map>
#include <set>
#include <string_view>

#include "nets/data/bytes.h"
#include "nets/data/data_error.h"
#include "nets/data/image_file.h"
#include "nets/data/image_folder.h"
#include "nets/data/text.h"

namespace offramp::data {
namespace fs = std::filesystem;
namespace {

std::vector<fs::directory_entry> sorted_entries(const std::string& reader, const fs::path& folder) {
  std::error_code error;
  if (!fs::is_directory(folder, error)) fail_in_file(reader, "expected a folder, found none", folder);
  std::vector<fs::directory_entry> entries;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path().filename().string().front() != '.') entries.push_back(entry);
  std::ranges::sort(entries, {}, [](const auto& e) { return e.path().filename().string(); });
  return entries;
}

void require_file(const std::string& reader,
                  const fs::path& file,
                  const std::string& name,
                  const fs::path& csv,
                  std::size_t line) {
  std::error_code error;
  if (fs::path(name).has_parent_path())
    fail_at_line(reader, "expected a file name without folders, found '" + name + "'", csv, line);
  if (!fs::is_regular_file(file, error))
    fail_at_line(reader, "the listed picture " + file.string() + " does not exist", csv, line);
}

// One GTSRB annotation file; `want_class` < 0: any class.
void add_gtsrb_csv(const fs::path& csv, const fs::path& images, int want_class, ImageList& list) {
  constexpr int kClasses = 43;
  const std::string text = read_text(csv);
  const auto lines = split_lines(text);
  if (lines.empty() || lines[0] != "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId")
    fail_at_line("gtsrb", "expected the header Filename;Width;...;ClassId", csv, 1);
  for (std::size_t i = 1; i < lines.size(); ++i) {
    const auto fields = split_fields(lines[i], ';');
    if (fields.size() != 8)
      fail_at_line("gtsrb", "expected 8 fields, found " + std::to_string(fields.size()), csv, i + 1);
    const auto label = parse_int(fields[7]);
    if (!label || *label < 0 || *label >= kClasses)
      fail_at_line("gtsrb", "expected a class in 0..42, found '" + std::string(fields[7]) + "'", csv, i + 1);
    if (want_class >= 0 && *label != want_class)
      fail_at_line("gtsrb",
                   "expected class " + std::to_string(want_class) + " as the folder says, found " +
                       std::to_string(*label),
                   csv,
                   i + 1);
    list.files.push_back(images / fields[0]);
    list.labels.push_back(static_cast<std::int32_t>(*label));
    require_file("gtsrb", list.files.back(), std::string(fields[0]), csv, i + 1);
  }
}

}  // namespace

ImageList list_class_folders(const fs::path& root, const std::string& extra_suffix) {
  ImageList list{.root = root, .files = {}, .labels = {}, .class_names = {}};
  for (const auto& folder : sorted_entries("folder", root)) {
    if (!folder.is_directory())
      fail_in_file("folder", "expected class folders only, found a file", folder.path());
    const auto label = static_cast<std::int32_t>(list.class_names.size());
    list.class_names.push_back(folder.path().filename().string());
    const std::size_t before = list.files.size();
    for (const auto& file : sorted_entries("folder", folder.path())) {
      if (!extra_suffix.empty() && file.path().string().ends_with(extra_suffix)) continue;
      if (!file.is_regular_file() || !is_picture_name(file.path()))
        fail_in_file(
            "folder", "expected jpg, jpeg, png, ppm or pgm files only, found another entry", file.path());
      list.files.push_back(file.path());
      list.labels.push_back(label);
    }
    if (list.files.size() == before)
      fail_in_file("folder", "expected pictures, the class folder is empty", folder.path());
  }
  if (list.class_names.empty()) fail_in_file("folder", "expected class folders, found none", root);
  return list;
}

ImageList list_gtsrb(const fs::path& root, bool test) {
  ImageList list{.root = root, .files = {}, .labels = {}, .class_names = {}};
  for (int k = 0; k < 43; ++k) list.class_names.push_back(std::to_string(k));
  if (test) {
    const fs::path images = root / "Final_Test" / "Images";
    const fs::path beside = images / "GT-final_test.csv";
    add_gtsrb_csv(fs::exists(beside) ? beside : root / "GT-final_test.csv", images, -1, list);
  } else {
    for (int k = 0; k < 43; ++k) {
      std::string name = std::to_string(k);
      name.insert(0, 5 - name.size(), '0');
      const fs::path folder = root / "Final_Training" / "Images" / name;
      add_gtsrb_csv(folder / ("GT-" + name + ".csv"), folder, k, list);
    }
  }
  if (list.files.empty()) fail_in_file("gtsrb", "expected pictures, the annotation files list none", root);
  return list;
}

ImageList list_tiny_imagenet(const fs::path& root, bool val) {
  ImageList list{.root = root, .files = {}, .labels = {}, .class_names = {}};
  const fs::path wnids_path = root / "wnids.txt";
  const std::string wnids_text = read_text(wnids_path);
  std::map<std::string, std::int32_t, std::less<>> label_of;
  for (const auto line : split_lines(wnids_text))
    if (!line.empty()) label_of.emplace(std::string(line), 0);
  if (label_of.empty()) fail_at_line("tiny-imagenet", "expected class names, found none", wnids_path, 1);
  for (auto& [wnid, label] : label_of) {
    label = static_cast<std::int32_t>(list.class_names.size());
    list.class_names.push_back(wnid);
  }
  if (fs::exists(root / "words.txt")) {
    const std::string words = read_text(root / "words.txt");
    for (const auto line : split_lines(words)) {
      const std::size_t tab = line.find('\t');
      if (tab == std::string_view::npos) continue;
      const auto found = label_of.find(line.substr(0, tab));
      // The first of the synonyms is enough for a table.
      if (found != label_of.end())
        list.class_names[static_cast<std::size_t>(found->second)] =
            std::string(line.substr(tab + 1, line.find(',', tab) - tab - 1));
    }
  }
  if (val) {
    const fs::path csv = root / "val" / "val_annotations.txt";
    const std::string text = read_text(csv);
    const auto lines = split_lines(text);
    for (std::size_t i = 0; i < lines.size(); ++i) {
      const auto fields = split_fields(lines[i], '\t');
      if (fields.size() != 6)
        fail_at_line("tiny-imagenet",
                     "expected 6 tab-separated fields, found " + std::to_string(fields.size()),
                     csv,
                     i + 1);
      const auto found = label_of.find(fields[1]);
      if (found == label_of.end())
        fail_at_line(
            "tiny-imagenet", "class '" + std::string(fields[1]) + "' is not in wnids.txt", csv, i + 1);
      list.files.push_back(root / "val" / "images" / fields[0]);
      list.labels.push_back(found->second);
      require_file("tiny-imagenet", list.files.back(), std::string(fields[0]), csv, i + 1);
    }
  } else {
    for (const auto& [wnid, label] : label_of)
      for (const auto& file : sorted_entries("tiny-imagenet", root / "train" / wnid / "images")) {
        if (!is_picture_name(file.path()))
          fail_in_file("tiny-imagenet", "expected JPEG files only, found another entry", file.path());
        list.files.push_back(file.path());
        list.labels.push_back(label);
      }
  }
  if (list.files.empty()) fail_in_file("tiny-imagenet", "expected pictures, found none", root);
  return list;
}

}  // namespace offramp::data
