#include "base/atomic_file.h"

#include "base/errors.h"
#include "base/written_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <system_error>

namespace offramp {
namespace {

constexpr std::size_t kBufferBytes = 1 << 16;
constexpr int kNameAttempts = 100;

std::string error_text(int error) { return std::generic_category().message(error); }

std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

// The process id alone is not unique: containers that share a folder share process ids. O_EXCL decides. A long name is cut,
// so that what is added still fits into one.
std::filesystem::path temporary_name(const std::filesystem::path& path) {
  static std::atomic<unsigned> counter{0};
  return folder_of(path) / ("." + path.filename().string().substr(0, 200) + "." + std::to_string(::getpid()) +
                            "-" + std::to_string(counter++) + ".tmp");
}

}  // namespace

AtomicFile::AtomicFile(const std::filesystem::path& path, std::optional<std::uint64_t> bytes_wanted)
    : path_(path), bytes_wanted_(bytes_wanted) {
  announce_write(path);
  std::error_code ec;
  if (std::filesystem::is_symlink(path_, ec)) path_ = std::filesystem::weakly_canonical(path_);
  if (path_.filename().empty() ||
      (std::filesystem::exists(path_, ec) && !std::filesystem::is_regular_file(path_, ec))) {
    throw FileError(path.string(), "write: a regular file wanted, this is a folder or a device");
  }
  if (::access(path_.c_str(), W_OK) != 0 && errno == EACCES)
    throw FileError(path.string(), "write: the file is there and may not be written");
  for (int attempt = 0; attempt < kNameAttempts; ++attempt) {
    temporary_ = temporary_name(path_);
    fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd_ >= 0 || errno != EEXIST) break;
  }
  if (fd_ < 0) {
    const int error = errno;
    temporary_.clear();
    fail("create a temporary beside it", error);
  }
  // Who may read a file stays as it was; where the file system knows no modes there is nothing to keep.
  struct stat old {};
  if (::stat(path_.c_str(), &old) == 0 && ::fchmod(fd_, old.st_mode & 0777) != 0 && errno != EPERM)
    fail("keep its mode", errno);
  buffer_.reserve(kBufferBytes);
}

AtomicFile::~AtomicFile() { discard(); }

void AtomicFile::write(std::span<const std::byte> bytes) {
  if (buffer_.size() + bytes.size() > kBufferBytes) flush();
  if (bytes.size() >= kBufferBytes) {
    write_through(bytes);
  } else {
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  }
}

void AtomicFile::flush() {
  write_through(buffer_);
  buffer_.clear();
}

void AtomicFile::write_through(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t done = ::write(fd_, bytes.data(), bytes.size());
    if (done < 0) {
      if (errno == EINTR) continue;
      fail("write", errno);
    }
    written_ += static_cast<std::uint64_t>(done);
    bytes = bytes.subspan(static_cast<std::size_t>(done));
  }
}

void AtomicFile::make_executable() {
  if (::fchmod(fd_, 0755) != 0) fail("make executable", errno);
}

void AtomicFile::commit() {
  flush();
  if (::fsync(fd_) != 0) fail("fsync", errno);
  const int fd = fd_;
  fd_ = -1;
  if (::close(fd) != 0) fail("close", errno);  // some network file systems report a full disk only here
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("rename the temporary", errno);
  temporary_.clear();
  // The name itself lives in the folder; file systems that cannot fsync a folder say EINVAL and need no
  // fsync.
  const int folder = ::open(folder_of(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0)
    return;  // a folder that may be written but not read: the rename is done, only its durability is not
  const int error = ::fsync(folder) != 0 ? errno : 0;
  ::close(folder);
  if (error != 0 && error != EINVAL) {
    throw FileError(path_.string(),
                    "fsync of the folder: " + error_text(error) + ", the file itself is in place");
  }
}

void AtomicFile::discard() noexcept {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
  temporary_.clear();
}

void AtomicFile::fail(std::string_view action, int error) {
  discard();
  std::string detail =
      std::string(action) + ": " + error_text(error) + " (errno " + std::to_string(error) + "), ";
  detail += std::to_string(written_) + " bytes written";
  if (bytes_wanted_) detail += " of " + std::to_string(*bytes_wanted_) + " wanted";
  std::error_code ec;
  const auto space = std::filesystem::space(folder_of(path_), ec);
  if (!ec) detail += ", " + std::to_string(space.available) + " free in the folder";
  throw FileError(path_.string(), detail);
}

void write_file_atomically(const std::filesystem::path& path, std::string_view content) {
  AtomicFile file(path, content.size());
  file.write(content);
  file.commit();
}

}  // namespace offramp
