#include "nets/data/svhn.h"

#include <cmath>

#include "nets/data/bytes.h"
#include "nets/data/data_error.h"
#include "nets/data/mat5.h"

namespace offramp::data {

ImageSet parse_svhn(std::span<const std::uint8_t> bytes, const std::filesystem::path& name) {
  const auto arrays = parse_mat5(bytes, {"X", "y"}, name);
  for (const char* key : {"X", "y"})
    if (!arrays.contains(key))
      fail_in_file("svhn", std::string("expected an array ") + key + ", found none", name);
  const MatArray &x = arrays.at("X"), &y = arrays.at("y");
  constexpr int kBytes = 2;  // stored as uint8
  constexpr std::size_t kMaxSide = 4096;
  const bool fits = x.is_uint8 && x.stored == kBytes && x.shape.size() == 4 && x.shape[2] == 3 &&
                    x.shape[0] >= 1 && x.shape[1] >= 1 && x.shape[0] <= kMaxSide && x.shape[1] <= kMaxSide &&
                    x.shape[3] >= 1;
  if (!fits)
    fail_in_file("svhn",
                 "expected X as uint8 [h,w,3,n], found " +
                     std::string(x.is_uint8 ? "uint8 " : "another type, ") + format_shape(x.shape),
                 name);
  if (y.size() != x.shape[3])
    fail_in_file("svhn",
                 "expected " + std::to_string(x.shape[3]) + " labels in y, found " + std::to_string(y.size()),
                 name);
  ImageSet set{.n = static_cast<int>(x.shape[3]),
               .h = static_cast<int>(x.shape[0]),
               .w = static_cast<int>(x.shape[1]),
               .c = 3};

  // MATLAB counts the first index fastest: X[row, column, channel, image].
  const std::uint8_t* in = x.bytes.data();
  const std::size_t h = x.shape[0], w = x.shape[1];
  set.pixels.resize(static_cast<std::size_t>(set.n) * set.image_bytes());
  for (int i = 0; i < set.n; ++i) {
    std::uint8_t* out = set.image(i).data();
    for (std::size_t ch = 0; ch < 3; ++ch)
      for (std::size_t col = 0; col < w; ++col)
        for (std::size_t row = 0; row < h; ++row) out[(row * w + col) * 3 + ch] = *in++;
    const double label = y.number(static_cast<std::size_t>(i));
    if (!(label >= 1 && label <= 10) || label != std::floor(label))
      fail_in_file(
          "svhn", "expected labels 1..10, y[" + std::to_string(i) + "] is " + std::to_string(label), name);
    set.labels.push_back(static_cast<std::int32_t>(label) % 10);
  }
  for (int k = 0; k < 10; ++k) set.class_names.push_back(std::to_string(k));
  set.source = name.string();
  return set;
}

ImageSet read_svhn(const std::filesystem::path& path) { return parse_svhn(read_file(path), path); }

}  // namespace offramp::data
