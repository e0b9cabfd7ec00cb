#include "kernels/cpu/context.h"

#include <new>
#include <stdexcept>
#include <string>

#include "base/errors.h"
#include "kernels/cpu/onednn.h"
#include "kernels/cpu/parallel.h"

namespace offramp::cpu {
namespace {

constexpr std::size_t kAlignment = 64;

int checked_threads(int threads) {
  if (threads < 0) {
    throw ValueError("cpu context: threads wants 0 (all) or more, got " + std::to_string(threads));
  }
#if OFFRAMP_HAS_OPENMP
  return threads == 0 ? available_threads() : threads;
#else
  return 1;
#endif
}

}  // namespace

#if OFFRAMP_HAS_ONEDNN
constexpr bool kHasLibrary = true;
#else
constexpr bool kHasLibrary = false;
#endif

Context::Context(const ContextOptions& options)
    : threads_(checked_threads(options.threads)),
      conv_(kHasLibrary ? options.conv : ConvBackend::kNative),
      winograd_(options.winograd),
      primitives_(std::make_unique<Primitives>()) {}

Context::~Context() {
  for (Buffer& buffer : buffers_) ::operator delete (buffer.data, std::align_val_t{kAlignment});
}

void* Context::workspace(Slot slot, std::size_t bytes) {
  Buffer& buffer = buffers_[slot];
  if (bytes > buffer.bytes) {
    ::operator delete (buffer.data, std::align_val_t{kAlignment});
    buffer = {};
    buffer.data = ::operator new (bytes, std::align_val_t{kAlignment}, std::nothrow);
    if (buffer.data == nullptr) {
      throw OutOfMemoryError("out of memory: a kernel's workspace needs " + std::to_string(bytes) +
                             " bytes, its others hold " + std::to_string(workspace_bytes()) +
                             "; use a smaller batch, network or data set, or fewer threads");
    }
    buffer.bytes = bytes;
  }
  return buffer.data;
}

std::size_t Context::workspace_bytes() const {
  std::size_t sum = 0;
  for (const Buffer& buffer : buffers_) sum += buffer.bytes;
  return sum;
}

}  // namespace offramp::cpu
