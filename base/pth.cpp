#include "base/pth.h"

#include "base/errors.h"
#include "base/pth_state.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace offramp::pth {
namespace {

bool begins(std::span<const std::byte> bytes, std::string_view with) {
  return bytes.size() >= with.size() && std::memcmp(bytes.data(), with.data(), with.size()) == 0;
}

// NumPy's archives (.npz) are zips of arrays; the name of the first stands behind 30 bytes.
bool begins_with_array(std::span<const std::byte> zip) {
  constexpr std::size_t kLengthAt = 26, kNameAt = 30;
  if (zip.size() < kNameAt) return false;
  const std::size_t length =
      std::to_integer<std::size_t>(zip[kLengthAt]) + 256 * std::to_integer<std::size_t>(zip[kLengthAt + 1]);
  if (zip.size() - kNameAt < length) return false;
  return std::string_view(reinterpret_cast<const char*>(zip.data()) + kNameAt, length).ends_with(".npy");
}

// The first bytes of torch.save before 1.6: PROTO 2 and the magic number 0x1950a86a20f9469cfc6c.
constexpr std::string_view kLegacy("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 14);

[[noreturn]] void refuse_pickle(const std::string& path, std::span<const std::byte> bytes) {
  const bool legacy = begins(bytes, kLegacy);
  throw FileError(path,
                  std::string(legacy ? "a file of torch.save before 1.6 (no zip archive)"
                                     : "a bare pickle, not a file of torch.save") +
                      ": where torch is, write it again with torch.save(" +
                      (legacy ? "torch.load(FILE, map_location='cpu'), NEW)" : "state_dict, NEW)"));
}

// "archive/" of "archive/data.pkl".
std::string folder_of(const std::string& path, const ZipArchive& archive) {
  constexpr std::string_view kPickle = "data.pkl";
  bool script = false;
  std::optional<std::string> folder;
  for (const std::string& name : archive.names()) {
    if (!folder && name.ends_with(kPickle)) {
      const std::string front = name.substr(0, name.size() - kPickle.size());
      if (front.empty() || front.find('/') == front.size() - 1) folder = front;
    }
    script = script || name.ends_with("/constants.pkl");
  }
  if (script) {
    throw FileError(
        path, "a TorchScript archive; where torch is: torch.save(torch.jit.load(FILE).state_dict(), NEW)");
  }
  if (!folder) throw FileError(path, "a zip file without data.pkl, so not one of torch.save");
  return *folder;
}

void swap_bytes(std::vector<std::byte>& bytes, std::size_t width) {
  for (std::size_t at = 0; at + width <= bytes.size(); at += width) {
    const auto first = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    std::reverse(first, first + static_cast<std::ptrdiff_t>(width));
  }
}

bool contiguous(const Tensor& tensor) {
  std::int64_t step = 1;
  for (std::size_t d = tensor.shape.size(); d-- > 0;) {
    if (tensor.shape[d] != 1 && tensor.strides[d] != step) return false;
    step *= tensor.shape[d];
  }
  return true;
}

}  // namespace

bool looks_like(std::span<const std::byte> bytes) {
  return (begins(bytes, "PK") && !begins_with_array(bytes)) ||
         (begins(bytes, "\x80") && bytes.size() > 2 && bytes[1] >= std::byte{2} && bytes[1] <= std::byte{5} &&
          (begins(bytes, kLegacy) || bytes.back() == std::byte{'.'}));
}

std::uint64_t Tensor::elements() const {
  std::uint64_t count = 1;
  for (const std::int64_t extent : shape) count *= static_cast<std::uint64_t>(extent);
  return count;
}

Reader::Reader(const std::filesystem::path& path, const std::string& entry)
    : path_(path), file_(std::in_place, path) {
  parse(file_->bytes(), entry);
}

Reader::Reader(const std::filesystem::path& name, std::span<const std::byte> bytes, const std::string& entry)
    : path_(name) {
  parse(bytes, entry);
}

void Reader::parse(std::span<const std::byte> bytes, const std::string& entry) {
  const std::string path = path_.string();
  if (!begins(bytes, "PK") && looks_like(bytes)) refuse_pickle(path, bytes);
  archive_.emplace(path, bytes);
  folder_ = folder_of(path, *archive_);
  const std::string order = folder_ + "byteorder";
  if (archive_->contains(order)) {
    const std::vector<std::byte> text = archive_->read(order);
    big_endian_ = begins(text, "big");
    if (!big_endian_ && !begins(text, "little")) {
      throw FileError(path,
                      "byteorder: little or big wanted, got " +
                          in_quotes({reinterpret_cast<const char*>(text.data()), text.size()}));
    }
  }
  const std::string member = folder_ + "data.pkl";
  if (archive_->size(member) > pickle::kMaxBytes) {
    throw FileError(path, "data.pkl: at most " + std::to_string(pickle::kMaxBytes) + " bytes are read");
  }
  const std::vector<std::byte> text = archive_->read(member);
  State state = find_state(path, pickle::parse(path, text), entry);
  entry_ = std::move(state.entry);
  tensors_ = std::move(state.tensors);
  opaque_ = std::move(state.opaque);
}

std::vector<std::byte> Reader::bytes(const Tensor& tensor) const {
  const std::size_t width = safetensors::dtype_bits(tensor.dtype) / 8;
  const auto count = static_cast<std::size_t>(tensor.elements());
  if (count == 0) return {};
  const std::string member = folder_ + "data/" + tensor.storage;
  std::vector<std::byte> storage = archive_->read(member);
  if (storage.size() / width < tensor.storage_elements) {
    throw FileError(path_.string(),
                    "tensor " + in_quotes(tensor.name) + ": its storage " + in_quotes(member) +
                        " should have " + std::to_string(tensor.storage_elements) + " elements of " +
                        std::to_string(width) + " bytes, has " + std::to_string(storage.size()) + " bytes");
  }
  // A complex number is two floats, each in its own order.
  if (big_endian_) swap_bytes(storage, tensor.dtype == Dtype::kC64 ? 4 : width);

  std::vector<std::byte> out(count * width);
  if (contiguous(tensor)) {
    std::memcpy(out.data(), storage.data() + static_cast<std::size_t>(tensor.offset) * width, out.size());
    return out;
  }
  std::vector<std::int64_t> at(tensor.shape.size(), 0);
  std::int64_t from = tensor.offset;
  for (std::size_t i = 0; i < count; ++i) {
    std::memcpy(out.data() + i * width, storage.data() + static_cast<std::size_t>(from) * width, width);
    for (std::size_t d = at.size(); d-- > 0;) {  // the odometer: the last dimension runs fastest
      from += tensor.strides[d];
      if (++at[d] < tensor.shape[d]) break;
      from -= tensor.strides[d] * tensor.shape[d];
      at[d] = 0;
    }
  }
  return out;
}

}  // namespace offramp::pth
