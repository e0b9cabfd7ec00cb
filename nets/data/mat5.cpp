#include "nets/data/mat5.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>

#include "nets/data/bytes.h"
#include "nets/data/data_error.h"
#include "nets/data/text.h"

namespace offramp::data {
namespace {

constexpr std::size_t kHeaderBytes = 128;
constexpr std::uint32_t kMatrix = 14, kCompressed = 15;  // types of elements
constexpr std::uint32_t kFirstNumber = 6, kUint8 = 9,
                        kLastNumber = 15;  // classes of arrays: double .. uint64
constexpr std::uint32_t kComplex = 0x0800;
constexpr std::size_t kMaxRank = 32;

std::size_t width_of(int stored) {
  constexpr std::size_t kWidth[] = {0, 1, 1, 2, 2, 4, 4, 4, 0, 8, 0, 0, 8, 8};
  return stored > 0 && stored < 14 ? kWidth[stored] : 0;
}

// Up to `limit` bytes of a zlib stream; nothing where it is damaged or, if `whole`, has another length than `limit`.
std::optional<std::vector<std::uint8_t>> inflate_up_to(std::span<const std::uint8_t> in,
                                                       std::size_t limit,
                                                       bool whole) {
  std::vector<std::uint8_t> out(limit + (whole ? 1 : 0));  // the spare byte shows a stream that is longer
  z_stream stream{};
  if (inflateInit(&stream) != Z_OK) return std::nullopt;
  const std::unique_ptr<z_stream, int (*)(z_stream*)> guard(&stream, inflateEnd);
  constexpr std::size_t kChunk = std::size_t{1} << 30;  // zlib counts in unsigned int
  std::size_t in_at = 0, out_at = 0;
  for (int status = Z_OK; status != Z_STREAM_END;) {
    const std::size_t in_now = std::min(in.size() - in_at, kChunk),
                      out_now = std::min(out.size() - out_at, kChunk);
    stream.next_in = const_cast<Bytef*>(in.data() + in_at);
    stream.avail_in = static_cast<uInt>(in_now);
    stream.next_out = out.data() + out_at;
    stream.avail_out = static_cast<uInt>(out_now);
    status = inflate(&stream, Z_NO_FLUSH);
    in_at += in_now - stream.avail_in;
    out_at += out_now - stream.avail_out;
    if (status == Z_STREAM_END || (!whole && out_at == out.size())) break;
    if (status != Z_OK) return std::nullopt;
  }
  if (whole && out_at != limit) return std::nullopt;
  out.resize(out_at);
  return out;
}

struct Element {
  std::uint32_t type;
  std::size_t size;
};

// One tag inside an array; the data of up to four bytes may lie in the tag itself.
Element take_tag(ByteCursor& in, bool& small) {
  const std::uint32_t first = in.le32("tag");
  small = (first >> 16) != 0;
  if (small) return {first & 0xffff, std::min<std::size_t>(first >> 16, 4)};
  return {first, in.le32("tag")};
}

std::span<const std::uint8_t> take_data(ByteCursor& in, const char* what, std::uint32_t& type) {
  bool small = false;
  const Element element = take_tag(in, small);
  type = element.type;
  const auto data = in.take(element.size, what);
  const std::size_t step = small ? 4 : 8, over = element.size % step;
  if (over != 0) in.take(std::min(step - over, in.left()), what);  // padding; the last may lack it
  return data;
}

struct ArrayHead {
  std::uint32_t flags = 0;
  std::vector<std::size_t> shape = {};
  std::string name = {};
};

// `in` stands behind the tag of the array.
ArrayHead take_head(ByteCursor& in) {
  ArrayHead head;
  std::uint32_t type = 0;
  const auto flags = take_data(in, "array flags", type);
  if (type != 6 || flags.size() != 8) in.fail("expected array flags", in.offset());
  std::memcpy(&head.flags, flags.data(), 4);
  const auto sizes = take_data(in, "array sizes", type);
  if (type != 5 || sizes.size() < 8 || sizes.size() % 4 != 0 || sizes.size() > 4 * kMaxRank)
    in.fail("expected two or more array sizes", in.offset());
  for (std::size_t d = 0; d < sizes.size() / 4; ++d) {
    std::int32_t size = 0;
    std::memcpy(&size, sizes.data() + 4 * d, 4);
    if (size < 0) in.fail("expected array sizes >= 0, found " + std::to_string(size), in.offset());
    head.shape.push_back(static_cast<std::size_t>(size));
  }
  head.name = text_of(take_data(in, "array name", type));
  return head;
}

MatArray take_array(ByteCursor& in) {
  const ArrayHead head = take_head(in);
  const std::string shown = in_quotes(head.name);
  const std::uint32_t kind = head.flags & 0xff;
  if (kind < kFirstNumber || kind > kLastNumber || (head.flags & kComplex) != 0)
    in.fail("expected an array of real numbers as " + shown + ", found another kind", in.offset());
  MatArray out{.shape = head.shape, .is_uint8 = kind == kUint8};
  std::uint32_t type = 0;
  const std::size_t at = in.offset();
  const auto values = take_data(in, "values", type);
  out.stored = type < 14 ? static_cast<int>(type) : 0;
  const std::size_t width = width_of(out.stored);
  std::size_t count = 1;
  bool fits = width > 0 && values.size() % width == 0;
  for (const std::size_t size : head.shape) {
    fits = fits && (size == 0 || count <= values.size() / size);
    count = fits ? count * size : 0;
  }
  if (!fits || count * width != values.size())
    in.fail("expected values that fill " + shown + " of shape " + format_shape(head.shape) + ", found " +
                std::to_string(values.size()) + " bytes of type " + std::to_string(type),
            at);
  out.bytes.assign(values.begin(), values.end());
  return out;
}

void check_header(std::span<const std::uint8_t> bytes, const std::filesystem::path& name) {
  constexpr std::string_view kHdf5 = "\x89HDF\r\n\x1a\n";
  const std::string_view text = text_of(bytes);
  if (text.starts_with("MATLAB 7.3") || text.starts_with(kHdf5) ||
      (bytes.size() >= 520 && text.substr(512).starts_with(kHdf5)))
    fail_at_byte(
        "mat",
        "expected a MATLAB file of version 5 to 7, found version 7.3 (HDF5), which is not read; save it with "
        "scipy.io.savemat, or with -v7 in MATLAB",
        name,
        0);
  if (bytes.size() < kHeaderBytes || bytes[124] != 0 || bytes[125] != 1 || bytes[126] != 'I' ||
      bytes[127] != 'M')
    fail_at_byte("mat", "expected a MATLAB file (version 5, little endian), found another header", name, 0);
}

}  // namespace

std::size_t MatArray::size() const { return bytes.size() / width_of(stored); }

double MatArray::number(std::size_t i) const {
  const auto as = [&]<class T>(T value) {
    std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
    return static_cast<double>(value);
  };
  switch (stored) {
    case 1:
      return as(std::int8_t{});
    case 2:
      return as(std::uint8_t{});
    case 3:
      return as(std::int16_t{});
    case 4:
      return as(std::uint16_t{});
    case 5:
      return as(std::int32_t{});
    case 6:
      return as(std::uint32_t{});
    case 7:
      return as(float{});
    case 9:
      return as(double{});
    case 12:
      return as(std::int64_t{});
    default:
      return as(std::uint64_t{});
  }
}

std::map<std::string, MatArray> parse_mat5(std::span<const std::uint8_t> bytes,
                                           const std::vector<std::string>& wanted,
                                           const std::filesystem::path& name) {
  check_header(bytes, name);
  ByteCursor file("mat", name, bytes);
  file.seek(kHeaderBytes, "first element");
  std::map<std::string, MatArray> out;
  while (file.left() > 0) {
    const std::size_t at = file.offset();
    const std::uint32_t type = file.le32("tag");
    const std::size_t size = file.le32("tag");
    std::span<const std::uint8_t> body = file.take(size, "element");
    std::vector<std::uint8_t> plain;
    if (type != kMatrix && type != kCompressed) continue;
    if (type == kCompressed) {
      constexpr std::size_t kHeadBytes = 1024;  // holds flags, sizes and a name
      auto head = inflate_up_to(body, kHeadBytes, false);
      if (!head || head->size() < 8) file.fail("corrupted compressed data", at);
      plain = std::move(*head);
      body = plain;
    }
    // The array's own tag stands inside what was compressed; sizes in messages count from there.
    ByteCursor peek("mat", name, body);
    std::size_t inner = body.size();
    if (type == kCompressed) {
      if (peek.le32("tag") != kMatrix) continue;
      inner = peek.le32("tag");
    }
    std::string key;
    try {
      key = take_head(peek).name;
    } catch (const DataError&) {  // structures and the like: not for us, unless nothing else is found
      continue;
    }
    if (std::ranges::find(wanted, key) == wanted.end()) continue;
    if (type == kCompressed) {
      // Deflate cannot shrink below 1/1032: a larger claim is a lie, not a reason to allocate.
      auto whole =
          inner / 1032 > size ? std::nullopt : inflate_up_to(bytes.subspan(at + 8, size), inner + 8, true);
      if (!whole) file.fail("corrupted compressed data of " + in_quotes(key), at);
      plain = std::move(*whole);
      body = std::span<const std::uint8_t>(plain).subspan(8);
    }
    ByteCursor in("mat", name, body);
    if (!out.emplace(key, take_array(in)).second) file.fail(in_quotes(key) + " is there twice", at);
  }
  return out;
}

}  // namespace offramp::data
