// Threshold search. All sums are integers, so atomics give the same bits in any order.
#include "kernels/cuda/threshold_search.h"

#include <algorithm>

#include "kernels/cuda/context.h"
#include "kernels/cuda/device_helpers.h"
#include "kernels/cuda/search_cells.h"

namespace offramp::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kDims = kMaxSearchDimensions;
using Word = unsigned long long;

unsigned blocks_for(std::int64_t n) {
  return static_cast<unsigned>(std::clamp<std::int64_t>(ceil_div(n, kThreads), 1, 4096));
}

__global__ void __launch_bounds__(kThreads) clear_cells_kernel(std::int64_t n, std::int32_t* count) {
  follow();
  for (std::int64_t i = grid_thread(); i < n; i += grid_threads()) count[i] = 0;
}

// +weight where all conditions begin to hold, -weight where the last one ends to.
__global__ void __launch_bounds__(kThreads)
    scatter_kernel(SearchTable t, SearchGrid grid, std::int32_t* count) {
  follow();
  for (std::int64_t i = grid_thread(); i < t.n; i += grid_threads()) {
    const int exit = t.exit[i], weight = t.weight[i];
    std::int64_t cell = 0, end = -1;
    bool possible = weight != 0;
    for (int k = 0; k < t.dimensions; ++k) {
      cell *= grid.levels[k];
      if (end >= 0) end *= grid.levels[k];
      if (k > exit) continue;  // dimensions that do not bind it: it counts from level 0 on
      const std::int64_t p = t.position[k * t.n + i];
      if (k < exit) {
        const int level = grid.stay[grid.offset[k] + p];
        possible = possible && level < grid.levels[k];
        cell += level;
      } else {
        const int level = grid.leave[grid.offset[k] + p];
        possible = possible && level > 0;
        if (level < grid.levels[k]) end = cell + level;
      }
    }
    if (!possible) continue;
    atomicAdd(&count[cell], weight);
    if (end >= 0) atomicAdd(&count[end], -weight);
  }
}

// Prefix sums along one dimension: a thread a line, neighbours side by side.
__global__ void __launch_bounds__(kThreads)
    prefix_lines_kernel(std::int64_t lines, std::int64_t stride, int levels, std::int32_t* count) {
  follow();
  for (std::int64_t line = grid_thread(); line < lines; line += grid_threads()) {
    std::int32_t* at = count + line / stride * stride * levels + line % stride;
    std::int32_t sum = 0;
    for (int level = 0; level < levels; ++level, at += stride) *at = sum += *at;
  }
}

__global__ void clear_word_kernel(Word* word) {
  follow();
  *word = 0;
}

// ---- boxes
constexpr int kBins = 128, kPasses = 6;
constexpr int kUnits = 840;  // divisible by 1..8: shares of a weight stay integers

// The candidates low..high in at most kBins bins, as even as integers allow.
struct Bins {
  std::uint32_t low, high;
  int count;
  std::int64_t range;
  __device__ void set(std::uint32_t l, std::uint32_t h) {
    low = l;
    high = h;
    range = std::int64_t{h} - l + 1;
    count = range < kBins ? static_cast<int>(range) : kBins;
  }
  __device__ std::uint32_t start(int bin) const {
    return low + static_cast<std::uint32_t>(bin * range / count);
  }
  __device__ int of(std::uint32_t candidate) const {
    return static_cast<int>(((std::int64_t{candidate} - low + 1) * count - 1) / range);
  }
};

// What a box leaves of one sample. Bit k of a mask stands for dimension k.
struct Conditions {
  unsigned undecided = 0;
  bool possible = true;
};
__device__ Conditions conditions_of(const SearchTable& t, std::int64_t i, int exit, const Bins* bins) {
  Conditions c;
  for (int k = 0; k <= exit && k < t.dimensions; ++k) {
    const std::uint32_t p = t.position[k * t.n + i];
    if (p <= bins[k].low) {  // every t of the box is >= p
      c.possible = c.possible && k < exit;
    } else if (p > bins[k].high) {
      c.possible = c.possible && k == exit;
    } else {
      c.undecided |= 1u << k;
    }
  }
  return c;
}

