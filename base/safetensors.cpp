#include "base/safetensors.h"

#include "base/atomic_file.h"
#include "base/errors.h"
#include "base/safetensors_header.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <set>
#include <system_error>
#include <utility>

namespace offramp::safetensors {
namespace {

constexpr std::uint64_t kLengthBytes = 8;

struct DtypeInfo {
  std::string_view name;
  std::size_t bytes;
};
constexpr std::array<DtypeInfo, 15> kDtypes{{{"BOOL", 1},
                                             {"U8", 1},
                                             {"I8", 1},
                                             {"F8_E5M2", 1},
                                             {"F8_E4M3", 1},
                                             {"I16", 2},
                                             {"U16", 2},
                                             {"F16", 2},
                                             {"BF16", 2},
                                             {"I32", 4},
                                             {"U32", 4},
                                             {"F32", 4},
                                             {"F64", 8},
                                             {"I64", 8},
                                             {"U64", 8}}};
static_assert(kDtypes.size() == static_cast<std::size_t>(Dtype::kU64) + 1);

struct Mapping {
  const std::byte* data;
  std::size_t bytes;
};

Mapping map_file(const std::string& path) {
  const auto fail = [&](std::string_view action, int error) -> FileError {
    return FileError(path, std::string(action) + ": " + std::generic_category().message(error));
  };
  const int fd =
      ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // non-blocking: a pipe must not hang us
  if (fd < 0) throw fail("open", errno);
  struct stat info {};
  const int stat_error = ::fstat(fd, &info) != 0 ? errno : 0;
  if (stat_error == 0 && S_ISREG(info.st_mode) && info.st_size >= static_cast<off_t>(kLengthBytes)) {
    const auto bytes = static_cast<std::size_t>(info.st_size);
    void* const map = ::mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    const int map_error = errno;
    ::close(fd);
    if (map == MAP_FAILED) throw fail("map", map_error);
    return {static_cast<const std::byte*>(map), bytes};
  }
  ::close(fd);
  if (stat_error != 0) throw fail("stat", stat_error);
  if (!S_ISREG(info.st_mode))
    throw FileError(path, "read: a regular file wanted, this is a folder or a device");
  throw FileError(path,
                  static_cast<std::uint64_t>(info.st_size),
                  "file: at least 8 bytes wanted, got " + std::to_string(info.st_size));
}

// The header of tensors in the order of their bytes, padded with spaces to 8 bytes. Leaves in `at` the bytes
// of all.
std::string header_text(const std::filesystem::path& path,
                        const std::vector<const Source*>& order,
                        const Metadata& metadata,
                        std::uint64_t& at) {
  std::string text = "{";
  try {
    if (!metadata.empty()) text += "\"__metadata__\":" + nlohmann::json(metadata).dump();
    for (const Source* source : order) {
      if (text.size() > 1) text += ',';
      text += nlohmann::json(source->name).dump() + ":{\"dtype\":\"" +
              std::string(dtype_name(source->dtype)) + "\",\"shape\":" + format_shape(source->shape) +
              ",\"data_offsets\":[" + std::to_string(at) + "," + std::to_string(at + source->bytes.size()) +
              "]}";
      at += source->bytes.size();
    }
  } catch (const nlohmann::json::type_error&) {
    throw ValueError("safetensors write: names and metadata must be UTF-8 (" + path.string() + ")");
  }
  text += '}';
  text.resize((text.size() + 7) / 8 * 8, ' ');
  if (text.size() > kMaxHeaderBytes) {
    throw ValueError("safetensors header: at most " + std::to_string(kMaxHeaderBytes) + " bytes, got " +
                     std::to_string(text.size()));
  }
  parse_header(path.string(), text, at);  // what we write we can read, caps included
  return text;
}

}  // namespace

std::size_t dtype_bytes(Dtype dtype) { return kDtypes[static_cast<std::size_t>(dtype)].bytes; }
std::string_view dtype_name(Dtype dtype) { return kDtypes[static_cast<std::size_t>(dtype)].name; }

Reader::Reader(const std::filesystem::path& path) : path_(path) {
  const Mapping mapping = map_file(path.string());
  map_ = mapping.data;
  map_bytes_ = mapping.bytes;
  try {
    std::uint64_t header_bytes = 0;
    std::memcpy(&header_bytes, map_, kLengthBytes);
    if (header_bytes > kMaxHeaderBytes) {
      throw FileError(path.string(),
                      0,
                      "header length: at most " + std::to_string(kMaxHeaderBytes) + " bytes, got " +
                          std::to_string(header_bytes));
    }
    if (header_bytes > map_bytes_ - kLengthBytes) {
      throw FileError(path.string(),
                      0,
                      "header length: " + std::to_string(header_bytes) + " bytes, the file has " +
                          std::to_string(map_bytes_ - kLengthBytes) + " behind the length");
    }
    data_begin_ = static_cast<std::size_t>(kLengthBytes + header_bytes);
    const std::string_view text(reinterpret_cast<const char*>(map_) + kLengthBytes,
                                static_cast<std::size_t>(header_bytes));
    Header header = parse_header(path.string(), text, map_bytes_ - data_begin_);
    entries_ = std::move(header.entries);
    metadata_ = std::move(header.metadata);
    index_.reserve(entries_.size());
    for (std::size_t i = 0; i < entries_.size(); ++i) index_.emplace(entries_[i].name, i);
  } catch (...) {
    ::munmap(const_cast<std::byte*>(map_), map_bytes_);
    throw;
  }
}

Reader::~Reader() {
  if (map_ != nullptr) ::munmap(const_cast<std::byte*>(map_), map_bytes_);
}

Reader::Reader(Reader&& other) noexcept
    : path_(std::move(other.path_)),
      entries_(std::move(other.entries_)),
      index_(std::move(other.index_)),
      metadata_(std::move(other.metadata_)),
      map_(std::exchange(other.map_, nullptr)),
      map_bytes_(std::exchange(other.map_bytes_, 0)),
      data_begin_(other.data_begin_) {}

Reader& Reader::operator=(Reader&& other) noexcept {
  if (this == &other) return *this;
  std::swap(path_, other.path_);
  std::swap(entries_, other.entries_);
  std::swap(index_, other.index_);
  std::swap(metadata_, other.metadata_);
  std::swap(map_, other.map_);
  std::swap(map_bytes_, other.map_bytes_);
  std::swap(data_begin_, other.data_begin_);
  return *this;
}

const Entry* Reader::find(std::string_view name) const {
  const auto it = index_.find(name);
  return it == index_.end() ? nullptr : &entries_[it->second];
}

const Entry& Reader::expect(std::string_view name, Dtype dtype, std::span<const std::int64_t> shape) const {
  const Entry* const entry = find(name);
  if (entry == nullptr) throw FileError(path_.string(), "tensor " + in_quotes(name) + ": not in the file");
  if (entry->dtype != dtype ||
      !std::equal(shape.begin(), shape.end(), entry->shape.begin(), entry->shape.end())) {
    throw FileError(path_.string(),
                    "tensor " + in_quotes(name) + ": wanted " + std::string(dtype_name(dtype)) + " " +
                        format_shape(shape) + ", file has " + std::string(dtype_name(entry->dtype)) + " " +
                        format_shape(entry->shape));
  }
  return *entry;
}

std::span<const std::byte> Reader::bytes(const Entry& entry) const {
  return {map_ + data_begin_ + entry.begin, static_cast<std::size_t>(entry.bytes())};
}

std::span<const std::byte> Reader::bytes(std::string_view name) const {
  const Entry* const entry = find(name);
  if (entry == nullptr) throw FileError(path_.string(), "tensor " + in_quotes(name) + ": not in the file");
  return bytes(*entry);
}

void write(const std::filesystem::path& path, std::span<const Source> sources, const Metadata& metadata) {
  std::vector<const Source*> order;
  std::set<std::string_view> names;
  for (const Source& source : sources) {
    const std::string of_tensor = " of tensor " + in_quotes(source.name);
    if (source.name == "__metadata__") throw ValueError("safetensors name: __metadata__ is reserved");
    if (!names.insert(source.name).second)
      throw ValueError("safetensors name: " + in_quotes(source.name) + " comes twice");
    std::uint64_t wanted = 0;
    try {
      wanted = checked_elements(source.shape, dtype_bytes(source.dtype)) * dtype_bytes(source.dtype);
    } catch (const ShapeError& error) {
      throw ValueError("safetensors " + std::string(error.what()) + of_tensor);
    }
    if (source.bytes.size() != wanted) {
      throw ValueError("safetensors bytes: shape " + format_shape(source.shape) + " of " +
                       std::string(dtype_name(source.dtype)) + " takes " + std::to_string(wanted) + ", got " +
                       std::to_string(source.bytes.size()) + of_tensor);
    }
    order.push_back(&source);
  }
  std::sort(order.begin(), order.end(), [](const Source* a, const Source* b) {
    const std::size_t a_bytes = dtype_bytes(a->dtype), b_bytes = dtype_bytes(b->dtype);
    return a_bytes != b_bytes ? a_bytes > b_bytes : a->name < b->name;
  });

  std::uint64_t at = 0;
  const std::string text = header_text(path, order, metadata, at);
  AtomicFile file(path, kLengthBytes + text.size() + at);
  const std::uint64_t header_bytes = text.size();
  file.write(std::as_bytes(std::span(&header_bytes, 1)));
  file.write(text);
  for (const Source* source : order) file.write(source->bytes);
  file.commit();
}

}  // namespace offramp::safetensors
