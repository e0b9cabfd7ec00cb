#include "nets/data/npy.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string_view>

#include "nets/data/bytes.h"
#include "nets/data/data_error.h"
#include "nets/data/text.h"

namespace offramp::data {
namespace {

static_assert(std::endian::native == std::endian::little, ".npy values are copied as they lie");

constexpr std::size_t kNpyMaxRank = 32;  // numpy's own

template <class T>
constexpr std::string_view kDescr = "";
template <>
constexpr std::string_view kDescr<float> = "<f4";
template <>
constexpr std::string_view kDescr<double> = "<f8";
template <>
constexpr std::string_view kDescr<std::int32_t> = "<i4";
template <>
constexpr std::string_view kDescr<std::uint8_t> = "|u1";
template <>
constexpr std::string_view kDescr<std::int64_t> = "<i8";

// The text behind 'key': in the header's Python dictionary, up to `end`.
std::string_view dict_value(std::string_view header, std::string_view key, char end, const ByteCursor& in) {
  const std::size_t at = header.find(std::string("'").append(key).append("'"));
  const std::size_t colon = at == std::string_view::npos ? at : header.find(':', at);
  const std::size_t stop = colon == std::string_view::npos ? colon : header.find(end, colon);
  if (stop == std::string_view::npos)
    in.fail(std::string("expected '").append(key).append("' in the header"), 10);
  return trimmed(header.substr(colon + 1, stop - colon - 1));
}

struct Header {
  std::string descr;
  bool fortran = false;
  std::vector<std::int64_t> shape;
  std::size_t count = 1;  // of values
};

// `in` stands behind the header, so that what is left are the values.
Header parse_header(std::string_view text, const ByteCursor& in) {
  Header out;
  std::string_view descr = dict_value(text, "descr", ',', in);
  if (descr.size() >= 2 && descr.front() == '\'' && descr.back() == '\'')
    descr = descr.substr(1, descr.size() - 2);
  out.descr = descr;
  const std::string_view order = dict_value(text, "fortran_order", ',', in);
  if (order != "False" && order != "True")
    in.fail("expected fortran_order True or False, found " + in_quotes(order), 10);
  out.fortran = order == "True";
  std::string_view shape = dict_value(text, "shape", ')', in);
  if (shape.empty() || shape.front() != '(') in.fail("expected a tuple as shape", 10);
  shape.remove_prefix(1);
  for (const auto part : split_fields(shape, ',')) {
    const auto size_text = trimmed(part);
    if (size_text.empty()) continue;
    const auto size = parse_int(size_text);
    if (!size || *size < 0) in.fail("expected sizes >= 0 in the shape, found " + in_quotes(size_text), 10);
    if (out.shape.size() == kNpyMaxRank) in.fail("expected a shape of at most 32 sizes", 10);
    out.shape.push_back(*size);
  }
  const bool empty = std::find(out.shape.begin(), out.shape.end(), 0) != out.shape.end();
  if (empty) out.count = 0;
  for (const std::int64_t size : out.shape) {
    if (empty) break;
    if (out.count > in.left() / static_cast<std::size_t>(size))
      in.fail("the shape asks for more values than the file has bytes", 10);
    out.count *= static_cast<std::size_t>(size);
  }
  return out;
}

// Fortran order counts the first index fastest: copies the values of `width` bytes to C order.
void copy_from_fortran(std::span<const std::uint8_t> from,
                       const Header& header,
                       std::size_t width,
                       std::vector<std::uint8_t>& to) {
  std::vector<std::size_t> stride(header.shape.size()), index(header.shape.size());
  for (std::size_t d = 0, step = width; d < stride.size(); ++d) {
    stride[d] = step;
    step *= static_cast<std::size_t>(header.shape[d]);
  }
  std::size_t at = 0;
  for (std::size_t i = 0; i < header.count; ++i) {
    std::copy_n(from.data() + at, width, to.data() + i * width);
    for (std::size_t d = index.size(); d-- > 0;) {
      const auto size = static_cast<std::size_t>(header.shape[d]);
      at += stride[d];
      if (++index[d] < size) break;
      at -= stride[d] * size;
      index[d] = 0;
    }
  }
}

// The bytes of all values in C order and little endian; `swapped_unit` bytes are turned round, 1: none.
std::vector<std::uint8_t> ordered(std::span<const std::uint8_t> body,
                                  const Header& header,
                                  std::size_t width,
                                  std::size_t swapped_unit) {
  std::vector<std::uint8_t> out(body.begin(), body.end());
  if (header.fortran && header.shape.size() > 1) copy_from_fortran(body, header, width, out);
  if (swapped_unit > 1)
    for (auto at = out.begin(); at != out.end(); at += static_cast<std::ptrdiff_t>(swapped_unit))
      std::reverse(at, at + static_cast<std::ptrdiff_t>(swapped_unit));
  return out;
}

template <class Stored, class Kept>
std::vector<Kept> converted(std::span<const std::uint8_t> bytes) {
  std::vector<Kept> out(bytes.size() / sizeof(Stored));
  if constexpr (std::is_same_v<Stored, Kept>) {
    if (!out.empty()) std::memcpy(out.data(), bytes.data(), bytes.size());
  } else {
    for (std::size_t i = 0; i < out.size(); ++i) {
      Stored value{};
      std::memcpy(&value, bytes.data() + i * sizeof(Stored), sizeof(Stored));
      out[i] = static_cast<Kept>(value);
    }
  }
  return out;
}

// IEEE half precision: 1 sign, 5 exponent, 10 fraction bits.
float half_value(std::uint16_t bits) {
  const int exponent = (bits >> 10) & 31;
  const float fraction = static_cast<float>(bits & 1023);
  float value = exponent == 0    ? std::ldexp(fraction, -24)
                : exponent == 31 ? (fraction == 0 ? std::numeric_limits<float>::infinity()
                                                  : std::numeric_limits<float>::quiet_NaN())
                                 : std::ldexp(fraction + 1024, exponent - 25);
  return (bits >> 15) != 0 ? -value : value;
}

void append_utf8(std::uint32_t code, std::string& out) {
  const auto put = [&out](std::uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | (code >> 6));
    put(0x80 | (code & 63));
  } else if (code < 0x10000) {
    put(0xE0 | (code >> 12));
    put(0x80 | ((code >> 6) & 63));
    put(0x80 | (code & 63));
  } else {
    put(0xF0 | ((code >> 18) & 7));
    put(0x80 | ((code >> 12) & 63));
    put(0x80 | ((code >> 6) & 63));
    put(0x80 | (code & 63));
  }
}

// Text of fixed width, filled up with zeros: 'U' counts in UTF-32 units, 'S' in bytes.
std::vector<std::string> texts(std::span<const std::uint8_t> bytes, std::size_t width, bool wide) {
  std::vector<std::string> out;
  for (std::size_t at = 0; width > 0 && at < bytes.size(); at += width) {
    std::string text;
    if (wide)
      for (std::size_t u = 0; u < width; u += 4) {
        std::uint32_t code = 0;
        std::memcpy(&code, bytes.data() + at + u, 4);
        if (code != 0) append_utf8(code, text);
      }
    else
      for (std::size_t u = 0; u < width; ++u)
        if (bytes[at + u] != 0) text.push_back(static_cast<char>(bytes[at + u]));
    out.push_back(std::move(text));
  }
  return out;
}

struct Numbers {
  std::string_view kind;  // descr without byte order
  std::size_t width;
  void (*take)(std::span<const std::uint8_t>, NpyArray&);
};

template <class Stored, class Kept>
void take(std::span<const std::uint8_t> bytes, NpyArray& out) {
  out.values = converted<Stored, Kept>(bytes);
}

void take_half(std::span<const std::uint8_t> bytes, NpyArray& out) {
  std::vector<float> values;
  for (const std::uint16_t bits : converted<std::uint16_t, std::uint16_t>(bytes))
    values.push_back(half_value(bits));
  out.values = std::move(values);
}

constexpr Numbers kNumbers[] = {
    {"f4", 4, take<float, float>},
    {"f8", 8, take<double, double>},
    {"f2", 2, take_half},
    {"u1", 1, take<std::uint8_t, std::uint8_t>},
    {"b1", 1, take<std::uint8_t, std::uint8_t>},
    {"i1", 1, take<std::int8_t, std::int32_t>},
    {"i2", 2, take<std::int16_t, std::int32_t>},
    {"u2", 2, take<std::uint16_t, std::int32_t>},
    {"i4", 4, take<std::int32_t, std::int32_t>},
    {"u4", 4, take<std::uint32_t, std::int64_t>},
    {"i8", 8, take<std::int64_t, std::int64_t>},
    {"u8", 8, take<std::uint64_t, std::int64_t>}};  // 2^63 and above turn negative

}  // namespace

