#include "nets/onnx/onnx_export.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "base/atomic_file.h"
#include "base/errors.h"
#include "nets/exits/folded_conv.h"
#include "nets/graph/overloaded.h"
#include "nets/onnx/onnx_graph.h"

namespace offramp::nets {
namespace {

using onnx::Attribute;
using onnx::ElementType;
using onnx::Graph;
using Dims = std::vector<std::int64_t>;
using Names = std::vector<std::string>;

// The threshold t as a float f such that, of floats, "confidence > f" is what the rule says of t in double.
float as_greater_than(double threshold, ExitRule rule) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  threshold = std::clamp(threshold, -1.0, 2.0);  // confidences lie in [0,1]
  auto f = static_cast<float>(threshold);
  if (rule == ExitRule::kAtLeast) {  // c >= t: c > the largest float below t
    while (static_cast<double>(f) >= threshold) f = std::nextafter(f, -kInfinity);
    while (static_cast<double>(std::nextafter(f, kInfinity)) < threshold) f = std::nextafter(f, kInfinity);
    return f;
  }
  while (static_cast<double>(f) > threshold)
    f = std::nextafter(f, -kInfinity);  // c > t: the largest float up to t
  return f;
}

class OnnxBuilder {
 public:
  OnnxBuilder(const Network& net, const OnnxOptions& options)
      : net_(net), arch_(net.architecture()), options_(options), batch_(options.with_if ? 1 : onnx::kBatch) {}

  ProtobufMessage build() {
    Graph graph;
    Names maps;
    for (std::size_t i = 0; i < arch_.inputs.size(); ++i) {
      const bool pixels = arch_.pixels && i == 0;
      const Extent& e = arch_.inputs[i];
      const std::string name = pixels ? "images" : i == 0 ? "features" : "input_" + std::to_string(i + 1);
      graph.input(name,
                  ElementType::kFloat,
                  pixels || e.h > 1 || e.w > 1 ? Dims{batch_, e.c, e.h, e.w} : Dims{batch_, e.c});
      maps.push_back(name);
    }
    if (arch_.pixels) maps[0] = normalized(graph, maps[0]);
    maps[0] = layers(graph, arch_.stem, maps[0]);
    if (options_.with_if) {
      segment_with_if(graph, 0, std::move(maps), {});
    } else {
      all_exits(graph, std::move(maps));
    }
    return std::move(graph).finish(arch_.name);
  }

 private:
  // A name for a value that is used once in the whole model.
  std::string fresh(const std::string& base) {
    const int used = used_[base]++;
    return used == 0 ? base : base + "_" + std::to_string(used + 1);
  }
  std::string op(Graph& graph,
                 const std::string& kind,
                 const Names& inputs,
                 std::vector<Attribute> attributes = {}) {
    const std::array<std::string, 1> out{fresh(kind)};
    return graph.node(kind, inputs, out, std::move(attributes));
  }

  std::string values(Graph& graph, const std::string& name, const Dims& shape, const std::vector<float>& v) {
    return graph.floats(fresh(name), shape, v);
  }
  // A parameter or buffer of the net, [c] or of `shape`.
  std::string tensor(Graph& graph, const std::string& name, const Tensor& t, Dims shape = {}) {
    if (shape.empty()) shape = {t.shape().size()};
    return values(graph, name, shape, t.to_host<float>());
  }

  std::string normalized(Graph& graph, const std::string& x) {
    const auto of = [&](const char* name) {
      const Tensor& t = net_.parameters().find(name)->value;
      return tensor(graph, name, t, {1, t.shape().size(), 1, 1});
    };
    const std::string centred = op(graph, "Sub", {x, of("normalize.mean")});
    return op(graph, "Mul", {centred, of("normalize.inv_std")});
  }

  std::string convolution(Graph& graph, const Conv2d& l, const BatchNorm* norm, const std::string& x) {
    FoldedConv folded = fold(l, norm);
    const Dims shape{l.out, l.in / l.groups, l.kernel, l.kernel};
    const ParameterInfo info{.name = l.name, .layout = DiskLayout::kConv};
    Names inputs{x,
                 values(graph,
                        l.name + ".weight",
                        shape,
                        to_disk_order(info, l.weight.shape(), std::move(folded.weight)))};
    if (l.has_bias || norm) inputs.push_back(values(graph, l.name + ".bias", {l.out}, folded.bias));
    const Dims kernel{l.kernel, l.kernel}, stride{l.stride, l.stride}, pads{l.pad, l.pad, l.pad, l.pad};
    std::string y = op(graph,
                       "Conv",
                       inputs,
                       {onnx::ints_attribute("kernel_shape", kernel),
                        onnx::ints_attribute("strides", stride),
                        onnx::ints_attribute("pads", pads),
                        onnx::int_attribute("group", l.groups)});
    return norm && norm->relu ? op(graph, "Relu", {y}) : y;
  }

