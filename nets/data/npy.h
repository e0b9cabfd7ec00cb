#pragma once
// NumPy's .npy (format 1.0 to 3.0, C or Fortran order, either byte order) and .npz (a zip of .npy, stored or deflated).
// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
// Types become the nearest of the variant: bool -> uint8; int8, int16, uint16 -> int32; uint32, uint64 -> int64;
// float16 -> float. Written are float32, int32, uint8, int64 and float64, and text (as
// bytes) in C order.
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
               std::vector<std::int64_t>,
               std::vector<double>,
               std::vector<std::string>>  // numpy's str and bytes arrays, as UTF-8
      values;
  bool truth = false;  // the bytes are truth values, 0 and 1
  std::size_t size() const;
};
using NpzFile = std::map<std::string, NpyArray>;  // name without ".npy"

// Throw DataError with path and byte offset. `path` of parse_npy is for messages.
NpyArray read_npy(const std::filesystem::path& path);
NpyArray parse_npy(std::span<const std::uint8_t> bytes, const std::filesystem::path& path);

// A zip of arrays, each read when asked for: what nobody asks for may be of any type, and damaged.
class NpzArchive {
 public:
  // Reads the directory. Throws DataError.
  NpzArchive(std::vector<std::uint8_t> bytes, std::filesystem::path name);
  static NpzArchive open(const std::filesystem::path& path);

  std::vector<std::string> names() const;  // without ".npy", sorted
  bool contains(const std::string& name) const { return members_.contains(name); }
  // Throws DataError where the member is absent, damaged or no .npy that parse_npy takes.
  NpyArray read(const std::string& name) const;
  const std::filesystem::path& path() const { return path_; }

 private:
  struct Member {
    std::size_t local_at;
    std::uint16_t flags, method;
    std::uint32_t crc, packed, size;
  };
  std::vector<std::uint8_t> bytes_;
  std::filesystem::path path_;
  std::map<std::string, Member> members_;
};
// Every array of it.
NpzFile read_npz(const std::filesystem::path& path);

// The shape's product must be the number of values. write_npz deflates when `compress`; equal input, equal
// bytes.
std::vector<std::uint8_t> encode_npy(const NpyArray& array);
void write_npy(const std::filesystem::path& path, const NpyArray& array);
std::vector<std::uint8_t> encode_npz(const NpzFile& arrays, bool compress);
void write_npz(const std::filesystem::path& path, const NpzFile& arrays, bool compress);

}  // namespace offramp::data
