#include "nets/data/open_dataset.h"

#include <algorithm>

#include "nets/data/cifar_binary.h"
#include "nets/data/data_error.h"
#include "nets/data/idx.h"
#include "nets/data/leaves.h"
#include "nets/data/npy.h"
#include "nets/data/svhn.h"
#include "nets/data/table.h"
#include "nets/data/text.h"
#include "nets/data/transform.h"

namespace offramp::data {
namespace fs = std::filesystem;
namespace {

constexpr const char* kDebianFashionMnist = "/usr/share/datasets/fashion-mnist";
constexpr int kLeavesDefault = 10'000;
constexpr std::uint32_t kLeavesTestStart = 0x80000000u;  // test pictures are counted from here

const std::vector<std::string> kFashionNames = {
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"};
const std::vector<std::string> kCifar10Names = {
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"};

void check_split(const std::string& split) {
  if (split != "train" && split != "test" && split != "all")
    throw DataError("dataset: expected split train, test or all, found '" + split + "'");
}

fs::path existing_folder(const DatasetSpec& spec) {
  const fs::path root = spec.argument;
  std::error_code error;
  if (spec.argument.empty())
    throw DataError("dataset: " + spec.family + " wants a folder: " + spec.family + ":FOLDER");
  if (!fs::is_directory(root, error)) fail_in_file(spec.family, "expected a folder, found none", root);
  return root;
}

fs::path first_existing(const fs::path& folder, const std::string& name) {
  for (const char* suffix : {"", ".gz"})
    if (fs::exists(folder / (name + suffix))) return folder / (name + suffix);
  fail_in_file(
      "fashion-mnist",
      "expected " + name + " or " + name +
          ".gz; Debian's package dataset-fashion-mnist installs them, or give a folder: fashion-mnist:FOLDER",
      folder);
}

ImageSet open_fashion(const DatasetSpec& spec, const std::string& split) {
  const fs::path folder = spec.argument.empty() ? fs::path(kDebianFashionMnist) : fs::path(spec.argument);
  const std::string stem = split == "train" ? "train" : "t10k";
  ImageSet set = read_idx_images(first_existing(folder, stem + "-images-idx3-ubyte"),
                                 first_existing(folder, stem + "-labels-idx1-ubyte"),
                                 kFashionNames);
  if (spec.options.as_stored) return set;
  return grey_to_rgb(spec.options.side == 0 ? resize_to(set, 32) : set);
}

// The binary release unpacks into its own folder; accept that folder and the one above.
fs::path binary_folder(const fs::path& root, const std::string& inner, const std::string& probe) {
  if (fs::exists(root / probe)) return root;
  return fs::exists(root / inner / probe) ? root / inner : fs::path();
}

std::vector<std::string> names_from(const fs::path& file, std::size_t count) {
  const std::string text = read_text(file);
  std::vector<std::string> names;
  for (const auto line : split_lines(text))
    if (!line.empty()) names.emplace_back(line);
  if (names.size() != count)
    fail_in_file("cifar",
                 "expected " + std::to_string(count) + " class names, found " + std::to_string(names.size()),
                 file);
  return names;
}

bool open_cifar_binary(const DatasetSpec& spec, const std::string& split, ImageSet& out) {
  const fs::path root = existing_folder(spec);
  if (spec.family == "cifar10") {
    const fs::path folder = binary_folder(root, "cifar-10-batches-bin", "data_batch_1.bin");
    if (folder.empty()) return false;
    std::vector<fs::path> files;
    if (split == "test")
      files = {folder / "test_batch.bin"};
    else
      for (int b = 1; b <= 5; ++b) files.push_back(folder / ("data_batch_" + std::to_string(b) + ".bin"));
    out = read_cifar_binary(files, CifarKind::kCifar10, kCifar10Names);
  } else {
    const fs::path folder = binary_folder(root, "cifar-100-binary", "train.bin");
    if (folder.empty()) return false;
    out = read_cifar_binary(
        {folder / (split + ".bin")}, CifarKind::kCifar100, names_from(folder / "fine_label_names.txt", 100));
  }
  return true;
}

void check_cifar_classes(const DatasetSpec& spec, const ImageList& list) {
  const std::size_t want = spec.family == "cifar10" ? 10 : 100;
  if (list.class_names.size() != want)
    fail_in_file(spec.family,
                 "expected " + std::to_string(want) + " class folders, found " +
                     std::to_string(list.class_names.size()),
                 list.root);
  if (want == 10 && list.class_names != kCifar10Names)
    fail_in_file(spec.family, "expected the class folders airplane .. truck, found other names", list.root);
}

ImageSet open_listed(const DatasetSpec& spec, const std::string& split) {
  const ImageList list = list_files(spec, split);
  int side = spec.options.side;
  if (side == 0 && spec.family == "gtsrb") side = 32;  // the official pictures are 15x15 to 250x250
  ImageSet set =
      decode_list(list, {.side = side, .threads = spec.options.threads, .cache_dir = spec.options.cache_dir});
  if (side != 0) set.source += ", " + std::to_string(side) + "x" + std::to_string(side);
  return set;
}

ImageSet open_leaves(const DatasetSpec& spec, const std::string& split) {
  const auto parts = split_fields(spec.argument, ':');
  if (parts.size() > 3 || parts[0] != "leaves")
    throw DataError("synthetic: expected leaves[:N[:SIDE]], found '" + spec.argument + "'");
  const auto number = [&](std::size_t i, int otherwise) {
    if (parts.size() <= i) return otherwise;
    const auto value = parse_int(parts[i]);
    if (!value || *value < 1 || *value > 10'000'000)
      throw DataError("synthetic: expected a whole number from 1, found '" + std::string(parts[i]) +
                      "' in '" + spec.argument + "'");
    return static_cast<int>(*value);
  };
  const int n = number(1, kLeavesDefault), side = number(2, spec.options.side != 0 ? spec.options.side : 32);
  return synthetic_leaves(
      n, side, spec.options.seed, split == "test" ? kLeavesTestStart : 0, spec.options.threads);
}

ImageSet open_one(const DatasetSpec& spec, const std::string& split) {
  if (spec.family == "fashion-mnist") return open_fashion(spec, split);
  if (spec.family == "synthetic") return open_leaves(spec, split);
  if (spec.family == "svhn") return read_svhn(existing_folder(spec) / (split + "_32x32.mat"));
  if (spec.family == "cifar10" || spec.family == "cifar100") {
    ImageSet set;
    if (open_cifar_binary(spec, split, set)) return set;
  }
  return open_listed(spec, split);
}

}  // namespace

std::vector<Family> known_families() {
  return {{"fashion-mnist", "fashion-mnist[:FOLDER]  IDX files; default: Debian's dataset-fashion-mnist"},
          {"cifar10", "cifar10:FOLDER  binary version, or class folders train/ and test/"},
          {"cifar100", "cifar100:FOLDER  binary version, or class folders train/ and test/"},
          {"gtsrb", "gtsrb:FOLDER  official layout (Final_Training, Final_Test)"},
          {"tiny-imagenet", "tiny-imagenet:FOLDER  official layout (train, val, wnids.txt)"},
          {"svhn", "svhn:FOLDER  train_32x32.mat and test_32x32.mat"},
          {"folder", "folder:FOLDER  CLASS/NAME.{jpg,png,ppm}, or train/ and test/ of that form"},
          {"npz", "npz:FILE  arrays images (or features) and labels"},
          {"csv", "csv:FILE  rows of class, feature, feature, ..."},
          {"synthetic", "synthetic:leaves[:N[:SIDE]]  generated natural-looking pictures"}};
}

DatasetSpec parse_spec(const std::string& text, OpenOptions defaults) {
  DatasetSpec spec;
  spec.options = std::move(defaults);
  const std::size_t question = text.find('?');
  const std::string head = text.substr(0, question);
  const std::size_t colon = head.find(':');
  spec.family = head.substr(0, colon);
  if (colon != std::string::npos) spec.argument = head.substr(colon + 1);

  const auto families = known_families();
  if (std::ranges::none_of(families, [&](const Family& f) { return f.name == spec.family; })) {
    std::string known;
    for (const Family& f : families) known += (known.empty() ? "" : ", ") + std::string(f.name);
    throw DataError("dataset: unknown data set '" + spec.family + "'; known: " + known);
  }
  if (question != std::string::npos) {
    const std::string tail = text.substr(question + 1);
    for (const auto option : split_fields(tail, '&')) {
      const std::size_t equals = option.find('=');
      const std::int64_t value =
          equals == std::string_view::npos ? -1 : parse_int(option.substr(equals + 1)).value_or(-1);
      const std::string_view name = option.substr(0, equals);
      if (name == "side" && value >= 1 && value <= 4096)
        spec.options.side = static_cast<int>(value);
      else if (name == "seed" && value >= 0)
        spec.options.seed = static_cast<std::uint64_t>(value);
      else
        throw DataError("dataset: expected side=1..4096 or seed=0.. behind '?', found '" +
                        std::string(option) + "' in '" + text + "'");
    }
  }
  return spec;
}

bool is_listed(const DatasetSpec& spec) {
  if (spec.family == "cifar10" || spec.family == "cifar100") {
    const fs::path root = spec.argument;
    return binary_folder(root, "cifar-10-batches-bin", "data_batch_1.bin").empty() &&
           binary_folder(root, "cifar-100-binary", "train.bin").empty();
  }
  return spec.family == "gtsrb" || spec.family == "tiny-imagenet" || spec.family == "folder";
}

ImageList list_files(const DatasetSpec& spec, const std::string& split) {
  const fs::path root = existing_folder(spec);
  if (spec.family == "gtsrb")
    return list_gtsrb(fs::exists(root / "GTSRB") ? root / "GTSRB" : root, split == "test");
  if (spec.family == "tiny-imagenet") return list_tiny_imagenet(root, split == "test");
  const bool has_splits = fs::is_directory(root / "train") || fs::is_directory(root / "test");
  if (spec.family == "folder" && !has_splits) {
    if (split == "all") return list_class_folders(root);
    fail_in_file("folder",
                 "expected a folder '" + split + "' inside, found class folders only: ask for split all",
                 root);
  }
  ImageList list = list_class_folders(root / split);
  if (spec.family != "folder") check_cifar_classes(spec, list);
  return list;
}

bool has_splits(const DatasetSpec& spec) {
  return spec.family != "csv" &&
         (spec.family != "folder" || fs::is_directory(fs::path(spec.argument) / "train"));
}

Dataset open_dataset(const std::string& text, const std::string& split, const OpenOptions& options) {
  check_split(split);
  const DatasetSpec spec = parse_spec(text, options);
  if (spec.family == "csv") {
    if (split != "all")
      fail_in_file("csv", "a table has no splits of its own: ask for split all", spec.argument);
    return read_csv_table(spec.argument);
  }
  Dataset out;
  if (spec.family == "npz") {
    out = read_npz_dataset(spec.argument, split);
  } else if (split != "all") {
    out = open_one(spec, split);
  } else if (!has_splits(spec)) {
    out = open_listed(spec, "all");
  } else if (spec.family == "synthetic") {
    out = open_one(spec, "train");
  } else {
    out = concat(open_one(spec, "train"), open_one(spec, "test"));
  }
  if (auto* images = std::get_if<ImageSet>(&out)) {
    if (spec.options.side != 0) *images = resize_to(*images, spec.options.side);
    images->family = spec.family;
    check(*images, spec.family);
  } else {
    check(std::get<TableSet>(out), spec.family);
  }
  return out;
}

ImageSet open_images(const std::string& spec, const std::string& split, const OpenOptions& options) {
  Dataset set = open_dataset(spec, split, options);
  if (auto* images = std::get_if<ImageSet>(&set)) return std::move(*images);
  throw DataError("dataset: expected images, '" + spec + "' is a table");
}

TableSet open_table(const std::string& spec, const std::string& split, const OpenOptions& options) {
  Dataset set = open_dataset(spec, split, options);
  if (auto* table = std::get_if<TableSet>(&set)) return std::move(*table);
  throw DataError("dataset: expected a table, '" + spec + "' is a set of images");
}

}  // namespace offramp::data
