#include "kernels/cuda/host/fiber.h"

#include <sys/mman.h>

#include <cstdlib>

#include "base/errors.h"

namespace offramp::cuda::host {
namespace {

using boost::context::detail::jump_fcontext;
using boost::context::detail::make_fcontext;
using boost::context::detail::transfer_t;

constexpr std::size_t kGuardBytes = 4096;
// Device code keeps its locals in registers; instrumented frames are several times larger.
#if defined(OFFRAMP_HOST_ASAN)
constexpr std::size_t kStackBytes = 256 * 1024;
#else
constexpr std::size_t kStackBytes = 64 * 1024;
#endif

thread_local Fiber::Entry pending_entry = nullptr;

// Whoever arrives stores the place that the other side stopped at in the other side's own slot.
OFFRAMP_HOST_UNSANITIZED void note_where(transfer_t from) {
  static_cast<Resumable*>(from.data)->where = from.fctx;
}

OFFRAMP_HOST_UNSANITIZED void start(transfer_t from) {
  note_where(from);
  pending_entry();
  std::abort();  // an Entry ends in leave_for
}

}  // namespace

OFFRAMP_HOST_UNSANITIZED void switch_to(Resumable& from, Resumable& to) {
#if defined(OFFRAMP_HOST_ASAN)
  __sanitizer_start_switch_fiber(&from.fake_stack, to.stack_low, to.stack_bytes);
#elif defined(OFFRAMP_HOST_TSAN)
  __tsan_switch_to_fiber(to.tsan, __tsan_switch_to_fiber_no_sync);
#endif
  note_where(jump_fcontext(to.where, &from));
#if defined(OFFRAMP_HOST_ASAN)
  __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
#endif
}

OFFRAMP_HOST_UNSANITIZED void leave_for(Resumable& from, Resumable& to) {
#if defined(OFFRAMP_HOST_ASAN)
  __sanitizer_start_switch_fiber(nullptr, to.stack_low, to.stack_bytes);
#elif defined(OFFRAMP_HOST_TSAN)
  __tsan_switch_to_fiber(to.tsan, __tsan_switch_to_fiber_no_sync);
#endif
  jump_fcontext(to.where, &from);
  std::abort();  // nobody resumes a fiber that has left
}

OFFRAMP_HOST_UNSANITIZED void arrived([[maybe_unused]] Resumable& from) {
#if defined(OFFRAMP_HOST_ASAN)
  __sanitizer_finish_switch_fiber(nullptr, &from.stack_low, &from.stack_bytes);
#endif
}

Fiber::Fiber() {
  void* memory = mmap(nullptr,
                      kGuardBytes + kStackBytes,
                      PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                      -1,
                      0);
  if (memory == MAP_FAILED) throw DeviceError("host execution: no memory for a fiber's stack");
  memory_ = static_cast<char*>(memory);
  if (mprotect(memory_, kGuardBytes, PROT_NONE) != 0) {
    munmap(memory_, kGuardBytes + kStackBytes);
    throw DeviceError("host execution: cannot protect the guard page of a fiber's stack");
  }
  stack_low = memory_ + kGuardBytes;
  stack_bytes = kStackBytes;
#if defined(OFFRAMP_HOST_TSAN)
  tsan = __tsan_create_fiber(0);  // stack and TSan thread stay together: no false races on locals
#endif
}

Fiber::~Fiber() {
#if defined(OFFRAMP_HOST_TSAN)
  __tsan_destroy_fiber(tsan);
#endif
  munmap(memory_, kGuardBytes + kStackBytes);
}

void Fiber::prepare(Entry entry) {
  pending_entry = entry;
  where = make_fcontext(memory_ + kGuardBytes + kStackBytes, kStackBytes, &start);
}

}  // namespace offramp::cuda::host
