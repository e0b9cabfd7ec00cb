#include "base/cpus.h"

#include "tests/support/temp_folder.h"

#include <gtest/gtest.h>

#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

namespace offramp {
namespace {

using test::TempFolder;
using test::write_text;

int cpus_in(const TempFolder& folder) { return control_group_cpus(folder / "groups", folder / "fs"); }

TEST(Cpus, TheLeastQuotaOfAGroupAndItsParentsCountsRoundedUp) {
  const TempFolder folder;
  std::filesystem::create_directories(folder / "fs/jobs/mine");
  write_text(folder / "groups", "0::/jobs/mine\n");
  EXPECT_EQ(cpus_in(folder), INT_MAX);
  write_text(folder / "fs/jobs/mine/cpu.max", "max 100000\n");
  EXPECT_EQ(cpus_in(folder), INT_MAX);
  write_text(folder / "fs/jobs/mine/cpu.max", "400000 100000\n");
  EXPECT_EQ(cpus_in(folder), 4);
  write_text(folder / "fs/jobs/cpu.max", "150000 100000\n");  // the parent allows less
  EXPECT_EQ(cpus_in(folder), 2);
  write_text(folder / "fs/cpu.max", "1000 100000\n");
  EXPECT_EQ(cpus_in(folder), 1);
  write_text(folder / "fs/cpu.max", "rubbish\n");
  EXPECT_EQ(cpus_in(folder), 2);
}

TEST(Cpus, VersionOneCountsUnderEitherNameOfItsFolder) {
  const TempFolder folder;
  std::filesystem::create_directories(folder / "fs/cpu,cpuacct/docker/0123");
  write_text(folder / "groups", "5:cpu,cpuacct:/docker/0123\n4:memory:/docker/0123\n3:cpuset:/\nrubbish\n");
  write_text(folder / "fs/cpu,cpuacct/docker/0123/cpu.cfs_quota_us", "-1\n");
  write_text(folder / "fs/cpu,cpuacct/docker/0123/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cpus_in(folder), INT_MAX);
  write_text(folder / "fs/cpu,cpuacct/docker/cpu.cfs_quota_us", "250000\n");
  write_text(folder / "fs/cpu,cpuacct/docker/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cpus_in(folder), 3);
  std::filesystem::create_directories(folder / "fs/cpu");  // a container: its own files at the top
  write_text(folder / "fs/cpu/cpu.cfs_quota_us", "50000\n");
  write_text(folder / "fs/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cpus_in(folder), 1);
}

TEST(Cpus, BothVersionsBesideEachOther) {
  const TempFolder folder;
  std::filesystem::create_directories(folder / "fs/unified/x");
  write_text(folder / "groups", "1:cpu:/\n0::/x\n");
  write_text(folder / "fs/unified/x/cpu.max", "200000 100000\n");
  EXPECT_EQ(cpus_in(folder), 2);
}

TEST(Cpus, TheEnvironmentCounts) {
  const char* before = std::getenv("OMP_NUM_THREADS");
  const std::string kept = before == nullptr ? "" : before;
  for (const auto& [text, cpus] : std::vector<std::pair<const char*, int>>{{"1", 1},
                                                                           {"3,2", 3},
                                                                           {" 2", 2},
                                                                           {"0", INT_MAX},
                                                                           {"-1", INT_MAX},
                                                                           {"all", INT_MAX},
                                                                           {"", INT_MAX}}) {
    setenv("OMP_NUM_THREADS", text, 1);
    EXPECT_EQ(environment_cpus(), cpus) << text;
    if (cpus == 1) {
      EXPECT_EQ(usable_cpus(), 1);
    }
  }
  unsetenv("OMP_NUM_THREADS");
  EXPECT_EQ(environment_cpus(), INT_MAX);
  if (before != nullptr) setenv("OMP_NUM_THREADS", kept.c_str(), 1);
}

TEST(Cpus, TheAffinityMaskCounts) {
  EXPECT_GE(usable_cpus(), 1);
  const pid_t child = fork();
  if (child == 0) {
    cpu_set_t all, one;
    if (sched_getaffinity(0, sizeof all, &all) != 0) _exit(2);
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (!CPU_ISSET(cpu, &all)) continue;
      CPU_SET(cpu, &one);
      break;
    }
    if (sched_setaffinity(0, sizeof one, &one) != 0) _exit(3);
    _exit(usable_cpus() == 1 ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace offramp
