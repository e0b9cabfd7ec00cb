// Exit decision: one warp a row for softmax, confidence and answer; then one block compacts the rows that go
// on, 256 at a time, by counting ballots, so that their order is kept and the result is the same in every
// run.
#include "kernels/cuda/exits.h"

#include "kernels/cuda/context.h"
#include "kernels/cuda/row_softmax.h"

namespace offramp::cuda {
namespace {

constexpr int kCompactThreads = 256, kWarps = kCompactThreads / 32;

// The first class of the largest probability: logits that differ may share one.
__device__ int most_probable(const RowSoftmax& row) {
  float best = -INFINITY;
  int place = row.classes;
  for (int k = lane(); k < row.classes; k += 32) {
    const float p = row.p(k);
    if (p > best) best = p, place = k;
  }
  warp_argmax(best, place);
  return place < row.classes ? place : row.argmax;
}

__device__ int valid_rows(const ExitDecision& d) { return d.valid != nullptr ? *d.valid : d.n; }

__global__ void __launch_bounds__(kRowThreads) decide_kernel(ExitDecision d, std::uint8_t* goes_on) {
  follow();
  const int r = warp_row();
  if (r >= valid_rows(d)) return;
  const RowSoftmax row(d.classes, d.logits + std::int64_t{r} * d.classes);
  const float confidence = row.confidence();
  const bool sure =
      !d.last && (confidence > *d.threshold || (d.stops_at_threshold && confidence == *d.threshold));
  const std::int32_t sample = d.sample != nullptr ? d.sample[r] : r;
  const float kept = __shfl_sync(kAllLanes, lane() == 0 ? d.confidence[sample] : 0.f, 0);
  bool answers = d.keeps_best && !sure ? confidence > kept : sure || d.last;
  if (confidence != confidence) answers = true;
  if (kept != kept) answers = false;
  if (answers && d.probabilities != nullptr) {
    float* p = d.probabilities + std::int64_t{sample} * d.classes;
    for (int k = lane(); k < d.classes; k += 32) p[k] = row.p(k);
  }
  const int predicted = most_probable(row);
  if (lane() != 0) return;
  goes_on[r] = !sure && !d.last;
  if (sure || d.last) d.exit_of[sample] = d.exit;
  if (!answers) return;
  d.confidence[sample] = confidence;
  d.predicted[sample] = predicted;
  if (d.answered != nullptr) d.answered[sample] = d.exit;
}

__global__ void __launch_bounds__(kCompactThreads)
    compact_kernel(ExitDecision d, const std::uint8_t* goes_on) {
  follow();
  OFFRAMP_SHARED(int, warp_count, [kWarps]);
  const int warp = thread_x() / 32;
  const int valid = valid_rows(d);
  int placed = 0;  // before this round; the same for every thread
  for (int first = 0; first < d.n; first += kCompactThreads) {
    const int r = first + thread_x();
    const bool keep = r < valid && goes_on[r] != 0;
    const unsigned ballot = __ballot_sync(kAllLanes, keep);
    if (thread_x() % 32 == 0) warp_count[warp] = __popc(ballot);
    __syncthreads();
    int place = placed;
    for (int i = 0; i < kWarps; ++i) {
      if (i < warp) place += warp_count[i];
      placed += warp_count[i];
    }
    if (keep) {
      place += __popc(ballot & ((1u << (thread_x() % 32)) - 1u));
      d.row[place] = r;
      d.next_sample[place] = d.sample != nullptr ? d.sample[r] : r;
    }
    __syncthreads();  // before the next round's counts
  }
  for (int i = placed + thread_x(); i < d.n; i += kCompactThreads) d.row[i] = 0;
  if (thread_x() == 0) *d.count = placed;
}

}  // namespace

void decide_exits(Context& ctx, const ExitDecision& d) {
  auto* goes_on =
      static_cast<std::uint8_t*>(ctx.workspace(Context::kPartials, static_cast<std::size_t>(d.n) + 1));
  if (d.n > 0) launch(decide_kernel, ceil_div(d.n, kRowsPerBlock), kRowThreads, 0, ctx.stream(), d, goes_on);
  launch(compact_kernel, 1, kCompactThreads, 0, ctx.stream(), d, goes_on);
}

}  // namespace offramp::cuda
