// Runs an ONNX graph in double, from the operators' definitions (github.com/onnx/onnx docs/Operators.md, set 14): what a
// runtime must make of an exported net. Throws for an operator, a name or a shape that is not as the standard has it.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/nets/onnx/onnx_reader.h"

namespace offramp::test::onnx {

struct Array {
  std::vector<std::int64_t> shape;
  std::vector<double> v;
  std::int64_t dim(std::size_t i) const { return shape.at(i); }
};

inline std::int64_t volume(const std::vector<std::int64_t>& shape) {
  std::int64_t n = 1;
  for (const std::int64_t size : shape) n *= size;
  return n;
}

using Values = std::map<std::string, Array>;

class Interpreter {
 public:
  // `outer`: the values of the graphs around it. Returns the graph's outputs, by name.
  static Values run(const Graph& graph, Values known) {
    for (const auto& [name, c] : graph.constants) {
      Array a{c.shape, {}};
      if (c.type == 1) a.v.assign(c.floats.begin(), c.floats.end());
      if (c.type == 7) a.v.assign(c.integers.begin(), c.integers.end());
      define(known, name, std::move(a));
    }
    for (const Node& node : graph.nodes) step(node, known);
    Values out;
    for (const Value& value : graph.outputs) {
      const Array& a = known.at(value.name);
      if (value.shape.size() != a.shape.size())
        throw std::runtime_error(value.name + ": declared with another rank");
      for (std::size_t i = 0; i < a.shape.size(); ++i)
        if (value.shape[i] != "batch" && value.shape[i] != std::to_string(a.shape[i]))
          throw std::runtime_error(value.name + ": declared with another shape");
      out.emplace(value.name, a);
    }
    return out;
  }

 private:
  static void define(Values& known, const std::string& name, Array a) {
    if (volume(a.shape) != static_cast<std::int64_t>(a.v.size()))
      throw std::runtime_error(name + ": other values than its shape has");
    if (!known.emplace(name, std::move(a)).second) throw std::runtime_error(name + ": defined twice");
  }

  static void step(const Node& node, Values& known) {
    std::vector<Array> x;
    for (const std::string& name : node.inputs) {
      if (!known.contains(name)) throw std::runtime_error(node.name + ": " + name + " is not known yet");
      x.push_back(known.at(name));
    }
    if (node.op == "If") {
      const Graph& branch = *node.attributes.at(x.at(0).v.at(0) != 0 ? "then_branch" : "else_branch").graph;
      const Values out = run(branch, known);
      for (std::size_t i = 0; i < node.outputs.size(); ++i)
        define(known, node.outputs[i], out.at(branch.outputs.at(i).name));
      return;
    }
    define(known, node.outputs.at(0), apply(node, x));
  }

  static std::int64_t integer(const Node& node, const char* name) { return node.attributes.at(name).i; }

  static Array apply(const Node& node, std::vector<Array>& x) {
    const std::string& op = node.op;
    if (op == "Identity") return x[0];
    if (op == "Conv") return conv(node, x);
    if (op == "MaxPool" || op == "AveragePool") return pool(node, x[0], op == "MaxPool");
    if (op == "Gemm") return gemm(node, x);
    if (op == "BatchNormalization") return batch_norm(node, x);
    if (op == "Concat") return concat(x, static_cast<std::size_t>(integer(node, "axis")));
    if (op == "Add") return broadcast(x, [](double a, double b) { return a + b; });
    if (op == "Sub") return broadcast(x, [](double a, double b) { return a - b; });
    if (op == "Mul") return broadcast(x, [](double a, double b) { return a * b; });
    if (op == "Greater") return broadcast(x, [](double a, double b) { return a > b ? 1.0 : 0.0; });
    if (op == "Flatten") return {{x[0].dim(0), volume(x[0].shape) / x[0].dim(0)}, x[0].v};
    if (op == "Softmax") return softmax(x[0]);
    if (op == "ReduceMax") return reduce_max(node, x[0]);
    if (op == "ArgMax")
      return {{1}, {static_cast<double>(std::max_element(x[0].v.begin(), x[0].v.end()) - x[0].v.begin())}};
    if (op == "Gather") {  // a row of a matrix
      const auto row = static_cast<std::ptrdiff_t>(x[1].v.at(0)),
                 width = static_cast<std::ptrdiff_t>(x[0].dim(1));
      return {{1, x[0].dim(1)}, {x[0].v.begin() + row * width, x[0].v.begin() + (row + 1) * width}};
    }
    if (op == "Relu") {
      for (double& v : x[0].v) v = std::max(v, 0.0);
      return x[0];
    }
    throw std::runtime_error("operator " + op + " is not known here");
  }

