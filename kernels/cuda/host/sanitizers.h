#pragma once
// What the fibers have to tell AddressSanitizer and ThreadSanitizer. Everything here is empty in a plain
// build. ASan wants to know the bounds of the stack it runs on. TSan is told that each CUDA thread is a
// thread of its own (its fiber interface), that a switch orders nothing, and which operations do order
// memory; so a missing barrier between two accesses of shared or global memory is a race that it reports.
#include <cstddef>

#ifndef __has_feature
#define __has_feature(x) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define OFFRAMP_HOST_ASAN 1
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
// A frame that is left by a switch and never returns must leave no poison behind.
#define OFFRAMP_HOST_UNSANITIZED __attribute__((no_sanitize("address"), noinline))
#elif defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#define OFFRAMP_HOST_TSAN 1
#include <sanitizer/tsan_interface.h>
// no_sanitize would still note the entry: TSan's record of the stack would grow with every block.
#define OFFRAMP_HOST_UNSANITIZED __attribute__((disable_sanitizer_instrumentation, noinline))
extern "C" {
// Either annotation, of reads or of writes, makes TSan ignore both.
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
}
#else
#define OFFRAMP_HOST_UNSANITIZED
#endif

namespace offramp::cuda::host {

#if defined(OFFRAMP_HOST_TSAN)
inline constexpr bool kRaceChecked = true;
inline void happens_before(void* what) { __tsan_release(what); }
inline void happens_after(void* what) { __tsan_acquire(what); }
inline void ignore_accesses() { AnnotateIgnoreWritesBegin("", 0); }
inline void watch_accesses() { AnnotateIgnoreWritesEnd("", 0); }
#else
inline constexpr bool kRaceChecked = false;
inline void happens_before(void*) {}
inline void happens_after(void*) {}
inline void ignore_accesses() {}
inline void watch_accesses() {}
#endif

// While one lives, TSan does not watch the calling fiber: the runtime's own bookkeeping is shared by fibers
// that, for TSan, are unordered threads. It also keeps malloc, free and memset from counting as accesses.
class Unwatched {
 public:
  Unwatched() { ignore_accesses(); }
  ~Unwatched() { watch_accesses(); }
  Unwatched(const Unwatched&) = delete;
  Unwatched& operator=(const Unwatched&) = delete;
};

}  // namespace offramp::cuda::host
