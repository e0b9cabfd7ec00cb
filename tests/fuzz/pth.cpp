#include "base/pth.h"

#include "tests/fuzz/target.h"

using namespace offramp;

OFFRAMP_FUZZ_TARGET(pth) {
  fuzz::take_or_refuse([&] {
    const pth::Reader reader("input", std::as_bytes(bytes));
    int read = 0;
    for (const pth::Tensor& tensor : reader.tensors()) {
      // As load_state_dict does: values are read only of tensors of a shape that was asked for.
      if (tensor.elements() > 100'000 || read++ == 64) continue;
      fuzz::take_or_refuse([&] { reader.bytes(tensor); });
    }
  });
}
