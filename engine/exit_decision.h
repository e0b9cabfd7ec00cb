#pragma once
// Who leaves at an exit, decided on a CUDA device (kernels/cuda/exits.h), so that the host reads one number
// between two segments. The CPU decides in nets/exits/early_exit.h.
#include "engine/tensor.h"

namespace offramp {

// All on one CUDA device.
struct ExitDecision {
  int exit = 1;  // from 1
  bool last = false;
  bool stops_at_threshold = false;
  bool keeps_best = false;
  Tensor logits;       // [n, classes]
  Tensor valid;        // [1] int32: rows that count
  Tensor threshold;    // [1]
  Tensor sample;       // [n] int32: the sample of each row
  Tensor exit_of;      // [samples] int32
  Tensor confidence;   // [samples]
  Tensor predicted;    // [samples] int32
  Tensor answered;     // [samples] int32
  Tensor probability;  // [samples, classes]
  Tensor row;          // [n] int32
  Tensor next_sample;  // [n] int32
  Tensor count;        // [1] int32
};

// Throws ValueError on a CPU tensor, ShapeError where sizes do not fit.
void decide_exits(ExitDecision& decision);

}  // namespace offramp
