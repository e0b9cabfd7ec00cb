// Which files this process writes below a folder: everything that makes a file (AtomicFile, files that grow)
// announces it first, so that a run folder can note it and later remove what is its own and nothing else.
#pragma once

#include <filesystem>
#include <functional>

namespace offramp {

// While it lives, `tell` hears of each file below `folder` before the file is made; the path is relative to
// `folder`. Called in the thread that writes. What it throws ends the write before it begins.
class WriteWatch {
 public:
  WriteWatch(const std::filesystem::path& folder, std::function<void(const std::filesystem::path&)> tell);
  ~WriteWatch();
  WriteWatch(const WriteWatch&) = delete;
  WriteWatch& operator=(const WriteWatch&) = delete;

 private:
  friend void announce_write(const std::filesystem::path& path);
  std::filesystem::path folder_;  // absolute, normal
  std::function<void(const std::filesystem::path&)> tell_;
};

void announce_write(const std::filesystem::path& path);

}  // namespace offramp
