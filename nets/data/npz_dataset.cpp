#include "nets/data/npz_dataset.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/errors.h"
#include "nets/data/data_error.h"

namespace offramp::data {
namespace {

constexpr std::int64_t kMaxClasses = 1'000'000;

std::string listed(const std::vector<std::string>& names) {
  constexpr std::size_t kShown = 20;
  std::string out;
  for (std::size_t i = 0; i < std::min(names.size(), kShown); ++i)
    out += (out.empty() ? "" : ", ") + in_quotes(names[i]);
  return out + (names.size() > kShown ? ", .." : "");
}

// The prefix of a split's arrays; "test" may be called "val". Empty: the only set.
std::string prefix_of(const NpzArchive& file, const std::string& split) {
  if (split == "all") return "";
  if (split == "test" && !file.contains("test_labels") && file.contains("val_labels")) return "val_";
  return split + "_";
}

// Calls fn(i, value) with each number of an array as double, which is exact for whole numbers up to 2^53.
template <class Fn>
void each_number(const NpyArray& array, const std::string& name, const NpzArchive& file, Fn&& fn) {
  std::visit(
      [&]<class T>(const std::vector<T>& values) {
        if constexpr (std::is_same_v<T, std::string>)
          fail_in_file("npz", "expected numbers in '" + name + "', found text", file.path());
        else
          for (std::size_t i = 0; i < values.size(); ++i) fn(i, static_cast<double>(values[i]));
      },
      array.values);
}

std::vector<std::int32_t> labels_of(const NpzArchive& file, const std::string& name, std::int64_t num) {
  const NpyArray array = file.read(name);
  const auto& shape = array.shape;
  const bool fits = shape.size() == 1 || (shape.size() == 2 && (shape[1] == 1 || shape[0] == 1));
  if (!fits || (num >= 0 && static_cast<std::int64_t>(array.size()) != num))
    fail_in_file("npz",
                 "expected " + (num < 0 ? "a row of" : std::to_string(num)) + " labels in '" + name +
                     "', found an array of shape " + format_shape(shape),
                 file.path());
  std::vector<std::int32_t> labels;
  each_number(array, name, file, [&](std::size_t i, double v) {
    if (!(v >= 0 && v < static_cast<double>(kMaxClasses)) || v != std::floor(v))
      fail_in_file("npz",
                   "expected whole numbers from 0 as labels in '" + name + "', label " + std::to_string(i) +
                       " is " + std::to_string(v),
                   file.path());
    labels.push_back(static_cast<std::int32_t>(v));
  });
  return labels;
}

std::int32_t last_class(const std::vector<std::int32_t>& labels) {
  return labels.empty() ? -1 : *std::ranges::max_element(labels);
}

// Of the whole file, whatever the split: labels of both parts mean the same classes.
std::vector<std::string> class_names_of(const NpzArchive& file, const std::string& split) {
  const bool trained = split != "all" && file.contains("train_labels");
  const std::string source = trained ? "train_labels" : prefix_of(file, split) + "labels";
  const std::int32_t last = last_class(labels_of(file, source, -1));
  std::vector<std::string> names;
  if (file.contains("class_names")) {
    NpyArray array = file.read("class_names");
    auto* texts = std::get_if<std::vector<std::string>>(&array.values);
    if (texts != nullptr) {
      if (static_cast<std::int64_t>(texts->size()) <= last)
        fail_in_file("npz",
                     "expected a class name for each label in 0.." + std::to_string(last) +
                         ", 'class_names' has " + std::to_string(texts->size()),
                     file.path());
      return std::move(*texts);
    }
  }
  for (std::int32_t k = 0; k <= last; ++k) names.push_back(std::to_string(k));
  return names;
}

template <class Set>
void add_labels(const NpzArchive& file, const std::string& split, Set& set) {
  const std::string name = prefix_of(file, split) + "labels";
  set.labels = labels_of(file, name, set.n);
  set.class_names = class_names_of(file, split);
  const std::int32_t last = last_class(set.labels);
  if (last >= set.num_classes())
    fail_in_file("npz",
                 "expected labels in 0.." + std::to_string(set.num_classes() - 1) +
                     " as 'train_labels' has, '" + name + "' holds " + std::to_string(last),
                 file.path());
  set.family = "npz";
  set.source = file.path().string();
}

ImageSet images_of(const NpzArchive& file, const std::string& split, const std::string& name) {
  NpyArray array = file.read(name);
  const auto& shape = array.shape;
  auto* pixels = std::get_if<std::vector<std::uint8_t>>(&array.values);
  const bool fits = std::ranges::all_of(shape, [](std::int64_t s) { return s >= 1 && s <= 0x7fffffff; });
  if (pixels == nullptr || array.truth || !fits ||
      (shape.size() != 3 && (shape.size() != 4 || (shape[3] != 1 && shape[3] != 3))))
    fail_in_file("npz",
                 "expected '" + name + "' as uint8 [n,h,w], [n,h,w,1] or [n,h,w,3], found " +
                     (pixels == nullptr || array.truth ? "another type, " : "") + format_shape(shape),
                 file.path());
  ImageSet set{.n = static_cast<int>(shape[0]),
               .h = static_cast<int>(shape[1]),
               .w = static_cast<int>(shape[2]),
               .c = shape.size() == 4 ? static_cast<int>(shape[3]) : 1};
  set.pixels = std::move(*pixels);
  add_labels(file, split, set);
  return set;
}

TableSet features_of(const NpzArchive& file, const std::string& split, const std::string& name) {
  const NpyArray array = file.read(name);
  const auto& shape = array.shape;
  if (shape.size() != 2 || shape[0] < 1 || shape[1] < 1 || shape[0] > 0x7fffffff || shape[1] > 0x7fffffff)
    fail_in_file(
        "npz", "expected '" + name + "' as numbers [n,d], found shape " + format_shape(shape), file.path());
  TableSet set{.n = static_cast<int>(shape[0]), .d = static_cast<int>(shape[1])};
  set.features.reserve(array.size());
  each_number(array, name, file, [&](std::size_t i, double v) {
    if (!(std::abs(v) <= std::numeric_limits<float>::max()))
      fail_in_file("npz",
                   "expected finite numbers in '" + name + "', row " +
                       std::to_string(i / static_cast<std::size_t>(set.d)) + ", column " +
                       std::to_string(i % static_cast<std::size_t>(set.d)) + " is " + std::to_string(v),
                   file.path());
    set.features.push_back(static_cast<float>(v));
  });
  add_labels(file, split, set);
  return set;
}

}  // namespace

std::vector<std::string> npz_splits(const NpzArchive& file) {
  std::vector<std::string> found;
  if (file.contains("train_labels")) found.emplace_back("train");
  if (file.contains("test_labels") || file.contains("val_labels")) found.emplace_back("test");
  if (found.empty() && file.contains("labels")) found.emplace_back("all");
  if (found.empty())
    fail_in_file(
        "npz", "expected an array 'labels' or 'train_labels', found: " + listed(file.names()), file.path());
  return found;
}

std::variant<ImageSet, TableSet> read_npz_dataset(const NpzArchive& file, const std::string& split) {
  const std::string prefix = prefix_of(file, split);
  if (!file.contains(prefix + "labels"))
    fail_in_file(
        "npz", "expected an array '" + prefix + "labels', found: " + listed(file.names()), file.path());
  if (file.contains(prefix + "images")) return images_of(file, split, prefix + "images");
  if (file.contains(prefix + "features")) return features_of(file, split, prefix + "features");
  fail_in_file("npz",
               "expected '" + prefix + "images' (uint8) or '" + prefix +
                   "features' (numbers [n,d]), found: " + listed(file.names()),
               file.path());
}

}  // namespace offramp::data
