// How much memory this process may fill: the least of the machine's, its control group's (a container), and
// what the resource limits leave. Asked before the system kills the process for taking more.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

namespace offramp {

struct MemoryLimit {
  std::size_t bytes = 0;
  // "the machine's memory", "the memory limit of control group /x", "what ulimit -v leaves"
  std::string source;
};

MemoryLimit memory_limit();

// The share of it that tensors may have: four fifths, and half of what a resource limit leaves, because
// stacks, code and heap count there with all that they reserve. The source says so.
MemoryLimit tensor_memory_limit();

// The least limit of the groups listed in `groups` (/proc/self/cgroup) and of their parents, under `root`;
// both versions of control groups. bytes is SIZE_MAX where there is none.
MemoryLimit control_group_limit(const std::filesystem::path& groups = "/proc/self/cgroup",
                                const std::filesystem::path& root = "/sys/fs/cgroup");

}  // namespace offramp
