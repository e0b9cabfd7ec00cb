#include "nets/graph/state_file.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <optional>
#include <span>
#include <utility>

#include "base/errors.h"
#include "base/pth.h"

namespace offramp::nets {
namespace {

float half_to_float(std::uint16_t h) {
  const int exponent = (h >> 10) & 31, mantissa = h & 1023;
  const float sign = (h & 0x8000) != 0 ? -1.f : 1.f;
  if (exponent == 31) return mantissa != 0 ? std::nanf("") : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(mantissa), -24);
  return sign * std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25);
}

template <class T, class F>
std::vector<float> read_as(std::span<const std::byte> bytes, F convert) {
  std::vector<float> values(bytes.size() / sizeof(T));
  for (std::size_t i = 0; i < values.size(); ++i) {
    T value;
    std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));  // foreign files need not align
    values[i] = convert(value);
  }
  return values;
}

class SafetensorsState final : public StateFile {
 public:
  explicit SafetensorsState(const safetensors::Reader& reader) : StateFile(reader.path()), reader_(&reader) {
    list();
  }
  explicit SafetensorsState(const std::filesystem::path& path) : StateFile(path), own_(std::in_place, path) {
    reader_ = &*own_;
    list();
  }

 private:
  void list() {
    for (const safetensors::Entry& entry : reader_->entries()) add({entry.name, entry.dtype, entry.shape});
  }
  std::vector<std::byte> bytes(std::size_t item) const override {
    const std::span<const std::byte> span = reader_->bytes(reader_->entries()[item]);
    return {span.begin(), span.end()};
  }

  std::optional<safetensors::Reader> own_;
  const safetensors::Reader* reader_;
};

class PthState final : public StateFile {
 public:
  PthState(const std::filesystem::path& path, const std::string& entry)
      : StateFile(path), reader_(path, entry) {
    for (const pth::Tensor& tensor : reader_.tensors()) add({tensor.name, tensor.dtype, tensor.shape});
    for (const pth::Opaque& opaque : reader_.opaque()) opaque_.push_back({opaque.name, opaque.what});
    entry_ = reader_.entry();
  }

 private:
  std::vector<std::byte> bytes(std::size_t item) const override {
    return reader_.bytes(reader_.tensors()[item]);
  }
  pth::Reader reader_;
};

}  // namespace

void StateFile::add(Item item) {
  index_.emplace(item.name, items_.size());
  items_.push_back(std::move(item));
}

const StateFile::Item* StateFile::find(std::string_view name) const {
  const auto found = index_.find(std::string(name));
  return found == index_.end() ? nullptr : &items_[found->second];
}

std::vector<float> StateFile::floats(const Item& item) const {
  using safetensors::Dtype;
  const auto values = [&] { return bytes(static_cast<std::size_t>(&item - items_.data())); };
  switch (item.dtype) {
    case Dtype::kF32:
      return read_as<float>(values(), [](float v) { return v; });
    case Dtype::kF64:
      return read_as<double>(values(), [](double v) { return static_cast<float>(v); });
    case Dtype::kF16:
      return read_as<std::uint16_t>(values(), half_to_float);
    case Dtype::kBF16:
      return read_as<std::uint16_t>(values(), [](std::uint16_t v) {
        return std::bit_cast<float>(static_cast<std::uint32_t>(v) << 16);
      });
    default:
      throw FileError(path_.string(),
                      "tensor " + in_quotes(item.name) + ": expected F32, F64, F16 or BF16, got " +
                          std::string(safetensors::dtype_name(item.dtype)));
  }
}

std::unique_ptr<StateFile> open_state(const std::filesystem::path& path, const std::string& entry) {
  bool zip_or_pickle = false;
  {
    const MappedFile file(path);
    zip_or_pickle = pth::looks_like(file.bytes());
  }
  if (zip_or_pickle) return std::make_unique<PthState>(path, entry);
  if (!entry.empty()) {
    throw ValueError("--entry: only .pth files have entries, " + path.string() + " is none");
  }
  return std::make_unique<SafetensorsState>(path);
}

std::unique_ptr<StateFile> state_of(const safetensors::Reader& reader) {
  return std::make_unique<SafetensorsState>(reader);
}

}  // namespace offramp::nets
