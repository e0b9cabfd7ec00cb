#include "nets/data/idx.h"

#include <algorithm>

#include "nets/data/bytes.h"
#include "nets/data/data_error.h"

namespace offramp::data {

IdxArray read_idx(const std::filesystem::path& path, int expected_rank) {
  return parse_idx(read_file(path), expected_rank, path);
}

IdxArray parse_idx(std::vector<std::uint8_t> bytes, int expected_rank, const std::filesystem::path& name) {
  const std::vector<std::uint8_t> file = inflate_gz(std::move(bytes), name);
  ByteCursor in("idx", name, file);
  const std::uint32_t magic = in.be32("magic"), wanted = 0x0800u + static_cast<std::uint32_t>(expected_rank);
  if (magic != wanted) in.fail("expected magic " + hex(wanted) + ", found " + hex(magic), 0);

  IdxArray out;
  std::uint64_t count = 1;
  for (int d = 0; d < expected_rank; ++d) {
    const std::size_t at = in.offset();
    const std::uint32_t size = in.be32("sizes");
    if (size == 0 || size > 0x7fffffffu)
      in.fail("expected a size in 1..2^31-1, found " + std::to_string(size), at);
    out.dims.push_back(static_cast<int>(size));
    count *= size;
    if (count > file.size())  // also keeps the product from overflowing: 2^31 * file size fits 64 bits
      in.fail("the sizes ask for more elements than the file has bytes (" + std::to_string(file.size()) + ")",
              at);
  }
  const auto body = in.take(count, "elements");
  if (in.left() != 0) in.fail(std::to_string(in.left()) + " bytes after the last element", in.offset());
  out.bytes.assign(body.begin(), body.end());
  return out;
}

ImageSet read_idx_images(const std::filesystem::path& images,
                         const std::filesystem::path& labels,
                         std::vector<std::string> class_names) {
  IdxArray pixels = read_idx(images, 3);
  const IdxArray classes = read_idx(labels, 1);
  if (pixels.dims[0] != classes.dims[0])
    fail_at_byte("idx",
                 "expected " + std::to_string(pixels.dims[0]) + " labels as there are images, found " +
                     std::to_string(classes.dims[0]),
                 labels,
                 4);
  ImageSet set{.n = pixels.dims[0], .h = pixels.dims[1], .w = pixels.dims[2], .c = 1};
  set.pixels = std::move(pixels.bytes);
  set.class_names = std::move(class_names);
  for (std::size_t i = 0; i < classes.bytes.size(); ++i)
    if (classes.bytes[i] >= set.class_names.size())
      fail_at_byte("idx",
                   "expected a label in 0.." + std::to_string(set.num_classes() - 1) + ", found " +
                       std::to_string(classes.bytes[i]),
                   labels,
                   8 + i);
  set.labels.assign(classes.bytes.begin(), classes.bytes.end());
  set.source = images.string();
  return set;
}

}  // namespace offramp::data
