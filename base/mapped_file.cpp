#include "base/mapped_file.h"

#include "base/errors.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

namespace offramp {

MappedFile::MappedFile(const std::filesystem::path& path, std::size_t least_bytes) {
  const std::string name = path.string();
  const auto fail = [&](std::string_view action, int error) -> FileError {
    return FileError(name, std::string(action) + ": " + std::generic_category().message(error));
  };
  const int fd =
      ::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // non-blocking: a pipe must not hang us
  if (fd < 0) throw fail("open", errno);
  struct stat info {};
  const int stat_error = ::fstat(fd, &info) != 0 ? errno : 0;
  const bool regular = stat_error == 0 && S_ISREG(info.st_mode);
  const auto bytes = static_cast<std::size_t>(regular ? info.st_size : 0);
  if (regular && bytes >= least_bytes && bytes > 0) {
    void* const map = ::mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    const int map_error = errno;
    ::close(fd);
    if (map == MAP_FAILED) throw fail("map", map_error);
    data_ = static_cast<const std::byte*>(map);
    size_ = bytes;
    return;
  }
  ::close(fd);
  if (stat_error != 0) throw fail("stat", stat_error);
  if (!regular) throw FileError(name, "read: a regular file wanted, this is a folder or a device");
  if (bytes < least_bytes) {
    throw FileError(
        name,
        bytes,
        "file: at least " + std::to_string(least_bytes) + " bytes wanted, got " + std::to_string(bytes));
  }
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

}  // namespace offramp
