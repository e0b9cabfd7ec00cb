#pragma once
// Time of each op, measured where it is called: what `offramp profile` prints.
#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "engine/device.h"
#include "kernels/range.h"

namespace offramp {

// Listens (kernels/range.h) to the thread that made it. On a CUDA device it waits for the device at both ends
// of an op, so that the time is the op's; the sum is then longer than a step that nobody watches.
class OpProfile final : public RangeListener {
 public:
  struct Row {
    std::string op;
    bool gradient = false;  // of the op: its backward
    std::int64_t calls = 0;
    double seconds = 0;           // without the ops inside
    double bytes = 0, flops = 0;  // of all calls; 0: not known
  };

  explicit OpProfile(const Device& device);
  void begin(RangeKind kind, const char* name, const Work& work) override;
  void end(RangeKind kind) override;
  std::vector<Row> rows() const;  // longest first

 private:
  using Clock = std::chrono::steady_clock;
  struct Open {
    Row* row;
    Clock::time_point start;
    double inside;  // seconds of the ops inside
  };
  bool listens_to(RangeKind kind) const;
  Device device_;
  std::thread::id thread_ = std::this_thread::get_id();
  std::map<std::pair<std::string, bool>, Row> rows_;
  std::vector<Open> open_;
};

}  // namespace offramp
