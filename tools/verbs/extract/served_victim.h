// A served model as verbs are told of it: the options that name its tensors, and the connection to it.
#pragma once

#include "attacks/query/remote.h"
#include "nets/graph/layers.h"
#include "tools/frame/verb.h"

#include <memory>
#include <string>

namespace offramp::tools {

class ServedVictim {
 public:
  // --model, --shape, --input, --output, --json-tensors and --patience, keys in `group`.
  void declare(Options& options, const std::string& group);
  // Whether one of the first four was given: they are about a served model alone.
  bool named() const;
  // Waits for a server that is away, saying so on the log, and at every wait for Ctrl-C. UsageError for a --shape that is none
  // and for a model that takes rows; else as RemoteBlackBox.
  std::unique_ptr<attacks::RemoteBlackBox> connect(Session& session, const std::string& url) const;

 private:
  attacks::RemoteOptions options_;
  std::string shape_;
  double patience_s_ = 60;
};

// Of the pictures that it takes.
nets::Extent input_of(const attacks::RemoteBlackBox& victim);

}  // namespace offramp::tools
