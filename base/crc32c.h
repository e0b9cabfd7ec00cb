#pragma once
// CRC-32C (Castagnoli; RFC 3720, appendix B.4): polynomial 0x1EDC6F41, bits reflected, begun with and ended by all ones.
#include <array>
#include <cstdint>
#include <string_view>

namespace offramp {

namespace crc32c_detail {
// Remainders of one byte, for the reflected polynomial.
inline constexpr std::array<std::uint32_t, 256> kTable = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t rest = byte;
    for (int bit = 0; bit < 8; ++bit) rest = rest >> 1 ^ (rest & 1 ? 0x82f63b78u : 0u);
    table[byte] = rest;
  }
  return table;
}();
}  // namespace crc32c_detail

constexpr std::uint32_t crc32c(std::string_view bytes) {
  std::uint32_t rest = ~0u;
  for (const char c : bytes)
    rest = crc32c_detail::kTable[(rest ^ static_cast<unsigned char>(c)) & 0xff] ^ rest >> 8;
  return ~rest;
}

// As TFRecord files store it, so that the sum of data that holds sums is not special: turned right by 15 bits, plus a
// constant.
constexpr std::uint32_t masked_crc32c(std::string_view bytes) {
  const std::uint32_t crc = crc32c(bytes);
  return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

}  // namespace offramp
