#pragma once
// The op table: one line per differentiable op. tests/engine/ops_test.cpp runs every generic check over it,
// on every device, so that a new op is one more entry here.
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engine/ops.h"

namespace offramp::test {

enum class Values {
  kAnything,    // uniform in [-1, 1)
  kOffZero,     // and at least 1/16 away from 0: relu, L1
  kDistinct,    // all values at least 1/32 apart: maxima do not change hands
  kProbability  // rows are distributions; not differentiated
};

struct OpInput {
  Shape shape;
  Values values = Values::kAnything;
  bool differentiate = true;
};

struct OpCase {
  std::string name;
  std::vector<OpInput> inputs;
  std::function<Tensor(std::span<const Tensor>)> run;  // must be a pure function of its inputs
  bool bf16 = false;                                   // the first input may be bfloat16
};

const std::vector<OpCase>& op_table();

}  // namespace offramp::test
