#pragma once
// Layers as plain structs: their settings, their name in the state dict, and the Tensor handles that
// declare() fills in. A net is lists of them (nets/graph/architecture.h); shapes and costs are computed from the
// settings alone, before any memory exists (specs: networks 2 and 5.1).
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "engine/ops.h"
#include "engine/parameters.h"

namespace offramp::nets {

// Size of one sample: c channels of h x w, or c features (h = w = 1).
struct Extent {
  int c = 0, h = 1, w = 1;
  std::int64_t size() const { return std::int64_t{c} * h * w; }
  friend bool operator==(const Extent&, const Extent&) = default;
};
std::string to_string(const Extent&);

// How weights start (specs: networks 4). Biases are 0, except with kFanIn where they are drawn as the
// weights.
enum class Init {
  kHeFanOut,       // N(0, sqrt(2 / (k^2 * out)))
  kXavierRelu,     // U(+-sqrt(2) * sqrt(6 / (fan_in + fan_out)))
  kFanIn,          // U(+-1 / sqrt(fan_in)), the framework's default
  kFanInZeroBias,  // the same, but with bias 0
  kSmallNormal,    // N(0, 0.01)
};

struct Conv2d {
  std::string name;
  int in = 0, out = 0, kernel = 3, stride = 1, pad = 1, groups = 1;
  bool has_bias = false;
  Init init = Init::kHeFanOut;
  Tensor weight = {}, bias = {};
};

struct Linear {
  std::string name;
  int in = 0, out = 0;
  // Of the map that was flattened before it: its columns are permuted on disk.
  int flatten_h = 1, flatten_w = 1;
  Init init = Init::kFanIn;
  Tensor weight = {}, bias = {};
};

// BatchNorm2d or 1d, with the ReLU that follows it: one op.
struct BatchNorm {
  std::string name;
  int channels = 0;
  bool relu = true;
  float momentum = 0.1f;
  bool is_1d = false;  // over features: the reference profiler does not count it
  BatchNormTensors tensors = {};
};

struct Relu {};
struct Flatten {};
struct MaxPool {
  int k = 2;
};
struct AvgPool {
  int k = 2;
};
struct Dropout {
  float p = 0.5f;
  std::uint32_t op = 0;  // place in the random stream: its number among the net's dropouts, from 0
};
// The mixed pool of an internal classifier: alpha * max + (1 - alpha) * avg, window and stride k
// (networks 1.1).
struct ExitPool {
  std::string name;
  int k = 1;
  Tensor alpha = {};
};

using Layer = std::variant<Conv2d, Linear, BatchNorm, Relu, Flatten, MaxPool, AvgPool, Dropout, ExitPool>;

// "layers.3.layers.0", or the kind of a layer that has no parameters.
const std::string& name_of(const Layer&);

// What one layer costs for one sample.
struct Cost {
  std::int64_t parameters = 0;    // trainable values, alpha included
  std::int64_t macs = 0;          // true multiply-accumulates of convolutions and products
  std::int64_t ops_profiler = 0;  // specs: networks 5.1, bug-compatible
  Cost& operator+=(const Cost& other);
  friend bool operator==(const Cost&, const Cost&) = default;
};
struct LayerEffect {
  Extent out;
  Cost cost;
};
// Shape inference and cost. Throws ShapeError, with the layer's name, where the layer does not fit its input.
LayerEffect effect_of(const Layer& layer, const Extent& in);

// Declares the layer's parameters and buffers; `exit` as in ParameterInfo.
void declare(Layer& layer, int exit, ParameterSet& parameters);

// What a forward pass needs besides its input.
struct DropoutState {
  std::uint64_t seed = 0;
  const StepState* state = nullptr;  // supplies the step of the key; null: step 0
};
struct PassContext {
  bool train = false;                     // batch statistics, running averages move, dropout active
  const DropoutState* dropout = nullptr;  // needed by a training pass through a Dropout
};
Tensor run(const Layer& layer, const Tensor& x, const PassContext& pass);
// A convolution and the batch norm behind it as one op, with what run_residual adds: residual (or empty) and ReLU.
Tensor run_normalised(const Conv2d& conv,
                      const BatchNorm& norm,
                      const Tensor& x,
                      const Tensor& residual,
                      bool relu,
                      const PassContext& pass);
// The batch norm that ends a residual path: bn(x) + residual as one op, with the ReLU behind the sum or without.
Tensor run_residual(
    const BatchNorm& layer, const Tensor& x, const Tensor& residual, bool relu, const PassContext& pass);

}  // namespace offramp::nets
