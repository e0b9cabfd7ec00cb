#include "nets/data/npy.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string_view>

#include "nets/data/bytes.h"
#include "nets/data/data_error.h"
#include "nets/data/text.h"

namespace offramp::data {
namespace {

static_assert(std::endian::native == std::endian::little, ".npy values are copied as they lie");

template <class T>
constexpr std::string_view kDescr = "";
template <>
constexpr std::string_view kDescr<float> = "<f4";
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
  return header.substr(colon + 1, stop - colon - 1);
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

template <class T>
bool take_values(std::string_view descr, std::size_t count, ByteCursor& in, NpyArray& out) {
  // numpy writes "|u1", "<f4", ...; "|" and "<" mean the same for one byte.
  if (descr.substr(1) != kDescr<T>.substr(1) || (descr[0] != '<' && descr[0] != '|')) return false;
  const auto body = in.take(count * sizeof(T), "values");
  std::vector<T> values(count);
  if (count > 0) std::memcpy(values.data(), body.data(), body.size());
  out.values = std::move(values);
  return true;
}

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
  const auto header_bytes = in.take(header_size, "header");
  const std::string_view header(reinterpret_cast<const char*>(header_bytes.data()), header_bytes.size());

  std::string_view descr = trimmed(dict_value(header, "descr", ',', in));
  if (descr.size() >= 2 && descr.front() == '\'' && descr.back() == '\'')
    descr = descr.substr(1, descr.size() - 2);
  if (trimmed(dict_value(header, "fortran_order", ',', in)) != "False")
    in.fail("expected C order, found Fortran order", 10);
  std::string_view shape = trimmed(dict_value(header, "shape", ')', in));
  if (shape.empty() || shape.front() != '(') in.fail("expected a tuple as shape", 10);
  shape.remove_prefix(1);

  NpyArray out;
  std::size_t count = 1;
  for (const auto part : split_fields(shape, ',')) {
    const auto text = trimmed(part);
    if (text.empty()) continue;
    const auto size = parse_int(text);
    if (!size || *size < 0)
      in.fail("expected sizes >= 0 in the shape, found '" + std::string(text) + "'", 10);
    out.shape.push_back(*size);
    if (*size != 0 && count > in.left() / static_cast<std::size_t>(*size))
      in.fail("the shape asks for more values than the file has bytes", 10);
    count *= static_cast<std::size_t>(*size);
  }
  if (descr.size() != 3 ||
      !(take_values<float>(descr, count, in, out) || take_values<std::int32_t>(descr, count, in, out) ||
        take_values<std::uint8_t>(descr, count, in, out) || take_values<std::int64_t>(descr, count, in, out)))
    in.fail("expected type <f4, <i4, |u1 or <i8, found '" + std::string(descr) + "'", 10);
  if (in.left() != 0) in.fail(std::to_string(in.left()) + " bytes after the last value", in.offset());
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
  std::visit(
      [&]<class T>(const std::vector<T>& values) {
        std::string header =
            "{'descr': '" + std::string(kDescr<T>) + "', 'fortran_order': False, 'shape': " + shape + "), }";
        header.append(63 - (10 + header.size()) % 64, ' ');  // values start at a multiple of 64
        header += '\n';
        const std::uint8_t start[10] = {0x93,
                                        'N',
                                        'U',
                                        'M',
                                        'P',
                                        'Y',
                                        1,
                                        0,
                                        static_cast<std::uint8_t>(header.size() & 0xff),
                                        static_cast<std::uint8_t>(header.size() >> 8)};
        out.assign(start, start + 10);
        out.insert(out.end(), header.begin(), header.end());
        const auto* raw = reinterpret_cast<const std::uint8_t*>(values.data());
        out.insert(out.end(), raw, raw + values.size() * sizeof(T));
      },
      array.values);
  return out;
}

void write_npy(const std::filesystem::path& path, const NpyArray& array) {
  write_file(path, encode_npy(array));
}

namespace {

std::vector<std::int32_t> labels_of(const NpyArray& array,
                                    int num,
                                    const std::string& name,
                                    const std::filesystem::path& path) {
  if (array.shape.size() != 1 || array.shape[0] != num)
    fail_in_file("npz", "expected " + std::to_string(num) + " labels in '" + name + "'", path);
  std::vector<std::int32_t> labels;
  std::visit(
      [&]<class T>(const std::vector<T>& values) {
        for (const T v : values) {
          const auto wide = static_cast<std::int64_t>(v);
          if (std::is_floating_point_v<T> || wide < 0 || wide > 1'000'000)
            fail_in_file("npz", "expected whole numbers from 0 as labels in '" + name + "'", path);
          labels.push_back(static_cast<std::int32_t>(wide));
        }
      },
      array.values);
  return labels;
}

std::vector<std::string> numbered_classes(const std::vector<std::int32_t>& labels) {
  std::vector<std::string> names;
  const std::int32_t last = labels.empty() ? -1 : *std::ranges::max_element(labels);
  for (std::int32_t k = 0; k <= last; ++k) names.push_back(std::to_string(k));
  return names;
}

}  // namespace

std::variant<ImageSet, TableSet> read_npz_dataset(const std::filesystem::path& path,
                                                  const std::string& split) {
  const NpzFile file = read_npz(path);
  const std::string prefix = split == "all" ? "" : split + "_";
  const auto labels = file.find(prefix + "labels");
  if (labels == file.end()) {
    std::string names;
    for (const auto& [name, array] : file) names += (names.empty() ? "" : ", ") + name;
    fail_in_file("npz", "expected an array '" + prefix + "labels', found: " + names, path);
  }
  if (const auto images = file.find(prefix + "images"); images != file.end()) {
    const auto& shape = images->second.shape;
    const auto* pixels = std::get_if<std::vector<std::uint8_t>>(&images->second.values);
    const bool fits = std::ranges::all_of(shape, [](std::int64_t s) { return s >= 1 && s <= 0x7fffffff; });
    if (pixels == nullptr || !fits ||
        (shape.size() != 3 && (shape.size() != 4 || (shape[3] != 1 && shape[3] != 3))))
      fail_in_file("npz", "expected '" + prefix + "images' as uint8 [n,h,w], [n,h,w,1] or [n,h,w,3]", path);
    ImageSet set{.n = static_cast<int>(shape[0]),
                 .h = static_cast<int>(shape[1]),
                 .w = static_cast<int>(shape[2]),
                 .c = shape.size() == 4 ? static_cast<int>(shape[3]) : 1};
    set.pixels = *pixels;
    set.labels = labels_of(labels->second, set.n, labels->first, path);
    set.class_names = numbered_classes(set.labels);
    set.source = path.string();
    return set;
  }
  const auto features = file.find(prefix + "features");
  const auto* values =
      features == file.end() ? nullptr : std::get_if<std::vector<float>>(&features->second.values);
  if (values == nullptr || features->second.shape.size() != 2 || features->second.shape[0] > 0x7fffffff ||
      features->second.shape[1] > 0x7fffffff)
    fail_in_file(
        "npz", "expected '" + prefix + "images' (uint8) or '" + prefix + "features' (float32 [n,d])", path);
  TableSet set{.n = static_cast<int>(features->second.shape[0]),
               .d = static_cast<int>(features->second.shape[1])};
  set.features = *values;
  set.labels = labels_of(labels->second, set.n, labels->first, path);
  set.class_names = numbered_classes(set.labels);
  set.family = "npz";
  set.source = path.string();
  return set;
}

}  // namespace offramp::data
