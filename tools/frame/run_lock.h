// One writer for a run folder: a flock'ed file in it, which the system releases when the process ends,
// however it ends. What a process that died left in it is no obstacle. Those who only read do not ask.
#pragma once

#include <filesystem>

namespace offramp::tools {

class RunLock {
 public:
  static constexpr const char* kName = ".offramp-lock";

  RunLock() = default;  // none yet
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

  // Locks `folder`, which exists. Throws UsageError naming the process that holds it, FileError where the
  // file cannot be made. A file system without locks (some network ones) gives none: then nobody is kept out.
  void take(const std::filesystem::path& folder);
  bool taken() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

}  // namespace offramp::tools
