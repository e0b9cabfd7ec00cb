// Seeded bugs: each must be caught by the build that is meant to catch it, in every thread order.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>
#include <string>

#include "kernels/cuda/host/sanitizers.h"

namespace {

#if defined(OFFRAMP_HOST_ASAN)
constexpr bool kAddressChecked = true;
#else
constexpr bool kAddressChecked = false;
#endif
constexpr bool kRaceChecked = offramp::cuda::host::kRaceChecked;

struct Ending {
  int code = -1;
  std::string text;
};

Ending run(const std::string& bug, const std::string& order) {
  // Debian's clang comes without llvm-symbolizer; addr2line names the lines as well.
  const std::string command =
      "TSAN_OPTIONS=external_symbolizer_path=/usr/bin/addr2line OFFRAMP_HOST_ORDER=" + order +
      " " OFFRAMP_BROKEN_KERNELS " " + bug + " 2>&1";
  Ending ending;
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return ending;
  char buffer[4096];
  while (const std::size_t got = fread(buffer, 1, sizeof buffer, pipe)) ending.text.append(buffer, got);
  const int status = pclose(pipe);
  ending.code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  return ending;
}

void expect_report(const std::string& bug, const std::string& words) {
  for (const char* order : {"forward", "reverse", "random"}) {
    const Ending ending = run(bug, order);
    EXPECT_NE(ending.code, 0) << bug << " in " << order << " order was not noticed";
    EXPECT_NE(ending.text.find(words), std::string::npos) << bug << " in " << order << " order:\n"
                                                          << ending.text;
    EXPECT_NE(ending.text.find("broken_kernels.cu"), std::string::npos) << "the report names no line:\n"
                                                                        << ending.text;
  }
}

TEST(BrokenKernels, SharedOverrunIsFoundByTheAddressSanitizer) {
  if (!kAddressChecked) GTEST_SKIP() << "needs the asan build";
  expect_report("shared_overrun", "heap-buffer-overflow");
  expect_report("dynamic_shared_overrun", "heap-buffer-overflow");
}

TEST(BrokenKernels, GlobalOverrunIsFoundByTheAddressSanitizer) {
  if (!kAddressChecked) GTEST_SKIP() << "needs the asan build";
  expect_report("global_overrun", "heap-buffer-overflow");
}

TEST(BrokenKernels, UnwrittenSharedMemoryShowsAsNan) {
  for (const char* order : {"forward", "reverse", "random"})
    EXPECT_EQ(run("uninitialised_shared", order).code, 3);
}

TEST(BrokenKernels, AMissingBarrierShowsAsNan) {
  if (kRaceChecked) GTEST_SKIP() << "ends as a race in this build";
  for (const char* order : {"forward", "reverse", "random"}) {
    EXPECT_EQ(run("missing_barrier", order).code, 3);
    EXPECT_EQ(run("assumed_lockstep", order).code, 3);
  }
}

TEST(BrokenKernels, RacesAreFoundByTheThreadSanitizer) {
  if (!kRaceChecked) GTEST_SKIP() << "needs the tsan build";
  for (const char* bug : {"missing_barrier",
                          "assumed_lockstep",
                          "block_race",
                          "block_race_around_barrier",
                          "barrier_too_early"}) {
    expect_report(bug, "ThreadSanitizer: data race");
  }
}

TEST(BrokenKernels, TheProgramRefusesOtherNames) { EXPECT_EQ(run("sound", "forward").code, 2); }

}  // namespace