std::size_t NpyArray::size() const {
  return std::visit([](const auto& v) { return v.size(); }, values);
}

NpyArray parse_npy(std::span<const std::uint8_t> bytes, const std::filesystem::path& path) {
  ByteCursor in("npy", path, bytes);
  const auto magic = in.take(8, "magic");
  if (std::memcmp(magic.data(), "\x93NUMPY", 6) != 0)
    in.fail("expected the magic \\x93NUMPY, found other bytes", 0);
  const int version = magic[6];
  if (version < 1 || version > 3) in.fail("expected format 1, 2 or 3, found " + std::to_string(version), 6);
  const std::size_t header_size = version == 1 ? in.le16("header size") : in.le32("header size");
  const Header header = parse_header(text_of(in.take(header_size, "header")), in);

  const auto unknown = [&] {
    in.fail("expected numbers, truth values or text, found type " + in_quotes(header.descr), 10);
  };
  const std::string_view descr = header.descr;
  if (descr.size() < 3 || std::string_view("<>|=").find(descr[0]) == std::string_view::npos) unknown();
  const bool big = descr[0] == '>';
  NpyArray out;
  out.shape = header.shape;
  const auto body_of = [&](std::size_t width, std::size_t unit) {
    if (header.count > in.left() / width)
      in.fail("expected " + std::to_string(header.count) + " values of " + std::to_string(width) +
                  " bytes, found " + std::to_string(in.left()) + " bytes",
              in.offset());
    const auto body = in.take(header.count * width, "values");
    if (in.left() != 0) in.fail(std::to_string(in.left()) + " bytes after the last value", in.offset());
    return ordered(body, header, width, big ? unit : 1);
  };
  if (descr[1] == 'U' || descr[1] == 'S') {
    const bool wide = descr[1] == 'U';
    const auto length = parse_int(descr.substr(2));
    constexpr std::int64_t kLongest = 4096;
    constexpr std::size_t kMost = 1'000'000;  // a text takes more memory than its bytes in the file
    if (!length || *length < 1 || *length > kLongest || header.count > kMost) unknown();
    const std::size_t width = static_cast<std::size_t>(*length) * (wide ? 4 : 1);
    out.values = texts(body_of(width, wide ? 4 : 1), width, wide);
    return out;
  }
  const auto* const numbers = std::ranges::find(kNumbers, descr.substr(1), &Numbers::kind);
  if (numbers == std::end(kNumbers)) unknown();
  numbers->take(body_of(numbers->width, numbers->width), out);
  out.truth = numbers->kind == "b1";
  return out;
}

