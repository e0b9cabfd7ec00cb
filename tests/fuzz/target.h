#pragma once
// One fuzz target per reader: a function that takes any bytes, in the file that bears its name. The reader takes the bytes
// or refuses them with an exception of ours; anything else (a signal, another exception, a sanitizer's report) is a fault.
// The list of targets stands in CMakeLists.txt.
#include <cstdint>
#include <span>

#include "base/errors.h"

namespace offramp::fuzz {

struct Target {
  const char* name;
  void (*run)(std::span<const std::uint8_t> bytes);
};
std::span<const Target> targets();

template <class Fn>
void take_or_refuse(Fn&& fn) {
  try {
    fn();
  } catch (const Error&) {  // a refusal
  }
}

}  // namespace offramp::fuzz

#define OFFRAMP_FUZZ_TARGET(name)                                \
  void offramp_fuzz_##name(std::span<const std::uint8_t> bytes); \
  void offramp_fuzz_##name(std::span<const std::uint8_t> bytes)
