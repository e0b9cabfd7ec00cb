#pragma once
// Names in state dicts from elsewhere, as wrappers of modules leave them.
#include <functional>
#include <string>

namespace offramp::nets {

struct PlainName {
  std::string name;    // of the net, where there is one
  std::string prefix;  // that was taken off the front
};

// Takes prefixes of wrappers off (module., _orig_mod., model., net.) until `known` has the name; where it never does, all of
// them.
PlainName plain_name(const std::string& name, const std::function<bool(const std::string&)>& known);

// Without meaning here: the step counters of BatchNorm and of averaged models.
bool is_counter(const std::string& name);

}  // namespace offramp::nets
