#include "engine/tensor.h"

#include <cstring>

#include "base/errors.h"
#include "kernels/elementwise.h"

namespace offramp {

std::size_t dtype_size(DType dtype) {
  switch (dtype) {
    case DType::kBFloat16:
      return 2;
    case DType::kUInt8:
      return 1;
    default:
      return 4;
  }
}

const char* dtype_name(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return "float32";
    case DType::kBFloat16:
      return "bfloat16";
    case DType::kInt32:
      return "int32";
    default:
      return "uint8";
  }
}

void throw_not_float(DType dtype, const char* op) {
  throw ValueError(std::string(op) + ": expected float32 or bfloat16, got " + dtype_name(dtype));
}

Storage::Storage(const Device& on, std::size_t size, const char* tag)
    : device(on), data(static_cast<std::byte*>(on.allocate(size, tag))), bytes(size) {}

Storage::~Storage() { device.release(data); }

Tensor Tensor::empty(const Shape& shape, const Device& device, DType dtype, const char* tag) {
  const std::size_t bytes = static_cast<std::size_t>(shape.size()) * dtype_size(dtype);
  return view(std::make_shared<Storage>(device, bytes, tag), 0, shape, dtype);
}

Tensor Tensor::view(std::shared_ptr<Storage> storage,
                    std::size_t offset_bytes,
                    const Shape& shape,
                    DType dtype) {
  return Tensor(std::make_shared<Impl>(Impl{shape, dtype, offset_bytes, std::move(storage), {}}));
}

std::shared_ptr<const Remake> Tensor::remake() const {
  return impl_->remake_version == version() ? impl_->remake : nullptr;
}
void Tensor::set_remake(std::shared_ptr<const Remake> remake) const {
  impl_->remake = std::move(remake);
  impl_->remake_version = version();
}

Tensor Tensor::zeros(const Shape& shape, const Device& device, DType dtype) {
  Tensor t = empty(shape, device, dtype);
  device.set_zero(t.raw(), t.bytes());
  return t;
}

Tensor Tensor::full(const Shape& shape, float value, const Device& device) {
  Tensor t = empty(shape, device);
  dispatch(device, [&](auto& ctx) { fill(ctx, t.size(), value, t.data()); });
  return t;
}

template <class T>
Tensor Tensor::from(const Shape& shape, std::span<const T> values, const Device& device) {
  if (static_cast<std::int64_t>(values.size()) != shape.size()) {
    throw ShapeError("tensor: " + shape.to_string() + " holds " + std::to_string(shape.size()) +
                     " values, got " + std::to_string(values.size()));
  }
  Tensor t = empty(shape, device, kDTypeOf<T>);
  device.upload(t.raw(), values.data(), values.size_bytes());
  return t;
}
template Tensor Tensor::from(const Shape&, std::span<const float>, const Device&);
template Tensor Tensor::from(const Shape&, std::span<const bf16>, const Device&);
template Tensor Tensor::from(const Shape&, std::span<const std::int32_t>, const Device&);
template Tensor Tensor::from(const Shape&, std::span<const std::uint8_t>, const Device&);

namespace {

// Calls f(row-major index, memory index) for every element of a 4-D shape.
template <class F>
void for_each_place(const Shape& shape, F f) {
  std::size_t at = 0;
  const auto n_count = static_cast<std::size_t>(shape.n()), c_count = static_cast<std::size_t>(shape.c());
  const auto h_count = static_cast<std::size_t>(shape.h()), w_count = static_cast<std::size_t>(shape.w());
  for (std::size_t n = 0; n < n_count; ++n) {
    for (std::size_t c = 0; c < c_count; ++c) {
      for (std::size_t h = 0; h < h_count; ++h) {
        for (std::size_t w = 0; w < w_count; ++w) f(at++, ((n * h_count + h) * w_count + w) * c_count + c);
      }
    }
  }
}

}  // namespace

Tensor Tensor::from_nchw(const Shape& shape, std::span<const float> values, const Device& device) {
  if (shape.rank() < 4 || static_cast<std::int64_t>(values.size()) != shape.size()) {
    return from<float>(shape, values, device);
  }
  std::vector<float> memory(values.size());
  for_each_place(shape, [&](std::size_t row_major, std::size_t place) { memory[place] = values[row_major]; });
  return from<float>(shape, memory, device);
}

template <class T>
std::vector<T> Tensor::to_host() const {
  check_type(kDTypeOf<T>);
  std::vector<T> values(static_cast<std::size_t>(size()));
  device().download(values.data(), raw(), bytes());
  return values;
}
template std::vector<float> Tensor::to_host() const;
template std::vector<bf16> Tensor::to_host() const;
template std::vector<std::int32_t> Tensor::to_host() const;
template std::vector<std::uint8_t> Tensor::to_host() const;

std::vector<float> Tensor::to_nchw() const {
  std::vector<float> memory;
  if (dtype() == DType::kBFloat16) {
    for (const bf16 v : to_host<bf16>()) memory.push_back(static_cast<float>(v));
  } else {
    memory = to_host<float>();
  }
  if (shape().rank() < 4) return memory;
  std::vector<float> values(memory.size());
  for_each_place(shape(),
                 [&](std::size_t row_major, std::size_t place) { values[row_major] = memory[place]; });
  return values;
}

float Tensor::item() const {
  if (size() != 1) throw ShapeError("item: expected one element, got " + shape().to_string());
  return to_host<float>()[0];
}

Tensor Tensor::clone() const {
  Tensor copy = empty(shape(), device(), dtype());
  device().copy(copy.raw(), raw(), bytes());
  return copy;
}

Tensor Tensor::to(const Device& target) const {
  if (target == device()) return *this;
  Tensor moved = empty(shape(), target, dtype());
  std::vector<std::byte> host(bytes());
  device().download(host.data(), raw(), bytes());
  target.upload(moved.raw(), host.data(), host.size());
  return moved;
}

Tensor Tensor::reshaped(const Shape& shape) const {
  if (shape.size() != size()) {
    throw ShapeError("reshape: " + this->shape().to_string() + " to " + shape.to_string() +
                     " changes the size");
  }
  return view(impl_->storage, impl_->offset, shape, dtype());
}

void Tensor::check_type(DType wanted) const {
  if (dtype() != wanted) {
    throw ValueError(std::string("tensor: asked for ") + dtype_name(wanted) + " values of a " +
                     dtype_name(dtype()) + " tensor " + shape().to_string());
  }
}

}  // namespace offramp
