#include "base/control_group.h"

#include <algorithm>
#include <fstream>

namespace offramp {
namespace {

// "cpu" among "cpu,cpuacct".
bool names(std::string_view controllers, std::string_view wanted) {
  for (;;) {
    const std::size_t comma = std::min(controllers.find(','), controllers.size());
    if (controllers.substr(0, comma) == wanted) return true;
    if (comma == controllers.size()) return false;
    controllers.remove_prefix(comma + 1);
  }
}

}  // namespace

void for_control_groups(std::string_view controller,
                        const std::filesystem::path& groups,
                        const std::filesystem::path& root,
                        const std::function<void(const ControlGroup&)>& visit) {
  std::ifstream in(groups);
  for (std::string line; std::getline(in, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool unified = controllers.empty();
    if (!unified && !names(controllers, controller)) continue;
    // Version 1 is mounted by controller, or by what is mounted together; beside it, version 2 is "unified".
    std::error_code none;
    std::filesystem::path top = unified ? root : root / controller;
    if (!unified && !std::filesystem::exists(top, none)) top = root / controllers;
    if (unified && std::filesystem::is_directory(root / "unified", none)) top = root / "unified";
    std::filesystem::path group = std::filesystem::path(line.substr(second + 1)).relative_path();
    for (;;) {
      visit({top / group, "/" + group.string(), unified});
      if (group.empty()) break;
      group = group.parent_path();
    }
  }
}

}  // namespace offramp
