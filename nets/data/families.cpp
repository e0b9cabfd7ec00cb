#include "nets/data/families.h"

#include <algorithm>

#include "nets/data/cifar_binary.h"
#include "nets/data/class_names.h"
#include "nets/data/data_error.h"
#include "nets/data/idx.h"
#include "nets/data/leaves.h"
#include "nets/data/npz_dataset.h"
#include "nets/data/published_tables.h"
#include "nets/data/svhn.h"
#include "nets/data/table.h"
#include "nets/data/text.h"

namespace offramp::data {
namespace fs = std::filesystem;
namespace {

using Splits = std::vector<std::string>;

const std::vector<std::string> kFashionNames = {
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"};
const std::vector<std::string> kCifar10Names = {
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"};

Splits train_and_test(const DatasetSpec&) { return {"train", "test"}; }
Splits one_part(const DatasetSpec&) { return {"all"}; }

fs::path existing_folder(const DatasetSpec& spec) {
  const fs::path root = spec.argument;
  std::error_code error;
  if (spec.argument.empty())
    throw DataError("dataset: " + spec.family + " wants a folder: " + spec.family + ":FOLDER");
  if (!fs::is_directory(root, error)) fail_in_file(spec.family, "expected a folder, found none", root);
  return root;
}

// Class folders, or an official layout of picture files.
Dataset open_listed(const DatasetSpec& spec, const std::string& split) {
  const Family& family = family_of(spec.family);
  const ImageList list = *family.list(spec, split);
  const int side = spec.options.side != 0 ? spec.options.side
                   : family.side != 0     ? family.side
                                          : spec.options.side_of_files;
  ImageSet set = decode_list(list,
                             {.side = side,
                              .threads = spec.options.threads,
                              .cache_dir = spec.options.cache_dir,
                              .side_hint = side_hint(spec)});
  if (side != 0) set.source += ", " + std::to_string(side) + "x" + std::to_string(side);
  return set;
}

// ROOT/test, ROOT/val or ROOT/valid, in that order; nothing where there is none.
fs::path test_folder(const fs::path& root) {
  for (const char* name : {"test", "val", "valid"})
    if (fs::is_directory(root / name)) return root / name;
  return {};
}

Splits folder_splits(const DatasetSpec& spec) {
  const fs::path root = existing_folder(spec);
  Splits found;
  if (fs::is_directory(root / "train")) found.emplace_back("train");
  if (!test_folder(root).empty()) found.emplace_back("test");
  // A class may be called "val": without train/ only a folder test/ makes parts.
  if (found.empty() || (found.size() == 1 && found[0] == "test" && !fs::is_directory(root / "test")))
    return {"all"};
  return found;
}

std::string folder_found(const DatasetSpec& spec) {
  const fs::path root = existing_folder(spec);
  const Splits parts = folder_splits(spec);
  if (parts.front() == "all") return "class folders without parts train/ and test/";
  const bool train = parts.front() == "train";
  if (parts.size() == 1)
    return train ? "class folders in train/, no test/" : "class folders in test/, no train/";
  const std::string test = test_folder(root).filename().string();
  return "class folders in train/ and " + test + "/" +
         (test == "test" ? "" : " (there is no test/, " + test + "/ is the test part)");
}

std::optional<ImageList> folder_list(const DatasetSpec& spec, const std::string& split) {
  const fs::path root = existing_folder(spec);
  if (split == "all") return list_class_folders(root);
  if (split == "train") return list_class_folders(root / "train");
  ImageList list = list_class_folders(test_folder(root));
  // Labels of the test part mean the classes of the training part, of which some may be missing.
  if (fs::is_directory(root / "train"))
    match_classes(class_folder_names(root / "train"), list.class_names, list.labels, list.root.string());
  return list;
}

// The binary release unpacks into its own folder; accept that folder and the one above.
fs::path binary_folder(const fs::path& root, const std::string& inner, const std::string& probe) {
  if (fs::exists(root / probe)) return root;
  return fs::exists(root / inner / probe) ? root / inner : fs::path();
}
fs::path cifar10_binary(const fs::path& root) {
  return binary_folder(root, "cifar-10-batches-bin", "data_batch_1.bin");
}
fs::path cifar100_binary(const fs::path& root) {
  return binary_folder(root, "cifar-100-binary", "train.bin");
}
// train.bin alone could be anything's.
bool holds_cifar100(const fs::path& root) {
  const fs::path folder = cifar100_binary(root);
  return !folder.empty() && fs::exists(folder / "fine_label_names.txt");
}

std::vector<std::string> names_from(const fs::path& file, std::size_t count) {
  const std::string text = read_text(file);
  std::vector<std::string> names;
  for (const auto line : split_lines(without_bom(text)))
    if (!trimmed(line).empty()) names.emplace_back(trimmed(line));
  if (names.size() != count)
    fail_in_file("cifar",
                 "expected " + std::to_string(count) + " class names, found " + std::to_string(names.size()),
                 file);
  return names;
}

std::optional<ImageList> cifar_list(const DatasetSpec& spec, const std::string& split, std::size_t classes) {
  ImageList list = *folder_list(spec, split);
  if (list.class_names.size() != classes)
    fail_in_file(spec.family,
                 "expected " + std::to_string(classes) + " class folders, found " +
                     std::to_string(list.class_names.size()),
                 list.root);
  return list;
}

std::optional<ImageList> cifar10_list(const DatasetSpec& spec, const std::string& split) {
  if (!cifar10_binary(existing_folder(spec)).empty()) return std::nullopt;
  ImageList list = *cifar_list(spec, split, kCifar10Names.size());
  if (list.class_names != kCifar10Names)
    fail_in_file(spec.family, "expected the class folders airplane .. truck, found other names", list.root);
  return list;
}

std::optional<ImageList> cifar100_list(const DatasetSpec& spec, const std::string& split) {
  if (!cifar100_binary(existing_folder(spec)).empty()) return std::nullopt;
  return cifar_list(spec, split, 100);
}

Dataset open_cifar10(const DatasetSpec& spec, const std::string& split) {
  const fs::path folder = cifar10_binary(existing_folder(spec));
  if (folder.empty()) return open_listed(spec, split);
  std::vector<fs::path> files = {folder / "test_batch.bin"};
  if (split == "train") {
    files.clear();
    for (int b = 1; b <= 5; ++b) files.push_back(folder / ("data_batch_" + std::to_string(b) + ".bin"));
  }
  return read_cifar_binary(files, CifarKind::kCifar10, kCifar10Names);
}

Dataset open_cifar100(const DatasetSpec& spec, const std::string& split) {
  const fs::path folder = cifar100_binary(existing_folder(spec));
  if (folder.empty()) return open_listed(spec, split);
  return read_cifar_binary(
      {folder / (split + ".bin")}, CifarKind::kCifar100, names_from(folder / "fine_label_names.txt", 100));
}

constexpr const char* kDebianFashionMnist = "/usr/share/datasets/fashion-mnist";

// "train-images-idx3-ubyte", plain or .gz, or with a dot for the second dash; nothing where there is none.
fs::path idx_file(const fs::path& folder, const std::string& stem, const std::string& kind) {
  for (const char* between : {"-", "."})
    for (const char* suffix : {"", ".gz"})
      if (const fs::path file = folder / (stem + between + kind + suffix); fs::exists(file)) return file;
  return {};
}

std::string stem_of_idx(const std::string& split) { return split == "train" ? "train" : "t10k"; }

fs::path existing_idx_file(const DatasetSpec& spec,
                           const fs::path& folder,
                           const std::string& stem,
                           const std::string& kind) {
  fs::path file = idx_file(folder, stem, kind);
  if (file.empty())
    fail_in_file(spec.family,
                 "expected " + stem + "-" + kind + " or " + stem + "-" + kind + ".gz" +
                     (spec.family == "fashion-mnist" ? "; Debian's package dataset-fashion-mnist installs "
                                                       "them, or give a folder: fashion-mnist:FOLDER"
                                                     : ""),
                 folder);
  return file;
}

ImageSet open_idx_pair(const DatasetSpec& spec,
                       const fs::path& folder,
                       const std::string& split,
                       std::vector<std::string> names) {
  const std::string stem = stem_of_idx(split);
  ImageSet set = read_idx_images(existing_idx_file(spec, folder, stem + "-images", "idx3-ubyte"),
                                 existing_idx_file(spec, folder, stem + "-labels", "idx1-ubyte"),
                                 std::move(names));
  if (spec.options.as_stored) return set;
  const bool pad = spec.options.side == 0 && (spec.family == "fashion-mnist" || is_padded(set.h, set.w, 32));
  return grey_to_rgb(pad ? resize_to(set, 32) : set);
}

Dataset open_fashion(const DatasetSpec& spec, const std::string& split) {
  return open_idx_pair(spec,
                       spec.argument.empty() ? fs::path(kDebianFashionMnist) : fs::path(spec.argument),
                       split,
                       kFashionNames);
}

bool has_idx_part(const fs::path& folder, const std::string& split) {
  return !idx_file(folder, stem_of_idx(split) + "-labels", "idx1-ubyte").empty();
}
bool holds_idx(const fs::path& path) { return has_idx_part(path, "train"); }

Splits idx_splits(const DatasetSpec& spec) {
  const fs::path folder = existing_folder(spec);
  Splits found;
  for (const char* split : {"train", "test"})
    if (has_idx_part(folder, split)) found.emplace_back(split);
  if (found.empty()) found.emplace_back("train");  // whose reader says what is missing
  return found;
}

// The classes are those of the training labels: 0 to the largest.
Dataset open_idx(const DatasetSpec& spec, const std::string& split) {
  const fs::path folder = existing_folder(spec);
  const std::string known = has_idx_part(folder, "train") ? "train" : split;
  const IdxArray labels =
      read_idx(existing_idx_file(spec, folder, stem_of_idx(known) + "-labels", "idx1-ubyte"), 1);
  std::vector<std::string> names;
  for (int k = 0; k <= *std::ranges::max_element(labels.bytes); ++k) names.push_back(std::to_string(k));
  return open_idx_pair(spec, folder, split, std::move(names));
}

fs::path gtsrb_root(const fs::path& root) { return fs::exists(root / "GTSRB") ? root / "GTSRB" : root; }

std::optional<ImageList> gtsrb_list(const DatasetSpec& spec, const std::string& split) {
  return list_gtsrb(gtsrb_root(existing_folder(spec)), split == "test");
}
bool holds_gtsrb(const fs::path& path) {
  return fs::is_directory(gtsrb_root(path) / "Final_Training" / "Images");
}

std::optional<ImageList> tiny_list(const DatasetSpec& spec, const std::string& split) {
  return list_tiny_imagenet(existing_folder(spec), split == "test");
}
bool holds_tiny(const fs::path& path) {
  return fs::exists(path / "wnids.txt") && fs::is_directory(path / "train");
}

bool is_mat_file(const fs::path& path) { return path.extension() == ".mat" && fs::is_regular_file(path); }
Splits svhn_splits(const DatasetSpec& spec) {
  return is_mat_file(spec.argument) ? Splits{"all"} : Splits{"train", "test"};
}
Dataset open_svhn(const DatasetSpec& spec, const std::string& split) {
  if (split == "all") return read_svhn(spec.argument);
  return read_svhn(existing_folder(spec) / (split + "_32x32.mat"));
}
bool holds_svhn(const fs::path& path) { return fs::exists(path / "train_32x32.mat") || is_mat_file(path); }

Splits parts_of_npz(const DatasetSpec& spec) { return npz_splits(NpzArchive::open(spec.argument)); }
Dataset open_npz(const DatasetSpec& spec, const std::string& split) {
  return std::visit([](auto&& set) -> Dataset { return std::move(set); },
                    read_npz_dataset(NpzArchive::open(spec.argument), split));
}
bool holds_npz(const fs::path& path) { return path.extension() == ".npz"; }

Dataset open_csv(const DatasetSpec& spec, const std::string&) { return read_csv_table(spec.argument); }
bool holds_csv(const fs::path& path) { return path.extension() == ".csv"; }

// A file or a folder, but not nothing: an empty argument would be the folder that the program runs in.
const std::string& existing(const DatasetSpec& spec) {
  if (spec.argument.empty())
    throw DataError("dataset: " + spec.family + " wants a file or folder: " + spec.family + ":PATH");
  return spec.argument;
}
Dataset open_locations(const DatasetSpec& spec, const std::string&) { return read_locations(existing(spec)); }
Dataset open_purchases(const DatasetSpec& spec, const std::string&) { return read_purchases(existing(spec)); }
Dataset open_texas(const DatasetSpec& spec, const std::string&) { return read_texas(existing(spec)); }

constexpr int kLeavesDefault = 10'000;
constexpr std::uint32_t kLeavesTestStart = 0x80000000u;  // test pictures are counted from here

Dataset open_leaves(const DatasetSpec& spec, const std::string& split) {
  const auto parts = split_fields(spec.argument, ':');
  if (parts.size() > 3 || parts[0] != "leaves")
    throw DataError("synthetic: expected leaves[:N[:SIDE]], found " + in_quotes(spec.argument));
  const auto number = [&](std::size_t i, int otherwise) {
    if (parts.size() <= i) return otherwise;
    const auto value = parse_int(parts[i]);
    if (!value || *value < 1 || *value > 10'000'000)
      throw DataError("synthetic: expected a whole number from 1, found " + in_quotes(parts[i]) + " in " +
                      in_quotes(spec.argument));
    return static_cast<int>(*value);
  };
  const int n = number(1, kLeavesDefault), side = number(2, spec.options.side != 0 ? spec.options.side : 32);
  return synthetic_leaves(
      n, side, spec.options.seed, split == "test" ? kLeavesTestStart : 0, spec.options.threads);
}

Augmentation flip_and_shift(int) { return {.flip = true, .crop_pad = 4}; }
Augmentation shift_only(int) { return {.crop_pad = 4}; }
Augmentation flip_shift_and_jitter(int side) {
  return {.flip = true, .crop_pad = side / 8, .colour_jitter = true};
}

std::optional<Normalisation> imagenet_statistics() {  // not CIFAR's own
  return Normalisation{{.485f, .456f, .406f}, {.229f, .224f, .225f}, "SDN code (ImageNet statistics)"};
}
std::optional<Normalisation> cifar100_statistics() {
  return Normalisation{{.507f, .487f, .441f}, {.267f, .256f, .276f}, "SDN code"};
}
std::optional<Normalisation> tiny_statistics() {
  return Normalisation{{.4802f, .4481f, .3975f}, {.2302f, .2265f, .2262f}, "SDN code"};
}

// A path alone is looked up in this order; a folder of anything else is class folders.
constexpr Family kFamilies[] = {
    {.name = "fashion-mnist",
     .form = "fashion-mnist[:FOLDER]  IDX files; default: Debian's dataset-fashion-mnist",
     .splits = train_and_test,
     .open = open_fashion,
     .train = 60'000,
     .test = 10'000,
     .augmentation = flip_and_shift},
    {.name = "idx",
     .form = "idx:FOLDER  train-images-idx3-ubyte[.gz], train-labels-idx1-ubyte, t10k-..: MNIST and its kin",
     .splits = idx_splits,
     .open = open_idx,
     .holds = holds_idx},
    {.name = "cifar10",
     .form = "cifar10:FOLDER  binary version, or class folders train/ and test/",
     .splits = train_and_test,
     .open = open_cifar10,
     .list = cifar10_list,
     .holds = [](const fs::path& path) { return !cifar10_binary(path).empty(); },
     .train = 50'000,
     .test = 10'000,
     .augmentation = flip_and_shift,
     .normalisation = imagenet_statistics},
    {.name = "cifar100",
     .form = "cifar100:FOLDER  binary version, or class folders train/ and test/",
     .splits = train_and_test,
     .open = open_cifar100,
     .list = cifar100_list,
     .holds = holds_cifar100,
     .train = 50'000,
     .test = 10'000,
     .augmentation = flip_and_shift,
     .normalisation = cifar100_statistics},
    {.name = "gtsrb",
     .form = "gtsrb:FOLDER  official layout (Final_Training, Final_Test)",
     .splits = train_and_test,
     .open = open_listed,
     .list = gtsrb_list,
     .holds = holds_gtsrb,
     .side = 32,  // the official pictures are 15x15 to 250x250
     .train = 39'209,
     .test = 12'630,
     .augmentation = shift_only},
    {.name = "tiny-imagenet",
     .form = "tiny-imagenet:FOLDER  official layout (train, val, wnids.txt)",
     .splits = train_and_test,
     .open = open_listed,
     .list = tiny_list,
     .holds = holds_tiny,
     .train = 100'000,
     .test = 10'000,
     .augmentation = flip_shift_and_jitter,
     .normalisation = tiny_statistics},
    {.name = "svhn",
     .form = "svhn:FOLDER  train_32x32.mat and test_32x32.mat; svhn:FILE.mat  one such file",
     .splits = svhn_splits,
     .open = open_svhn,
     .holds = holds_svhn,
     .train = 73'257,
     .test = 26'032,
     .augmentation = shift_only},
    {.name = "folder",
     .form = "folder:FOLDER  CLASS/NAME.{jpg,png,ppm}, or train/ and test/ (or val/) of that form",
     .splits = folder_splits,
     .open = open_listed,
     .list = folder_list,
     .holds = [](const fs::path& path) { return fs::is_directory(path); },
     .found = folder_found},
    {.name = "npz",
     .form = "npz:FILE  images (or features) and labels, or train_images, train_labels, test_images, ..",
     .splits = parts_of_npz,
     .open = open_npz,
     .holds = holds_npz},
    {.name = "csv",
     .form = "csv:FILE  rows of class, feature, feature, ..; a header may name the class column",
     .splits = one_part,
     .open = open_csv,
     .holds = holds_csv},
    {.name = "locations",
     .form = "locations:FILE  the published table: bangkok, or the folder it lies in",
     .splits = one_part,
     .open = open_locations,
     .holds = [](const fs::path& path) { return path.filename() == "bangkok"; }},
    {.name = "purchases",
     .form = "purchases:FILE  the published table: dataset_purchase, or the folder it lies in",
     .splits = one_part,
     .open = open_purchases,
     .holds = [](const fs::path& path) { return path.filename() == "dataset_purchase"; }},
    {.name = "texas",
     .form = "texas:FOLDER  the published table: texas/100/feats and texas/100/labels",
     .splits = one_part,
     .open = open_texas},
    {.name = "synthetic",
     .form = "synthetic:leaves[:N[:SIDE]]  generated natural-looking pictures",
     .splits = train_and_test,
     .open = open_leaves,
     .all_is_train = true}};

}  // namespace

std::span<const Family> families() { return kFamilies; }

const Family& family_of(const std::string& name) {
  const auto* const found = std::ranges::find(kFamilies, name, &Family::name);
  if (found != std::end(kFamilies)) return *found;
  std::string known;
  for (const Family& f : kFamilies) known += (known.empty() ? "" : ", ") + std::string(f.name);
  throw DataError("dataset: unknown data set " + in_quotes(name) + "; known: " + known);
}

}  // namespace offramp::data
