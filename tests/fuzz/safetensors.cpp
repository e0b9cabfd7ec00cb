#include "base/safetensors.h"

#include "tests/fuzz/target.h"

using namespace offramp;

OFFRAMP_FUZZ_TARGET(safetensors) {
  fuzz::take_or_refuse([&] {
    const safetensors::Reader reader("input", std::as_bytes(bytes));
    std::uint64_t total = 0;
    for (const safetensors::Entry& entry : reader.entries()) {
      total += reader.bytes(entry).size();
      if (reader.find(entry.name) != &entry)
        throw std::logic_error("safetensors: a name finds another entry");
    }
    if (total > bytes.size()) throw std::logic_error("safetensors: tensors larger than their file");
  });
}
