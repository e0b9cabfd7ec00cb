// The safetensors format: 8 bytes little-endian header length, a JSON header, one dense byte buffer.
// Independent of the engine's Tensor: names, types, shapes and byte spans. A file from outside is checked
// completely before anything that it sizes is allocated; the data is memory-mapped, never copied by the
// reader.
//
// Checked: 8-byte length, header cap of the format (100 MB), JSON without duplicate keys and without deeper
// nesting than the format has, known types, no overflow in shape products, offsets that match the shapes, no
// holes, no overlap, exact file length; and our own caps below, so that a hostile header costs neither memory
// nor time.
#pragma once

#include "base/mapped_file.h"

#include <bit>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace offramp::safetensors {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

inline constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the format's own cap
inline constexpr std::size_t kMaxTokenBytes = 8'000'000;       // one string or number; ours
inline constexpr std::size_t kMaxTextBytes = 16'000'000;       // names and metadata together; ours
inline constexpr std::size_t kMaxTensors = 100'000;            // ours
inline constexpr std::size_t kMaxRank = 64;                    // ours

enum class Dtype {
  kBool,
  kU8,
  kI8,
  kF8E5M2,
  kF8E4M3,
  kI16,
  kU16,
  kF16,
  kBF16,
  kI32,
  kU32,
  kF32,
  kF64,
  kI64,
  kU64,
  kF4,
  kF6E2M3,
  kF6E3M2,
  kF8E4M3Fnuz,
  kF8E5M2Fnuz,
  kF8E8M0,
  kC64
};
inline constexpr Dtype kLastDtype = Dtype::kC64;

std::size_t dtype_bits(Dtype dtype);       // of one element; F4 and F6 lie packed
std::string_view dtype_name(Dtype dtype);  // as the format spells it: "F32"

using Metadata = std::map<std::string, std::string>;

struct Entry {
  std::string name;
  Dtype dtype{};
  std::vector<std::int64_t> shape;   // empty: a scalar, one element
  std::uint64_t begin = 0, end = 0;  // bytes in the data buffer

  std::uint64_t bytes() const { return end - begin; }
  std::uint64_t elements() const;
};

// A mapped (base/mapped_file.h), validated file. Move-only; spans live as long as the reader.
class Reader {
 public:
  // Throws FileError with path, offset and what is wrong.
  explicit Reader(const std::filesystem::path& path);
  // Bytes that lie in memory and outlive the reader; `name` is what messages call them.
  Reader(const std::filesystem::path& name, std::span<const std::byte> bytes);

  const std::filesystem::path& path() const { return path_; }
  const std::vector<Entry>& entries() const { return entries_; }  // in order of their bytes
  const Metadata& metadata() const { return metadata_; }

  const Entry* find(std::string_view name) const;  // nullptr if absent
  // Throws FileError naming the tensor if it is absent, or if type or shape differ from what is expected.
  const Entry& expect(std::string_view name, Dtype dtype, std::span<const std::int64_t> shape) const;

  // The bytes of one tensor. Any alignment: a foreign writer need not align; copy with memcpy.
  std::span<const std::byte> bytes(const Entry& entry) const;
  std::span<const std::byte> bytes(std::string_view name) const;  // throws FileError if absent

 private:
  void parse(std::span<const std::byte> bytes);

  std::filesystem::path path_;
  std::optional<MappedFile> file_;
  std::span<const std::byte> data_;  // behind the header
  std::vector<Entry> entries_;
  std::unordered_map<std::string_view, std::size_t> index_;
  Metadata metadata_;
};

// One tensor to write; `bytes` is read during write().
struct Source {
  std::string name;
  Dtype dtype{};
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;
};

// Writes the file atomically (base/atomic_file.h). Tensors are laid out by element size, largest first,
// then by name, behind a header padded to 8 bytes: every tensor is aligned to its element and equal content
// gives equal bytes whatever the order of `sources`. Throws ValueError for bad names, shapes or sizes,
// FileError if writing fails.
void write(const std::filesystem::path& path, std::span<const Source> sources, const Metadata& metadata = {});
// The bytes of that file.
std::vector<std::byte> file_bytes(std::span<const Source> sources, const Metadata& metadata = {});

}  // namespace offramp::safetensors
