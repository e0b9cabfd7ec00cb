#pragma once
// The weights behind conv2d_pack: the float32 master copy and one packed form of it.
#include <sys/mman.h>

#include <cstdint>
#include <memory>
#include <new>
#include <vector>

#include "kernels/conv2d.h"
#include "kernels/cpu/conv2d_plan.h"
#include "kernels/cpu/onednn.h"

namespace offramp::cpu {

struct AlignedFree {
  void operator()(void* memory) const { ::operator delete (memory, std::align_val_t{64}); }
};
using AlignedBytes = std::unique_ptr<void, AlignedFree>;
// One image reads every weight once: in pages of 4 KiB much of that time would go into finding them.
inline AlignedBytes aligned_bytes(std::size_t bytes) {
  AlignedBytes memory(::operator new (bytes, std::align_val_t{64}));
  constexpr std::size_t kHugePage = std::size_t{2} << 20;
  const auto begin = reinterpret_cast<std::uintptr_t>(memory.get());
  const auto first = (begin + kHugePage - 1) / kHugePage * kHugePage,
             end = (begin + bytes) / kHugePage * kHugePage;
  if (first < end) madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);
  return memory;
}

class PackedConv2d {
 public:
  Conv2dGeom geom;  // its n does not matter
  ConvAlgorithm algorithm = ConvAlgorithm::kNative;
  std::vector<float> w, bias;  // bias empty: none
  AlignedBytes packed;         // as the algorithm wants it
#if OFFRAMP_HAS_ONEDNN
  dnnl::memory::desc layout;  // of packed, where the algorithm is the library's
#endif

  const float* bias_or_null() const { return bias.empty() ? nullptr : bias.data(); }
  const float* packed_floats() const { return static_cast<const float*>(packed.get()); }
};

}  // namespace offramp::cpu
