#include "nets/data/bytes.h"

#include <zlib.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <memory>

#include "base/atomic_file.h"
#include "nets/data/data_error.h"

namespace offramp::data {
namespace fs = std::filesystem;

std::vector<std::uint8_t> read_file(const fs::path& path) {
  std::error_code error;
  if (!fs::exists(path, error)) fail_in_file("read", "expected a file, found nothing", path);
  if (!fs::is_regular_file(path, error))
    fail_in_file("read", "expected a file, found a folder or device", path);
  const auto size = fs::file_size(path, error);
  std::ifstream in(path, std::ios::binary);
  if (error || !in) fail_in_file("read", "cannot open the file", path);
  std::vector<std::uint8_t> bytes(size);
  in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size));
  if (static_cast<std::uintmax_t>(in.gcount()) != size)
    fail_at_byte("read",
                 "expected " + std::to_string(size) + " bytes, the file ended before",
                 path,
                 static_cast<std::uint64_t>(in.gcount()));
  return bytes;
}

std::vector<std::uint8_t> read_file_or_gz(const fs::path& path) { return inflate_gz(read_file(path), path); }

std::vector<std::uint8_t> inflate_gz(std::vector<std::uint8_t> raw, const fs::path& path) {
  if (raw.size() < 2 || raw[0] != 0x1f || raw[1] != 0x8b) return raw;

  z_stream stream{};
  if (inflateInit2(&stream, 15 + 16) != Z_OK) fail_in_file("gzip", "zlib could not start", path);
  const std::unique_ptr<z_stream, int (*)(z_stream*)> guard(&stream, inflateEnd);
  std::vector<std::uint8_t> out(std::max<std::size_t>(raw.size() * 4, 4096));
  std::size_t in_at = 0, out_at = 0;
  for (;;) {
    if (out_at == out.size()) out.resize(out.size() * 2);
    // zlib counts in unsigned int: feed at most 1 GiB at a time.
    constexpr std::size_t kChunk = std::size_t{1} << 30;
    const std::size_t in_now = std::min(raw.size() - in_at, kChunk),
                      out_now = std::min(out.size() - out_at, kChunk);
    stream.next_in = const_cast<Bytef*>(raw.data() + in_at);
    stream.avail_in = static_cast<uInt>(in_now);
    stream.next_out = out.data() + out_at;
    stream.avail_out = static_cast<uInt>(out_now);
    const int status = inflate(&stream, Z_NO_FLUSH);
    in_at += in_now - stream.avail_in;
    out_at += out_now - stream.avail_out;
    if (status == Z_STREAM_END) {
      if (in_at == raw.size()) break;
      if (raw.size() - in_at < 2 || raw[in_at] != 0x1f || raw[in_at + 1] != 0x8b)
        fail_at_byte(
            "gzip", std::to_string(raw.size() - in_at) + " bytes after the end of the data", path, in_at);
      inflateReset(&stream);
    } else if (status == Z_BUF_ERROR || (status == Z_OK && in_at == raw.size() && stream.avail_out > 0)) {
      fail_at_byte("gzip", "expected more compressed data, the file is truncated", path, in_at);
    } else if (status != Z_OK) {
      fail_at_byte("gzip",
                   std::string("corrupted data: ") + (stream.msg != nullptr ? stream.msg : "unknown error"),
                   path,
                   in_at);
    }
  }
  out.resize(out_at);
  return out;
}

void write_file(const fs::path& path, std::span<const std::uint8_t> bytes) {
  AtomicFile file(path, bytes.size());
  file.write(std::as_bytes(bytes));
  file.commit();
}

std::span<const std::uint8_t> ByteCursor::take(std::size_t count, const std::string& what) {
  if (left() < count)
    fail("expected " + std::to_string(count) + " bytes of " + what + ", found " + std::to_string(left()),
         at_);
  const auto part = bytes_.subspan(at_, count);
  at_ += count;
  return part;
}

std::uint32_t ByteCursor::be32(const std::string& what) {
  const auto b = take(4, what);
  return (std::uint32_t{b[0]} << 24) | (std::uint32_t{b[1]} << 16) | (std::uint32_t{b[2]} << 8) | b[3];
}

std::uint32_t ByteCursor::le32(const std::string& what) {
  const auto b = take(4, what);
  return (std::uint32_t{b[3]} << 24) | (std::uint32_t{b[2]} << 16) | (std::uint32_t{b[1]} << 8) | b[0];
}

std::uint16_t ByteCursor::le16(const std::string& what) {
  const auto b = take(2, what);
  return static_cast<std::uint16_t>((b[1] << 8) | b[0]);
}

void ByteCursor::seek(std::size_t offset, const std::string& what) {
  if (offset > bytes_.size())
    fail(what + " points to byte " + std::to_string(offset) + ", the file has " +
             std::to_string(bytes_.size()),
         at_);
  at_ = offset;
}

void ByteCursor::fail(const std::string& what, std::size_t offset) const {
  fail_at_byte(reader_, what, path_, offset);
}

std::string hex(std::uint32_t value) {
  char text[11];
  std::snprintf(text, sizeof text, "0x%08x", static_cast<unsigned>(value));
  return text;
}

std::string hex(std::uint64_t value) {
  char text[19];
  std::snprintf(text, sizeof text, "0x%016llx", static_cast<unsigned long long>(value));
  return text;
}

}  // namespace offramp::data
