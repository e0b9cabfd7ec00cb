#pragma once
// The shared memory of one block. Every array is a heap block of its own, so that ASan sees each end of it,
// and starts as bytes 0xFF (a NaN, or -1), so that a read before the write shows.
#include <cstddef>
#include <map>
#include <memory>

namespace offramp::cuda::host {

inline constexpr std::size_t kMaxStaticShared =
    48 * 1024;  // a block's static arrays; with the dynamic one if not opted in
inline constexpr std::size_t kMaxSharedBytes = 227 * 1024;  // static and dynamic together (sm_90, opted in)

class SharedMemory {
 public:
  void begin_launch(std::size_t dynamic_bytes, bool opts_in);
  void start_block();  // poisons what is there
  void clear();

  // The array that `declaration` (the address of a static in the kernel) stands for. Throws DeviceError when
  // the block's static arrays no longer fit.
  void* array(const void* declaration, std::size_t bytes);
  unsigned char* dynamic() { return dynamic_.bytes.get(); }

 private:
  struct Array {
    std::unique_ptr<unsigned char[]> bytes;
    std::size_t size = 0;
    void poison();
  };
  std::map<const void*, Array> static_;
  std::size_t static_bytes_ = 0, limit_ = kMaxStaticShared;
  Array dynamic_;
};

}  // namespace offramp::cuda::host
