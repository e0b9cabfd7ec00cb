#pragma once
// Whole files into memory, plain or gzip, and a cursor over the bytes that names path and offset when they
// end.
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace offramp::data {

// Throws DataError if the file is absent, unreadable or not a plain file.
std::vector<std::uint8_t> read_file(const std::filesystem::path& path);
// Inflates .gz content (one or more members); bytes without the gzip magic are returned as they are.
// Throws DataError with the offset in the compressed bytes on corrupt, truncated or trailing ones. `name` is for messages.
std::vector<std::uint8_t> inflate_gz(std::vector<std::uint8_t> raw, const std::filesystem::path& name);
std::vector<std::uint8_t> read_file_or_gz(const std::filesystem::path& path);
// There completely or not at all: AtomicFile. Throws FileError.
void write_file(const std::filesystem::path& path, std::span<const std::uint8_t> bytes);

class ByteCursor {
 public:
  ByteCursor(std::string reader, std::filesystem::path path, std::span<const std::uint8_t> bytes)
      : reader_(std::move(reader)), path_(std::move(path)), bytes_(bytes) {}

  std::size_t offset() const { return at_; }
  std::size_t left() const { return bytes_.size() - at_; }
  // The next `count` bytes; `what` names them in the message when the file ends before.
  std::span<const std::uint8_t> take(std::size_t count, const std::string& what);
  std::uint32_t be32(const std::string& what);
  std::uint32_t le32(const std::string& what);
  std::uint16_t le16(const std::string& what);
  void seek(std::size_t offset, const std::string& what);
  [[noreturn]] void fail(const std::string& what, std::size_t offset) const;

 private:
  std::string reader_;
  std::filesystem::path path_;
  std::span<const std::uint8_t> bytes_;
  std::size_t at_ = 0;
};

std::string hex(std::uint32_t value);  // "0x00000803"
std::string hex(std::uint64_t value);  // "0x0123456789abcdef"

}  // namespace offramp::data