// What a block shares about its box.
struct BoxShared {
  const Bins* bins;       // [dims]
  Word (*change)[kBins];  // [dims]: of the dimension's function from one bin to the next
  Word* base;             // [dims]: the function at the first bin
  Word* load;             // [dims]: weight undecided here and elsewhere
  long long* highest;     // [dims]
  int (*chosen)[kDims];   // [passes]: bins of each pass' maximum
  std::uint32_t* point;   // [dims]: the last maximum as candidates
};

// Would the point of the last pass keep the sample? Decided dimensions hold it already.
__device__ __forceinline__ bool holds_at_point(
    const SearchTable& t, std::int64_t i, int exit, unsigned undecided, const std::uint32_t* point) {
  bool holds = true;
  for (int k = 0; k <= exit && k < t.dimensions; ++k) {
    if ((undecided >> k & 1) == 0) continue;
    const bool stays = point[k] >= t.position[k * t.n + i];
    holds = holds && stays == (k < exit);
  }
  return holds;
}

// The undecided dimensions whose condition the maximum of an earlier pass breaks; all of them if it breaks
// none.
__device__ __forceinline__ unsigned violated_by(
    const SearchTable& t, std::int64_t i, int exit, unsigned undecided, const Bins* bins, const int* chosen) {
  unsigned violated = 0;
  for (int k = 0; k <= exit && k < t.dimensions; ++k) {
    if ((undecided >> k & 1) == 0) continue;
    const std::uint32_t p = t.position[k * t.n + i];
    const bool holds = k < exit ? chosen[k] >= bins[k].of(p) : chosen[k] <= bins[k].of(p - 1);
    if (!holds) violated |= 1u << k;
  }
  return violated == 0 ? undecided : violated;
}

// The sample's weight shared out among its undecided dimensions: evenly for the start, and once more for each
// pass among those that its maximum violated.
__device__ __forceinline__ void add_shares(const SearchTable& t,
                                           std::int64_t i,
                                           int exit,
                                           Word weight,
                                           unsigned undecided,
                                           int pass,
                                           const BoxShared& box) {
  const int m = __popc(undecided);
  unsigned violated[kPasses];
  for (int past = 0; past < pass; ++past) {
    violated[past] = violated_by(t, i, exit, undecided, box.bins, box.chosen[past]);
  }
  for (int k = 0; k <= exit && k < t.dimensions; ++k) {
    if ((undecided >> k & 1) == 0) continue;
    int share = kUnits / m;
    for (int past = 0; past < pass; ++past) {
      if (violated[past] >> k & 1) share += kUnits / __popc(violated[past]);
    }
    const Word units = weight * static_cast<Word>(share);
    const std::uint32_t p = t.position[k * t.n + i];
    if (k < exit) {
      atomicAdd(&box.change[k][box.bins[k].of(p)], units);
    } else {
      atomicAdd(&box.base[k], units);
      const int after = box.bins[k].of(p - 1) + 1;
      if (after < box.bins[k].count) atomicAdd(&box.change[k][after], Word{0} - units);
    }
    if (pass == 0 && m > 1) atomicAdd(&box.load[k], weight);
  }
}

