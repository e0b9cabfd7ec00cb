// The three folder layouts: from directory entries and annotation files to a list of picture files with labels.
#include <algorithm>
#include <string>

#include "nets/data/bytes.h"
#include "nets/data/data_error.h"
#include "nets/data/image_annotations.h"
#include "nets/data/image_file.h"
#include "nets/data/image_folder.h"

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

void append(const std::vector<ListedPicture>& pictures,
            const std::string& reader,
            const fs::path& folder,
            const fs::path& csv,
            ImageList& list) {
  for (const ListedPicture& picture : pictures) {
    list.files.push_back(folder / picture.file);
    list.labels.push_back(picture.label);
    std::error_code error;
    if (!fs::is_regular_file(list.files.back(), error))
      fail_at_line(
          reader, "the listed picture " + list.files.back().string() + " does not exist", csv, picture.line);
  }
}

// `want_class` < 0: any class.
void add_gtsrb_csv(const fs::path& csv, const fs::path& images, int want_class, ImageList& list) {
  append(parse_gtsrb_csv(read_file(csv), want_class, csv), "gtsrb", images, csv, list);
}

}  // namespace

std::vector<std::string> class_folder_names(const fs::path& root) {
  std::vector<std::string> names;
  for (const auto& entry : sorted_entries("folder", root))
    if (entry.is_directory()) names.push_back(entry.path().filename().string());
  return names;
}

ImageList list_class_folders(const fs::path& root) {
  ImageList list{.root = root, .files = {}, .labels = {}, .class_names = {}};
  for (const auto& folder : sorted_entries("folder", root)) {
    if (!folder.is_directory())
      fail_in_file("folder", "expected class folders only, found a file", folder.path());
    const auto label = static_cast<std::int32_t>(list.class_names.size());
    list.class_names.push_back(folder.path().filename().string());
    const std::size_t before = list.files.size();
    for (const auto& file : sorted_entries("folder", folder.path())) {
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
  const WordNetLabels label_of = parse_wnids(read_file(root / "wnids.txt"), root / "wnids.txt");
  for (const auto& [wnid, label] : label_of) list.class_names.push_back(wnid);
  if (fs::exists(root / "words.txt"))
    name_by_words(read_file(root / "words.txt"), label_of, list.class_names);
  if (val) {
    const fs::path csv = root / "val" / "val_annotations.txt";
    append(parse_val_annotations(read_file(csv), label_of, csv),
           "tiny-imagenet",
           root / "val" / "images",
           csv,
           list);
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
