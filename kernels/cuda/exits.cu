// Exit decision: one warp a row for softmax, confidence and answer; then one block compacts the rows that go
// on, 256 at a time, by counting ballots, so that their order is kept and the result is the same in every
// run.
#include "kernels/cuda/exits.h"

#include "kernels/cuda/context.h"
#include "kernels/cuda/row_softmax.h"

namespace offramp::cuda {
namespace {

constexpr int kCompactThreads = 256, kWarps = kCompactThreads / 32;

__global__ void __launch_bounds__(kRowThreads) decide_kernel(ExitDecision d, std::uint8_t* goes_on) {
  const int r = warp_row();
  if (r >= d.n) return;
  const RowSoftmax row(d.classes, d.logits + std::int64_t{r} * d.classes);
  if (lane() != 0) return;
  const float confidence = row.confidence();
  const bool stops =
      d.last || confidence > *d.threshold || (d.stops_at_threshold && confidence == *d.threshold);
  goes_on[r] = !stops;
  if (!stops) return;
  const std::int32_t sample = d.sample != nullptr ? d.sample[r] : r;
  d.confidence[sample] = confidence;
  d.predicted[sample] = row.argmax;
  d.exit_of[sample] = d.exit;
}

__global__ void __launch_bounds__(kCompactThreads)
    compact_kernel(ExitDecision d, const std::uint8_t* goes_on) {
  OFFRAMP_SHARED(int, warp_count, [kWarps]);
  const int warp = thread_x() / 32;
  int placed = 0;  // before this round; the same for every thread
  for (int first = 0; first < d.n; first += kCompactThreads) {
    const int r = first + thread_x();
    const bool keep = r < d.n && goes_on[r] != 0;
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
