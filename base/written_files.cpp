#include "base/written_files.h"

#include <algorithm>
#include <mutex>
#include <utility>
#include <vector>

namespace offramp {
namespace {

std::mutex g_mutex;
std::vector<WriteWatch*> g_watches;

std::filesystem::path full(const std::filesystem::path& path) {
  std::error_code none;  // a working folder that is gone: then the path stays as it is
  const auto absolute = std::filesystem::absolute(path, none);
  auto normal = (none ? path : absolute).lexically_normal();
  return normal.has_filename() ? normal : normal.parent_path();  // "a/b/" as "a/b"
}

}  // namespace

WriteWatch::WriteWatch(const std::filesystem::path& folder,
                       std::function<void(const std::filesystem::path&)> tell)
    : folder_(full(folder)), tell_(std::move(tell)) {
  const std::lock_guard lock(g_mutex);
  g_watches.push_back(this);
}

WriteWatch::~WriteWatch() {
  const std::lock_guard lock(g_mutex);
  std::erase(g_watches, this);
}

void announce_write(const std::filesystem::path& path) {
  const std::lock_guard lock(g_mutex);
  if (g_watches.empty()) return;
  const auto written = full(path);
  for (const WriteWatch* watch : g_watches) {
    const auto relative = written.lexically_relative(watch->folder_);
    if (!relative.empty() && *relative.begin() != ".." && relative != ".") watch->tell_(relative);
  }
}

}  // namespace offramp
