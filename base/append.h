// A piece more at the end of a file that others read meanwhile: all of it, or the file as it was.
#pragma once

#include <filesystem>
#include <string_view>

namespace offramp {

// Makes the file where it is missing. Throws FileError: what fails, and where what was written could not be taken back, that
// the last `unit` ("line") is not complete.
void append_whole(const std::filesystem::path& path, std::string_view bytes, const char* unit);

}  // namespace offramp
