#include "nets/data/inspect.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "nets/data/data_error.h"
#include "nets/data/npy.h"
#include "nets/data/parallel.h"

namespace offramp::data {
namespace {

std::uint64_t hash_of(const void* data, std::size_t size) {
  const auto* bytes = static_cast<const std::uint8_t*>(data);
  std::uint64_t value = 0xcbf29ce484222325u;
  for (std::size_t i = 0; i < size; ++i) value = (value ^ bytes[i]) * 0x100000001b3u;
  return value;
}

std::vector<ClassCount> count_classes(const std::vector<std::string>& names,
                                      const std::vector<std::int32_t>& labels) {
  std::vector<ClassCount> counts;
  for (const auto& name : names) counts.push_back({name, 0});
  for (const std::int32_t label : labels) ++counts[static_cast<std::size_t>(label)].count;
  return counts;
}

// training.md section 1.
struct Published {
  std::string_view family;
  int train, test;
};
constexpr Published kPublished[] = {{"fashion-mnist", 60'000, 10'000},
                                    {"cifar10", 50'000, 10'000},
                                    {"cifar100", 50'000, 10'000},
                                    {"gtsrb", 39'209, 12'630},
                                    {"tiny-imagenet", 100'000, 10'000},
                                    {"svhn", 73'257, 26'032}};

std::string size_text(const Dataset& set) {
  if (const auto* images = std::get_if<ImageSet>(&set))
    return std::to_string(images->n) + " images of " + std::to_string(images->h) + "x" +
           std::to_string(images->w) + "x" + std::to_string(images->c) + ", " +
           std::to_string(images->num_classes()) + " classes";
  const auto& table = std::get<TableSet>(set);
  return std::to_string(table.n) + " rows of " + std::to_string(table.d) + " features, " +
         std::to_string(table.num_classes()) + " classes";
}

int count_of(const Dataset& set) {
  return std::visit([](const auto& s) { return s.n; }, set);
}

std::vector<std::string> splits_of(const DatasetSpec& spec) {
  namespace fs = std::filesystem;
  if (spec.family == "csv") return {"all"};
  if (spec.family == "npz") {
    const NpzFile file = read_npz(spec.argument);
    std::vector<std::string> found;
    for (const char* split : {"train", "test"})
      if (file.contains(std::string(split) + "_labels")) found.emplace_back(split);
    return found.empty() ? std::vector<std::string>{"all"} : found;
  }
  if (spec.family == "folder") {
    std::vector<std::string> found;
    for (const char* split : {"train", "test"})
      if (fs::is_directory(fs::path(spec.argument) / split)) found.emplace_back(split);
    return found.empty() ? std::vector<std::string>{"all"} : found;
  }
  return {"train", "test"};
}

// Decodes every listed picture; the messages of the broken ones in list order.
std::vector<std::string> broken_pictures(const ImageList& list, bool any_size, int threads) {
  const int n = static_cast<int>(list.files.size());
  std::vector<std::string> messages(list.files.size());
  std::vector<std::pair<int, int>> sizes(list.files.size());  // height, width; 0: not decoded
  parallel_for(n, threads > 0 ? threads : default_threads(), [&](int at) {
    const auto i = static_cast<std::size_t>(at);
    try {
      const Picture picture = read_picture(list.files[i]);
      sizes[i] = {picture.h, picture.w};
    } catch (const DataError& error) {
      messages[i] = error.what();
    }
  });
  std::pair<int, int> first{0, 0};
  std::vector<std::string> out;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    if (messages[i].empty() && first.first == 0) first = sizes[i];
    if (messages[i].empty() && !any_size && sizes[i] != first)
      messages[i] = "folder: expected " + std::to_string(first.first) + "x" + std::to_string(first.second) +
                    " pixels as the first sound picture has, found " + std::to_string(sizes[i].first) + "x" +
                    std::to_string(sizes[i].second) + " (" + list.files[i].string() + ")";
    if (!messages[i].empty()) out.push_back(std::move(messages[i]));
  }
  return out;
}

void add_count_note(const DatasetSpec& spec, const std::string& split, int count, Verification& out) {
  for (const Published& known : kPublished) {
    const int want = split == "train" ? known.train : known.test;
    if (known.family == spec.family && want != count)
      out.notes.push_back(split + ": the published set has " + std::to_string(want) +
                          " images, this one has " + std::to_string(count));
  }
}

void verify_split(const std::string& text,
                  const DatasetSpec& spec,
                  const std::string& split,
                  Verification& out) {
  if (is_listed(spec)) {
    const ImageList list = list_files(spec, split);
    const bool any_size = spec.options.side > 0 || spec.family == "gtsrb";
    auto broken = broken_pictures(list, any_size, spec.options.threads);
    out.notes.push_back(split + ": " + std::to_string(list.files.size()) + " pictures in " +
                        std::to_string(list.class_names.size()) + " classes, " +
                        std::to_string(broken.size()) + " broken");
    std::ranges::move(broken, std::back_inserter(out.problems));
    add_count_note(spec, split, static_cast<int>(list.files.size()), out);
    return;
  }
  const Dataset set = open_dataset(text, split, spec.options);
  out.notes.push_back(split + ": " + size_text(set));
  add_count_note(spec, split, count_of(set), out);
}

}  // namespace

DatasetInfo describe(const ImageSet& set) {
  DatasetInfo info{
      .family = set.family, .source = set.source, .n = set.n, .h = set.h, .w = set.w, .c = set.c};
  info.classes = count_classes(set.class_names, set.labels);
  info.statistics = compute_normalisation(set);
  std::unordered_set<std::uint64_t> seen;
  for (int i = 0; i < set.n; ++i)
    if (!seen.insert(hash_of(set.image(i).data(), set.image_bytes())).second) ++info.repeats;
  return info;
}

DatasetInfo describe(const TableSet& set) {
  if (set.n == 0) throw DataError("describe: expected at least one row, found none");
  DatasetInfo info{
      .family = set.family, .source = set.source, .is_table = true, .n = set.n, .h = 1, .w = 1, .c = set.d};
  info.classes = count_classes(set.class_names, set.labels);
  double sum = 0, squares = 0;
  for (const float v : set.features) sum += v;
  const double count = static_cast<double>(set.features.size()), mean = sum / count;
  for (const float v : set.features) squares += (v - mean) * (v - mean);
  info.statistics = {.mean = {static_cast<float>(mean)},
                     .std = {static_cast<float>(std::sqrt(squares / count))},
                     .source = "computed on " + std::to_string(set.n) + " rows"};
  std::unordered_set<std::uint64_t> seen;
  for (int i = 0; i < set.n; ++i)
    if (!seen.insert(hash_of(set.row(i).data(), set.row(i).size_bytes())).second) ++info.repeats;
  return info;
}

Verification verify_dataset(const std::string& text, const OpenOptions& options, int max_problems) {
  const DatasetSpec spec = parse_spec(text, options);
  Verification out;
  std::vector<std::string> splits;
  try {
    splits = splits_of(spec);
  } catch (const DataError& error) {
    out.problems.emplace_back(error.what());
  }
  for (const auto& split : splits) {
    try {
      verify_split(text, spec, split, out);
    } catch (const DataError& error) {
      out.problems.push_back(split + ": " + error.what());
    }
  }
  const auto limit = static_cast<std::size_t>(std::max(max_problems, 1));
  if (out.problems.size() > limit) {
    const std::size_t more = out.problems.size() - limit;
    out.problems.resize(limit);
    out.problems.push_back("and " + std::to_string(more) + " more");
  }
  return out;
}

}  // namespace offramp::data
