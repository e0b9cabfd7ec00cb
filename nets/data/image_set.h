#pragma once
// The two kinds of data a net is trained on: 8-bit images and rows of floats, both with int32 labels.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace offramp::data {

// n images of h x w pixels with c channels (1 grey, 3 RGB). pixels is [n,h,w,c] (NHWC), dense.
// labels is [n], each in 0 .. class_names.size() - 1.
struct ImageSet {
  int n = 0, h = 0, w = 0, c = 0;
  std::vector<std::uint8_t> pixels = {};
  std::vector<std::int32_t> labels = {};
  std::vector<std::string> class_names = {};
  std::string family = {};  // "fashion-mnist", "cifar10", ...: chooses the recommended normalisation
  std::string source = {};  // one line for reports: where the images came from and what was done to them
  // Of a set as it was opened, how many pictures were brought to their size by a border of zeros (28x28 to 32x32), and how
  // many were not square and were squashed.
  int padded = 0, squashed = 0;

  std::size_t image_bytes() const { return static_cast<std::size_t>(h) * w * c; }
  std::span<const std::uint8_t> image(int i) const {
    return {pixels.data() + static_cast<std::size_t>(i) * image_bytes(), image_bytes()};
  }
  std::span<std::uint8_t> image(int i) {
    return {pixels.data() + static_cast<std::size_t>(i) * image_bytes(), image_bytes()};
  }
  int num_classes() const { return static_cast<int>(class_names.size()); }
};

// n rows of d features; features is [n,d], labels as above.
struct TableSet {
  int n = 0, d = 0;
  std::vector<float> features = {};
  std::vector<std::int32_t> labels = {};
  std::vector<std::string> class_names = {};
  std::string family = {};
  std::string source = {};
  std::vector<std::string> left_out = {};  // columns of text beside the numbers

  std::span<const float> row(int i) const {
    return {features.data() + static_cast<std::size_t>(i) * d, static_cast<std::size_t>(d)};
  }
  int num_classes() const { return static_cast<int>(class_names.size()); }
};

// Throws DataError when sizes disagree or a label is out of range; `what` opens the message.
void check(const ImageSet& set, const std::string& what);
void check(const TableSet& set, const std::string& what);

// The rows `indices` in that order (indices may repeat). Throws DataError on an index out of range.
ImageSet subset(const ImageSet& set, std::span<const std::int32_t> indices);
TableSet subset(const TableSet& set, std::span<const std::int32_t> indices);
// First `a`, then `b`; sizes and class names must agree.
ImageSet concat(const ImageSet& a, const ImageSet& b);
TableSet concat(const TableSet& a, const TableSet& b);

}  // namespace offramp::data
