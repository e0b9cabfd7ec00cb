#include "engine/shape.h"

#include "base/errors.h"

namespace offramp {

Shape::Shape(std::initializer_list<std::int64_t> dims) { assign({dims.begin(), dims.size()}); }

Shape::Shape(std::span<const std::int64_t> dims) { assign(dims); }

void Shape::assign(std::span<const std::int64_t> dims) {
  if (dims.size() > kMaxRank) {
    throw ShapeError("shape: at most 4 dimensions, got " + std::to_string(dims.size()));
  }
  rank_ = static_cast<int>(dims.size());
  std::int64_t product = 1;
  for (std::size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] < 0) throw ShapeError("shape: sizes are not negative, got " + std::to_string(dims[i]));
    if (__builtin_mul_overflow(product, dims[i], &product))
      throw ShapeError("shape: more than 2^63 elements");
    dims_[i] = dims[i];
  }
}

std::int64_t Shape::size() const {
  std::int64_t product = 1;
  for (int i = 0; i < rank_; ++i) product *= (*this)[i];
  return product;
}

std::string Shape::to_string() const {
  std::string text = "[";
  for (int i = 0; i < rank_; ++i) {
    if (i > 0) text += ',';
    text += std::to_string((*this)[i]);
  }
  text += ']';
  return text;
}

}  // namespace offramp
