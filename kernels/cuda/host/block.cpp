#include "kernels/cuda/host/block.h"

#include <bit>
#include <string_view>
#include <utility>

#include "base/errors.h"
#include "kernels/cuda/host/sanitizers.h"

namespace offramp::cuda::host {
namespace {

thread_local Block* running_block = nullptr;
// The CUDA thread that runs now: its lane and its place in the block.
thread_local unsigned running_thread = 0;

// Unwinds a CUDA thread whose block has failed.
struct Cancelled {};

}  // namespace

Block& Block::current() {
  if (running_block == nullptr)
    throw DeviceError("host execution: a device function was called outside a kernel");
  return *running_block;
}

unsigned Block::lane() { return running_thread % kWarpLanes; }

Block::~Block() {
  Unwatched unwatched;
  fibers_.clear();
  std::vector<Thread>().swap(threads_);
}

void Block::begin_launch(Launch& launch) {
  launch_ = &launch;
  num_threads_ = launch.block.x * launch.block.y * launch.block.z;
  threads_.resize(num_threads_);
  warps_.resize((num_threads_ + kWarpLanes - 1) / kWarpLanes);
  shared_.begin_launch(launch.dynamic_shared_bytes, launch.opts_in);
  gridDim = launch.grid;
  blockDim = launch.block;
  running_block = this;
}

void Block::end_launch() {
  shared_.clear();
  running_block = nullptr;
  launch_ = nullptr;
}

unsigned Block::thread_at(unsigned position) const {
  return config().order == ThreadOrder::kReverse ? num_threads_ - 1 - position : position;
}

void Block::reset(uint3 block_index) {
  block_index_ = blockIdx = block_index;
  started_ = returned_ = at_barrier_ = barrier_count_ = 0;
  ready_.clear();
  head_ = 0;
  failure_ = nullptr;
  for (Warp& warp : warps_) warp = Warp{};
  for (unsigned i = 0; i < num_threads_; ++i) {
    threads_[i].state = State::kFresh;
    threads_[i].index = {i % blockDim.x, i / blockDim.x % blockDim.y, i / (blockDim.x * blockDim.y)};
  }
  random_.seed(config().seed * 0x9E3779B97F4A7C15u + block_index.x + 65537u * block_index.y +
               4294967291u * block_index.z);
  shared_.start_block();
  if constexpr (kRaceChecked) {
    sync_ = std::make_unique<char[]>(2 + 2 * std::size_t{num_threads_});
    // One fiber a thread, and for the next block those of another half, since the barriers of a block order
    // its fibers for good; within a half each time shifted, since the same fiber is in order with itself.
    while (fibers_.size() < 2 * std::size_t{num_threads_}) fibers_.push_back(std::make_unique<Fiber>());
    idle_fibers_.clear();
    const std::size_t half = blocks_run_ % 2 * num_threads_;
    for (std::size_t i = 0; i < num_threads_; ++i) {
      idle_fibers_.push_back(fibers_[half + (i + blocks_run_ / 2) % num_threads_].get());
    }
    ++blocks_run_;
  }
}

void Block::run(uint3 block_index) {
  reset(block_index);
#if defined(OFFRAMP_HOST_TSAN)
  scheduler_.tsan = __tsan_get_current_fiber();
#endif
  schedule();
  if (failure_ != nullptr) {
    cancel_waiting_threads();
    std::rethrow_exception(std::exchange(failure_, nullptr));
  }
}

void Block::cancel_waiting_threads() {
  cancelling_ = true;
  for (Thread& thread : threads_) {
    if (thread.state != State::kFresh && thread.state != State::kReturned) resume(thread);
  }
  cancelling_ = false;
}

void Block::schedule() {
  const bool random_order = config().order == ThreadOrder::kRandom;
  while (returned_ < num_threads_ && failure_ == nullptr) {
    const bool fresh_left = started_ < num_threads_;
    if (head_ < ready_.size() && !(random_order && fresh_left && random_() % 2 == 0)) {
      if (random_order) std::swap(ready_[head_], ready_[head_ + random_() % (ready_.size() - head_)]);
      Thread& next = threads_[ready_[head_]];
      if (++head_ == ready_.size()) {
        ready_.clear();
        head_ = 0;
      }
      resume(next);
    } else if (fresh_left) {
      if (idle_fibers_.empty()) {
        fibers_.push_back(std::make_unique<Fiber>());
        idle_fibers_.push_back(fibers_.back().get());
      }
      Fiber& fiber = *idle_fibers_.back();
      idle_fibers_.pop_back();
      start_thread(started_++, fiber);
      fiber.prepare(&Block::fiber_main);
      switch_to(scheduler_, fiber);
    } else {
      failure_ = std::make_exception_ptr(DeviceError(report("deadlock: no thread can go on")));
    }
  }
}

void Block::start_thread(unsigned position, Fiber& fiber) {
  running_thread = thread_at(position);
  Thread& thread = threads_[running_thread];
  thread.fiber = &fiber;
  thread.state = State::kReady;
  threadIdx = thread.index;
}

void Block::resume(Thread& thread) {
  running_thread = number_of(thread);
  threadIdx = thread.index;
  switch_to(scheduler_, *thread.fiber);
}

OFFRAMP_HOST_UNSANITIZED void Block::fiber_main() {
  Block& block = *running_block;
  arrived(block.scheduler_);
  block.run_threads_on(*block.threads_[running_thread].fiber);
}

OFFRAMP_HOST_UNSANITIZED void Block::run_threads_on(Fiber& fiber) {
  happens_after(&launch_->launched);
  bool more = true;
  while (more) {
    try {
      launch_->body(launch_->arguments);
    } catch (const Cancelled&) {
    } catch (...) {
      failure_ = std::current_exception();
    }
    ignore_accesses();
    thread_returned(threads_[running_thread]);
    more = failure_ == nullptr && !kRaceChecked && started_ < num_threads_ &&
           config().order != ThreadOrder::kRandom;
    if (more) {
      start_thread(started_++, fiber);
    } else if (!kRaceChecked) {
      idle_fibers_.push_back(&fiber);
    }
    watch_accesses();
  }
  leave_for(fiber, scheduler_);
}

void Block::wake(unsigned thread) {
  threads_[thread].state = State::kReady;
  ready_.push_back(thread);
}

void Block::wait(Thread& thread) {
  switch_to(*thread.fiber, scheduler_);
  if (cancelling_) throw Cancelled{};
}

void Block::thread_returned(Thread& thread) {
  thread.state = State::kReturned;
  ++returned_;
  happens_before(&launch_->returned);
  if (failure_ != nullptr) return;
  // Those who wait may have waited for this thread only.
  if (at_barrier_ != 0 && at_barrier_ == num_threads_ - returned_) release_barrier();
  const unsigned number = number_of(thread);
  Warp& warp = warps_[number / kWarpLanes];
  warp.returned |= 1u << (number % kWarpLanes);
  const unsigned first = number / kWarpLanes * kWarpLanes;
  for (unsigned lane = 0; lane < kWarpLanes; ++lane) {
    if ((warp.waiting >> lane & 1u) != 0) complete_warp_op(threads_[first + lane], false);
  }
}

void Block::release_barrier() {
  const Thread* first = nullptr;
  int count = 0;
  bool all = true;
  for (const Thread& thread : threads_) {
    if (thread.state != State::kAtBarrier) continue;
    if (first == nullptr) first = &thread;
    const bool same_place = first->where.line() == thread.where.line() &&
                            std::string_view(first->where.file_name()) == thread.where.file_name();
    if (!same_place) {
      failure_ = std::make_exception_ptr(
          DeviceError(report("divergent barrier: threads meet at different __syncthreads")));
      return;
    }
    count += thread.predicate;
    all = all && thread.predicate;
  }
  at_barrier_ = 0;
  ++barrier_count_;
  for (unsigned position = 0; position < num_threads_; ++position) {
    Thread& thread = threads_[thread_at(position)];
    if (thread.state != State::kAtBarrier) continue;
    const int result[] = {0, count, all, count != 0};  // in the order of BarrierResult
    thread.result = static_cast<std::uint64_t>(result[static_cast<int>(thread.wanted)]);
    wake(number_of(thread));
  }
}

int Block::barrier(BarrierResult wanted, bool predicate, const std::source_location& where) {
  Unwatched unwatched;
  Thread& self = threads_[running_thread];
  self.wanted = wanted;
  self.predicate = predicate;
  self.where = where;
  self.state = State::kAtBarrier;
  char* sync = kRaceChecked ? &sync_[barrier_count_ & 1u] : nullptr;
  happens_before(sync);
  if (++at_barrier_ == num_threads_ - returned_) release_barrier();
  wait(self);
  happens_after(sync);
  return static_cast<int>(self.result);
}

// When every live lane of the mask waits in the same operation at the same place, each gets its result.
bool Block::complete_warp_op(Thread& thread, bool caller_is_running) {
  const unsigned first = number_of(thread) / kWarpLanes * kWarpLanes;
  Warp& warp = warps_[first / kWarpLanes];
  unsigned live = thread.mask & ~warp.returned;
  if (num_threads_ - first < kWarpLanes) live &= (1u << (num_threads_ - first)) - 1u;
  if ((live & ~warp.waiting) != 0) return false;
  unsigned ballot = 0;
  Thread* lanes = &threads_[first];
  for (unsigned lane = 0; lane < kWarpLanes; ++lane) {
    if ((live >> lane & 1u) == 0) continue;
    const Thread& other = lanes[lane];
    if (other.mask != thread.mask || other.op != thread.op || other.where.line() != thread.where.line())
      return false;
    if (other.value != 0) ballot |= 1u << lane;
  }
  warp.waiting &= ~live;
  if (thread.op == WarpOp::kSync) ++lanes[std::countr_zero(thread.mask)].sync_count;
  for (unsigned lane = 0; lane < kWarpLanes; ++lane) {
    if ((live >> lane & 1u) == 0) continue;
    finish_lane(lanes[lane], lanes, live, ballot);
    if (!caller_is_running || &lanes[lane] != &thread) wake(first + lane);
  }
  return true;
}

void Block::finish_lane(Thread& lane, const Thread* warp, unsigned live, unsigned ballot) {
  switch (lane.op) {
    case WarpOp::kShuffle:  // from a lane that is not there: poison
      lane.result = (live >> lane.source_lane & 1u) != 0 ? warp[lane.source_lane].value : ~std::uint64_t{0};
      return;
    case WarpOp::kBallot:
    case WarpOp::kSync:
      lane.result = ballot;
      return;
    case WarpOp::kMatchAny:
    case WarpOp::kMatchAll: {
      unsigned equal = 0;
      for (unsigned other = 0; other < kWarpLanes; ++other) {
        if ((live >> other & 1u) != 0 && warp[other].value == lane.value) equal |= 1u << other;
      }
      lane.result = lane.op == WarpOp::kMatchAny || equal == live ? equal : 0;
      return;
    }
  }
}

std::uint64_t Block::warp_op(
    WarpOp op, unsigned mask, std::uint64_t value, unsigned source_lane, const std::source_location& where) {
  Unwatched unwatched;
  Thread& self = threads_[running_thread];
  self.op = op;
  self.mask = mask;
  self.value = value;
  self.source_lane = source_lane;
  self.where = where;
  self.state = State::kInWarpOp;
  const unsigned number = running_thread, lane = number % kWarpLanes, first = number - lane;
  if ((mask >> lane & 1u) == 0) {
    throw DeviceError(report("a lane calls a warp operation whose mask leaves it out"));
  }
  warps_[first / kWarpLanes].waiting |= 1u << lane;
  // A shuffle orders no memory accesses, __syncwarp does.
  const unsigned lowest = first + static_cast<unsigned>(std::countr_zero(mask));
  const bool orders = kRaceChecked && op == WarpOp::kSync;
  char* sync = orders ? &sync_[2 + 2 * lowest + (threads_[lowest].sync_count & 1u)] : nullptr;
  if (orders) happens_before(sync);
  if (complete_warp_op(self, true)) {
    self.state = State::kReady;
  } else {
    wait(self);
  }
  if (orders) happens_after(sync);
  return self.result;
}

void* Block::shared_array(const void* declaration, std::size_t bytes) {
  Unwatched unwatched;
  return shared_.array(declaration, bytes);
}

// One line for each run of threads that are in the same situation.
std::string Block::report(const std::string& what) const {
  const uint3 b = block_index_;
  std::string text = "host execution: " + what + " in block (" + std::to_string(b.x) + "," +
                     std::to_string(b.y) + "," + std::to_string(b.z) + ")";
  const auto situation = [](const Thread& thread) -> std::string {
    const std::string place =
        std::string(" at ") + thread.where.file_name() + ":" + std::to_string(thread.where.line());
    switch (thread.state) {
      case State::kReturned:
        return "returned";
      case State::kAtBarrier:
        return "in __syncthreads" + place;
      case State::kInWarpOp: {
        static constexpr char kHex[] = "0123456789abcdef";
        std::string mask = ", mask ";
        for (int shift = 28; shift >= 0; shift -= 4) mask += kHex[thread.mask >> shift & 15u];
        return "in a warp operation" + place + mask;
      }
      default:
        return "not waiting";
    }
  };
  for (unsigned i = 0, from = 0; i < num_threads_; ++i) {
    const std::string here = situation(threads_[i]);
    if (i + 1 < num_threads_ && situation(threads_[i + 1]) == here) continue;
    text += "\n  threads " + std::to_string(from) + ".." + std::to_string(i) + ": " + here;
    from = i + 1;
  }
  return text;
}

}  // namespace offramp::cuda::host
