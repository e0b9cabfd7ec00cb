#include "base/memory_limit.h"

#include "base/control_group.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <fstream>

namespace offramp {
namespace {

std::size_t page_bytes() { return static_cast<std::size_t>(sysconf(_SC_PAGESIZE)); }

// Bytes that count against RLIMIT_AS and RLIMIT_DATA now: fields 1 and 6 of /proc/self/statm, in pages.
struct InUse {
  std::size_t address_space = 0, data = 0;
};

InUse in_use() {
  std::ifstream in("/proc/self/statm");
  std::size_t size = 0, resident = 0, shared = 0, text = 0, library = 0, data = 0;
  in >> size >> resident >> shared >> text >> library >> data;
  return {size * page_bytes(), data * page_bytes()};
}

void take_least(MemoryLimit& least, std::size_t bytes, const std::string& source) {
  if (bytes < least.bytes) least = {bytes, source};
}

void take_resource(MemoryLimit& least, int resource, std::size_t used, const char* source) {
  rlimit limit{};
  if (getrlimit(static_cast<decltype(RLIMIT_AS)>(resource), &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
    return;
  const auto bytes = static_cast<std::size_t>(limit.rlim_cur);
  take_least(least, bytes - std::min(bytes, used), source);
}

}  // namespace

MemoryLimit control_group_limit(const std::filesystem::path& groups, const std::filesystem::path& root) {
  MemoryLimit least{SIZE_MAX, "no control group"};
  for_control_groups("memory", groups, root, [&](const ControlGroup& group) {
    // Version 1 says "no limit" by a number larger than any machine.
    std::ifstream limit(group.folder / (group.unified ? "memory.max" : "memory.limit_in_bytes"));
    std::size_t bytes = 0;
    if (limit >> bytes) take_least(least, bytes, "the memory limit of control group " + group.name);
  });
  return least;
}

MemoryLimit memory_limit() {
  MemoryLimit least{static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) * page_bytes(), "the machine's memory"};
  const MemoryLimit group = control_group_limit();
  take_least(least, group.bytes, group.source);
  const InUse used = in_use();
  take_resource(least, RLIMIT_AS, used.address_space, "what ulimit -v leaves");
  take_resource(least, RLIMIT_DATA, used.data, "what ulimit -d leaves");
  return least;
}

MemoryLimit tensor_memory_limit() {
  MemoryLimit limit = memory_limit();
  const bool reserved_counts = limit.source.find("ulimit") != std::string::npos;
  limit.bytes = reserved_counts ? limit.bytes / 2 : limit.bytes / 5 * 4;
  limit.source = (reserved_counts ? "half of " : "four fifths of ") + limit.source;
  return limit;
}

}  // namespace offramp
