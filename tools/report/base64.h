#pragma once
// RFC 4648 base64 and the data URIs made with it.
#include <cstdint>
#include <span>
#include <string>

namespace offramp::report {

std::string base64(std::span<const std::uint8_t> bytes);
std::string png_data_uri(std::span<const std::uint8_t> png);

}  // namespace offramp::report
