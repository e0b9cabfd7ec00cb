// Machine levels: their names, what the environment asks for, and how a table of jumps is filled.
#include "base/cpu_level.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "base/errors.h"

namespace offramp {
namespace {

class CpuLevels : public ::testing::Test {
 protected:
  void TearDown() override { ::unsetenv("OFFRAMP_CPU_LEVEL"); }
  static std::string refused(const char* level) {
    ::setenv("OFFRAMP_CPU_LEVEL", level, 1);
    try {
      static_cast<void>(wanted_cpu_level());
    } catch (const ValueError& error) {
      return error.what();
    }
    return "";
  }
};

TEST_F(CpuLevels, TheBestIsWantedUnlessAnotherIsNamed) {
  const CpuLevel best = best_cpu_level();
  EXPECT_EQ(wanted_cpu_level(), best);
  ::setenv("OFFRAMP_CPU_LEVEL", "", 1);
  EXPECT_EQ(wanted_cpu_level(), best);
  ::setenv("OFFRAMP_CPU_LEVEL", "v3", 1);
  EXPECT_EQ(wanted_cpu_level(), CpuLevel::kV3);
  for (const CpuLevel level : {CpuLevel::kV4, CpuLevel::kV4Bf16}) {
    const std::string name = to_text(level);
    if (level > best)
      EXPECT_EQ(refused(name.c_str()),
                "OFFRAMP_CPU_LEVEL: this processor is no " + name + ", its best is " + to_text(best));
    else
      EXPECT_EQ(refused(name.c_str()), "");
  }
  EXPECT_EQ(refused("avx2"), "OFFRAMP_CPU_LEVEL: expected v3, v4 or v4-bf16, got 'avx2'");
}

TEST_F(CpuLevels, TablesAreFilledWithTheWantedLevel) {
  int v3[2], v4[2], bf16[2];
  void* const tables[] = {&v3[0], &v3[1], &v4[0], &v4[1], &bf16[0], &bf16[1]};
  void* slots[2] = {};
  ::setenv("OFFRAMP_CPU_LEVEL", "v3", 1);
  offramp_choose_level(slots, tables, 2);
  EXPECT_TRUE(dispatches());
  EXPECT_EQ(used_cpu_level(), CpuLevel::kV3);
  EXPECT_EQ(slots[0], &v3[0]);
  EXPECT_EQ(slots[1], &v3[1]);
  ::unsetenv("OFFRAMP_CPU_LEVEL");
  offramp_choose_level(slots, tables, 2);
  const auto best = static_cast<std::size_t>(best_cpu_level());
  EXPECT_EQ(used_cpu_level(), best_cpu_level());
  EXPECT_EQ(slots[1], tables[2 * best + 1]);
  // A name that is none leaves what runs everywhere; the program says why and stops.
  ::setenv("OFFRAMP_CPU_LEVEL", "fastest", 1);
  offramp_choose_level(slots, tables, 2);
  EXPECT_EQ(used_cpu_level(), CpuLevel::kV3);
  EXPECT_EQ(slots[0], &v3[0]);
}

}  // namespace
}  // namespace offramp
