#include "nets/data/data_error.h"

namespace offramp::data {

void fail_at_byte(const std::string& reader,
                  const std::string& what,
                  const std::filesystem::path& path,
                  std::uint64_t byte) {
  throw DataError(reader + ": " + what + " (" + path.string() + ", byte " + std::to_string(byte) + ")");
}

void fail_at_line(const std::string& reader,
                  const std::string& what,
                  const std::filesystem::path& path,
                  std::uint64_t line) {
  throw DataError(reader + ": " + what + " (" + path.string() + ", line " + std::to_string(line) + ")");
}

void fail_in_file(const std::string& reader, const std::string& what, const std::filesystem::path& path) {
  throw DataError(reader + ": " + what + " (" + path.string() + ")");
}

}  // namespace offramp::data
