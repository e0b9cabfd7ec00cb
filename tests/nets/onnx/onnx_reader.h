// An ONNX file as a test reads it: protocol buffers field by field (https://protobuf.dev/programming-guides/encoding), with
// the field numbers of onnx.proto, sharing nothing with the writer.
#pragma once

#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace offramp::test::onnx {

struct Field {
  int number = 0, wire = 0;
  std::uint64_t value = 0;      // of wire 0, 1 and 5
  std::string_view bytes = {};  // of wire 2
};

inline std::uint64_t varint(std::string_view& in) {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    const auto byte = static_cast<unsigned char>(in.at(0));
    in.remove_prefix(1);
    value |= std::uint64_t{byte & 0x7fu} << shift;
    if (byte < 0x80) return value;
  }
  throw std::runtime_error("varint of more than 64 bits");
}

inline std::vector<Field> fields_of(std::string_view in) {
  std::vector<Field> fields;
  while (!in.empty()) {
    const std::uint64_t tag = varint(in);
    Field field{.number = static_cast<int>(tag >> 3), .wire = static_cast<int>(tag & 7)};
    std::size_t take = 0;
    if (field.wire == 0) {
      field.value = varint(in);
    } else if (field.wire == 1 || field.wire == 5) {
      take = field.wire == 1 ? 8 : 4;
      if (in.size() < take) throw std::runtime_error("a number is cut off");
      std::memcpy(&field.value, in.data(), take);
    } else if (field.wire == 2) {
      take = varint(in);
      if (in.size() < take) throw std::runtime_error("a field is longer than its message");
      field.bytes = in.substr(0, take);
    } else {
      throw std::runtime_error("wire type " + std::to_string(field.wire));
    }
    in.remove_prefix(take);
    fields.push_back(field);
  }
  return fields;
}

struct Graph;
struct Attribute {
  std::int64_t i = 0, type = 0;
  float f = 0;
  std::vector<std::int64_t> ints;
  std::shared_ptr<Graph> graph;
};
struct Node {
  std::string op, name;
  std::vector<std::string> inputs, outputs;
  std::map<std::string, Attribute> attributes;
};
struct Constant {
  std::int64_t type = 0;  // 1: float, 7: int64
  std::vector<std::int64_t> shape;
  std::vector<float> floats;
  std::vector<std::int64_t> integers;
};
struct Value {
  std::string name;
  std::int64_t type = 0;
  std::vector<std::string> shape;  // numbers, or the name of a dimension that is none
};
struct Graph {
  std::string name;
  std::vector<Node> nodes;
  std::map<std::string, Constant> constants;
  std::vector<Value> inputs, outputs;
};
struct Model {
  std::int64_t ir_version = 0, operator_set = 0;
  std::string producer, description;
  Graph graph;
  std::map<std::string, std::string> metadata;
};

inline Graph read_graph(std::string_view bytes);

inline std::pair<std::string, Attribute> read_attribute(std::string_view bytes) {
  std::string name;
  Attribute a;
  for (const Field& f : fields_of(bytes)) {
    if (f.number == 1) name = f.bytes;
    if (f.number == 2) std::memcpy(&a.f, &f.value, sizeof a.f);
    if (f.number == 3) a.i = static_cast<std::int64_t>(f.value);
    if (f.number == 6) a.graph = std::make_shared<Graph>(read_graph(f.bytes));
    if (f.number == 8) a.ints.push_back(static_cast<std::int64_t>(f.value));
    if (f.number == 20) a.type = static_cast<std::int64_t>(f.value);
  }
  return {name, a};
}

inline Node read_node(std::string_view bytes) {
  Node node;
  for (const Field& f : fields_of(bytes)) {
    if (f.number == 1) node.inputs.emplace_back(f.bytes);
    if (f.number == 2) node.outputs.emplace_back(f.bytes);
    if (f.number == 3) node.name = f.bytes;
    if (f.number == 4) node.op = f.bytes;
    if (f.number == 5) node.attributes.insert(read_attribute(f.bytes));
  }
  return node;
}

inline std::pair<std::string, Constant> read_constant(std::string_view bytes) {
  std::string name;
  Constant c;
  std::string_view raw;
  for (const Field& f : fields_of(bytes)) {
    if (f.number == 1) c.shape.push_back(static_cast<std::int64_t>(f.value));
    if (f.number == 2) c.type = static_cast<std::int64_t>(f.value);
    if (f.number == 8) name = f.bytes;
    if (f.number == 9) raw = f.bytes;
  }
  const auto fill = [&](auto& values) {
    values.resize(raw.size() / sizeof values[0]);
    std::memcpy(values.data(), raw.data(), raw.size());
  };
  if (c.type == 1) fill(c.floats);
  if (c.type == 7) fill(c.integers);
  return {name, c};
}

inline Value read_value(std::string_view bytes) {
  Value value;
  for (const Field& f : fields_of(bytes)) {
    if (f.number == 1) value.name = f.bytes;
    if (f.number != 2) continue;
    for (const Field& of_type : fields_of(f.bytes)) {
      for (const Field& tensor : fields_of(of_type.bytes)) {
        if (tensor.number == 1) value.type = static_cast<std::int64_t>(tensor.value);
        if (tensor.number != 2) continue;
        for (const Field& dim : fields_of(tensor.bytes)) {
          const Field size = fields_of(dim.bytes).at(0);
          value.shape.push_back(size.number == 1 ? std::to_string(size.value) : std::string(size.bytes));
        }
      }
    }
  }
  return value;
}

inline Graph read_graph(std::string_view bytes) {
  Graph graph;
  for (const Field& f : fields_of(bytes)) {
    if (f.number == 1) graph.nodes.push_back(read_node(f.bytes));
    if (f.number == 2) graph.name = f.bytes;
    if (f.number == 5 && !graph.constants.insert(read_constant(f.bytes)).second)
      throw std::runtime_error("a constant stands there twice");
    if (f.number == 11) graph.inputs.push_back(read_value(f.bytes));
    if (f.number == 12) graph.outputs.push_back(read_value(f.bytes));
  }
  return graph;
}

inline Model read_model(std::string_view bytes) {
  Model model;
  for (const Field& f : fields_of(bytes)) {
    if (f.number == 1) model.ir_version = static_cast<std::int64_t>(f.value);
    if (f.number == 2) model.producer = f.bytes;
    if (f.number == 6) model.description = f.bytes;
    if (f.number == 7) model.graph = read_graph(f.bytes);
    if (f.number == 8)
      for (const Field& set : fields_of(f.bytes))
        if (set.number == 2) model.operator_set = static_cast<std::int64_t>(set.value);
    if (f.number == 14) {
      const auto pair = fields_of(f.bytes);
      model.metadata.emplace(pair.at(0).bytes, pair.at(1).bytes);
    }
  }
  return model;
}

}  // namespace offramp::test::onnx
