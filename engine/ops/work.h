#pragma once
// What the ops report to a profiler (kernels/range.h).
#include "engine/tensor.h"
#include "kernels/range.h"

namespace offramp {

// Each tensor read or written once; empty handles count nothing.
template <class... Tensors>
Work moving(const Tensors&... tensors) {
  return {.bytes = (0.0 + ... + (tensors ? static_cast<double>(tensors.bytes()) : 0.0))};
}

template <class... Tensors>
Work computing(double flops, const Tensors&... tensors) {
  Work work = moving(tensors...);
  work.flops = flops;
  return work;
}

// An op for the length of its life.
class OpRange : public Range {
 public:
  OpRange(const char* op, const Work& work) : Range(op, RangeKind::kOp, work) {}
};

}  // namespace offramp
