#pragma once
// What every reader throws: one line that names the reader, what was expected, what came, the file and the
// byte (or line) where reading stopped.
#include <cstdint>
#include <filesystem>
#include <string>

#include "base/errors.h"

namespace offramp::data {

// "idx: expected magic 0x00000803, found 0x00000801 (/data/x.gz, byte 0)"
[[noreturn]] void fail_at_byte(const std::string& reader,
                               const std::string& what,
                               const std::filesystem::path& path,
                               std::uint64_t byte);
[[noreturn]] void fail_at_line(const std::string& reader,
                               const std::string& what,
                               const std::filesystem::path& path,
                               std::uint64_t line);
[[noreturn]] void fail_in_file(const std::string& reader,
                               const std::string& what,
                               const std::filesystem::path& path);

}  // namespace offramp::data
