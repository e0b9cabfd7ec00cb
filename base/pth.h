// State dicts in files of torch.save (.pth, .pt, .ckpt; the zip form that torch writes since 1.6): an archive
// with one pickle, `NAME/data.pkl`, and one member per storage, `NAME/data/KEY`, whose bytes lie in the order
// that `NAME/byteorder` gives.
//
// Nothing in the file is executed (base/pickle.h). What is understood: dict, OrderedDict, tensors
// (_rebuild_tensor, _v2, _v3, _rebuild_parameter and what wraps them), their storages, plain values. Anything
// else is an opaque value: passed over where it is only metadata, named where it is needed.
#pragma once

#include "base/mapped_file.h"
#include "base/safetensors.h"
#include "base/zip_archive.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace offramp::pth {

using Dtype = safetensors::Dtype;

inline constexpr std::size_t kMaxTensors = safetensors::kMaxTensors;

struct Tensor {
  std::string name;
  Dtype dtype{};
  std::vector<std::int64_t> shape, strides;  // strides in elements; 0 repeats (expand), any order (transpose)
  std::int64_t offset = 0;                   // of the first element in its storage
  std::string storage;                       // key of a member; tied tensors and views share one
  std::uint64_t storage_elements = 0;

  std::uint64_t elements() const;
};

// What stands in the state dict and is no tensor.
struct Opaque {
  std::string name, what;
};

class Reader {
 public:
  // `entry`: the entry of the file's dict that holds the state dict, "" to find it: the file itself, or its
  // one entry of the usual names (state_dict, model_state_dict, model, net), or its only entry with tensors.
  explicit Reader(const std::filesystem::path& path, const std::string& entry = "");
  // Bytes that lie in memory and outlive the reader.
  Reader(const std::filesystem::path& name, std::span<const std::byte> bytes, const std::string& entry = "");

  const std::filesystem::path& path() const { return path_; }
  const std::string& entry() const { return entry_; }  // where it was found: "", "state_dict", "model.net"
  const std::vector<Tensor>& tensors() const { return tensors_; }  // in the file's order
  const std::vector<Opaque>& opaque() const { return opaque_; }
  // The values row by row through the strides, in this machine's byte order. Whoever asks has looked at the
  // shape: an expanded tensor may be far larger than its file.
  std::vector<std::byte> bytes(const Tensor& tensor) const;

 private:
  void parse(std::span<const std::byte> bytes, const std::string& entry);

  std::filesystem::path path_;
  std::optional<MappedFile> file_;
  std::optional<ZipArchive> archive_;
  std::string folder_;  // "archive/"
  bool big_endian_ = false;
  std::string entry_;
  std::vector<Tensor> tensors_;
  std::vector<Opaque> opaque_;
};

// A file that begins like one of torch.save: a zip (not of NumPy arrays, .npz), or a bare pickle (which Reader refuses with the way out).
bool looks_like(std::span<const std::byte> bytes);

}  // namespace offramp::pth
