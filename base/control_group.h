// The control groups (containers, slices) that this process is in, both versions: the limits of each and of its
// parents bind, so a reader of one walks all of them.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace offramp {

// One group that binds this process: where its files are, and how it is called.
struct ControlGroup {
  std::filesystem::path folder;
  std::string name;      // "/jobs/mine"
  bool unified = false;  // version 2; the files have other names in version 1
};

// visit() for every group that limits `controller` ("cpu", "memory"), the group itself before its parents.
// `groups`: /proc/self/cgroup, whose lines are "0::/user/x" in version 2 and "4:cpu,cpuacct:/x" in version 1;
// `root`: where they are mounted. Inside a container the group's own path may not be mounted: then its files
// stand at the top, which is visited in any case.
void for_control_groups(std::string_view controller,
                        const std::filesystem::path& groups,
                        const std::filesystem::path& root,
                        const std::function<void(const ControlGroup&)>& visit);

}  // namespace offramp