  std::string pool(Graph& graph, const char* kind, const std::string& x, int k) {
    const Dims window{k, k};
    return op(graph,
              kind,
              {x},
              {onnx::ints_attribute("kernel_shape", window), onnx::ints_attribute("strides", window)});
  }

  std::string layer(Graph& graph, const Layer& any, const std::string& x) {
    return std::visit(
        Overloaded{
            [&](const Conv2d& l) { return convolution(graph, l, nullptr, x); },
            [&](const Linear& l) {
              const ParameterSet::Entry& w = *net_.parameters().find(l.name + ".weight");
              const std::string weight =
                  values(graph,
                         l.name + ".weight",
                         {l.out, l.in},
                         to_disk_order(w.info, w.value.shape(), w.value.to_host<float>()));
              return op(graph,
                        "Gemm",
                        {x, weight, tensor(graph, l.name + ".bias", l.bias)},
                        {onnx::int_attribute("transB", 1)});
            },
            [&](const BatchNorm& l) {
              const BatchNormTensors& t = l.tensors;
              std::string y = op(graph,
                                 "BatchNormalization",
                                 {x,
                                  tensor(graph, l.name + ".weight", t.gamma),
                                  tensor(graph, l.name + ".bias", t.beta),
                                  tensor(graph, l.name + ".running_mean", t.running_mean),
                                  tensor(graph, l.name + ".running_var", t.running_var)},
                                 {onnx::float_attribute("epsilon", t.eps)});
              return l.relu ? op(graph, "Relu", {y}) : y;
            },
            [&](const Relu&) { return op(graph, "Relu", {x}); },
            [&](const Flatten&) { return op(graph, "Flatten", {x}, {onnx::int_attribute("axis", 1)}); },
            [&](const MaxPool& l) { return pool(graph, "MaxPool", x, l.k); },
            [&](const AvgPool& l) { return pool(graph, "AveragePool", x, l.k); },
            [&](const Dropout&) { return x; },
            [&](const ExitPool& l) {  // alpha * max + (1 - alpha) * average
              if (l.k == 1) return x;
              const float alpha = l.alpha.to_host<float>()[0];
              const std::string of_max = values(graph, l.name, {1}, {alpha}),
                                of_avg = values(graph, l.name + ".rest", {1}, {1 - alpha});
              const std::string max = op(graph, "Mul", {pool(graph, "MaxPool", x, l.k), of_max});
              return op(graph, "Add", {max, op(graph, "Mul", {pool(graph, "AveragePool", x, l.k), of_avg})});
            }},
        any);
  }

  std::string layers(Graph& graph, const std::vector<Layer>& list, std::string x) {
    for (std::size_t i = 0; i < list.size(); ++i) {
      const auto* conv = std::get_if<Conv2d>(&list[i]);
      if (!conv) {
        x = layer(graph, list[i], x);
        continue;
      }
      std::size_t next = i + 1;  // a dropout between is nothing in evaluation
      while (next < list.size() && std::holds_alternative<Dropout>(list[next])) ++next;
      const BatchNorm* norm = next < list.size() ? std::get_if<BatchNorm>(&list[next]) : nullptr;
      x = convolution(graph, *conv, norm, x);
      if (norm) i = next;
    }
    return x;
  }

  std::string path(Graph& graph, const Path& p, const Names& maps) {
    return layers(graph, p.layers, maps[static_cast<std::size_t>(p.from)]);
  }

  std::string map(Graph& graph, const Map& m, const Names& maps) {
    Names ends;
    for (const Path& p : m.paths) ends.push_back(path(graph, p, maps));
    if (m.join == Join::kFirst) return ends[0];
    if (m.join == Join::kConcat) return op(graph, "Concat", ends, {onnx::int_attribute("axis", 1)});
    const std::string sum = op(graph, "Add", ends);
    return m.join == Join::kAddRelu ? op(graph, "Relu", {sum}) : sum;
  }

  void block(Graph& graph, const Block& b, Names& maps) {
    Names next;
    for (const Map& m : b.maps) next.push_back(map(graph, m, maps));
    maps = std::move(next);
  }

  // The blocks up to exit `exit` (from 0) and its classifier: the name of its logits.
  std::string up_to_exit(Graph& graph, int exit, Names& maps) {
    const auto e = static_cast<std::size_t>(exit);
    const bool last = e == arch_.exits.size();
    const int end = last ? static_cast<int>(arch_.blocks.size()) : arch_.exits[e].after_block + 1;
    const int begin = exit == 0 ? 0 : arch_.exits[e - 1].after_block + 1;
    for (int b = begin; b < end; ++b) block(graph, arch_.blocks[static_cast<std::size_t>(b)], maps);
    return path(graph, last ? arch_.end : arch_.exits[e].path, maps);
  }

  void named_output(Graph& graph, const std::string& value, const std::string& name) {
    const std::array<std::string, 1> in{value}, out{name};
    graph.node("Identity", in, out);
  }

