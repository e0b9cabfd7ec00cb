#pragma once
// Small text helpers of the readers: lines (LF or CRLF), fields, numbers that must use up the whole field.
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace offramp::data {

std::string read_text(const std::filesystem::path& path);
std::string_view text_of(std::span<const std::uint8_t> bytes);
// Without the byte order mark that Windows programs put before UTF-8.
std::string_view without_bom(std::string_view text);
// Without blanks and tabs at both ends.
std::string_view trimmed(std::string_view text);
// Views into `text`; a final line end makes no empty line.
std::vector<std::string_view> split_lines(std::string_view text);
std::vector<std::string_view> split_fields(std::string_view line, char separator);
std::optional<std::int64_t> parse_int(std::string_view field);
std::optional<double> parse_double(std::string_view field);

}  // namespace offramp::data
