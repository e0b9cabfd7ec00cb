#pragma once
// Named stretches of work, for profilers: a pass ("train/forward"), a layer, an op with the bytes and
// operations that it must move and make. Whoever listens (NVTX on a CUDA device, the op table of `offramp
// profile`) gets every begin and end of the thread that runs; with no listener a range costs one load.
#include <atomic>
#include <cstdint>
#include <string>

namespace offramp {

// What one call must do at least: each tensor moved once, a multiply-add counted as two.
struct Work {
  double bytes = 0, flops = 0;
};

enum class RangeKind : std::uint8_t { kScope, kOp, kBackward };  // kBackward: the gradient of an op

class RangeListener {
 public:
  virtual ~RangeListener() = default;
  virtual void begin(RangeKind kind, const char* name, const Work& work) = 0;
  virtual void end(RangeKind kind) = 0;
};

inline std::atomic<RangeListener*> range_listener{
    nullptr};  // of the process; change it while no range is open

class Range {
 public:
  explicit Range(const char* name, RangeKind kind = RangeKind::kScope, const Work& work = {})
      : listener_(range_listener.load(std::memory_order_relaxed)), kind_(kind) {
    if (listener_ != nullptr) listener_->begin(kind, name, work);
  }
  explicit Range(const std::string& name) : Range(name.c_str()) {}
  ~Range() {
    if (listener_ != nullptr) listener_->end(kind_);
  }
  Range(const Range&) = delete;
  Range& operator=(const Range&) = delete;

 private:
  RangeListener* listener_;
  RangeKind kind_;
};

// Listens for the length of its life; another listener is put back afterwards.
class Listening {
 public:
  explicit Listening(RangeListener& listener) : before_(range_listener.exchange(&listener)) {}
  ~Listening() { range_listener = before_; }
  Listening(const Listening&) = delete;
  Listening& operator=(const Listening&) = delete;

 private:
  RangeListener* before_;
};

}  // namespace offramp
