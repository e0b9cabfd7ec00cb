#pragma once
// A state dict as a file holds it, whatever the format: names, types, shapes, and values as floats.
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/safetensors.h"

namespace offramp::nets {

class StateFile {
 public:
  struct Item {
    std::string name;
    safetensors::Dtype dtype{};
    std::vector<std::int64_t> shape;
  };
  // What the file has under a name instead of a tensor, for messages.
  struct Opaque {
    std::string name, what;
  };

  virtual ~StateFile() = default;
  const std::filesystem::path& path() const { return path_; }
  const std::string& entry() const {
    return entry_;
  }  // of the file that holds the state dict; "": the file itself
  const std::vector<Item>& items() const { return items_; }
  const std::vector<Opaque>& opaque() const { return opaque_; }
  const Item* find(std::string_view name) const;
  // Row by row, in PyTorch's order. Throws FileError for a type other than F32, F64, F16 and BF16.
  std::vector<float> floats(const Item& item) const;

 protected:
  explicit StateFile(std::filesystem::path path) : path_(std::move(path)) {}
  void add(Item item);
  virtual std::vector<std::byte> bytes(std::size_t item) const = 0;

  std::filesystem::path path_;
  std::string entry_;
  std::vector<Item> items_;
  std::vector<Opaque> opaque_;

 private:
  std::unordered_map<std::string, std::size_t> index_;
};

// safetensors, or .pth (base/pth.h), told apart by the first bytes. `entry`: of a .pth, see pth::Reader.
std::unique_ptr<StateFile> open_state(const std::filesystem::path& path, const std::string& entry = "");
// Over a reader that outlives it.
std::unique_ptr<StateFile> state_of(const safetensors::Reader& reader);

}  // namespace offramp::nets
