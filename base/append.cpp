#include "base/append.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>

#include "base/errors.h"
#include "base/written_files.h"

namespace offramp {

void append_whole(const std::filesystem::path& path, std::string_view bytes, const char* unit) {
  announce_write(path);
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd < 0) throw FileError(path.string(), "open: " + std::generic_category().message(errno));
  const off_t before = ::lseek(fd, 0, SEEK_END);
  const ssize_t done = ::write(fd, bytes.data(), bytes.size());
  const int error = done < 0 ? errno : ENOSPC;
  const bool whole = done == static_cast<ssize_t>(bytes.size());
  const bool undone = whole || done <= 0 || ::ftruncate(fd, before) == 0;
  ::close(fd);
  if (whole) return;
  throw FileError(path.string(),
                  "append: " + std::generic_category().message(error) +
                      (undone ? "" : ", its last " + std::string(unit) + " is not complete"));
}

}  // namespace offramp
