// Files that are there completely or not at all: written under a unique temporary name in the same folder,
// fsynced, renamed over the final name, folder fsynced. On any failure (full disk, quota, lost permission)
// the final name keeps its former content and the temporary is removed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace offramp {

class AtomicFile {
 public:
  // `bytes_wanted`: the final size where the caller knows it; it appears in the message of a failed write.
  // Throws FileError if the folder is missing or not writable, or if `path` names something that is no
  // regular file. A symbolic link is followed: the file behind it is replaced, the link stays. A process
  // under a file size limit must ignore SIGXFSZ, or the kernel ends it before write() can report.
  explicit AtomicFile(const std::filesystem::path& path,
                      std::optional<std::uint64_t> bytes_wanted = std::nullopt);
  ~AtomicFile();  // without commit(): removes the temporary
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text.data(), text.size()))); }
  // The file gets mode 0755 instead of 0666 less the umask.
  void make_executable();
  // After this the file is under its final name and survives a power cut. At most once.
  void commit();

  std::uint64_t bytes_written() const { return written_ + buffer_.size(); }
  const std::filesystem::path& temporary() const { return temporary_; }

 private:
  void flush();
  void write_through(std::span<const std::byte> bytes);
  void discard() noexcept;
  [[noreturn]] void fail(std::string_view action, int error);

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  std::optional<std::uint64_t> bytes_wanted_;
  std::vector<std::byte> buffer_;
  std::uint64_t written_ = 0;
  int fd_ = -1;
};

// The whole content at once. Throws FileError.
void write_file_atomically(const std::filesystem::path& path, std::string_view content);

}  // namespace offramp