// The largest prefix sum of dimension k, the first among equals. By one whole warp.
__device__ __forceinline__ void take_maximum(const BoxShared& box, int k, int lane, int pass) {
  const Bins& bins = box.bins[k];
  long long before = static_cast<long long>(box.base[k]), top = 0;
  int where = -1;
  for (int first = 0; first < bins.count; first += 32) {
    const int bin = first + lane;
    long long v = bin < bins.count ? static_cast<long long>(box.change[k][bin]) : 0;
    for (int offset = 1; offset < 32; offset *= 2) {
      const long long other = __shfl_up_sync(kAllLanes, v, static_cast<unsigned>(offset));
      if (lane >= offset) v += other;
    }
    v += before;
    before = __shfl_sync(kAllLanes, v, 31);
    if (bin < bins.count && (where < 0 || v > top)) {
      top = v;
      where = bin;
    }
  }
  for (int offset = 16; offset > 0; offset /= 2) {
    const long long other = __shfl_xor_sync(kAllLanes, top, offset);
    const int other_where = __shfl_xor_sync(kAllLanes, where, offset);
    if (other_where >= 0 && (where < 0 || other > top || (other == top && other_where < where))) {
      top = other;
      where = other_where;
    }
  }
  if (lane != 0) return;
  box.highest[k] = top;
  box.chosen[pass][k] = where;
  box.point[k] = where + 1 < bins.count ? bins.start(where + 1) - 1 : bins.high;
}

// The dimension to halve next: the one that leaves the most undecided, then the widest; -1 if one point is
// left.
__device__ __forceinline__ int split_of(int dims, const BoxShared& box) {
  int split = -1;
  for (int d = 0; d < dims; ++d) {
    if (box.bins[d].range == 1) continue;
    if (split < 0 || box.load[d] > box.load[split] ||
        (box.load[d] == box.load[split] && box.bins[d].range > box.bins[split].range)) {
      split = d;
    }
  }
  return split;
}

__global__ void __launch_bounds__(kThreads)
    bound_boxes_kernel(SearchTable t, const SearchBox* box, long long enough, SearchBoxResult* result) {
  follow();
  OFFRAMP_SHARED(Bins, bins, [kDims]);
  OFFRAMP_SHARED(Word, change, [kDims][kBins]);
  OFFRAMP_SHARED(Word, base, [kDims]);
  OFFRAMP_SHARED(Word, load, [kDims]);
  OFFRAMP_SHARED(long long, highest, [kDims]);
  OFFRAMP_SHARED(int, chosen, [kPasses][kDims]);
  OFFRAMP_SHARED(std::uint32_t, point, [kDims]);
  OFFRAMP_SHARED(Word, certain, [1]);
  OFFRAMP_SHARED(Word, counted, [1]);
  const SearchBox& b = box[block_x()];
  SearchBoxResult& out = result[block_x()];
  const int dims = t.dimensions;
  const BoxShared shared{bins, change, base, load, highest, chosen, point};
  if (thread_x() < dims) {
    bins[thread_x()].set(b.low[thread_x()], b.high[thread_x()]);
    load[thread_x()] = 0;
  }
  long long bound = 0, best_value = -1;
  for (int pass = 0; pass <= kPasses; ++pass) {  // the last one only evaluates
    for (int i = thread_x(); i < dims * kBins; i += kThreads) change[i / kBins][i % kBins] = 0;
    if (thread_x() < dims) base[thread_x()] = 0;
    if (thread_x() == 0) certain[0] = counted[0] = 0;
    __syncthreads();
    Word sure = 0, hits = 0;
    for (std::int64_t i = thread_x(); i < t.n; i += kThreads) {
      const int exit = t.exit[i];
      const auto weight = static_cast<Word>(t.weight[i]);
      const Conditions c = conditions_of(t, i, exit, bins);
      if (!c.possible) continue;
      if (c.undecided == 0) {
        sure += weight;
        continue;
      }
      if (pass > 0 && holds_at_point(t, i, exit, c.undecided, point)) hits += weight;
      if (pass < kPasses) add_shares(t, i, exit, weight, c.undecided, pass, shared);
    }
    if (sure != 0) atomicAdd(&certain[0], sure);
    if (hits != 0) atomicAdd(&counted[0], hits);
    __syncthreads();
    if (pass > 0) {
      const auto value = static_cast<long long>(certain[0] + counted[0]);
      if (value > best_value) {  // the same for every thread
        best_value = value;
        if (thread_x() < dims) out.point[thread_x()] = point[thread_x()];
      }
      __syncthreads();  // before the next maximum replaces `point`
    }
    if (pass == kPasses) break;
    if (thread_x() / 32 < dims) take_maximum(shared, thread_x() / 32, thread_x() % 32, pass);
    __syncthreads();
    long long units = static_cast<long long>(certain[0]) * (kUnits * (pass + 1));
    for (int d = 0; d < dims; ++d) units += highest[d];
    const long long here = units / (kUnits * (pass + 1));  // counts are integers: rounded down
    bound = pass == 0 || here < bound ? here : bound;
    if (bound <= enough) break;  // the same for every thread
    __syncthreads();             // before the sums are cleared
  }
  if (thread_x() != 0) return;
  out.bound = bound;
  out.value = best_value;
  out.split = split_of(dims, shared);
}

