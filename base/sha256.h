#pragma once
// SHA-256 (FIPS 180-4, sections 4.1.2, 4.2.2, 5 and 6.2): tells whether bytes are still those that were written.
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace offramp {

using Sha256Digest = std::array<std::uint8_t, 32>;

Sha256Digest sha256(std::span<const std::byte> bytes);
// 64 hex digits. Of a file: throws FileError where it cannot be read.
std::string to_hex(const Sha256Digest& digest);
std::string sha256_of_file(const std::filesystem::path& path);

}  // namespace offramp
