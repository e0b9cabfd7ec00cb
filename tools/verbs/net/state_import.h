// A state dict from elsewhere as a net of ours: which net it is of, by options, and the values into it. `import` writes it
// as a checkpoint, `audit` takes it as it is.
#pragma once

#include "nets/graph/options.h"
#include "nets/graph/state_dict.h"
#include "tools/frame/verb.h"

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace offramp::tools {

// A file that does not say which net it is of: .pth, .pt, or safetensors that no verb of ours wrote.
bool is_state_dict(const std::filesystem::path& file);

class StateImport {
 public:
  // --net and what else says which net, keys "net.*"; --entry, key in `group`.
  void declare(Options& options, const std::string& group);
  bool named() const { return !net_.empty(); }
  bool given() const;  // whether any of these options is

  struct Imported {
    std::unique_ptr<nets::Network> net;
    nets::ImportReport report;  // without what --mean and --std give
    std::string entry;          // of the .pth
    nets::Metadata metadata;    // where it came from
  };
  // Without --net the net that the file's names and shapes are of, which the log then says. UsageError: they are of none or of
  // several, or no tensor fits the net that was named; else as nets::load_state_dict.
  Imported read(Session& session,
                const std::filesystem::path& file,
                nets::Strictness strictness,
                const Device& device);

 private:
  bool describes_a_net() const;
  nets::NetOptions as_told() const;
  nets::NetOptions recognised(Session& session, const nets::StateFile& state) const;

  // Empty: not given.
  std::string net_, entry_;
  std::optional<std::string> placement_, form_;
  std::optional<int> exits_, width_divisor_, classes_, channels_, side_, features_;
  std::vector<int> exits_after_;
  std::vector<double> mean_, std_;
};

}  // namespace offramp::tools
