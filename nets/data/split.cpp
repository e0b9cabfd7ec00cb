#include "nets/data/split.h"

#include <numeric>
#include <string>
#include <utility>

#include "nets/data/data_error.h"
#include "nets/data/streams.h"

namespace offramp::data {

std::vector<std::int32_t> permutation(int n, std::uint64_t seed, std::uint32_t stream, std::uint32_t step) {
  std::vector<std::int32_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  const PhiloxKey key{.seed = seed, .stream = stream, .op = 0, .step = step};
  for (std::size_t i = order.size(); i-- > 1;)
    std::swap(order[i], order[below(key.word(i), static_cast<std::uint32_t>(i) + 1)]);
  return order;
}

HeldOut split_held_out(int n, int count, std::uint64_t seed) {
  if (count < 0 || count > n)
    throw DataError("split: expected 0.." + std::to_string(n) + " held-out samples, asked for " +
                    std::to_string(count));
  std::vector<std::int32_t> order = permutation(n, seed, kHeldOutStream, 0);
  HeldOut out;
  out.held_out.assign(order.end() - count, order.end());
  order.resize(static_cast<std::size_t>(n - count));
  out.train = std::move(order);
  return out;
}

}  // namespace offramp::data
