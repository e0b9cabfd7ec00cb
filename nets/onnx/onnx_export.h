#pragma once
// A net as an ONNX model: pixels in [0,1] (normalisation is part of it), or rows of features, to the logits of every exit.
// Batch norms behind convolutions are folded into them, in double, as FrozenNet does; others (before a convolution, as in
// WideResNet) stay BatchNormalization. Everything is float32, also of a net trained in bf16. Dropout is gone.
//
//   images [batch,c,h,w] or features [batch,n] -> logits_1 .. logits_K, each [batch, classes]
//   with_if: images [1,c,h,w]                  -> logits [1, classes] of the exit that answers, exit [1] where it stopped
//
// with_if computes an exit's part of the net only where no exit before it was sure, by nested If nodes: one image at a
// time, because a condition decides for a whole batch.
#include <filesystem>
#include <string>

#include "nets/exits/exit_policy.h"
#include "nets/graph/network.h"

namespace offramp::nets {

struct OnnxOptions {
  bool with_if = false;
  ExitPolicy policy = {};                            // of with_if
  std::string producer_version = {};                 // of this program
  std::map<std::string, std::string> metadata = {};  // goes into the model
};

// Writes the model atomically. Throws ValueError where the policy does not fit the net, or the model has 2 GiB or more;
// FileError where it cannot be written.
void save_onnx(const std::filesystem::path& path, const Network& net, const OnnxOptions& options);

}  // namespace offramp::nets
