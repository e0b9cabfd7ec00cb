#pragma once
// The families of data sets: one row each. A new family is a row here and the functions that it names; the command line,
// open_dataset, verify_dataset and --help read the table.
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nets/data/augment.h"
#include "nets/data/image_folder.h"
#include "nets/data/open_dataset.h"
#include "nets/data/transform.h"

namespace offramp::data {

struct Family {
  std::string_view name;
  std::string_view form;  // what it wants, for --help and messages
  // The parts that the set has: {"train", "test"}, one of them, or {"all"}.
  std::vector<std::string> (*splits)(const DatasetSpec&);
  // One of those parts.
  Dataset (*open)(const DatasetSpec&, const std::string& split);
  // The picture files behind a part; nothing where the set (or this copy of it) lies in other files. Null: never files.
  std::optional<ImageList> (*list)(const DatasetSpec&, const std::string& split) = nullptr;
  // Where a path alone is given: whether it holds this family. Null: cannot be told.
  bool (*holds)(const std::filesystem::path&) = nullptr;
  // What lies there, for people; null: the name and the parts.
  std::string (*found)(const DatasetSpec&) = nullptr;
  int side = 0;  // pictures of any size are resized to it, 0: they must have one size or ask for ?side=
  bool all_is_train = false;  // generated sets: "all" is the training part
  int train = 0, test = 0;    // samples of the published set
  // training.md section 1.
  Augmentation (*augmentation)(int side) = nullptr;
  std::optional<Normalisation> (*normalisation)() = nullptr;
};

std::span<const Family> families();
// Throws DataError that lists the known ones.
const Family& family_of(const std::string& name);

}  // namespace offramp::data
