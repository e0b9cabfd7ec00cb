#include "engine/exit_decision.h"

#include "base/errors.h"
#include "engine/ops/check.h"

#if OFFRAMP_HAS_CUDA
#include "kernels/cuda/exits.h"
#endif

namespace offramp {

void decide_exits(ExitDecision& d) {
  constexpr const char* kOp = "decide_exits";
  check::rank(kOp, "logits", d.logits, 2);
  if (d.logits.device().kind() != DeviceKind::kCuda) {
    throw ValueError("decide_exits: expected tensors on cuda, got cpu");
  }
  const int n = d.logits.shape().n(), classes = d.logits.shape().c();
  for (const Tensor* t : {&d.sample, &d.row, &d.next_sample}) check::shape(kOp, "a list of rows", *t, {n});
  for (const Tensor* t : {&d.predicted, &d.answered, &d.confidence}) {
    check::shape(kOp, "a list of samples", *t, d.exit_of.shape());
  }
  check::shape(kOp, "probabilities", d.probability, {d.exit_of.shape().n(), classes});
#if OFFRAMP_HAS_CUDA
  cuda::ExitDecision k;
  k.n = n, k.classes = classes;
  k.valid = d.valid.data<std::int32_t>();
  k.exit = d.exit;
  k.last = d.last;
  k.stops_at_threshold = d.stops_at_threshold;
  k.keeps_best = d.keeps_best;
  k.logits = d.logits.data();
  k.threshold = d.threshold.data();
  k.sample = d.sample.data<std::int32_t>();
  k.exit_of = d.exit_of.data<std::int32_t>();
  k.confidence = d.confidence.data();
  k.predicted = d.predicted.data<std::int32_t>();
  k.answered = d.answered.data<std::int32_t>();
  k.probabilities = d.probability.data();
  k.row = d.row.data<std::int32_t>();
  k.next_sample = d.next_sample.data<std::int32_t>();
  k.count = d.count.data<std::int32_t>();
  cuda::decide_exits(d.logits.device().cuda_context(), k);
#endif
}

}  // namespace offramp
