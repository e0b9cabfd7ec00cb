// The zip container of .npz (PKWARE APPNOTE 4.3): members are found through the central directory at the end;
// each is stored (0) or deflated (8) and carries a CRC-32, which is checked. No encryption, no zip64, one
// disk.
#include <zlib.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "nets/data/bytes.h"
#include "nets/data/data_error.h"
#include "nets/data/npy.h"
#include "nets/data/text.h"

namespace offramp::data {
namespace {

constexpr std::uint32_t kLocal = 0x04034b50u, kCentral = 0x02014b50u, kEnd = 0x06054b50u;
constexpr std::uint16_t kDosDate = 0x21;  // 1980-01-01: a fixed date keeps equal arrays equal files

std::uint32_t crc_of(std::span<const std::uint8_t> bytes) {
  return static_cast<std::uint32_t>(crc32_z(0, bytes.data(), bytes.size()));
}

std::optional<std::vector<std::uint8_t>> inflate_raw(std::span<const std::uint8_t> in, std::size_t size) {
  // Deflate cannot shrink below 1/1032: a larger claim is a lie, not a reason to allocate.
  if (size / 1032 > in.size() + 1) return std::nullopt;
  std::vector<std::uint8_t> out(size + 1);  // one spare byte shows a member that is longer than it says
  z_stream stream{};
  if (inflateInit2(&stream, -15) != Z_OK) return std::nullopt;
  const std::unique_ptr<z_stream, int (*)(z_stream*)> guard(&stream, inflateEnd);
  stream.next_in = const_cast<Bytef*>(in.data());
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = out.data();
  stream.avail_out = static_cast<uInt>(out.size());
  if (inflate(&stream, Z_FINISH) != Z_STREAM_END || stream.total_out != size || stream.avail_in != 0)
    return std::nullopt;
  out.resize(size);
  return out;
}

std::vector<std::uint8_t> deflate_raw(std::span<const std::uint8_t> in) {
  z_stream stream{};
  if (deflateInit2(&stream, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    throw DataError("npz: zlib could not start");
  const std::unique_ptr<z_stream, int (*)(z_stream*)> guard(&stream, deflateEnd);
  std::vector<std::uint8_t> out(deflateBound(&stream, static_cast<uLong>(in.size())));
  stream.next_in = const_cast<Bytef*>(in.data());
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = out.data();
  stream.avail_out = static_cast<uInt>(out.size());
  if (deflate(&stream, Z_FINISH) != Z_STREAM_END) throw DataError("npz: zlib could not compress");
  out.resize(stream.total_out);
  return out;
}

void put16(std::vector<std::uint8_t>& out, std::uint32_t v) {
  out.push_back(static_cast<std::uint8_t>(v & 0xff));
  out.push_back(static_cast<std::uint8_t>((v >> 8) & 0xff));
}
void put32(std::vector<std::uint8_t>& out, std::uint32_t v) {
  put16(out, v & 0xffff);
  put16(out, v >> 16);
}

}  // namespace

NpzArchive::NpzArchive(std::vector<std::uint8_t> bytes, std::filesystem::path name)
    : bytes_(std::move(bytes)), path_(std::move(name)) {
  ByteCursor in("npz", path_, bytes_);
  constexpr std::size_t kEndBytes = 22;
  if (bytes_.size() < kEndBytes)
    in.fail("expected a zip file of at least 22 bytes, found " + std::to_string(bytes_.size()), 0);
  // The end record is last unless a comment (at most 65535 bytes) follows.
  std::size_t end_at = bytes_.size() - kEndBytes;
  const std::size_t lowest = end_at > 65535 ? end_at - 65535 : 0;
  for (;; --end_at) {
    in.seek(end_at, "end record");
    if (in.le32("end record") == kEnd) break;
    if (end_at == lowest)
      in.fail("expected a zip end record, the file is truncated or no zip", bytes_.size());
  }
  in.take(6, "end record");
  const std::size_t count = in.le16("end record");
  in.take(4, "end record");
  in.seek(in.le32("end record"), "central directory");
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t entry_at = in.offset();
    if (in.le32("central directory") != kCentral) in.fail("expected a central directory entry", entry_at);
    in.take(4, "central directory");
    Member member{};
    member.flags = in.le16("flags");
    member.method = in.le16("method");
    in.take(4, "time");
    member.crc = in.le32("crc");
    member.packed = in.le32("size");
    member.size = in.le32("size");
    const std::size_t name_size = in.le16("name size"), extra = in.le16("extra size"),
                      comment = in.le16("comment size");
    in.take(8, "attributes");
    member.local_at = in.le32("offset");
    std::string key(text_of(in.take(name_size, "name")));
    in.take(extra + comment, "central directory");
    if (key.ends_with(".npy")) key.resize(key.size() - 4);
    if (!members_.emplace(key, member).second) in.fail(in_quotes(key) + " is there twice", entry_at);
  }
}

NpzArchive NpzArchive::open(const std::filesystem::path& path) { return {read_file(path), path}; }

std::vector<std::string> NpzArchive::names() const {
  std::vector<std::string> out;
  for (const auto& [name, member] : members_) out.push_back(name);
  return out;
}

NpyArray NpzArchive::read(const std::string& name) const {
  const auto found = members_.find(name);
  const std::string shown = in_quotes(name);
  if (found == members_.end()) fail_in_file("npz", "expected an array " + shown + ", found none", path_);
  const Member& member = found->second;
  ByteCursor in("npz", path_, bytes_);
  in.seek(member.local_at, "member " + shown);
  if (in.le32("local header") != kLocal) in.fail("expected a local header of " + shown, member.local_at);
  if ((member.flags & 1) != 0) in.fail(shown + " is encrypted", member.local_at);
  in.take(22, "local header");
  const std::size_t local_name = in.le16("name size"), local_extra = in.le16("extra size");
  in.take(local_name + local_extra, "local header");
  const std::size_t data_at = in.offset();
  const auto body = in.take(member.packed, "member " + shown);
  const std::filesystem::path inside = path_ / name;
  if (member.method == 0 && member.packed == member.size) {
    if (crc_of(body) != member.crc) in.fail("corrupted data in " + shown, data_at);
    return parse_npy(body, inside);
  }
  if (member.method != 8)
    in.fail("expected " + shown + " stored or deflated, found method " + std::to_string(member.method),
            member.local_at);
  const auto plain = inflate_raw(body, member.size);
  if (!plain || crc_of(*plain) != member.crc) in.fail("corrupted data in " + shown, data_at);
  return parse_npy(*plain, inside);
}

NpzFile read_npz(const std::filesystem::path& path) {
  const NpzArchive file = NpzArchive::open(path);
  NpzFile out;
  for (const std::string& name : file.names()) out.emplace(name, file.read(name));
  return out;
}

void write_npz(const std::filesystem::path& path, const NpzFile& arrays, bool compress) {
  write_file(path, encode_npz(arrays, compress));
}

std::vector<std::uint8_t> encode_npz(const NpzFile& arrays, bool compress) {
  std::vector<std::uint8_t> out, central;
  for (const auto& [name, array] : arrays) {
    const std::vector<std::uint8_t> plain = encode_npy(array);
    const std::vector<std::uint8_t> body = compress ? deflate_raw(plain) : plain;
    if (plain.size() >= 0xffffffffu || out.size() + body.size() >= 0xffffffffu)
      throw DataError("npz: arrays of 4 GiB and more are not written");
    const std::string file = name + ".npy";
    const auto local_at = static_cast<std::uint32_t>(out.size());
    std::vector<std::uint8_t> common;  // what local header and central directory share
    put16(common, 20);
    put16(common, 0);
    put16(common, compress ? 8 : 0);
    put16(common, 0);
    put16(common, kDosDate);
    put32(common, crc_of(plain));
    put32(common, static_cast<std::uint32_t>(body.size()));
    put32(common, static_cast<std::uint32_t>(plain.size()));
    put16(common, static_cast<std::uint32_t>(file.size()));
    put16(common, 0);
    put32(out, kLocal);
    out.insert(out.end(), common.begin(), common.end());
    out.insert(out.end(), file.begin(), file.end());
    out.insert(out.end(), body.begin(), body.end());
    put32(central, kCentral);
    put16(central, 20);
    central.insert(central.end(), common.begin(), common.end());
    for (int i = 0; i < 5; ++i) put16(central, 0);  // comment, disk, attributes
    put32(central, local_at);
    central.insert(central.end(), file.begin(), file.end());
  }
  const auto central_at = static_cast<std::uint32_t>(out.size());
  out.insert(out.end(), central.begin(), central.end());
  put32(out, kEnd);
  put32(out, 0);
  put16(out, static_cast<std::uint32_t>(arrays.size()));
  put16(out, static_cast<std::uint32_t>(arrays.size()));
  put32(out, static_cast<std::uint32_t>(central.size()));
  put32(out, central_at);
  put16(out, 0);
  return out;
}

}  // namespace offramp::data
