#pragma once
// Early exit on a CUDA device with nothing but graph launches: each segment is recorded for each power of two
// of its batch, the decision and the compaction are part of the graph, and the host reads one count between
// two segments.
//
// A batch is padded to the next power of two; padding rows are computed and ignored. Results are those of
// nets::infer bit for bit wherever a sample's outputs do not depend on its batch (our own convolutions; a
// library may choose another algorithm for another batch).
#include <map>
#include <vector>

#include "engine/captured_step.h"
#include "engine/readback.h"
#include "nets/exits/early_exit.h"
#include "nets/graph/network.h"

namespace offramp::nets {

class CapturedInference {
 public:
  // The net must outlive it, and its parameters stay where they are. Throws ValueError where the policy does
  // not fit the net, or the net is not on a CUDA device.
  CapturedInference(const Network& net, const ExitPolicy& policy, int max_batch);

  // x [n, ...] with n from 1 to max_batch, on the net's device. Throws ShapeError for other batches, NumericError as
  // infer does where an exit says what is not finite.
  EarlyExitResult infer(const Tensor& x) { return infer(Features{x}); }
  EarlyExitResult infer(const Features& x);
  int recorded() const;  // graphs made so far

 private:
  // One segment at one batch size, with the memory that its graph reads and writes.
  struct Stage {
    Features input;
    Tensor sample;
    Segment segment;
    Tensor row, next_sample;
    Features gathered;
    CapturedStep step;
  };
  // Shapes and types of its input are those of `like`, but for the rows.
  Stage& stage(int segment, int rows, const Features& like);
  void run(int segment, Stage& stage);
  EarlyExitResult result(int n);

  const Network& net_;
  ExitPolicy policy_;
  int max_batch_;
  Device device_;
  std::map<std::pair<int, int>, Stage> stages_;  // by segment and batch
  std::vector<Tensor> thresholds_;               // of each exit, [1]; the last is not read
  std::vector<Tensor> counts_;                   // rows that enter segment s, and behind the last, [1] int32
  Tensor exit_of_, confidence_, predicted_, answered_, probability_;  // [max_batch, ...]
  Tensor no_confidence_;                                              // [max_batch] of -1
  Readback readback_;
};

}  // namespace offramp::nets
