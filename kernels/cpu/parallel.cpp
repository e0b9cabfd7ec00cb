#include "kernels/cpu/parallel.h"

#include <exception>
#include <mutex>

#include "base/cpus.h"

#if OFFRAMP_HAS_OPENMP
#include <omp.h>
#endif

namespace offramp::cpu {

#if OFFRAMP_HAS_OPENMP

void run_ranges(const Context& ctx, std::int64_t count, RangeBody body, void* argument) {
  if (count <= 0) return;
  const int parts = static_cast<int>(std::min<std::int64_t>(ctx.threads(), count));
  if (parts == 1 || omp_in_parallel()) {
    body(argument, 0, count, 0);
    return;
  }
  std::exception_ptr error;
  std::mutex error_mutex;
#pragma omp parallel num_threads(parts)
  {
    // The runtime may give fewer threads than were asked for.
    const int team = omp_get_num_threads(), thread = omp_get_thread_num();
    try {
      body(argument, count * thread / team, count * (thread + 1) / team, thread);
    } catch (...) {
      const std::lock_guard lock(error_mutex);
      if (!error) error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
}

ThreadScope::ThreadScope(int threads) : before_(omp_get_max_threads()) {
  if (threads != before_) omp_set_num_threads(threads);
}
ThreadScope::~ThreadScope() {
  if (omp_get_max_threads() != before_) omp_set_num_threads(before_);
}

int available_threads() { return usable_cpus(); }

#else

void run_ranges(const Context&, std::int64_t count, RangeBody body, void* argument) {
  if (count > 0) body(argument, 0, count, 0);
}

ThreadScope::ThreadScope(int) : before_(1) {}
ThreadScope::~ThreadScope() = default;

int available_threads() { return 1; }

#endif

}  // namespace offramp::cpu
