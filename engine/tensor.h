#pragma once
// A dense tensor: a cheap handle to shape, type, device and shared storage. Copying a handle shares; clone()
// copies. `const Tensor&` means that the callee does not write it. Memory layout: engine/shape.h.
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/device.h"
#include "engine/shape.h"
#include "kernels/bf16.h"

namespace offramp {

class Tensor;

enum class DType : std::uint8_t { kFloat32, kBFloat16, kInt32, kUInt8 };
std::size_t dtype_size(DType);
const char* dtype_name(DType);

// Undefined for every other type, so that data<double>() does not compile.
template <class T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::kFloat32;
};
template <>
struct DTypeOf<bf16> {
  static constexpr DType value = DType::kBFloat16;
};
template <>
struct DTypeOf<std::int32_t> {
  static constexpr DType value = DType::kInt32;
};
template <>
struct DTypeOf<std::uint8_t> {
  static constexpr DType value = DType::kUInt8;
};
template <class T>
inline constexpr DType kDTypeOf = DTypeOf<T>::value;

// How a tensor is made again, bit for bit, from what the tape keeps anyway: then the tape need not keep the tensor.
class Remake {
 public:
  virtual ~Remake() = default;
  virtual Tensor make() const = 0;
};

class Storage {
 public:
  Storage(const Device& device, std::size_t bytes, const char* tag);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  const Device device;
  std::byte* const data;
  const std::size_t bytes;
  std::uint32_t version = 0;  // raised by every mutable access: what a saved tensor is checked against
};

class Tensor {
 public:
  Tensor() = default;  // no tensor: tests false
  static Tensor empty(const Shape& shape,
                      const Device& device,
                      DType dtype = DType::kFloat32,
                      const char* tag = "tensor");
  static Tensor zeros(const Shape& shape, const Device& device, DType dtype = DType::kFloat32);
  static Tensor full(const Shape& shape, float value, const Device& device);  // float32
  // From host values in the memory order of engine/shape.h; throws ShapeError when the count differs.
  template <class T>
  static Tensor from(const Shape& shape, std::span<const T> values, const Device& device);
  // From host float32 in row-major N,C,H,W order, as files and people write it.
  static Tensor from_nchw(const Shape& shape, std::span<const float> values, const Device& device);
  // A window of `shape` that starts `offset_bytes` into a storage: a parameter in its flat buffer.
  static Tensor view(std::shared_ptr<Storage> storage,
                     std::size_t offset_bytes,
                     const Shape& shape,
                     DType dtype);

  explicit operator bool() const { return impl_ != nullptr; }
  const Shape& shape() const { return impl_->shape; }
  std::int64_t size() const { return impl_->shape.size(); }
  DType dtype() const { return impl_->dtype; }
  const Device& device() const { return impl_->storage->device; }
  std::size_t bytes() const { return static_cast<std::size_t>(size()) * dtype_size(dtype()); }

  // Device pointers. Asking for another element type than the tensor's is a bug of the caller (ValueError).
  template <class T = float>
  const T* data() const {
    check_type(kDTypeOf<T>);
    return reinterpret_cast<const T*>(impl_->storage->data + impl_->offset);
  }
  template <class T = float>
  T* data() {
    check_type(kDTypeOf<T>);
    ++impl_->storage->version;
    return reinterpret_cast<T*>(impl_->storage->data + impl_->offset);
  }
  const void* raw() const { return impl_->storage->data + impl_->offset; }
  void* raw() {
    ++impl_->storage->version;
    return impl_->storage->data + impl_->offset;
  }

  // Copies of the values on the host, in memory order; float tensors of either type also as float, N,C,H,W
  // order.
  template <class T>
  std::vector<T> to_host() const;
  std::vector<float> to_nchw() const;
  float item() const;  // of a one-element float32 tensor

  Tensor clone() const;
  Tensor to(const Device& device) const;  // the same handle where it already is there
  // Same values, same memory, another shape (equal size; 4-D shapes keep memory order, so flattening gives
  // H,W,C). Not recorded: see ops.h for the differentiable forms.
  Tensor reshaped(const Shape& shape) const;
  // True when no other handle, node or view shares the storage: its memory may be reused for a result.
  bool sole_owner() const { return impl_.use_count() == 1 && impl_->storage.use_count() == 1; }
  std::uint32_t version() const { return impl_->storage->version; }
  const std::shared_ptr<Storage>& storage() const { return impl_->storage; }

  // The handle's place on a tape (engine/recording.h): which recording, which value there.
  struct Value {
    std::uint64_t recording = 0;
    std::int32_t slot = -1;
  };
  Value value() const { return impl_ ? impl_->value : Value{}; }
  void set_value(Value value) const { impl_->value = value; }
  const void* identity() const { return impl_.get(); }

  // Null where there is no other way to the values, or they were written since it was set.
  std::shared_ptr<const Remake> remake() const;
  void set_remake(std::shared_ptr<const Remake> remake) const;

 private:
  struct Impl {
    Shape shape;
    DType dtype;
    std::size_t offset;
    std::shared_ptr<Storage> storage;
    Value value;
    std::shared_ptr<const Remake> remake = nullptr;
    std::uint32_t remake_version = 0;
  };
  explicit Tensor(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
  void check_type(DType wanted) const;
  friend class ParameterSet;  // declares parameters before their flat buffer exists
  std::shared_ptr<Impl> impl_;
};

// Calls f.template operator()<float>() or <bf16>() by the type; other types are a ValueError that names `op`.
template <class F>
void by_float_type(DType dtype, const char* op, F&& f);
[[noreturn]] void throw_not_float(DType dtype, const char* op);

template <class F>
void by_float_type(DType dtype, const char* op, F&& f) {
  switch (dtype) {
    case DType::kFloat32:
      f.template operator()<float>();
      return;
    case DType::kBFloat16:
      f.template operator()<bf16>();
      return;
    default:
      throw_not_float(dtype, op);
  }
}

}  // namespace offramp
