#pragma once
// Several processes (ranks) that work on one batch, as the layers above see them: two ways to move bytes, each
// called by all ranks in the same order. What is sent is never added on the way, so no result depends on how
// many ranks there are or on who is fast.
#include <cstddef>

namespace offramp {

class Transport {
 public:
  virtual ~Transport() = default;
  virtual int rank() const = 0;  // from 0
  virtual int size() const = 0;
  // all: [size][bytes], where this rank's part stands already; returns when every part does. Throws Stopped or
  // RankError (kernels/ranks/rank_error.h) where that will not happen.
  virtual void all_gather(void* all, std::size_t bytes) = 0;
  // data: [bytes] of rank 0, to all.
  virtual void broadcast(void* data, std::size_t bytes) = 0;
};

// The same for memory of the device, in stream order. Opened once for the process (kernels/cuda/nccl_transport.h).
class DeviceTransport {
 public:
  virtual ~DeviceTransport() = default;
  virtual void all_gather(void* all, std::size_t bytes) = 0;
};

}  // namespace offramp
