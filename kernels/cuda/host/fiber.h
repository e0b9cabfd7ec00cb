#pragma once
// A fiber: a stack of its own, and the place where it stopped. Boost.Context does the switch; this file adds
// the guard page and what the sanitizers want to know. Fibers never move to another OS thread.
#include <boost/context/detail/fcontext.hpp>
#include <cstddef>

#include "kernels/cuda/host/sanitizers.h"

namespace offramp::cuda::host {

// Where an OS thread or a fiber stopped, and the bounds of its stack.
struct Resumable {
  boost::context::detail::fcontext_t where = nullptr;
  const void* stack_low = nullptr;
  std::size_t stack_bytes = 0;
  void* fake_stack = nullptr;  // ASan's, for stack-use-after-return
  void* tsan = nullptr;        // TSan's handle of this fiber or thread
};

// Stops `from`, goes on with `to`; returns when somebody switches back to `from`.
void switch_to(Resumable& from, Resumable& to);
// Goes on with `to`; the calling fiber is entered anew next time, never resumed.
[[noreturn]] void leave_for(Resumable& from, Resumable& to);

class Fiber : public Resumable {
 public:
  using Entry = void (*)();  // must end in leave_for

  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  void prepare(Entry entry);  // the next switch_to starts `entry` at the top of the stack

 private:
  char* memory_ = nullptr;
};

// First thing an Entry does: tells ASan that the switch is over, and where it came from.
void arrived(Resumable& from);

}  // namespace offramp::cuda::host
