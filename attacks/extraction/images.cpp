#include "attacks/extraction/images.h"

#include <algorithm>

#include "nets/data/augment.h"

namespace offramp::attacks {

ImageSource image_source(const data::ImageSet& set) {
  return {set.n, [&set](std::span<const std::int32_t> indices) {
            std::vector<float> pixels(indices.size() * set.image_bytes());
            for (std::size_t i = 0; i < indices.size(); ++i)
              data::to_unit_range(set.image(indices[i]), pixels.data() + i * set.image_bytes());
            return Tensor::from<float>(
                {static_cast<std::int64_t>(indices.size()), set.c, set.h, set.w}, pixels, Device::cpu());
          }};
}

}  // namespace offramp::attacks
