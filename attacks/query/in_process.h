#pragma once
// A victim in this process, behind a function that shows nothing but its answers. Timed queries: batch 1, the
// thread pinned to one core, the monotonic clock read right before and after the call; the copy of the image
// lies outside. What the clock sees is the victim's own early-exit inference, reading of the result included.
#include <functional>
#include <span>

#include "attacks/query/black_box.h"

namespace offramp::attacks {

// images [n,c,h,w] in [0,1] -> probabilities [n, classes], row-major, on the host.
using VictimFunction = std::function<void(const Tensor& images, std::span<float> probabilities)>;

struct InProcessOptions {
  int cpu = -1;             // of the timed queries; -1: CpuPin's choice
  int warm_up = 20;         // untimed queries before the first timed one of a call
  int untimed_batch = 128;  // images at a time without timing
};

class InProcessBlackBox final : public BlackBox {
 public:
  InProcessBlackBox(VictimFunction victim, int classes, InProcessOptions options = {});
  int classes() const override { return classes_; }
  Answer query(const Tensor& images, Timing timing) override;

 private:
  VictimFunction victim_;
  int classes_;
  InProcessOptions options_;
};

}  // namespace offramp::attacks
