// Members of a zip archive that lies in memory, through libzip. A build without libzip (the standalone binary:
// Debian has no static one) compiles, and says so when an archive is opened.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace offramp {

// `bytes` must outlive the archive. Members are read one at a time, by one thread.
class ZipArchive {
 public:
  // Throws FileError naming `path` for what is no sound archive.
  ZipArchive(std::string path, std::span<const std::byte> bytes);
  ~ZipArchive();
  ZipArchive(ZipArchive&&) noexcept;
  ZipArchive& operator=(ZipArchive&&) noexcept;

  static bool available();  // built with libzip

  const std::vector<std::string>& names() const { return names_; }  // in the order of the directory
  bool contains(const std::string& name) const;
  std::uint64_t size(const std::string& name) const;  // throws FileError if absent
  // The whole member, its checksum verified. Only stored members are read: torch.save compresses nothing, and
  // so no small file can unfold to a large one. Throws FileError naming the member.
  std::vector<std::byte> read(const std::string& name) const;

 private:
  struct Handle;
  std::string path_;
  [[maybe_unused]] std::size_t bytes_ = 0;  // of the archive: no stored member is longer
  std::unique_ptr<Handle> handle_;
  std::vector<std::string> names_;
};

}  // namespace offramp
