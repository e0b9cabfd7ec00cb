#pragma once
// What a context keeps of the library between calls. The only header of ours that names oneDNN; included by
// files of kernels/cpu alone.
#include "kernels/cpu/context.h"

namespace offramp::cpu {

struct Context::Primitives {};

}  // namespace offramp::cpu
