// The tensors in the pickle of a .pth file: which of its values is the state dict, and what each entry is.
#pragma once

#include "base/pickle.h"
#include "base/pth.h"

#include <string>
#include <vector>

namespace offramp::pth {

struct State {
  std::string entry;
  std::vector<Tensor> tensors;
  std::vector<Opaque> opaque;
};

// `entry` as in Reader. Throws FileError that says what the file holds where no state dict is found.
State find_state(const std::string& path, const pickle::Pickle& pickle, const std::string& entry);

}  // namespace offramp::pth
