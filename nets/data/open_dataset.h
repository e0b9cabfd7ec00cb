#pragma once
// The one entry point: a text that users type, and a split, to a set in memory. The families stand in families.h.
//
// FAMILY[:ARGUMENT][?OPTION[&OPTION]]: side=32 (resize to a square), seed=7 (synthetic). Example:
// tiny-imagenet:/data/tiny?side=32. A path alone is enough where its content says what it is: pets?side=32.
#include <cstdint>
#include <filesystem>
#include <string>
#include <variant>
#include <vector>

#include "nets/data/image_set.h"

namespace offramp::data {

struct OpenOptions {
  int side = 0;           // resize to side x side; 0: each family's own size
  int side_of_files = 0;  // the same for picture files where neither a side nor the family gives one; 0: none
  bool as_stored = false;  // true: Fashion-MNIST stays 28x28 grey; false: 32x32 RGB as the nets take it
  std::uint64_t seed = 1;  // of generated sets
  int threads = 0;         // 0: one per core
  std::filesystem::path cache_dir = {};  // decoded folders are kept here; empty: no cache
};

struct DatasetSpec {
  std::string family;    // "fashion-mnist", "cifar10", ...
  std::string argument;  // the part behind the first ':', without options
  OpenOptions options;
  std::string text = {};    // as it was given, without options
  bool path_alone = false;  // the family was found out
};

// Throws DataError; an unknown family lists the known ones.
DatasetSpec parse_spec(const std::string& spec, OpenOptions defaults = {});

// The parts that the set has: {"train", "test"}, one of them, or {"all"}: a set that has no parts. Looks into the files.
std::vector<std::string> splits_of(const DatasetSpec& spec);

// What lies there, for people: "class folders in train/ and val/ (there is no test/, val/ is the test part)".
std::string what_is_found(const DatasetSpec& spec);
// What to give instead where pictures have several sizes: "give 'pets?side=32', quoted, ..".
std::string side_hint(const DatasetSpec& spec);

using Dataset = std::variant<ImageSet, TableSet>;
// split: "train", "test" (or val, where that is what a set calls it), or "all" (every part; of generated sets the training
// part). A set without parts is wholly its "train". Labels of all parts mean the same classes. Throws DataError.
Dataset open_dataset(const std::string& spec, const std::string& split, const OpenOptions& options = {});
// The same where only one kind will do.
ImageSet open_images(const std::string& spec, const std::string& split, const OpenOptions& options = {});
TableSet open_table(const std::string& spec, const std::string& split, const OpenOptions& options = {});

}  // namespace offramp::data
