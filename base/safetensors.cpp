#include "base/safetensors.h"

#include "base/atomic_file.h"
#include "base/errors.h"
#include "base/safetensors_header.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cstring>
#include <set>
#include <utility>

namespace offramp::safetensors {
namespace {

struct DtypeInfo {
  std::string_view name;
  std::size_t bits;
};
constexpr std::array<DtypeInfo, 22> kDtypes{
    {{"BOOL", 8},        {"U8", 8},          {"I8", 8},      {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"I16", 16},
     {"U16", 16},        {"F16", 16},        {"BF16", 16},   {"I32", 32},    {"U32", 32},    {"F32", 32},
     {"F64", 64},        {"I64", 64},        {"U64", 64},    {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6},
     {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"F8_E8M0", 8}, {"C64", 64}}};
static_assert(kDtypes.size() == static_cast<std::size_t>(kLastDtype) + 1);

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

std::size_t dtype_bits(Dtype dtype) { return kDtypes[static_cast<std::size_t>(dtype)].bits; }
std::string_view dtype_name(Dtype dtype) { return kDtypes[static_cast<std::size_t>(dtype)].name; }

std::uint64_t Entry::elements() const {
  const std::uint64_t bits = dtype_bits(dtype);
  return bytes() / bits * 8 + bytes() % bits * 8 / bits;
}

Reader::Reader(const std::filesystem::path& path) : path_(path), file_(std::in_place, path, kLengthBytes) {
  parse(file_->bytes());
}

Reader::Reader(const std::filesystem::path& name, std::span<const std::byte> bytes) : path_(name) {
  if (bytes.size() < kLengthBytes) {
    throw FileError(
        path_.string(), bytes.size(), "file: at least 8 bytes wanted, got " + std::to_string(bytes.size()));
  }
  parse(bytes);
}

void Reader::parse(std::span<const std::byte> bytes) {
  std::uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), kLengthBytes);
  const std::span<const std::byte> behind = bytes.subspan(kLengthBytes);
  // A length that cannot be, and no JSON behind it: the file is of another kind.
  if (header_bytes > behind.size() && !behind.empty() && behind.front() != std::byte{'{'}) {
    throw FileError(path_.string(),
                    0,
                    "no safetensors file: the length of a JSON header and the header wanted, found " +
                        in_quotes({reinterpret_cast<const char*>(bytes.data()), kLengthBytes}));
  }
  if (header_bytes > kMaxHeaderBytes) {
    throw FileError(path_.string(),
                    0,
                    "header length: at most " + std::to_string(kMaxHeaderBytes) + " bytes, got " +
                        std::to_string(header_bytes));
  }
  if (header_bytes > behind.size()) {
    throw FileError(path_.string(),
                    0,
                    "header length: " + std::to_string(header_bytes) + " bytes, the file has " +
                        std::to_string(behind.size()) + " behind the length");
  }
  const auto length = static_cast<std::size_t>(header_bytes);
  const std::string_view text(reinterpret_cast<const char*>(behind.data()), length);
  data_ = behind.subspan(length);
  Header header = parse_header(path_.string(), text, data_.size());
  entries_ = std::move(header.entries);
  metadata_ = std::move(header.metadata);
  index_.reserve(entries_.size());
  for (std::size_t i = 0; i < entries_.size(); ++i) index_.emplace(entries_[i].name, i);
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
  return data_.subspan(static_cast<std::size_t>(entry.begin), static_cast<std::size_t>(entry.bytes()));
}

std::span<const std::byte> Reader::bytes(std::string_view name) const {
  const Entry* const entry = find(name);
  if (entry == nullptr) throw FileError(path_.string(), "tensor " + in_quotes(name) + ": not in the file");
  return bytes(*entry);
}

namespace {

// A file before it is written: its header, and the tensors in the order of their bytes.
struct Laid {
  std::string header;
  std::vector<const Source*> order;
  std::uint64_t data_bytes = 0;

  std::uint64_t bytes() const { return kLengthBytes + header.size() + data_bytes; }
  template <class Put>
  void put_all(Put put) const {
    const std::uint64_t header_bytes = header.size();
    put(std::as_bytes(std::span(&header_bytes, 1)));
    put(std::as_bytes(std::span(header.data(), header.size())));
    for (const Source* source : order) put(source->bytes);
  }
};

Laid lay_out(const std::filesystem::path& path, std::span<const Source> sources, const Metadata& metadata) {
  Laid laid;
  std::vector<const Source*>& order = laid.order;
  std::set<std::string_view> names;
  for (const Source& source : sources) {
    const std::string of_tensor = " of tensor " + in_quotes(source.name);
    if (source.name == "__metadata__") throw ValueError("safetensors name: __metadata__ is reserved");
    if (!names.insert(source.name).second)
      throw ValueError("safetensors name: " + in_quotes(source.name) + " comes twice");
    std::uint64_t wanted = 0;
    try {
      wanted = checked_bytes(source.shape, source.dtype);
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
    const std::size_t a_bits = dtype_bits(a->dtype), b_bits = dtype_bits(b->dtype);
    return a_bits != b_bits ? a_bits > b_bits : a->name < b->name;
  });

  laid.header = header_text(path, order, metadata, laid.data_bytes);
  return laid;
}

}  // namespace

void write(const std::filesystem::path& path, std::span<const Source> sources, const Metadata& metadata) {
  const Laid laid = lay_out(path, sources, metadata);
  AtomicFile file(path, laid.bytes());
  laid.put_all([&](std::span<const std::byte> bytes) { file.write(bytes); });
  file.commit();
}

std::vector<std::byte> file_bytes(std::span<const Source> sources, const Metadata& metadata) {
  const Laid laid = lay_out("in memory", sources, metadata);
  std::vector<std::byte> file(laid.bytes());
  auto at = file.begin();
  laid.put_all([&](std::span<const std::byte> bytes) { at = std::copy(bytes.begin(), bytes.end(), at); });
  return file;
}

}  // namespace offramp::safetensors