  static Array conv(const Node& node, const std::vector<Array>& in) {
    const Array &x = in[0], &w = in[1];
    const std::int64_t stride = node.attributes.at("strides").ints.at(0),
                       pad = node.attributes.at("pads").ints.at(0), groups = integer(node, "group"),
                       side = w.dim(2);
    const std::int64_t c = x.dim(1), h = x.dim(2), width = x.dim(3), k = w.dim(0), per = w.dim(1);
    if (per * groups != c) throw std::runtime_error(node.name + ": other channels than its input");
    const std::int64_t oh = (h + 2 * pad - side) / stride + 1, ow = (width + 2 * pad - side) / stride + 1;
    Array y{{x.dim(0), k, oh, ow}, {}};
    for (std::int64_t n = 0; n < x.dim(0); ++n)
      for (std::int64_t o = 0; o < k; ++o)
        for (std::int64_t i = 0; i < oh; ++i)
          for (std::int64_t j = 0; j < ow; ++j) {
            double sum = in.size() > 2 ? in[2].v[static_cast<std::size_t>(o)] : 0;
            const std::int64_t first = o / (k / groups) * per;
            for (std::int64_t q = 0; q < per; ++q)
              for (std::int64_t r = 0; r < side; ++r)
                for (std::int64_t s = 0; s < side; ++s) {
                  const std::int64_t yy = i * stride + r - pad, xx = j * stride + s - pad;
                  if (yy < 0 || yy >= h || xx < 0 || xx >= width) continue;
                  sum += x.v[static_cast<std::size_t>(((n * c + first + q) * h + yy) * width + xx)] *
                         w.v[static_cast<std::size_t>(((o * per + q) * side + r) * side + s)];
                }
            y.v.push_back(sum);
          }
    return y;
  }

  static Array pool(const Node& node, const Array& x, bool max) {
    const std::int64_t k = node.attributes.at("kernel_shape").ints.at(0),
                       stride = node.attributes.at("strides").ints.at(0);
    const std::int64_t h = x.dim(2), w = x.dim(3), oh = (h - k) / stride + 1, ow = (w - k) / stride + 1;
    Array y{{x.dim(0), x.dim(1), oh, ow}, {}};
    for (std::int64_t map = 0; map < x.dim(0) * x.dim(1); ++map)
      for (std::int64_t i = 0; i < oh; ++i)
        for (std::int64_t j = 0; j < ow; ++j) {
          double largest = -std::numeric_limits<double>::infinity(), sum = 0;
          for (std::int64_t r = 0; r < k; ++r)
            for (std::int64_t s = 0; s < k; ++s) {
              const double v = x.v[static_cast<std::size_t>((map * h + i * stride + r) * w + j * stride + s)];
              largest = std::max(largest, v);
              sum += v;
            }
          y.v.push_back(max ? largest : sum / static_cast<double>(k * k));
        }
    return y;
  }

