#pragma once
// The one entry point: a text that users type, and a split, to a set in memory.
//
//   fashion-mnist[:FOLDER]        IDX.gz files (default: where Debian's dataset-fashion-mnist puts them)
//   cifar10:FOLDER cifar100:FOLDER   binary version, or class folders train/CLASS and test/CLASS
//   gtsrb:FOLDER tiny-imagenet:FOLDER   official layouts
//   svhn:FOLDER                   train_32x32.mat, test_32x32.mat
//   folder:FOLDER                 train/CLASS/*.png and test/CLASS/*.png, or CLASS/*.png (split "all")
//   npz:FILE                      images [n,h,w,c] uint8 or features [n,d] float32, with labels
//   csv:FILE                      class, then features; no header (split "all")
//   synthetic:leaves[:N[:SIDE]]   generated pictures
//
// Options follow a '?': side=32 (resize to a square), seed=7 (synthetic). Example:
// tiny-imagenet:/data/tiny?side=32.
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "nets/data/image_folder.h"
#include "nets/data/image_set.h"

namespace offramp::data {

struct OpenOptions {
  int side = 0;            // resize to side x side; 0: each family's own size (below)
  bool as_stored = false;  // true: Fashion-MNIST stays 28x28 grey; false: 32x32 RGB as the nets take it
  std::uint64_t seed = 1;  // of generated sets
  int threads = 0;         // 0: one per core
  std::filesystem::path cache_dir = {};  // decoded folders are kept here; empty: no cache
};

struct DatasetSpec {
  std::string family;    // "fashion-mnist", "cifar10", ...
  std::string argument;  // the part behind the first ':', without options
  OpenOptions options;
};

// Throws DataError; an unknown family lists the known ones.
DatasetSpec parse_spec(const std::string& spec, OpenOptions defaults = {});
// The families with one line each on what they want, for --help and messages.
struct Family {
  std::string_view name, form;
};
std::vector<Family> known_families();

using Dataset = std::variant<ImageSet, TableSet>;
// split: "train", "test" (Tiny ImageNet: its val), or "all" (train then test, or the only split there is).
// Generated sets give different pictures for train and test. Throws DataError.
Dataset open_dataset(const std::string& spec, const std::string& split, const OpenOptions& options = {});
// The same where only one kind will do.
ImageSet open_images(const std::string& spec, const std::string& split, const OpenOptions& options = {});
TableSet open_table(const std::string& spec, const std::string& split, const OpenOptions& options = {});

// False for tables and flat folders of classes, which open only as "all".
bool has_splits(const DatasetSpec& spec);

// For families that are picture files: the list behind the set (for verify).
bool is_listed(const DatasetSpec& spec);
ImageList list_files(const DatasetSpec& spec, const std::string& split);

}  // namespace offramp::data
