#include "nets/exits/parts.h"

#include <algorithm>
#include <numeric>

#include "engine/ops.h"

namespace offramp::nets {

std::vector<Features> in_cache_sized_parts(const SegmentedNet& net, const Features& x) {
  const std::int32_t rows_together = net.rows_together();
  const std::int32_t n = x[0].shape().n();
  if (x[0].device().kind() == DeviceKind::kCuda || n <= rows_together) return {x};
  std::vector<Features> parts;
  for (std::int32_t first = 0; first < n; first += rows_together) {
    std::vector<std::int32_t> rows(static_cast<std::size_t>(std::min(rows_together, n - first)));
    std::iota(rows.begin(), rows.end(), first);
    const Tensor wanted =
        Tensor::from<std::int32_t>({static_cast<std::int64_t>(rows.size())}, rows, x[0].device());
    Features& part = parts.emplace_back();
    for (const Tensor& map : x) part.push_back(gather_rows(map, wanted));
  }
  return parts;
}

}  // namespace offramp::nets
