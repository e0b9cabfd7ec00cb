// The entry of libFuzzer for the one target of this program (OFFRAMP_FUZZ_NAME).
#include <cstddef>

#include "tests/fuzz/target.h"

void OFFRAMP_FUZZ_NAME(std::span<const std::uint8_t> bytes);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  OFFRAMP_FUZZ_NAME({data, size});
  return 0;
}