  static Array gemm(const Node& node, const std::vector<Array>& in) {
    if (integer(node, "transB") != 1) throw std::runtime_error("Gemm: transB");
    const Array &x = in[0], &w = in[1];
    if (x.dim(1) != w.dim(1)) throw std::runtime_error(node.name + ": other features than its input");
    Array y{{x.dim(0), w.dim(0)}, {}};
    for (std::int64_t n = 0; n < x.dim(0); ++n)
      for (std::int64_t o = 0; o < w.dim(0); ++o) {
        double sum = in[2].v.at(static_cast<std::size_t>(o));
        for (std::int64_t i = 0; i < x.dim(1); ++i)
          sum += x.v[static_cast<std::size_t>(n * x.dim(1) + i)] *
                 w.v[static_cast<std::size_t>(o * x.dim(1) + i)];
        y.v.push_back(sum);
      }
    return y;
  }

  static Array batch_norm(const Node& node, std::vector<Array>& in) {
    Array& x = in[0];
    const double eps = static_cast<double>(node.attributes.at("epsilon").f);
    const std::int64_t c = x.dim(1), inner = volume(x.shape) / x.dim(0) / c;
    for (std::size_t i = 0; i < x.v.size(); ++i) {
      const auto k = static_cast<std::size_t>(static_cast<std::int64_t>(i) / inner % c);
      x.v[i] = (x.v[i] - in[3].v.at(k)) / std::sqrt(in[4].v.at(k) + eps) * in[1].v.at(k) + in[2].v.at(k);
    }
    return x;
  }

  static Array concat(const std::vector<Array>& x, std::size_t axis) {
    Array y{x[0].shape, {}};
    y.shape.at(axis) = 0;
    std::int64_t outer = 1;
    for (std::size_t i = 0; i < axis; ++i) outer *= x[0].dim(i);
    for (const Array& part : x) y.shape[axis] += part.dim(axis);
    for (std::int64_t o = 0; o < outer; ++o)
      for (const Array& part : x) {
        const auto run = static_cast<std::ptrdiff_t>(volume(part.shape) / outer);
        y.v.insert(y.v.end(), part.v.begin() + o * run, part.v.begin() + (o + 1) * run);
      }
    return y;
  }

  // The second operand has the first one's rank with sizes of 1, its shape, or one value.
  template <class F>
  static Array broadcast(const std::vector<Array>& in, F f) {
    Array y = in[0];
    const Array& b = in[1];
    if (b.v.size() != 1 && b.shape.size() != y.shape.size())
      throw std::runtime_error("broadcast of another rank");
    for (std::size_t i = 0; i < y.v.size(); ++i) {
      std::size_t at = 0, rest = i, step = 1;
      for (std::size_t d = y.shape.size(); b.v.size() > 1 && d-- > 0;) {
        const auto size = static_cast<std::size_t>(y.shape[d]), own = static_cast<std::size_t>(b.shape[d]);
        if (own != 1 && own != size) throw std::runtime_error("broadcast of another size");
        if (own > 1) at += rest % size * step;
        rest /= size;
        step *= own;
      }
      y.v[i] = f(y.v[i], b.v[at]);
    }
    return y;
  }

  static Array softmax(const Array& x) {
    Array y = x;
    const auto width = static_cast<std::size_t>(x.dim(1));
    for (std::size_t row = 0; row < y.v.size(); row += width) {
      const auto begin = y.v.begin() + static_cast<std::ptrdiff_t>(row), end = begin + x.dim(1);
      const double top = *std::max_element(begin, end);
      double sum = 0;
      for (auto v = begin; v != end; ++v) sum += * v = std::exp(*v - top);
      for (auto v = begin; v != end; ++v) *v /= sum;
    }
    return y;
  }

  // Of a matrix: over its rows (axis 1), or over all.
  static Array reduce_max(const Node& node, const Array& x) {
    const auto& axes = node.attributes.at("axes").ints;
    if (axes.size() == 2) return {{}, {*std::max_element(x.v.begin(), x.v.end())}};
    Array y{{x.dim(0)}, {}};
    for (std::int64_t row = 0; row < x.dim(0); ++row) {
      const auto begin = x.v.begin() + row * x.dim(1);
      y.v.push_back(*std::max_element(begin, begin + x.dim(1)));
    }
    return y;
  }
};

}  // namespace offramp::test::onnx
