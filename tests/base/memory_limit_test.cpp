#include "base/memory_limit.h"

#include "tests/support/temp_folder.h"

#include <gtest/gtest.h>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace offramp {
namespace {

using test::TempFolder;
using test::write_text;

TEST(MemoryLimit, IsAtMostTheMachinesMemory) {
  const MemoryLimit limit = memory_limit();
  EXPECT_GT(limit.bytes, 0u);
  EXPECT_LE(
      limit.bytes,
      static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<std::size_t>(sysconf(_SC_PAGESIZE)));
  EXPECT_FALSE(limit.source.empty());
}

TEST(MemoryLimit, TheLeastOfAControlGroupAndItsParentsCounts) {
  const TempFolder folder;
  std::filesystem::create_directories(folder / "fs/jobs/mine");
  write_text(folder / "groups", "0::/jobs/mine\n");
  write_text(folder / "fs/jobs/mine/memory.max", "max\n");
  EXPECT_EQ(control_group_limit(folder / "groups", folder / "fs").bytes, SIZE_MAX);
  write_text(folder / "fs/jobs/memory.max", "3000000\n");
  MemoryLimit limit = control_group_limit(folder / "groups", folder / "fs");
  EXPECT_EQ(limit.bytes, 3000000u);
  EXPECT_EQ(limit.source, "the memory limit of control group /jobs");
  write_text(folder / "fs/jobs/mine/memory.max", "2000000\n");
  limit = control_group_limit(folder / "groups", folder / "fs");
  EXPECT_EQ(limit.bytes, 2000000u);
  EXPECT_EQ(limit.source, "the memory limit of control group /jobs/mine");
}

TEST(MemoryLimit, VersionOneGroupsAndThoseThatAContainerHidesCountToo) {
  const TempFolder folder;
  std::filesystem::create_directories(folder / "fs/memory");
  write_text(folder / "groups", "5:cpu:/x\n4:memory:/docker/0123\n0::/\nrubbish\n");
  write_text(folder / "fs/memory/memory.limit_in_bytes", "5000000\n");
  const MemoryLimit limit = control_group_limit(folder / "groups", folder / "fs");
  EXPECT_EQ(limit.bytes, 5000000u);
  EXPECT_EQ(limit.source, "the memory limit of control group /");
  EXPECT_EQ(control_group_limit(folder / "none", folder / "fs").bytes, SIZE_MAX);
}

// In a child process: a lowered limit cannot be raised again by everyone.
bool limit_follows(decltype(RLIMIT_AS) resource, std::string_view source) {
  const pid_t child = fork();
  if (child == 0) {
    constexpr std::size_t kBytes = 400'000'000;  // far more than this program has
    const rlimit bound{kBytes, kBytes};
    if (setrlimit(resource, &bound) != 0) _exit(2);
    const MemoryLimit limit = memory_limit();
    _exit(limit.bytes > 0 && limit.bytes < kBytes && limit.source == source ? 0 : 1);
  }
  int status = 0;
  return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

TEST(MemoryLimit, ResourceLimitsCountWithWhatIsInUse) {
#if OFFRAMP_SANITIZED
  GTEST_SKIP() << "sanitizers reserve terabytes of address space themselves";
#endif
  EXPECT_TRUE(limit_follows(RLIMIT_AS, "what ulimit -v leaves"));
  EXPECT_TRUE(limit_follows(RLIMIT_DATA, "what ulimit -d leaves"));
}

}  // namespace
}  // namespace offramp