NpyArray read_npy(const std::filesystem::path& path) { return parse_npy(read_file(path), path); }

std::vector<std::uint8_t> encode_npy(const NpyArray& array) {
  std::int64_t count = 1;
  std::string shape = "(";
  for (const std::int64_t size : array.shape) {
    count *= size;
    shape.append(std::to_string(size)).append(", ");
  }
  if (array.shape.size() > 1) shape.resize(shape.size() - 2);   // (2, 3)
  if (array.shape.size() == 1) shape.resize(shape.size() - 1);  // (2,)
  if (static_cast<std::size_t>(count) != array.size())
    throw DataError("npy: expected " + std::to_string(count) + " values as the shape says, found " +
                    std::to_string(array.size()));
  std::vector<std::uint8_t> out;
  const auto put_header = [&](const std::string& descr) {
    std::string header = "{'descr': '" + descr + "', 'fortran_order': False, 'shape': " + shape + "), }";
    header.append(63 - (10 + header.size()) % 64, ' ');  // values start at a multiple of 64
    header += '\n';
    const std::string_view magic = "\x93NUMPY\x01";
    out.assign(magic.begin(), magic.end());
    out.push_back(0);
    out.push_back(static_cast<std::uint8_t>(header.size() & 0xff));
    out.push_back(static_cast<std::uint8_t>(header.size() >> 8));
    out.insert(out.end(), header.begin(), header.end());
  };
  std::visit(
      [&]<class T>(const std::vector<T>& values) {
        if constexpr (std::is_same_v<T, std::string>) {  // numpy's bytes, as wide as the longest
          std::size_t width = 1;
          for (const std::string& text : values) width = std::max(width, text.size());
          put_header("|S" + std::to_string(width));
          for (const std::string& text : values) {
            out.insert(out.end(), text.begin(), text.end());
            out.insert(out.end(), width - text.size(), 0);
          }
        } else {
          put_header(array.truth ? "|b1" : std::string(kDescr<T>));
          const auto* raw = reinterpret_cast<const std::uint8_t*>(values.data());
          out.insert(out.end(), raw, raw + values.size() * sizeof(T));
        }
      },
      array.values);
  return out;
}

void write_npy(const std::filesystem::path& path, const NpyArray& array) {
  write_file(path, encode_npy(array));
}

}  // namespace offramp::data
