#pragma once
// Arrays of numbers in MATLAB's .mat files of version 5 (what MATLAB's -v6 and -v7, GNU Octave and scipy.io.savemat write):
// a header of 128 bytes, then elements of a tag (type, size) and data, compressed by zlib or not. Format:
// https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf. Little endian.
//
// Our own reader because libmatio (1.5.23) is not made for hostile bytes: after some hundred mutated inputs it asks for
// terabytes, from a size that it never read. The tests check it on files that libmatio writes.
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace offramp::data {

struct MatArray {
  std::vector<std::size_t> shape;  // two or more sizes; the first index counts fastest
  bool is_uint8 = false;           // the class that MATLAB shows
  int stored = 0;                  // type of the values in `bytes`, which may be narrower than the class
  std::vector<std::uint8_t> bytes = {};
  std::size_t size() const;
  double number(std::size_t i) const;
};

// The arrays of `wanted` that the file has; others are passed over. Throws DataError with the byte: no such file, a file of
// version 7.3 (HDF5), an element that ends behind the file, damaged compression, values that do not fill the shape,
// a wanted array that is complex or holds no numbers. `name` is for messages.
std::map<std::string, MatArray> parse_mat5(std::span<const std::uint8_t> bytes,
                                           const std::vector<std::string>& wanted,
                                           const std::filesystem::path& name);

}  // namespace offramp::data
