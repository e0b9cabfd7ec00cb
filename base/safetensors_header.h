// The JSON header of a safetensors file: the part that is parsed, apart from files and maps, so that it can
// be fuzzed.
#pragma once

#include "base/safetensors.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace offramp::safetensors {

inline constexpr std::uint64_t kLengthBytes = 8;  // the field before the header

struct Header {
  std::vector<Entry> entries;  // sorted by begin, dense from 0 to data_bytes
  Metadata metadata;
};

// `text`: the header without its length field; `data_bytes`: what follows it in the file. Offsets in messages
// are offsets in the file `path`, that is, 8 more than in `text`. Throws FileError.
Header parse_header(const std::string& path, std::string_view text, std::uint64_t data_bytes);

// Elements of a shape; throws ShapeError for a negative extent, a rank above kMaxRank, or if the product of
// the extents (zeros counted as ones, so that no partial product of a reader can overflow either) times
// `element_bytes` exceeds 2^63 - 1.
std::uint64_t checked_elements(std::span<const std::int64_t> shape, std::size_t element_bytes);

// Bytes of a tensor; throws ShapeError as above, and where elements of 4 or 6 bits leave a byte unfinished.
std::uint64_t checked_bytes(std::span<const std::int64_t> shape, Dtype dtype);

}  // namespace offramp::safetensors
