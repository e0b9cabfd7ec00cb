#pragma once
// NumPy's .npy (format 1.0 to 3.0, C order, little endian) and .npz (a zip of .npy, stored or deflated):
// float32, int32, uint8 and int64. https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "nets/data/image_set.h"

namespace offramp::data {

struct NpyArray {
  std::vector<std::int64_t> shape;  // empty: one number
  std::variant<std::vector<float>,
               std::vector<std::int32_t>,
               std::vector<std::uint8_t>,
               std::vector<std::int64_t>>
      values;
  std::size_t size() const;
};
using NpzFile = std::map<std::string, NpyArray>;  // name without ".npy"

// Throw DataError with path and byte offset.
NpyArray read_npy(const std::filesystem::path& path);
NpyArray parse_npy(std::span<const std::uint8_t> bytes, const std::filesystem::path& path);
NpzFile read_npz(const std::filesystem::path& path);

// The shape's product must be the number of values. write_npz deflates when `compress`; equal input, equal
// bytes.
std::vector<std::uint8_t> encode_npy(const NpyArray& array);
void write_npy(const std::filesystem::path& path, const NpyArray& array);
void write_npz(const std::filesystem::path& path, const NpzFile& arrays, bool compress);

// One set from an .npz: images (uint8, [n,h,w] or [n,h,w,c]) or features (float32, [n,d]), and labels (int32,
// int64 or uint8, [n]). With splits the names are train_images, train_labels, test_images ...; without, split
// must be "all". Classes are named by number.
std::variant<ImageSet, TableSet> read_npz_dataset(const std::filesystem::path& path,
                                                  const std::string& split);

}  // namespace offramp::data
