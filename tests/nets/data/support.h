#pragma once
// A temporary folder that goes away with the test, small pictures, and a check of messages.
#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "nets/data/bytes.h"
#include "nets/data/data_error.h"
#include "nets/data/image_file.h"

namespace offramp::data {

class TempFolder {
 public:
  TempFolder() {
    static int count = 0;
    path_ = std::filesystem::temp_directory_path() /
            ("offramp-data-" + std::to_string(getpid()) + "-" + std::to_string(count++));
    std::filesystem::create_directories(path_);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  ~TempFolder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  // Writes a file, folders included, and returns its path.
  std::filesystem::path put(const std::string& name, const std::vector<std::uint8_t>& bytes) const {
    const auto file = path_ / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    return file;
  }
  std::filesystem::path put_text(const std::string& name, const std::string& text) const {
    return put(name, {text.begin(), text.end()});
  }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline std::vector<std::uint8_t> gzip(const std::vector<std::uint8_t>& plain) {
  std::vector<std::uint8_t> out(plain.size() + 1024);
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  stream.next_in = const_cast<Bytef*>(plain.data());
  stream.avail_in = static_cast<uInt>(plain.size());
  stream.next_out = out.data();
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

// Every pixel different from its neighbours, so that a swapped axis or channel shows.
inline Picture pattern(int h, int w, int c, int shift = 0) {
  Picture p{.h = h, .w = w, .c = c};
  for (int y = 0; y < h; ++y)
    for (int x = 0; x < w; ++x)
      for (int ch = 0; ch < c; ++ch)
        p.pixels.push_back(static_cast<std::uint8_t>((31 * y + 7 * x + 83 * ch + shift) % 256));
  return p;
}

template <class Fn>
std::string message_of(Fn&& fn) {
  try {
    fn();
  } catch (const DataError& error) {
    return error.what();
  }
  return "(nothing was thrown)";
}

inline testing::AssertionResult contains(const std::string& message, const std::string& part) {
  if (message.find(part) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "expected '" << part << "' in: " << message;
}

}  // namespace offramp::data

// The expression throws a DataError whose message holds `part`.
#define EXPECT_MESSAGE(expr, part) \
  EXPECT_TRUE(offramp::data::contains(offramp::data::message_of([&] { expr; }), part))