  void all_exits(Graph& graph, Names maps) {
    for (int e = 0; e < arch_.num_exits(); ++e) {
      const std::string name = "logits_" + std::to_string(e + 1);
      named_output(graph, up_to_exit(graph, e, maps), name);
      const Dims shape{batch_, arch_.classes};
      graph.output(name, ElementType::kFloat, shape);
    }
  }

  // The values of these names are outputs of the graph.
  void answer(Graph& graph, const std::string& logits, const std::string& exit) {
    const Dims one{1}, row{1, arch_.classes};
    graph.output(logits, ElementType::kFloat, row);
    graph.output(exit, ElementType::kInt64, one);
  }

  std::string exit_number(Graph& graph, int exit) {
    const Dims one{1}, number{exit + 1};
    return graph.integers(fresh("exit_number"), one, number);
  }

  // From exit `exit` on, to the outputs `logits` and `exit` of `graph`; `before`: logits of the exits that were not sure.
  void segment_with_if(Graph& graph, int exit, Names maps, Names before) {
    const std::string suffix = exit == 0 ? "" : "_from_" + std::to_string(exit + 1);
    const std::string out = "logits" + suffix, where = "exit" + suffix;
    const std::string logits = up_to_exit(graph, exit, maps);
    before.push_back(logits);
    if (exit + 1 == arch_.num_exits()) {
      named_output(graph, last_answer(graph, before), out);
      named_output(graph, exit_number(graph, exit), where);
      return answer(graph, out, where);
    }
    const std::string sure = is_sure(graph, logits, exit);
    Graph leave, go_on;
    const std::string left = "logits_of_" + std::to_string(exit + 1),
                      left_exit = "exit_of_" + std::to_string(exit + 1);
    named_output(leave, logits, left);
    named_output(leave, exit_number(leave, exit), left_exit);
    answer(leave, left, left_exit);
    segment_with_if(go_on, exit + 1, std::move(maps), std::move(before));
    const std::string number = std::to_string(exit + 1);
    const std::array<std::string, 1> in{sure};
    const std::array<std::string, 2> outputs{out, where};
    graph.node("If",
               in,
               outputs,
               {onnx::graph_attribute("then_branch", std::move(leave).finish("leave_at_" + number)),
                onnx::graph_attribute("else_branch", std::move(go_on).finish("go_on_from_" + number))});
    answer(graph, out, where);
  }

  std::string is_sure(Graph& graph, const std::string& logits, int exit) {
    const std::string softmax = op(graph, "Softmax", {logits}, {onnx::int_attribute("axis", 1)});
    const Dims both{0, 1};
    const std::string confidence =
        op(graph,
           "ReduceMax",
           {softmax},
           {onnx::ints_attribute("axes", both), onnx::int_attribute("keepdims", 0)});
    const float threshold =
        as_greater_than(options_.policy.thresholds[static_cast<std::size_t>(exit)], options_.policy.rule);
    const std::string than = graph.floats(fresh("threshold"), {}, std::array<float, 1>{threshold});
    return op(graph, "Greater", {confidence, than});
  }

  // What answers where no exit was sure: the last one, or the first of the most confident.
  std::string last_answer(Graph& graph, const Names& logits) {
    if (options_.policy.fallback == Fallback::kLast) return logits.back();
    const std::string all = op(graph, "Concat", logits, {onnx::int_attribute("axis", 0)});
    const std::string softmax = op(graph, "Softmax", {all}, {onnx::int_attribute("axis", 1)});
    const Dims axes{1};
    const std::string confidence =
        op(graph,
           "ReduceMax",
           {softmax},
           {onnx::ints_attribute("axes", axes), onnx::int_attribute("keepdims", 0)});
    const std::string best = op(
        graph, "ArgMax", {confidence}, {onnx::int_attribute("axis", 0), onnx::int_attribute("keepdims", 1)});
    return op(graph, "Gather", {all, best}, {onnx::int_attribute("axis", 0)});
  }

  const Network& net_;
  const Architecture& arch_;
  const OnnxOptions& options_;
  std::int64_t batch_;
  std::map<std::string, int> used_;
};

std::string description(const Network& net, bool with_if) {
  const std::string exits = std::to_string(net.num_exits());
  if (!with_if) return net.options().name + " with " + exits + " exits: logits of every exit";
  return net.options().name + " with " + exits +
         " exits: logits of the first sure exit, and its number from 1; one sample at a time";
}

}  // namespace

void save_onnx(const std::filesystem::path& path, const Network& net, const OnnxOptions& options) {
  if (options.with_if) options.policy.check(net.num_exits());
  const ProtobufMessage model = onnx::model(OnnxBuilder(net, options).build(),
                                            options.producer_version,
                                            description(net, options.with_if),
                                            options.metadata);
  AtomicFile file(path, model.size());
  for (const std::string& piece : model.pieces()) file.write(piece);
  file.commit();
}

}  // namespace offramp::nets
