#pragma once
// The instructions that a product of bf16 matrices on tensor cores is made of (PTX, sm_80 and later): copies
// into shared memory that do not wait, loads of 8x8 pieces from there to the registers of a warp, and the
// product of pieces. Where kernels run on the host each has a twin of the same meaning, so that everything
// around them is tested there. Only .cu files include this.
//
// A piece lies over the lanes of a warp: lane l holds of row l / 4 the columns 2 * (l % 4) and the next,
// packed into one register, the lower column in the lower half.
#include <cstdint>
#include <cstring>

#include "kernels/cuda/device_helpers.h"

namespace offramp::cuda {

#if defined(__CUDACC__)

// 16 bytes to shared memory, zeros where `exists` is false; then nothing is read, but `from` is a valid
// address.
__device__ __forceinline__ void copy_16_async(void* to_shared, const void* from, bool exists) {
  const auto to = static_cast<unsigned>(__cvta_generic_to_shared(to_shared));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(exists ? 16 : 0)
               : "memory");
}
// Closes a group of copies, which may be empty.
__device__ __forceinline__ void close_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits for the thread's own groups but the last kPending; other threads' need a barrier behind it.
template <int kPending>
__device__ __forceinline__ void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

// Four pieces: lane l gives the address of row l % 8 of piece l / 8. Transposed: the pieces lie as columns in
// memory.
template <bool kTransposed>
__device__ __forceinline__ void load_pieces(unsigned (&pieces)[4], const bf16* row) {
  const auto from = static_cast<unsigned>(__cvta_generic_to_shared(row));
  if constexpr (kTransposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(pieces[0]), "=r"(pieces[1]), "=r"(pieces[2]), "=r"(pieces[3])
                 : "r"(from)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(pieces[0]), "=r"(pieces[1]), "=r"(pieces[2]), "=r"(pieces[3])
                 : "r"(from)
                 : "memory");
  }
}

// sums[16][8] += a[16][16] b[16][8]. a: pieces (rows 0-7, 0-7), (8-15, 0-7), (0-7, 8-15), (8-15, 8-15). b:
// (0-7, all), (8-15, all), held transposed. sums: 0 and 1 are of row lane / 4, 2 and 3 of the row eight
// below.
__device__ __forceinline__ void multiply_pieces(float (&sums)[4],
                                                const unsigned (&a)[4],
                                                unsigned b0,
                                                unsigned b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

#else

inline void copy_16_async(void* to_shared, const void* from, bool exists) {
  if (exists) {
    std::memcpy(to_shared, from, 16);
  } else {
    std::memset(to_shared, 0, 16);
  }
}
inline void close_copies() {}
template <int kPending>
void wait_for_copies() {}

inline constexpr int kWarpsOnHost = 8;  // at most, of a block
inline unsigned packed(bf16 low, bf16 high) { return low.bits | static_cast<unsigned>(high.bits) << 16; }
inline float half_of(unsigned pair, int half) {
  bf16 value;
  value.bits = static_cast<std::uint16_t>(half == 0 ? pair : pair >> 16);
  return static_cast<float>(value);
}

template <bool kTransposed>
void load_pieces(unsigned (&pieces)[4], const bf16* row) {
  OFFRAMP_SHARED(const bf16*, rows, [kWarpsOnHost][32]);
  const int warp = thread_x() / 32, lane = thread_x() % 32;
  rows[warp][lane] = row;
  __syncwarp();
  for (int i = 0; i < 4; ++i) {
    const bf16* const* piece = rows[warp] + i * 8;
    const int line = lane / 4, pair = lane % 4 * 2;
    pieces[i] = kTransposed ? packed(piece[pair][line], piece[pair + 1][line])
                            : packed(piece[line][pair], piece[line][pair + 1]);
  }
  __syncwarp();
}

inline void multiply_pieces(float (&sums)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  OFFRAMP_SHARED(unsigned, registers, [kWarpsOnHost][32][6]);
  auto& warp = registers[thread_x() / 32];
  const int lane = thread_x() % 32;
  for (int i = 0; i < 4; ++i) warp[lane][i] = a[i];
  warp[lane][4] = b0;
  warp[lane][5] = b1;
  __syncwarp();
  unsigned rows[4][4], columns[4][2][2];  // of those lanes that hold what this lane adds
  for (int from = 0; from < 4; ++from) {
    for (int i = 0; i < 4; ++i) rows[from][i] = warp[lane / 4 * 4 + from][i];
    for (int i = 0; i < 4; ++i)
      columns[from][i / 2][i % 2] = warp[(lane % 4 * 2 + i / 2) * 4 + from][4 + i % 2];
  }
  __syncwarp();
  for (int i = 0; i < 4; ++i) {
    for (int k = 0; k < 16; ++k) {
      const int from = k % 8 / 2;
      sums[i] += half_of(rows[from][k / 8 * 2 + i / 2], k % 2) * half_of(columns[from][i % 2][k / 8], k % 2);
    }
  }
}

#endif

}  // namespace offramp::cuda
