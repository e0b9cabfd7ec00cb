#include <algorithm>

#include "nets/families/backbone.h"

namespace offramp::nets::parts {

int scaled(const NetOptions& options, int width) { return std::max(1, width / options.width_divisor); }

std::string block(int index) { return "layers." + std::to_string(index); }

void append_classifier(std::vector<Layer>& layers,
                       const std::string& first,
                       const std::string& second,
                       const Extent& flattened,
                       int hidden,
                       int classes,
                       Init init) {
  const int features = static_cast<int>(flattened.size());
  Linear linear{.name = first,
                .in = features,
                .out = hidden > 0 ? hidden : classes,
                .flatten_h = flattened.h,
                .flatten_w = flattened.w,
                .init = init};
  layers.emplace_back(linear);
  if (hidden == 0) return;
  layers.emplace_back(Dropout{.p = 0.5f});
  layers.emplace_back(Linear{.name = second, .in = hidden, .out = classes, .init = init});
}

}  // namespace offramp::nets::parts
