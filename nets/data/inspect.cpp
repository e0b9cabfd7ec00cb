#include "nets/data/inspect.h"

#include <cmath>
#include <mutex>
#include <unordered_set>
#include <utility>

#include "base/hash.h"
#include "nets/data/bytes.h"
#include "nets/data/data_error.h"
#include "nets/data/families.h"
#include "nets/data/image_file.h"
#include "nets/data/parallel.h"

namespace offramp::data {
namespace {

std::vector<ClassCount> count_classes(const std::vector<std::string>& names,
                                      const std::vector<std::int32_t>& labels) {
  std::vector<ClassCount> counts;
  for (const auto& name : names) counts.push_back({name, 0});
  for (const std::int32_t label : labels) ++counts[static_cast<std::size_t>(label)].count;
  return counts;
}

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

void add_count_note(const Family& family, const std::string& split, int count, Verification& out) {
  const int want = split == "train" ? family.train : split == "test" ? family.test : 0;
  if (want != 0 && want != count)
    out.notes.push_back(split + ": the published set has " + std::to_string(want) + " images, this one has " +
                        std::to_string(count));
}

// Height and width that every picture must have, once the first sound one is known.
struct CommonSize {
  int h = 0, w = 0;
  bool fits(int height, int width) {
    if (h == 0) h = height, w = width;
    return h == height && w == width;
  }
  std::string text() const { return std::to_string(h) + "x" + std::to_string(w); }
};

// What decoding said of each picture of a list; h 0: it is broken.
struct Decoded {
  std::string message;
  int h = 0, w = 0, warnings = 0;
  std::uint64_t hash = 0;
};

std::vector<Decoded> decode_all(const ImageList& list,
                                const std::string& split,
                                const VerifyOptions& options) {
  const int n = static_cast<int>(list.files.size());
  std::vector<Decoded> out(list.files.size());
  std::mutex mutex;
  int done = 0;
  parallel_for(n, options.open.threads > 0 ? options.open.threads : default_threads(), [&](int at) {
    Decoded& one = out[static_cast<std::size_t>(at)];
    try {
      const Picture picture = to_rgb(read_picture(list.files[static_cast<std::size_t>(at)]));
      one.h = picture.h, one.w = picture.w, one.warnings = picture.warnings;
      one.hash = Fnv1a().add(std::span(picture.pixels)).value();
    } catch (const DataError& error) {
      one.message = error.what();
    }
    if (!options.progress) return;
    const std::lock_guard lock(mutex);
    options.progress(split, ++done, n);
  });
  return out;
}

void verify_list(const ImageList& list,
                 const DatasetSpec& spec,
                 const std::string& split,
                 const VerifyOptions& options,
                 bool any_size,
                 CommonSize& size,
                 Verification& out) {
  Fnv1a hash;
  int broken = 0, warned = 0, squashed = 0;
  const std::vector<Decoded> decoded = decode_all(list, split, options);
  for (std::size_t i = 0; i < decoded.size(); ++i) {
    const Decoded& one = decoded[i];
    std::string problem = one.message;
    if (problem.empty() && !any_size && !size.fits(one.h, one.w))
      problem = "folder: expected " + size.text() + " pixels as the first sound picture has, found " +
                std::to_string(one.h) + "x" + std::to_string(one.w) + "; " + side_hint(spec) + " (" +
                list.files[i].string() + ")";
    if (problem.empty() && any_size && one.h != one.w) ++squashed;
    if (problem.empty() && one.warnings > 0 && ++warned == 1)
      out.notes.push_back(split + ": bytes without meaning in " + list.files[i].string());
    hash.add(one.h).add(one.w).add(one.hash).add(list.labels[i]);
    if (problem.empty()) continue;
    ++broken;
    out.problems.push_back(std::move(problem));
  }
  out.good += static_cast<std::int64_t>(decoded.size()) - broken;
  out.notes.push_back(split + ": " + std::to_string(list.files.size()) + " pictures in " +
                      std::to_string(list.class_names.size()) + " classes, " + std::to_string(broken) +
                      " broken" + (warned > 0 ? ", " + std::to_string(warned) + " with warnings" : ""));
  if (squashed > 0)
    out.notes.push_back(split + ": " + std::to_string(squashed) +
                        " pictures are not square: they are squashed, not cropped");
  if (broken == 0) {
    for (const std::string& name : list.class_names) hash.add(name).add('\0');
    out.contents[split] = hex(hash.value());
  }
}

void verify_split(const std::string& text,
                  const DatasetSpec& spec,
                  const std::string& split,
                  const VerifyOptions& options,
                  CommonSize& size,
                  Verification& out) {
  const Family& family = family_of(spec.family);
  if (const auto list = family.list == nullptr ? std::nullopt : family.list(spec, split)) {
    verify_list(*list, spec, split, options, spec.options.side > 0 || family.side > 0, size, out);
    add_count_note(family, split, static_cast<int>(list->files.size()), out);
    return;
  }
  const Dataset set = open_dataset(text, split, options.open);
  const auto* images = std::get_if<ImageSet>(&set);
  if (images != nullptr && !size.fits(images->h, images->w))
    throw DataError("expected pictures of " + size.text() + " as in the other part, found " +
                    std::to_string(images->h) + "x" + std::to_string(images->w) + "; " + side_hint(spec));
  out.good += count_of(set);
  out.notes.push_back(split + ": " + size_text(set));
  out.contents[split] = fingerprint(set);
  add_count_note(family, split, count_of(set), out);
}

}  // namespace

std::string fingerprint(const Dataset& set) {
  Fnv1a hash;
  std::visit(
      [&]<class Set>(const Set& s) {
        if constexpr (std::is_same_v<Set, ImageSet>)
          hash.add(s.h).add(s.w).add(s.c).add(std::span(s.pixels));
        else
          hash.add(s.d).add(std::span(s.features));
        hash.add(std::span(s.labels));
        for (const std::string& name : s.class_names) hash.add(name).add('\0');
      },
      set);
  return hex(hash.value());
}

DatasetInfo describe(const ImageSet& set) {
  DatasetInfo info{
      .family = set.family, .source = set.source, .n = set.n, .h = set.h, .w = set.w, .c = set.c};
  info.classes = count_classes(set.class_names, set.labels);
  info.statistics = compute_normalisation(set);
  std::unordered_set<std::uint64_t> seen;
  for (int i = 0; i < set.n; ++i)
    if (!seen.insert(Fnv1a().add(set.image(i)).value()).second) ++info.repeats;
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
    if (!seen.insert(Fnv1a().add(set.row(i)).value()).second) ++info.repeats;
  return info;
}

Verification verify_dataset(const std::string& text, const VerifyOptions& options) {
  const DatasetSpec spec = parse_spec(text, options.open);
  Verification out;
  std::vector<std::string> splits = {options.split};
  try {
    const std::vector<std::string> parts = splits_of(spec);
    if (options.split == "both" || options.split == "all" ||
        (options.split == "train" && parts.front() == "all"))
      splits = parts;
  } catch (const DataError& error) {
    out.problems.emplace_back(error.what());
    return out;
  }
  CommonSize size;
  for (const auto& split : splits) {
    try {
      verify_split(text, spec, split, options, size, out);
    } catch (const DataError& error) {
      out.problems.push_back(split + ": " + error.what());
    }
  }
  return out;
}

}  // namespace offramp::data
