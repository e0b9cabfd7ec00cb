#include "base/cpu_level.h"

#include <cstdlib>
#include <iterator>

#include "base/errors.h"

namespace offramp {
namespace {

constexpr const char* kLevelNames[] = {"v3", "v4", "v4-bf16"};
bool several_levels = false;  // written before main, by one thread
CpuLevel level_in_use = CpuLevel::kV3;

bool machine_has(CpuLevel level) {
  __builtin_cpu_init();  // before main nobody else has
  switch (level) {
    case CpuLevel::kV3:
      return __builtin_cpu_supports("x86-64-v3");
    case CpuLevel::kV4:
      return __builtin_cpu_supports("x86-64-v4");
    case CpuLevel::kV4Bf16:
      return __builtin_cpu_supports("x86-64-v4") && __builtin_cpu_supports("avx512bf16");
  }
  return false;
}

}  // namespace

const char* to_text(CpuLevel level) { return kLevelNames[static_cast<int>(level)]; }

CpuLevel best_cpu_level() {
  for (const CpuLevel level : {CpuLevel::kV4Bf16, CpuLevel::kV4, CpuLevel::kV3})
    if (machine_has(level)) return level;
  throw ValueError("this processor lacks AVX2 and FMA (x86-64-v3), which the kernels need");
}

CpuLevel wanted_cpu_level() {
  const CpuLevel best = best_cpu_level();
  const char* text = std::getenv("OFFRAMP_CPU_LEVEL");
  if (text == nullptr || *text == '\0') return best;
  for (int i = 0; i < static_cast<int>(std::size(kLevelNames)); ++i) {
    const auto level = static_cast<CpuLevel>(i);
    if (std::string(text) != kLevelNames[i]) continue;
    if (!machine_has(level))
      throw ValueError(std::string("OFFRAMP_CPU_LEVEL: this processor is no ") + text + ", its best is " +
                       to_text(best));
    return level;
  }
  throw ValueError(std::string("OFFRAMP_CPU_LEVEL: expected v3, v4 or v4-bf16, got '") + text + "'");
}

bool dispatches() { return several_levels; }
CpuLevel used_cpu_level() { return level_in_use; }

}  // namespace offramp

void offramp_choose_level(void** slots, void* const* tables, std::size_t count) {
  using namespace offramp;
  several_levels = true;
  level_in_use = CpuLevel::kV3;
  try {
    level_in_use = wanted_cpu_level();
  } catch (const ValueError&) {
  }
  for (std::size_t i = 0; i < count; ++i)
    slots[i] = tables[static_cast<std::size_t>(level_in_use) * count + i];
}
