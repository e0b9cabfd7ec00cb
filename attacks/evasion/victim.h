#pragma once
// What an attack knows of a net: white box, float32, evaluation mode. Normalisation is inside the net, so images, eps and
// steps are in pixels of [0,1]. Nothing here writes the net: forward_segment is const, running statistics stay.
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "nets/exits/exit_policy.h"
#include "nets/exits/segmented.h"
#include "nets/graph/network.h"

namespace offramp::attacks::evasion {

struct Victim {
  std::string name;
  const nets::SegmentedNet* net = nullptr;
  Device device;
  nets::ExitPolicy policy;              // where a sample leaves
  std::vector<std::int64_t> exit_macs;  // [num_exits] of one sample, cumulative
  std::vector<std::int64_t> exit_ops;   // the same in the operations that the papers count
  std::vector<float>
      inverse_deviation;  // [c] of the normalisation, for distances between normalised images; or empty

  std::function<void()> before_gradient = {};  // called before each gradient; may throw to stop
  // What gradients go through: the net frozen for gradients, equal to it but for rounding; empty: the net itself.
  std::shared_ptr<const nets::SegmentedNet> frozen = {};
  const nets::SegmentedNet& gradient_net() const { return frozen ? *frozen : *net; }

  int num_exits() const { return net->num_exits(); }
  int classes() const { return net->classes(); }
  // A net without internal classifiers under attack is an "SDNN" of specs/robustness.md, one with them a "DyNN".
  bool is_dynamic() const { return num_exits() > 1; }
};

// The net must outlive the victim; gradients are those of its values now. Throws ValueError where the policy does not fit, or
// the net is not float32.
Victim victim_of(std::string name, const nets::Network& net, nets::ExitPolicy policy);

// The last exit of a net alone: the plain net that shares its weights (oracle-notes B30). Costs of its one exit are those
// of the plain net.
class LastExitNet final : public nets::SegmentedNet {
 public:
  explicit LastExitNet(const nets::SegmentedNet& net) : net_(net) {}
  explicit LastExitNet(std::shared_ptr<const nets::SegmentedNet> net)
      : owned_(std::move(net)), net_(*owned_) {}
  int num_exits() const override { return 1; }
  int classes() const override { return net_.classes(); }
  const std::vector<nets::Extent>& inputs() const override { return net_.inputs(); }
  int rows_together() const override { return net_.rows_together(); }
  nets::Segment forward_segment(int segment, const nets::Features& x) const override;

 private:
  std::shared_ptr<const nets::SegmentedNet> owned_;  // or empty
  const nets::SegmentedNet& net_;
};

}  // namespace offramp::attacks::evasion
