#include "attacks/query/black_box.h"

#include <algorithm>
#include <iterator>

namespace offramp::attacks {

std::vector<std::int32_t> labels_of(const Tensor& probabilities) {
  const auto values = probabilities.to_host<float>();
  const std::size_t classes = static_cast<std::size_t>(probabilities.shape()[1]);
  std::vector<std::int32_t> labels(values.size() / classes);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const float* row = values.data() + i * classes;
    labels[i] = static_cast<std::int32_t>(std::distance(row, std::max_element(row, row + classes)));
  }
  return labels;
}

}  // namespace offramp::attacks
