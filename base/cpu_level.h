#pragma once
// Which of the machine levels that a program carries kernels for it uses (OFFRAMP_CPU_ARCH=dispatch). Such rooms hold their
// compiled code once for each level, and their public functions are jumps through a table that is filled before main:
// tools/cmake/OfframpDispatch.cmake makes both. A program that was built for one -march has one level and no table.
#include <cstddef>
#include <string>

namespace offramp {

enum class CpuLevel {
  kV3,      // x86-64-v3: AVX2, FMA
  kV4,      // x86-64-v4: AVX-512 F, BW, CD, DQ, VL
  kV4Bf16,  // and products of bfloat16 pairs (AVX512_BF16)
};
const char* to_text(CpuLevel level);  // "v3", "v4", "v4-bf16"

// The best level that this machine has. Throws ValueError below x86-64-v3.
CpuLevel best_cpu_level();

// What this program's kernels run as: the best level, or the one that the environment variable OFFRAMP_CPU_LEVEL names.
// Throws ValueError where it names none, or one that this machine lacks.
CpuLevel wanted_cpu_level();

// Whether this program carries several levels, and which one its kernels use: fixed before main.
bool dispatches();
CpuLevel used_cpu_level();

}  // namespace offramp

// Called before main by every room with several levels: slots[i] = tables[level * count + i]. Where wanted_cpu_level() throws,
// the lowest level is used, so that the program lives to say why.
extern "C" void offramp_choose_level(void** slots, void* const* tables, std::size_t count);
