#pragma once
// Convolutions by cuDNN for one context: a plan a problem, made on its first use. No vendor header is needed
// to include this one; a build without cuDNN's headers has one that never opens (cudnn_absent.cpp).
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/cuda/conv_problem.h"

namespace offramp::cuda {

class Context;

class CudnnConvolutions {
 public:
  // Null where cuDNN is missing or refuses the device, then `why` says so. With a table (its path) every new
  // problem is measured once, cuDNN's plans and our own kernel, and the fastest kept there; without, the first of cuDNN's heuristics is
  // taken. `why` is also the table's warning, if it has one.
  static std::unique_ptr<CudnnConvolutions> open(const std::string& device_name,
                                                 const std::string& table_path,
                                                 std::string& why);
  virtual ~CudnnConvolutions() = default;

  // Our kernel for the problem, into these buffers; false where it cannot.
  using OwnKernel = std::function<bool(const ConvBuffers&)>;

  // Queues the convolution. False where no plan is allowed for it, where `own` was measured to be faster, or
  // where a buffer is not 16-byte aligned: then nothing was done. Making a plan allocates, so a problem's first use cannot be captured.
  virtual bool run(Context& ctx,
                   const ConvProblem& problem,
                   const ConvBuffers& buffers,
                   const OwnKernel& own) = 0;
  virtual std::size_t plans() const = 0;  // made so far
  // Plans that were left out of a measurement because they failed, and why; a line each.
  virtual const std::vector<std::string>& skipped() const = 0;
};

}  // namespace offramp::cuda
