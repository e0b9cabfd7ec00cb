#pragma once
// NVIDIA's libraries as the rest of the program sees them: there, with a version, or missing, with the
// reason. No vendor header is needed to include this one.
#include <string>

namespace offramp::cuda {

struct LibraryState {
  bool usable = false;
  std::string text;  // "9.19.0 (/usr/lib/libcudnn.so.9)", or what is missing
};

// Opened on the first call, once for the process. With OFFRAMP_CUDA=host only a library that the environment
// names is opened: NVIDIA's own need a device.
LibraryState cudnn_state();     // OFFRAMP_CUDNN, the loader's search, OFFRAMP_PYTORCH
LibraryState cublaslt_state();  // OFFRAMP_CUBLASLT, likewise

}  // namespace offramp::cuda
