// Decoding of an image list, and its cache file:
//   "OFFRIMG3", u64 key, u32 n h w c padded squashed, n int32 labels, n*h*w*c pixels, u64 FNV-1a of everything before.
// The key hashes root, side, and path, size, modification time and label of every file, so that an edited,
// added or removed file makes the cache miss. The digit counts the rules by which pictures become pixels (2: 28 x 28 is
// padded to 32 x 32; 3: the same with the counts), so that pixels of an older rule are not used. A cache file that is not exactly right is decoded again and
// replaced.
#include <atomic>
#include <chrono>
#include <cstring>
#include <optional>

#include "base/hash.h"
#include "nets/data/bytes.h"
#include "nets/data/data_error.h"
#include "nets/data/image_file.h"
#include "nets/data/image_folder.h"
#include "nets/data/parallel.h"
#include "nets/data/transform.h"

namespace offramp::data {
namespace fs = std::filesystem;
namespace {

constexpr char kMagic[8] = {'O', 'F', 'F', 'R', 'I', 'M', 'G', '3'};
constexpr std::size_t kHeaderBytes = 8 + 8 + 6 * 4;

std::uint64_t list_key(const ImageList& list, int side) {
  Fnv1a key;
  key.add(side);
  key.add(fs::absolute(list.root).string());
  for (std::size_t i = 0; i < list.files.size(); ++i) {
    key.add(list.files[i].string());
    key.add(list.labels[i]);
    const fs::directory_entry entry(list.files[i]);
    key.add(static_cast<std::uint64_t>(entry.file_size()));
    key.add(static_cast<std::int64_t>(entry.last_write_time().time_since_epoch().count()));
  }
  return key.value();
}

// Eight bytes at a time: the checksum must cost less than the reading.
std::uint64_t checksum(std::span<const std::uint8_t> bytes) {
  std::uint64_t value = 0xcbf29ce484222325u;
  std::size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + i, 8);
    value = (value ^ word) * 0x9E3779B97F4A7C15u;
    value ^= value >> 29;
  }
  for (; i < bytes.size(); ++i) value = (value ^ bytes[i]) * 0x100000001b3u;
  return value;
}

fs::path cache_path(const ImageList& list, const fs::path& dir, std::uint64_t key) {
  char name[40];
  std::snprintf(name, sizeof name, "-%016llx.images", static_cast<unsigned long long>(key));
  return dir / (list.root.filename().string() + name);
}

std::optional<ImageSet> load_cache(const fs::path& path, std::uint64_t key, std::size_t expected_n) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return std::nullopt;
  const std::vector<std::uint8_t> bytes = read_file(path);
  if (bytes.size() < kHeaderBytes + 8 || std::memcmp(bytes.data(), kMagic, 8) != 0) return std::nullopt;
  std::uint64_t stored_key = 0, stored_sum = 0;
  std::uint32_t dims[6];
  std::memcpy(&stored_key, bytes.data() + 8, 8);
  std::memcpy(dims, bytes.data() + 16, sizeof dims);
  std::memcpy(&stored_sum, bytes.data() + bytes.size() - 8, 8);
  const std::size_t n = dims[0], image = std::size_t{dims[1]} * dims[2] * dims[3];
  if (stored_key != key || n != expected_n || dims[1] > 65536 || dims[2] > 65536 || dims[3] != 3 ||
      bytes.size() != kHeaderBytes + n * 4 + n * image + 8 ||
      checksum(std::span(bytes).first(bytes.size() - 8)) != stored_sum)
    return std::nullopt;
  ImageSet set{
      .n = static_cast<int>(n), .h = static_cast<int>(dims[1]), .w = static_cast<int>(dims[2]), .c = 3};
  set.padded = static_cast<int>(dims[4]);
  set.squashed = static_cast<int>(dims[5]);
  set.labels.resize(n);
  std::memcpy(set.labels.data(), bytes.data() + kHeaderBytes, n * 4);
  set.pixels.assign(bytes.begin() + static_cast<std::ptrdiff_t>(kHeaderBytes + n * 4), bytes.end() - 8);
  return set;
}

void store_cache(const fs::path& path, std::uint64_t key, const ImageSet& set) {
  std::vector<std::uint8_t> bytes(kHeaderBytes);
  const std::uint32_t dims[6] = {static_cast<std::uint32_t>(set.n),
                                 static_cast<std::uint32_t>(set.h),
                                 static_cast<std::uint32_t>(set.w),
                                 static_cast<std::uint32_t>(set.c),
                                 static_cast<std::uint32_t>(set.padded),
                                 static_cast<std::uint32_t>(set.squashed)};
  std::memcpy(bytes.data(), kMagic, 8);
  std::memcpy(bytes.data() + 8, &key, 8);
  std::memcpy(bytes.data() + 16, dims, sizeof dims);
  const auto* labels = reinterpret_cast<const std::uint8_t*>(set.labels.data());
  bytes.insert(bytes.end(), labels, labels + set.labels.size() * 4);
  bytes.insert(bytes.end(), set.pixels.begin(), set.pixels.end());
  const std::uint64_t sum = checksum(bytes);
  const auto* sum_bytes = reinterpret_cast<const std::uint8_t*>(&sum);
  bytes.insert(bytes.end(), sum_bytes, sum_bytes + 8);
  fs::create_directories(path.parent_path());
  write_file(path, bytes);
}

}  // namespace

ImageSet decode_list(const ImageList& list, const DecodeOptions& options) {
  if (list.files.empty()) fail_in_file("folder", "expected pictures, found none", list.root);
  std::uint64_t key = 0;
  std::optional<ImageSet> cached;
  if (!options.cache_dir.empty()) {
    key = list_key(list, options.side);
    cached = load_cache(cache_path(list, options.cache_dir, key), key, list.files.size());
  }
  ImageSet set;
  if (cached) {
    set = std::move(*cached);
  } else {
    Picture first = to_rgb(read_picture(list.files[0]));
    if (options.side > 0) first = resize_to(first, options.side);
    set.n = static_cast<int>(list.files.size());
    set.h = first.h;
    set.w = first.w;
    set.c = 3;
    set.pixels.resize(list.files.size() * set.image_bytes());
    std::atomic<int> padded{0}, squashed{0};
    parallel_for(set.n, options.threads > 0 ? options.threads : default_threads(), [&](int i) {
      const fs::path& path = list.files[static_cast<std::size_t>(i)];
      Picture picture = to_rgb(read_picture(path));
      if (options.side > 0) {
        if (is_padded(picture.h, picture.w, options.side)) ++padded;
        if (picture.h != picture.w) ++squashed;
        picture = resize_to(picture, options.side);
      }
      if (picture.h != set.h || picture.w != set.w)
        fail_in_file("folder",
                     "expected " + std::to_string(set.h) + "x" + std::to_string(set.w) +
                         " pixels as the first picture has, found " + std::to_string(picture.h) + "x" +
                         std::to_string(picture.w) +
                         (options.side_hint.empty() ? "" : "; " + options.side_hint),
                     path);
      std::ranges::copy(picture.pixels, set.image(i).begin());
    });
    set.padded = padded;
    set.squashed = squashed;
    set.labels = list.labels;
    if (!options.cache_dir.empty()) store_cache(cache_path(list, options.cache_dir, key), key, set);
  }
  set.class_names = list.class_names;
  set.source = list.root.string();
  return set;
}

}  // namespace offramp::data