// ---- bit sets: a warp makes a word of 32 samples and counts at once
__global__ void __launch_bounds__(kThreads) bitset_count_kernel(SearchTable t, SearchBox point, Word* value) {
  follow();
  const int lane = thread_x() % 32;
  Word sum = 0;
  for (std::int64_t word = grid_thread() / 32; word * 32 < t.n; word += grid_threads() / 32) {
    const std::int64_t i = word * 32 + lane;
    const bool there = i < t.n;
    const int exit = there ? t.exit[i] : -1, weight = there ? t.weight[i] : 0;
    unsigned arrived = __ballot_sync(kAllLanes, there), right = 0;
    for (int k = 0; k < t.dimensions; ++k) {
      const unsigned stay =
          __ballot_sync(kAllLanes, there && exit >= k && point.low[k] >= t.position[k * t.n + i]);
      const unsigned here = __ballot_sync(kAllLanes, exit == k);
      right |= arrived & here & ~stay;
      arrived &= stay;
    }
    right |= arrived & __ballot_sync(kAllLanes, exit == t.dimensions);
    for (int plane = 0; plane < 31; ++plane) {  // weights bit by bit
      const unsigned bit = __ballot_sync(kAllLanes, weight >> plane & 1);
      sum += static_cast<Word>(__popc(right & bit)) << plane;
    }
  }
  if (lane == 0 && sum != 0) atomicAdd(value, sum);
}

}  // namespace

void integral_histogram(Context& ctx, const SearchTable& t, const SearchGrid& grid, std::int32_t* count) {
  launch(clear_cells_kernel, blocks_for(grid.cells), kThreads, 0, ctx.stream(), grid.cells, count);
  if (t.n == 0) return;
  launch(scatter_kernel, blocks_for(t.n), kThreads, 0, ctx.stream(), t, grid, count);
  std::int64_t stride = 1;
  for (int k = t.dimensions - 1; k >= 0; --k) {
    const std::int64_t lines = grid.cells / grid.levels[k];
    if (stride == 1) {
      prefix_rows(ctx, lines, grid.levels[k], count);
    } else {
      launch(prefix_lines_kernel,
             blocks_for(lines),
             kThreads,
             0,
             ctx.stream(),
             lines,
             stride,
             grid.levels[k],
             count);
    }
    stride *= grid.levels[k];
  }
}

void bound_boxes(Context& ctx,
                 const SearchTable& t,
                 int boxes,
                 const SearchBox* box,
                 long long enough,
                 SearchBoxResult* result) {
  if (boxes == 0) return;
  launch(bound_boxes_kernel, boxes, kThreads, 0, ctx.stream(), t, box, enough, result);
}

void count_by_bitsets(Context& ctx, const SearchTable& t, const SearchBox& point, unsigned long long* value) {
  launch(clear_word_kernel, 1, 1, 0, ctx.stream(), value);
  if (t.n == 0) return;
  launch(bitset_count_kernel, blocks_for(t.n), kThreads, 0, ctx.stream(), t, point, value);
}

}  // namespace offramp::cuda
