#pragma once
// A net with memory: logits of every exit, or segment by segment, which is how early exit saves work.
//
//   Network net(options, Device::cpu());
//   initialize(net, seed);                              // or load a state dict (nets/graph/state_dict.h)
//   std::vector<Tensor> logits = net.forward(pixels);   // const: evaluation, what attacks use
//   logits = net.forward(pixels, TrainPass{...});       // not const: running averages move, dropout acts
//
// Normalisation is the first layer: every net takes pixels in [0,1] (or rows of features, for tables). With
// Precision::kMixed activations are bfloat16; weights, exit features, linear layers and logits are float32.
// A net with several inputs takes them as Features, in the order of Architecture::inputs.
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nets/exits/segmented.h"
#include "nets/graph/architecture.h"
#include "nets/graph/cost.h"
#include "nets/graph/options.h"

namespace offramp::nets {

struct TrainPass {
  std::uint64_t seed = 0;            // of dropout
  const StepState* state = nullptr;  // its step is the dropout's; null: step 0
  // The trunk runs as in evaluation and only the exits train (specs: training 3). False with exit targets
  // alone is the behaviour of the reference code: running averages move and dropout stays active.
  bool trunk_in_eval_mode = false;
};

class Network final : public SegmentedNet {
 public:
  // Builds, declares and allocates; running variances are 1, everything else 0 until initialize() or a load.
  // Throws what build() throws.
  Network(const NetOptions& options, const Device& device);
  // A net of no family. Its options() are its name, classes and precision; a checkpoint of it is read with
  // load_state_dict(). Throws ShapeError or ValueError where its parts do not fit.
  Network(const Architecture& architecture, const Device& device, Precision precision = Precision::kFloat32);

  const NetOptions& options() const { return options_; }
  const Architecture& architecture() const { return arch_; }
  const NetCosts& costs() const { return costs_; }
  const Device& device() const { return device_; }
  ParameterSet& parameters() { return parameters_; }
  const ParameterSet& parameters() const { return parameters_; }
  int num_exits() const override { return arch_.num_exits(); }
  int classes() const override { return arch_.classes; }
  const std::vector<Extent>& inputs() const override { return arch_.inputs; }

  // Throws ShapeError where x is not what the net takes.
  void check_inputs(const Features& x) const;
  // x [n,c,h,w] in [0,1], or [n,features], float32 -> logits [n, classes] of exits 1..K. Throws ShapeError
  // where x is of another size.
  std::vector<Tensor> forward(const Tensor& x) const;
  std::vector<Tensor> forward(const Features& x) const;
  std::vector<Tensor> forward(const Tensor& x, const TrainPass& pass);
  std::vector<Tensor> forward(const Features& x, const TrainPass& pass);
  // Sees (name, output) of every layer and block that runs, in order: what checks for a non-finite value and
  // counts layers.
  using Observer = std::function<void(std::string_view name, const Tensor& output)>;
  std::vector<Tensor> forward(const Tensor& x, const Observer& observer) const;
  std::vector<Tensor> forward(const Tensor& x, const TrainPass& pass, const Observer& observer);

  // From the end of the segment before (the inputs for segment 0) to exit `segment` (from 0).
  Segment forward_segment(int segment, const Features& x) const override;
  int rows_together() const override;
  Segment forward_segment(int segment, const Features& x, const Observer& observer) const;

 private:
  struct Walk;
  Network(const NetOptions& options, Architecture architecture, const Device& device);
  void run_first(Features& x, const Walk& walk) const;
  Tensor run_layers(std::span<const Layer> layers, Tensor x, const PassContext& pass, const Walk& walk) const;
  static const Conv2d* fused(const Layer& layer, const Tensor& x, const PassContext& pass, const Walk& walk);
  Tensor run_path(const Path& path, const Features& x, const PassContext& pass, const Walk& walk) const;
  Tensor run_map(const Map& map, const Features& x, const Walk& walk) const;
  void run_block(int index, Features& x, const Walk& walk) const;
  // Blocks of segment s: first, and one past the last.
  std::pair<int, int> blocks_of(int segment) const;
  Segment run_segment(int segment, const Features& x, const Walk& walk) const;
  std::vector<Tensor> run_all(Features x, const Walk& walk) const;
  std::vector<Tensor> run_training(Features x, const TrainPass& pass, const Observer& observer);

  NetOptions options_;
  Architecture arch_;
  NetCosts costs_;
  Device device_;
  ParameterSet parameters_;
  Tensor mean_, inv_std_;  // [channels]; empty for tables
};

// Draws every parameter afresh (specs: networks 4) from Philox, by name-independent place: equal seeds give
// equal bits. Running means become 0, running variances 1. The normalisation stays.
void initialize(Network& net, std::uint64_t seed);

}  // namespace offramp::nets
