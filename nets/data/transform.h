#pragma once
// Changes of whole pictures before training: size, channels, and the statistics for normalisation.
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "nets/data/image_file.h"
#include "nets/data/image_set.h"

namespace offramp::data {

// Zeros on all four sides (Fashion-MNIST 28 -> 32 with border 2).
ImageSet pad_zero(const ImageSet& set, int border);
Picture pad_zero(const Picture& picture, int border);
// One channel copied to three; three channels stay.
ImageSet grey_to_rgb(const ImageSet& set);
// Three channels to one, .299 R + .587 G + .114 B; one channel stays. Grey in three equal channels keeps its value.
ImageSet rgb_to_grey(const ImageSet& set);
Picture to_grey(Picture picture);
// Whether no picture has a colour: one channel, or three that are equal everywhere.
bool is_grey(const ImageSet& set);
// Each 2x2 block to its mean, rounded half up; height and width must be even (Tiny ImageNet 64 -> 32).
ImageSet resize_mean2x2(const ImageSet& set);
// Bilinear with half-pixel centres. Where the picture shrinks, the triangle filter is widened by the factor,
// so that every source pixel counts. Rounded half up once, at the end.
ImageSet resize_bilinear(const ImageSet& set, int height, int width);
Picture resize_bilinear(const Picture& picture, int height, int width);
// A square of `side`: unchanged, zero-padded from 28 to 32, 2x2 mean when exactly halved, bilinear otherwise (a picture
// that is not square is squashed).
ImageSet resize_to(const ImageSet& set, int side);
Picture resize_to(const Picture& picture, int side);

// Zeros that resize_to sets on each side of a picture of 28x28 for a side of 32.
inline constexpr int kPadding = 2;
bool is_padded(int h, int w, int side);

// Per channel, on pixels in [0,1]: a net computes (x - mean) / std as its first layer.
struct Normalisation {
  std::vector<float> mean, std;
  std::string source;
};
// Population mean and standard deviation over all pixels (exact integer sums), of the images `of` where some are named.
// Throws DataError for no images.
Normalisation compute_normalisation(const ImageSet& set, std::span<const std::int32_t> of = {});
// The constants of training.md section 1; nothing for families whose statistics are to be computed.
std::optional<Normalisation> published_normalisation(const std::string& family);
// Published constants where they exist, else computed from `train` (all, or the images named).
Normalisation recommended_normalisation(const ImageSet& train, std::span<const std::int32_t> of = {});

}  // namespace offramp::data
