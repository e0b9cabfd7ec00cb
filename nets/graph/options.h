#pragma once
// What a user says about a net; everything else follows. Kept in checkpoints, so that a file alone rebuilds
// its net.
#include <map>
#include <string>
#include <vector>

namespace offramp::nets {

// Where internal classifiers stand (specs: networks 3).
enum class Placement {
  kEqualCost,  // 3.3: exits split the cost of the backbone evenly (true MACs)
  kSdn,        // 3.1: the reference positions near 15, 30, 45, 60, 75, 90 %
  kCcs,        // 3.2: the first num_exits - 1 of the CCS list
  kExplicit,   // exits_after
};
enum class ExitForm {
  kLinear,    // 1.1: pool, one linear layer
  kTwoLayer,  // 1.2: pool, two linear layers with dropout between; the end has the same shape
};
enum class Precision {
  kFloat32,
  kMixed,  // bfloat16 activations and their gradients; weights, exit features, linear layers and losses
           // float32
};

struct NetOptions {
  std::string name = "resnet-56";  // net_names()
  int classes = 10;
  int channels = 3, side = 32;  // images are square; a net for rows of features has `features` instead
  int features = 0;
  int num_exits = 0;  // K, the end included; 1: plain; 0: 4 for equal cost, all of the list for sdn and ccs
  Placement placement = Placement::kEqualCost;
  std::vector<int> exits_after;  // blocks, for kExplicit
  ExitForm form = ExitForm::kLinear;
  Precision precision = Precision::kFloat32;
  int width_divisor = 1;         // channels and hidden features are divided by it: small nets for tests
  std::vector<float> mean, std;  // of the pixels in [0,1], per channel; empty: 0 and 1
  friend bool operator==(const NetOptions&, const NetOptions&) = default;
};

// What `name` may be: the forms of nets/families/families.h.
std::vector<std::string> net_names();

const char* to_text(Placement);
const char* to_text(ExitForm);
const char* to_text(Precision);
// Throw ValueError that lists what is known.
Placement placement_from(const std::string& text);
ExitForm exit_form_from(const std::string& text);
Precision precision_from(const std::string& text);

// As text, and back. Throws ValueError on a missing or unreadable key.
std::map<std::string, std::string> to_metadata(const NetOptions& options);
NetOptions options_from_metadata(const std::map<std::string, std::string>& metadata);

}  // namespace offramp::nets
