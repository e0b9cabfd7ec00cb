#pragma once
// One graph of an ONNX model, written node by node (onnx.proto of ONNX 1.9: IR version 7, operator set 14, which every
// runtime of today reads). Values are named; a graph inside a node sees the values of the graphs around it.
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/protobuf_writer.h"

namespace offramp::nets::onnx {

inline constexpr std::int64_t kIrVersion = 7, kOperatorSet = 14;
inline constexpr std::int64_t kBatch = -1;  // a dimension that any batch fits
inline constexpr std::string_view kBatchName = "batch";

enum class ElementType : std::int64_t { kFloat = 1, kInt64 = 7, kBool = 9 };

using Attribute = ProtobufMessage;
Attribute int_attribute(std::string_view name, std::int64_t value);
Attribute ints_attribute(std::string_view name, std::span<const std::int64_t> values);
Attribute float_attribute(std::string_view name, float value);
Attribute graph_attribute(std::string_view name, ProtobufMessage graph);

class Graph {
 public:
  // Shape with kBatch where any batch fits.
  void input(const std::string& name, ElementType type, std::span<const std::int64_t> shape);
  void output(const std::string& name, ElementType type, std::span<const std::int64_t> shape);
  // Constants; their name is returned.
  std::string floats(const std::string& name,
                     std::span<const std::int64_t> shape,
                     std::span<const float> values);
  std::string integers(const std::string& name,
                       std::span<const std::int64_t> shape,
                       std::span<const std::int64_t> values);
  // A node with these outputs, in the graph's order of computation. Returns the first output.
  std::string node(const std::string& op,
                   std::span<const std::string> inputs,
                   std::span<const std::string> outputs,
                   std::vector<Attribute> attributes = {});
  // GraphProto.
  ProtobufMessage finish(std::string_view name) &&;

 private:
  ProtobufMessage proto_;
};

// ModelProto around a graph. Throws ValueError where it has 2 GiB or more, which the format cannot have.
ProtobufMessage model(ProtobufMessage graph,
                      std::string_view producer_version,
                      std::string_view description,
                      const std::map<std::string, std::string>& metadata);

}  // namespace offramp::nets::onnx
