#pragma once
// The two back ends of every op. A declaration inside OFFRAMP_FOR_EACH_BACKEND(...) exists once in
// offramp::cpu and once in offramp::cuda, each with the Context of its namespace, so that the call in
// `engine` picks the twin by its context argument and a missing twin is a link error. Activations are NHWC,
// dense; T is float or bf16 (instantiated for both unless the comment says float only); every sum is
// accumulated in float or wider, in a fixed order.
#include <cstddef>
#include <cstdint>

#include "kernels/bf16.h"

namespace offramp {

// Whether an output is stored or added to what is there. Every output pointer without a Write is overwritten.
enum class Write { kOverwrite, kAccumulate };

// Scalars that change from step to step, in device memory, so that a captured step can be replayed with new
// values.
struct StepState {
  float learning_rate = 0;
  std::int32_t step = 0;       // Philox step of dropout and augmentation; Adam's t is step + 1
  std::int32_t nonfinite = 0;  // set by the loss kernels; the optimisers then leave everything as it is
  std::int32_t valid = 0;      // samples of the batch that count
};

namespace cpu {
class Context;  // kernels/cpu/context.h
}
namespace cuda {
class Context;  // kernels/cuda/context.h
}

}  // namespace offramp

#define OFFRAMP_FOR_EACH_BACKEND(...) \
  namespace offramp::cpu {            \
  __VA_ARGS__                         \
  }                                   \
  namespace offramp::cuda {           \
  __VA_ARGS__                         \
  }
