#include "tools/frame/run_lock.h"

#include "tools/frame/options.h"

#include <fmt/format.h>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>

namespace offramp::tools {
namespace {

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 && name[0] != '\0' ? name : "unknown";
}

// "process 123 on host x", as its holder wrote it; the holder may not have come to that yet.
std::string holder(int fd) {
  char text[512];
  const ssize_t bytes = ::pread(fd, text, sizeof text, 0);
  std::string line(text, bytes > 0 ? static_cast<std::size_t>(bytes) : 0);
  line = line.substr(0, line.find('\n'));
  return line.starts_with("process ") ? line : "another process";
}

}  // namespace

RunLock::~RunLock() {
  if (fd_ < 0) return;
  // The file stays: another process may already have it open and wait for the lock of this very file.
  if (::ftruncate(fd_, 0) != 0) errno = 0;  // an old name in it does no harm
  ::close(fd_);
}

void RunLock::take(const std::filesystem::path& folder) {
  const std::string path = (folder / kName).string();
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (fd < 0) throw FileError(path, "open the lock: " + std::generic_category().message(errno));
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    const std::string who = error == EWOULDBLOCK ? holder(fd) : "";
    ::close(fd);
    if (error != EWOULDBLOCK) return;
    throw UsageError(fmt::format(
        "{}: {} is writing this run; wait for it, stop it, or choose another --out", folder.string(), who));
  }
  fd_ = fd;
  const std::string text = fmt::format("process {} on host {}\n", ::getpid(), host_name());
  if (::ftruncate(fd, 0) != 0 || ::pwrite(fd, text.data(), text.size(), 0) < 0)
    errno = 0;  // a full disk: locked all the same, only without a name
}

}  // namespace offramp::tools
