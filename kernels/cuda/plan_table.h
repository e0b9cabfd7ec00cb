#pragma once
// Which plan was measured to be the fastest for a convolution: a text file that belongs to one device, one
// version of cuDNN and one version of this format. A line a convolution, `key = plan`; `-` where no plan is
// allowed. Written to a temporary beside it and renamed, so that a reader never sees half a file.
#include <map>
#include <optional>
#include <string>

#include "kernels/cuda/conv_problem.h"

namespace offramp::cuda {

class PlanTable {
 public:
  // Reads the file if it is there. What cannot be used (another device or version, a line that is no entry)
  // is left out, and `warning` says so: the table is measured again.
  PlanTable(std::string path, const std::string& device, const std::string& library);

  const std::string& warning() const { return warning_; }
  std::optional<std::string> find(const ConvProblem& problem) const;
  // Writes the file; DeviceError with the path where that fails.
  void add(const ConvProblem& problem, const std::string& plan);
  std::size_t size() const { return entries_.size(); }

  // "forward bf16->bf16 n128 32x32x16 k16 3x3 stride 1 pad 1 groups 1", options of the problem behind it.
  static std::string key(const ConvProblem& problem);

 private:
  std::string path_, header_, warning_;
  std::map<std::string, std::string> entries_;
};

}  // namespace offramp::cuda
