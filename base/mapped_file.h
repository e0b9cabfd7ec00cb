// A file's bytes, memory-mapped and read-only. The mapping is private, but a file that somebody truncates in
// place while it is mapped ends the process (SIGBUS): replace files, as AtomicFile does.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace offramp {

class MappedFile {
 public:
  // Throws FileError where there is no regular file to read, or fewer than `least_bytes` in it.
  explicit MappedFile(const std::filesystem::path& path, std::size_t least_bytes = 1);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace offramp
