#include "nets/onnx/onnx_graph.h"

#include <utility>

#include "base/errors.h"

namespace offramp::nets::onnx {
namespace {

// Field numbers of onnx.proto.
namespace attribute_proto {
constexpr int kName = 1, kF = 2, kI = 3, kG = 6, kInts = 8, kType = 20;
constexpr std::int64_t kTypeFloat = 1, kTypeInt = 2, kTypeGraph = 5, kTypeInts = 7;
}  // namespace attribute_proto
namespace tensor_proto {
constexpr int kDims = 1, kDataType = 2, kName = 8, kRawData = 9;
}
namespace node_proto {
constexpr int kInput = 1, kOutput = 2, kName = 3, kOpType = 4, kAttribute = 5;
}
namespace graph_proto {
constexpr int kNode = 1, kName = 2, kInitializer = 5, kInput = 11, kOutput = 12;
}
namespace model_proto {
constexpr int kIrVersion = 1, kProducerName = 2, kProducerVersion = 3, kDocString = 6, kGraph = 7,
              kOpsetImport = 8, kMetadataProps = 14;
}

constexpr std::uint64_t kMostBytes = (std::uint64_t{1} << 31) - 1;  // of one message

ProtobufMessage value_info(const std::string& name, ElementType type, std::span<const std::int64_t> shape) {
  ProtobufMessage dims;  // TensorShapeProto
  for (const std::int64_t size : shape) {
    ProtobufMessage dim;
    if (size == kBatch) {
      dim.add_text(2, kBatchName);  // dim_param
    } else {
      dim.add_int(1, size);  // dim_value
    }
    dims.add_message(1, std::move(dim));
  }
  ProtobufMessage tensor, of_type, info;  // TypeProto.Tensor, TypeProto, ValueInfoProto
  tensor.add_int(1, static_cast<std::int64_t>(type)).add_message(2, std::move(dims));
  of_type.add_message(1, std::move(tensor));
  info.add_text(1, name).add_message(2, std::move(of_type));
  return info;
}

template <class T>
ProtobufMessage tensor(const std::string& name,
                       ElementType type,
                       std::span<const std::int64_t> shape,
                       std::span<const T> values) {
  ProtobufMessage proto;
  for (const std::int64_t size : shape) proto.add_int(tensor_proto::kDims, size);
  proto.add_int(tensor_proto::kDataType, static_cast<std::int64_t>(type)).add_text(tensor_proto::kName, name);
  proto.add_bytes(tensor_proto::kRawData,
                  std::string(reinterpret_cast<const char*>(values.data()), values.size_bytes()));
  return proto;
}

}  // namespace

Attribute int_attribute(std::string_view name, std::int64_t value) {
  using namespace attribute_proto;
  Attribute proto;
  proto.add_text(kName, name).add_int(kI, value).add_int(kType, kTypeInt);
  return proto;
}

Attribute ints_attribute(std::string_view name, std::span<const std::int64_t> values) {
  using namespace attribute_proto;
  Attribute proto;
  proto.add_text(kName, name);
  for (const std::int64_t value : values) proto.add_int(kInts, value);
  proto.add_int(kType, kTypeInts);
  return proto;
}

Attribute float_attribute(std::string_view name, float value) {
  using namespace attribute_proto;
  Attribute proto;
  proto.add_text(kName, name).add_float(kF, value).add_int(kType, kTypeFloat);
  return proto;
}

Attribute graph_attribute(std::string_view name, ProtobufMessage graph) {
  using namespace attribute_proto;
  Attribute proto;
  proto.add_text(kName, name).add_message(kG, std::move(graph)).add_int(kType, kTypeGraph);
  return proto;
}

void Graph::input(const std::string& name, ElementType type, std::span<const std::int64_t> shape) {
  proto_.add_message(graph_proto::kInput, value_info(name, type, shape));
}

void Graph::output(const std::string& name, ElementType type, std::span<const std::int64_t> shape) {
  proto_.add_message(graph_proto::kOutput, value_info(name, type, shape));
}

std::string Graph::floats(const std::string& name,
                          std::span<const std::int64_t> shape,
                          std::span<const float> values) {
  proto_.add_message(graph_proto::kInitializer, tensor(name, ElementType::kFloat, shape, values));
  return name;
}

std::string Graph::integers(const std::string& name,
                            std::span<const std::int64_t> shape,
                            std::span<const std::int64_t> values) {
  proto_.add_message(graph_proto::kInitializer, tensor(name, ElementType::kInt64, shape, values));
  return name;
}

std::string Graph::node(const std::string& op,
                        std::span<const std::string> inputs,
                        std::span<const std::string> outputs,
                        std::vector<Attribute> attributes) {
  ProtobufMessage proto;
  for (const std::string& input : inputs) proto.add_text(node_proto::kInput, input);
  for (const std::string& output : outputs) proto.add_text(node_proto::kOutput, output);
  proto.add_text(node_proto::kName, outputs.front()).add_text(node_proto::kOpType, op);
  for (Attribute& attribute : attributes) proto.add_message(node_proto::kAttribute, std::move(attribute));
  proto_.add_message(graph_proto::kNode, std::move(proto));
  return outputs.front();
}

ProtobufMessage Graph::finish(std::string_view name) && {
  proto_.add_text(graph_proto::kName, name);
  return std::move(proto_);
}

ProtobufMessage model(ProtobufMessage graph,
                      std::string_view producer_version,
                      std::string_view description,
                      const std::map<std::string, std::string>& metadata) {
  using namespace model_proto;
  ProtobufMessage proto, operators;
  operators.add_text(1, "").add_int(2, kOperatorSet);  // the standard's own domain
  proto.add_int(model_proto::kIrVersion, onnx::kIrVersion)
      .add_text(kProducerName, "offramp")
      .add_text(kProducerVersion, producer_version)
      .add_text(kDocString, description)
      .add_message(kGraph, std::move(graph))
      .add_message(kOpsetImport, std::move(operators));
  for (const auto& [key, value] : metadata) {
    ProtobufMessage entry;
    entry.add_text(1, key).add_text(2, value);
    proto.add_message(kMetadataProps, std::move(entry));
  }
  if (proto.size() > kMostBytes) {
    throw ValueError("onnx: a model has at most " + std::to_string(kMostBytes) + " bytes, this net takes " +
                     std::to_string(proto.size()));
  }
  return proto;
}

}  // namespace offramp::nets::onnx
