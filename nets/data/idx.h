#pragma once
// IDX, the file format of MNIST and Fashion-MNIST, plain or gzip: bytes 0 0 TYPE RANK, RANK big-endian 32-bit
// sizes, then the elements. Only TYPE 0x08 (uint8) is read.
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "nets/data/image_set.h"

namespace offramp::data {

struct IdxArray {
  std::vector<int> dims;
  std::vector<std::uint8_t> bytes;
};

// The content of a file, plain or gzip; `name` is for messages. Throws DataError (wrong magic, sizes of zero, fewer or
// more bytes than the sizes say).
IdxArray parse_idx(std::vector<std::uint8_t> bytes, int expected_rank, const std::filesystem::path& name);
IdxArray read_idx(const std::filesystem::path& path, int expected_rank);
// Grey images [n,h,w,1] with their labels; counts must agree and labels be below class_names.size().
ImageSet read_idx_images(const std::filesystem::path& images,
                         const std::filesystem::path& labels,
                         std::vector<std::string> class_names);

}  // namespace offramp::data
