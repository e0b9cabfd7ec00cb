#pragma once
// Random orders: the shuffle of an epoch and the held-out part of a training set, both from Philox alone.
#include <cstdint>
#include <vector>

namespace offramp::data {

// A permutation of 0..n-1 by Fisher-Yates: for i = n-1 .. 1 swap element i with element
// below(word(i), i + 1), words from PhiloxKey{seed, stream, op 0, step}.
std::vector<std::int32_t> permutation(int n, std::uint64_t seed, std::uint32_t stream, std::uint32_t step);

struct HeldOut {
  std::vector<std::int32_t> train, held_out;
};
// The last `count` of a random permutation are held out (training.md section 1). Throws DataError unless
// 0 <= count <= n.
HeldOut split_held_out(int n, int count, std::uint64_t seed);

}  // namespace offramp::data
