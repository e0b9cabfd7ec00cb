#pragma once
// Checks that every op makes before any work; messages read `op: what was expected, what came, the shapes`.
#include <string>

#include "base/errors.h"
#include "engine/tensor.h"

namespace offramp::check {

inline std::string describe(const Tensor& t) {
  return t ? t.shape().to_string() + " " + dtype_name(t.dtype()) : std::string("(empty tensor)");
}

inline void present(const char* op, const char* what, const Tensor& t) {
  if (!t) throw ValueError(std::string(op) + ": " + what + " is an empty tensor");
}

inline void same_device(const char* op, const Tensor& a, const Tensor& b) {
  if (!(a.device() == b.device())) {
    throw DeviceError(std::string(op) + ": tensors on two devices, " + a.device().name() + " " + describe(a) +
                      " and " + b.device().name() + " " + describe(b));
  }
}

inline void type(const char* op, const char* what, const Tensor& t, DType wanted) {
  present(op, what, t);
  if (t.dtype() != wanted) {
    throw ValueError(std::string(op) + ": " + what + " wants " + dtype_name(wanted) + ", got " + describe(t));
  }
}

inline void floating(const char* op, const char* what, const Tensor& t) {
  present(op, what, t);
  if (t.dtype() != DType::kFloat32 && t.dtype() != DType::kBFloat16) {
    throw ValueError(std::string(op) + ": " + what + " wants float32 or bfloat16, got " + describe(t));
  }
}

inline void rank(const char* op, const char* what, const Tensor& t, int wanted) {
  if (t.shape().rank() != wanted) {
    throw ShapeError(std::string(op) + ": " + what + " wants " + std::to_string(wanted) +
                     " dimensions, got " + describe(t));
  }
}

inline void shape(const char* op, const char* what, const Tensor& t, const Shape& wanted) {
  present(op, what, t);
  if (t.shape() != wanted) {
    throw ShapeError(std::string(op) + ": " + what + " wants " + wanted.to_string() + ", got " + describe(t));
  }
}

// Two operands of one shape, type and device.
inline void alike(const char* op, const Tensor& a, const Tensor& b) {
  floating(op, "the first operand", a);
  floating(op, "the second operand", b);
  if (a.shape() != b.shape() || a.dtype() != b.dtype()) {
    throw ShapeError(std::string(op) + ": the operands differ, " + describe(a) + " and " + describe(b));
  }
  same_device(op, a, b);
}

}  // namespace offramp::check
