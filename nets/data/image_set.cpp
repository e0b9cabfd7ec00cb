#include "nets/data/image_set.h"

#include <algorithm>

#include "nets/data/data_error.h"

namespace offramp::data {
namespace {

std::string shape_text(const ImageSet& s) {
  return "[" + std::to_string(s.n) + "," + std::to_string(s.h) + "," + std::to_string(s.w) + "," +
         std::to_string(s.c) + "]";
}

void check_labels(std::span<const std::int32_t> labels,
                  std::size_t n,
                  int num_classes,
                  const std::string& what) {
  if (labels.size() != n)
    throw DataError(what + ": expected " + std::to_string(n) + " labels, found " +
                    std::to_string(labels.size()));
  for (std::size_t i = 0; i < n; ++i)
    if (labels[i] < 0 || labels[i] >= num_classes)
      throw DataError(what + ": expected labels in 0.." + std::to_string(num_classes - 1) + ", label " +
                      std::to_string(i) + " is " + std::to_string(labels[i]));
}

void check_index(std::int32_t index, int n) {
  if (index < 0 || index >= n)
    throw DataError("subset: expected indices in 0.." + std::to_string(n - 1) + ", found " +
                    std::to_string(index));
}

// Everything but the values.
template <class Set>
Set joined(const Set& a, const Set& b) {
  if (a.class_names != b.class_names)
    throw DataError("concat: expected the same classes, found " + std::to_string(a.num_classes()) + " and " +
                    std::to_string(b.num_classes()) + " class names that differ");
  Set out = a;
  out.n += b.n;
  out.labels.insert(out.labels.end(), b.labels.begin(), b.labels.end());
  out.source = a.source + " + " + b.source;
  return out;
}

}  // namespace

void check(const ImageSet& set, const std::string& what) {
  if (set.n < 0 || set.h < 1 || set.w < 1 || (set.c != 1 && set.c != 3))
    throw DataError(what + ": expected [n,h,w,1 or 3] images, found " + shape_text(set));
  if (set.pixels.size() != static_cast<std::size_t>(set.n) * set.image_bytes())
    throw DataError(what + ": " + shape_text(set) + " needs " +
                    std::to_string(static_cast<std::size_t>(set.n) * set.image_bytes()) + " pixels, found " +
                    std::to_string(set.pixels.size()));
  check_labels(set.labels, static_cast<std::size_t>(set.n), set.num_classes(), what);
}

void check(const TableSet& set, const std::string& what) {
  if (set.n < 0 || set.d < 1 || set.features.size() != static_cast<std::size_t>(set.n) * set.d)
    throw DataError(what + ": [" + std::to_string(set.n) + "," + std::to_string(set.d) + "] does not fit " +
                    std::to_string(set.features.size()) + " features");
  check_labels(set.labels, static_cast<std::size_t>(set.n), set.num_classes(), what);
}

ImageSet subset(const ImageSet& set, std::span<const std::int32_t> indices) {
  ImageSet out{.n = static_cast<int>(indices.size()), .h = set.h, .w = set.w, .c = set.c};
  out.class_names = set.class_names;
  out.family = set.family;
  out.source = set.source + ", " + std::to_string(indices.size()) + " of " + std::to_string(set.n);
  if (set.padded == set.n) out.padded = out.n;
  out.pixels.resize(indices.size() * set.image_bytes());
  out.labels.resize(indices.size());
  for (int i = 0; i < out.n; ++i) {
    const std::int32_t from = indices[static_cast<std::size_t>(i)];
    check_index(from, set.n);
    std::ranges::copy(set.image(from), out.image(i).begin());
    out.labels[static_cast<std::size_t>(i)] = set.labels[static_cast<std::size_t>(from)];
  }
  return out;
}

TableSet subset(const TableSet& set, std::span<const std::int32_t> indices) {
  TableSet out{.n = static_cast<int>(indices.size()), .d = set.d};
  out.class_names = set.class_names;
  out.family = set.family;
  out.source = set.source + ", " + std::to_string(indices.size()) + " of " + std::to_string(set.n);
  out.features.reserve(indices.size() * static_cast<std::size_t>(set.d));
  for (const std::int32_t from : indices) {
    check_index(from, set.n);
    const auto row = set.row(from);
    out.features.insert(out.features.end(), row.begin(), row.end());
    out.labels.push_back(set.labels[static_cast<std::size_t>(from)]);
  }
  return out;
}

ImageSet concat(const ImageSet& a, const ImageSet& b) {
  if (a.h != b.h || a.w != b.w || a.c != b.c)
    throw DataError("concat: expected images of one size, found " + shape_text(a) + " and " + shape_text(b));
  ImageSet out = joined(a, b);
  out.padded += b.padded;
  out.squashed += b.squashed;
  out.pixels.insert(out.pixels.end(), b.pixels.begin(), b.pixels.end());
  return out;
}

TableSet concat(const TableSet& a, const TableSet& b) {
  if (a.d != b.d)
    throw DataError("concat: expected rows of one length, found " + std::to_string(a.d) + " and " +
                    std::to_string(b.d) + " features");
  TableSet out = joined(a, b);
  out.features.insert(out.features.end(), b.features.begin(), b.features.end());
  return out;
}

}  // namespace offramp::data
