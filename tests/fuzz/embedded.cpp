#include "base/embedded_weights.h"

#include "tests/fuzz/target.h"

using namespace offramp;

OFFRAMP_FUZZ_TARGET(embedded) {
  const auto file = std::as_bytes(bytes);
  if (!embedded::is_program(file)) return;
  fuzz::take_or_refuse([&] {
    const std::uint64_t program = embedded::program_bytes("input", file);
    const std::span<const std::byte> weights = embedded::weights_of("input", file);
    if (program + weights.size() > file.size())
      throw std::logic_error("embedded: parts larger than their file");
    if (weights.empty() != (program == file.size()))
      throw std::logic_error("embedded: bytes that are nothing");
  });
}
