#pragma once
// Values of a net in and out of files, in PyTorch's names and layouts: a state dict of the reference modules
// (.pth or safetensors) loads unchanged, and ours (safetensors) loads there. A checkpoint is a state dict whose metadata
// rebuilds the net and that may carry optimiser moments ("optimizer.<moment>.<parameter>").
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/safetensors.h"
#include "engine/optimizer.h"
#include "nets/exits/exit_policy.h"
#include "nets/graph/network.h"
#include "nets/graph/state_file.h"

namespace offramp::nets {

using Metadata = std::map<std::string, std::string>;

// What became of every name.
struct ImportReport {
  std::string prefix;                 // what was taken off names ("module.", "module., model."), or empty
  std::vector<std::string> matched;   // read into the net
  std::vector<std::string> permuted;  // those of them whose order on disk differs from memory
  std::vector<std::string> missing;   // the net has it, the file does not
  std::vector<std::string> unused;    // the file has it, the net does not
  std::vector<std::string> ignored;   // without meaning here (num_batches_tracked, n_averaged)
};

enum class Strictness {
  kComplete,  // throws FileError that lists what is missing or unused; normalisation may be missing
  kPartial,   // takes what fits by name
  kWeights,   // the same, and the net keeps its own normalisation: that of the pixels it is to learn from
};

// Reads F32, F64, F16 or BF16 values into the net, wrappers' prefixes taken off the names, and the moments of a
// checkpoint into an optimiser of the net where one is given. Throws FileError naming the tensor for a shape or type
// that does not fit, a value that is not finite, a negative variance or a missing moment, before anything is changed.
ImportReport load_state_dict(Network& net,
                             const StateFile& file,
                             Strictness strictness,
                             Optimizer* optimizer = nullptr);
ImportReport load_state_dict(Network& net,
                             const safetensors::Reader& file,
                             Strictness strictness,
                             Optimizer* optimizer = nullptr);

// Writes net (and moments) atomically. `extra` joins the metadata of the net: "net.*", "policy.*", "cost.*".
void save_checkpoint(const std::filesystem::path& path,
                     const Network& net,
                     const ExitPolicy& policy,
                     const Metadata& extra = {},
                     Optimizer* optimizer = nullptr);

// The bytes of such a file, without moments.
std::vector<std::byte> checkpoint_bytes(const Network& net,
                                        const ExitPolicy& policy,
                                        const Metadata& extra = {});

// Writes the state dict alone, in PyTorch's names, layouts and order of dimensions, atomically: what a reference module
// loads with strict=True. Counters of batches are 0; normalisation, which is no part of the modules, stands in the
// metadata ("normalize.mean", "normalize.std").
void save_pytorch_state(const std::filesystem::path& path, const Network& net);

struct LoadedNet {
  std::unique_ptr<Network> net;
  ExitPolicy policy;
  Metadata metadata;
};
// Rebuilds a net from its checkpoint alone, or from a program that carries one (base/embedded_weights.h). Throws
// FileError for a file that is neither, is damaged, or has costs other than the net that it describes. `precision`: "" keeps the file's.
LoadedNet load_net(const std::filesystem::path& path,
                   const Device& device,
                   const std::string& precision = "");

}  // namespace offramp::nets
