// How many CPUs this process may use, counted in one way for every room: the affinity mask (taskset, cpusets), the CPU
// quotas of its control groups and OMP_NUM_THREADS, which batch systems set. The results of this program do not depend
// on the number.
#pragma once

#include <filesystem>

namespace offramp {

int usable_cpus();  // at least 1

// The least quota of the groups listed in `groups` (/proc/self/cgroup) and of their parents, under `root`, in whole
// CPUs, rounded up; both versions of control groups. INT_MAX where there is none.
int control_group_cpus(const std::filesystem::path& groups = "/proc/self/cgroup",
                       const std::filesystem::path& root = "/sys/fs/cgroup");

// The first number of OMP_NUM_THREADS ("4" or "4,2"); INT_MAX where it is not set or is none above 0.
int environment_cpus();

}  // namespace offramp
