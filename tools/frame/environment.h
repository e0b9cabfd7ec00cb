// The machine and the build, for env.json and `offramp devices`.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace offramp::tools {

struct Machine {
  std::string cpu_model;               // "unknown" where the kernel does not say
  std::vector<std::string> cpu_flags;  // those of kInterestingFlags that the CPU has
  int cpus = 0;                        // logical CPUs of the machine
  int usable_cpus = 0;                 // those this process may use: base/cpus.h
  std::uint64_t memory_bytes = 0;      // of the machine
  std::uint64_t available_bytes = 0;   // now
  std::string system;                  // "Linux 6.1.0 x86_64"
};

// Vector and matrix extensions that change which kernels run.
inline constexpr const char* kInterestingFlags[] = {"sse4_2",
                                                    "avx",
                                                    "fma",
                                                    "avx2",
                                                    "avx512f",
                                                    "avx512bw",
                                                    "avx512dq",
                                                    "avx512vl",
                                                    "avx512_vnni",
                                                    "avx512_bf16",
                                                    "avx512_fp16",
                                                    "amx_tile",
                                                    "amx_bf16",
                                                    "amx_int8"};

Machine this_machine();

// Everything that a reader of a run folder needs to judge its numbers.
nlohmann::ordered_json environment_json(std::uint64_t seed, int threads, const std::string& device);

}  // namespace offramp::tools
