#pragma once
// One block of CUDA threads on one OS thread. Each CUDA thread is a fiber that runs until it waits at a
// barrier or in a warp operation; the scheduler then goes on with the next one, in forward, reverse or seeded
// random order. A fiber whose thread returns runs the next fresh thread without a switch. Reported by
// exception (DeviceError), with file:line of every waiting thread: threads that meet at different barriers, a
// lane that calls a warp operation whose mask leaves it out, a block that cannot go on.
#include <cstdint>
#include <exception>
#include <memory>
#include <random>
#include <source_location>
#include <string>
#include <vector>

#include "kernels/cuda/host/config.h"
#include "kernels/cuda/host/fiber.h"
#include "kernels/cuda/host/shared_memory.h"
#include "kernels/cuda/host/vector_types.h"

namespace offramp::cuda::host {

inline constexpr unsigned kWarpLanes = 32, kMaxThreads = 1024;

enum class BarrierResult : std::uint8_t { kNone, kCount, kAnd, kOr };
enum class WarpOp : std::uint8_t { kShuffle, kBallot, kMatchAny, kMatchAll, kSync };

class Block {
 public:
  using Body = void (*)(void* arguments);
  struct Launch {
    Body body = nullptr;
    void* arguments = nullptr;
    dim3 grid, block;
    std::size_t dynamic_shared_bytes = 0;
    bool opts_in = false;             // to more than 48 KiB of shared memory in all
    char launched = 0, returned = 0;  // addresses for TSan: host before the kernel, kernel before the host
  };

  Block() = default;
  ~Block();
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  void begin_launch(Launch& launch);  // this OS thread will run blocks of `launch`
  void run(uint3 block_index);
  void end_launch();

  // What the device functions call, on the fiber of a CUDA thread.
  static Block& current();
  static unsigned lane();
  int barrier(BarrierResult wanted, bool predicate, const std::source_location& where);
  std::uint64_t warp_op(
      WarpOp op, unsigned mask, std::uint64_t value, unsigned source_lane, const std::source_location& where);
  void* shared_array(const void* declaration, std::size_t bytes);
  unsigned char* dynamic_shared() { return shared_.dynamic(); }

 private:
  enum class State : std::uint8_t { kFresh, kReady, kAtBarrier, kInWarpOp, kReturned };
  struct Thread {
    Fiber* fiber = nullptr;
    uint3 index{};
    State state = State::kFresh;
    BarrierResult wanted = BarrierResult::kNone;
    bool predicate = false;
    WarpOp op = WarpOp::kSync;
    unsigned mask = 0, source_lane = 0;
    std::uint64_t value = 0, result = 0;
    std::source_location where;
    unsigned sync_count = 0;  // __syncwarp of the masks whose lowest lane this is
  };
  struct Warp {
    unsigned waiting = 0, returned = 0;  // lane bits
  };

  static void fiber_main();
  void run_threads_on(Fiber& fiber);
  void start_thread(unsigned position, Fiber& fiber);
  void resume(Thread& thread);
  void wait(Thread& thread);
  void wake(unsigned thread);
  void thread_returned(Thread& thread);
  void release_barrier();
  bool complete_warp_op(Thread& thread, bool caller_is_running);
  void finish_lane(Thread& lane, const Thread* warp, unsigned live, unsigned ballot);
  void reset(uint3 block_index);
  void schedule();
  void cancel_waiting_threads();
  unsigned thread_at(unsigned position) const;
  unsigned number_of(const Thread& thread) const { return static_cast<unsigned>(&thread - threads_.data()); }
  std::string report(const std::string& what) const;

  Launch* launch_ = nullptr;
  uint3 block_index_{};
  unsigned num_threads_ = 0;
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  std::vector<unsigned> ready_;  // first in, first out, from head_
  std::size_t head_ = 0;
  unsigned started_ = 0, returned_ = 0, at_barrier_ = 0, barrier_count_ = 0;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_fibers_;
  std::size_t blocks_run_ = 0;
  Resumable scheduler_;
  SharedMemory shared_;
  std::mt19937_64 random_;
  // Addresses for TSan: of even and odd barriers, then for each thread of even and odd syncs. New ones in
  // each block: freed ones are forgotten, else the barriers of two blocks would order them.
  std::unique_ptr<char[]> sync_;
  std::exception_ptr failure_;
  bool cancelling_ = false;  // every thread that is resumed unwinds its stack
};

}  // namespace offramp::cuda::host
