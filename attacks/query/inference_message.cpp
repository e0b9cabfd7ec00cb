#include "attacks/query/inference_message.h"

#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/errors.h"

namespace offramp::attacks {
namespace {

using nlohmann::json;

[[noreturn]] void fail(const std::string& what) { throw ValueError("Open Inference Protocol: " + what); }

std::string shown(const json& value) {
  return in_quotes(value.dump(-1, ' ', false, json::error_handler_t::replace));
}

json parsed(std::string_view text) {
  json value = json::parse(text, nullptr, false);
  if (!value.is_object()) fail("expected a JSON object, got " + in_quotes(text));
  return value;
}

std::string text_of(const json& object, const char* key) {
  const auto at = object.find(key);
  if (at == object.end() || !at->is_string())
    fail(std::string("expected a text '") + key + "' in " + shown(object));
  return at->get<std::string>();
}

std::vector<std::int64_t> shape_of(const json& object) {
  const auto at = object.find("shape");
  if (at == object.end() || !at->is_array()) fail("expected a list 'shape' in " + shown(object));
  std::vector<std::int64_t> shape;
  for (const json& extent : *at) {
    // Some servers write extents as text.
    if (extent.is_string() && extent.get<std::string>() == "-1") {
      shape.push_back(-1);
    } else if (extent.is_number_integer()) {
      shape.push_back(extent.get<std::int64_t>());
    } else {
      fail("expected whole numbers in 'shape', got " + shown(extent));
    }
  }
  return shape;
}

std::vector<TensorInfo> tensors_of(const json& object, const char* key) {
  std::vector<TensorInfo> tensors;
  const auto at = object.find(key);
  if (at == object.end() || at->is_null()) return tensors;
  if (!at->is_array()) fail(std::string("expected a list '") + key + "', got " + shown(*at));
  for (const json& one : *at) {
    if (!one.is_object()) fail("expected tensors as objects, got " + shown(one));
    tensors.push_back({text_of(one, "name"), text_of(one, "datatype"), shape_of(one)});
  }
  return tensors;
}

std::int64_t elements(std::span<const std::int64_t> shape) {
  std::int64_t count = 1;
  for (const std::int64_t extent : shape) {
    if (extent < 0 || (extent > 0 && count > std::numeric_limits<std::int32_t>::max() / extent))
      fail("expected a shape of sensible size, got " + format_shape(shape));
    count *= extent;
  }
  return count;
}

// Numbers in lists, however deep: the protocol allows flat and nested ones.
void flatten(const json& value, std::vector<float>& to) {
  if (value.is_array()) {
    for (const json& one : value) flatten(one, to);
  } else if (value.is_number()) {
    to.push_back(value.get<float>());
  } else {
    fail("expected numbers in 'data', got " + shown(value));
  }
}

template <class T>
std::vector<float> numbers_behind(std::string_view bytes) {
  std::vector<float> values(bytes.size() / sizeof(T));
  for (std::size_t i = 0; i < values.size(); ++i) {
    T value;
    std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
    values[i] = static_cast<float>(value);
  }
  return values;
}

// The bytes behind the JSON that belong to `output`; none where its numbers stand in the JSON.
std::optional<std::size_t> binary_size(const json& output) {
  const auto parameters = output.find("parameters");
  if (parameters == output.end() || !parameters->is_object()) return std::nullopt;
  const auto size = parameters->find("binary_data_size");
  if (size == parameters->end()) return std::nullopt;
  if (!size->is_number_unsigned()) fail("expected a whole number 'binary_data_size', got " + shown(*size));
  return size->get<std::size_t>();
}

}  // namespace

ModelInfo read_model_info(std::string_view body) {
  const json object = parsed(body);
  ModelInfo info;
  info.name = text_of(object, "name");
  if (const auto at = object.find("platform"); at != object.end() && at->is_string())
    info.platform = at->get<std::string>();
  info.inputs = tensors_of(object, "inputs");
  info.outputs = tensors_of(object, "outputs");
  return info;
}

std::vector<std::string> read_extensions(std::string_view body) {
  const json object = parsed(body);
  std::vector<std::string> names;
  if (const auto at = object.find("extensions"); at != object.end() && at->is_array())
    for (const json& one : *at)
      if (one.is_string()) names.push_back(one.get<std::string>());
  return names;
}

std::vector<std::string> read_model_names(std::string_view body) {
  const json list = json::parse(body, nullptr, false);
  if (!list.is_array()) fail("expected a list of models, got " + in_quotes(body));
  std::vector<std::string> names;
  for (const json& one : list) {
    if (!one.is_object()) fail("expected models as objects, got " + shown(one));
    names.push_back(text_of(one, "name"));
  }
  return names;
}

std::string read_error(std::string_view body) {
  const json object = json::parse(body, nullptr, false);
  if (object.is_object())
    for (const char* key : {"error", "detail", "message"})
      if (const auto at = object.find(key); at != object.end() && at->is_string())
        return in_quotes(at->get<std::string>());
  return in_quotes(body);
}

InferenceBody infer_body(const std::string& input,
                         std::span<const std::int64_t> shape,
                         std::span<const float> values,
                         const std::string& output,
                         bool binary) {
  if (elements(shape) != static_cast<std::int64_t>(values.size()))
    throw ValueError("infer_body: " + std::to_string(values.size()) + " numbers do not fit the shape " +
                     format_shape(shape));
  json tensor = {{"name", input},
                 {"datatype", "FP32"},
                 {"shape", std::vector<std::int64_t>(shape.begin(), shape.end())}};
  json request = json::object();
  if (binary) {
    tensor["parameters"] = {{"binary_data_size", values.size_bytes()}};
  } else {
    tensor["data"] = std::vector<float>(values.begin(), values.end());
  }
  request["inputs"] = json::array({std::move(tensor)});
  if (!output.empty()) {
    json wanted = {{"name", output}};
    if (binary) wanted["parameters"] = {{"binary_data", true}};
    request["outputs"] = json::array({std::move(wanted)});
  } else if (binary) {
    request["parameters"] = {{"binary_data_output", true}};
  }
  InferenceBody body{request.dump(), 0};
  if (binary) {
    body.json_bytes = body.bytes.size();
    body.bytes.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
  }
  return body;
}

InferenceAnswer read_infer_answer(std::string_view body, std::size_t json_bytes, const std::string& output) {
  if (json_bytes > body.size())
    fail("expected " + std::to_string(json_bytes) + " bytes of JSON as the header says, got " +
         std::to_string(body.size()));
  const json object = parsed(json_bytes == 0 ? body : body.substr(0, json_bytes));
  std::string_view behind = json_bytes == 0 ? std::string_view() : body.substr(json_bytes);
  const auto outputs = object.find("outputs");
  if (outputs == object.end() || !outputs->is_array()) fail("expected a list 'outputs' in " + shown(object));
  std::string names;
  for (const json& one : *outputs) {
    if (!one.is_object()) fail("expected outputs as objects, got " + shown(one));
    const std::string name = text_of(one, "name"), datatype = text_of(one, "datatype");
    const auto size = binary_size(one);
    if (size && *size > behind.size())
      fail("output '" + name + "' wants " + std::to_string(*size) + " bytes behind the JSON, there are " +
           std::to_string(behind.size()));
    const std::string_view mine = behind.substr(0, size.value_or(0));
    if (size) behind.remove_prefix(*size);
    names += (names.empty() ? "" : ", ") + name + " " + datatype;
    const bool floats = datatype == "FP32" || datatype == "FP64" || (datatype == "FP16" && !size);
    if (output.empty() ? !floats : name != output) continue;
    if (!floats) fail("output '" + name + "' is of type " + datatype + ", expected FP32 or FP64");
    InferenceAnswer answer{name, shape_of(one), {}};
    if (size) {
      answer.values = datatype == "FP32" ? numbers_behind<float>(mine) : numbers_behind<double>(mine);
    } else {
      const auto data = one.find("data");
      if (data == one.end()) fail("output '" + name + "' has no 'data'");
      flatten(*data, answer.values);
    }
    if (elements(answer.shape) != static_cast<std::int64_t>(answer.values.size()))
      fail("output '" + name + "' has " + std::to_string(answer.values.size()) + " numbers and the shape " +
           format_shape(answer.shape));
    return answer;
  }
  fail("expected " + (output.empty() ? std::string("an output of floats") : "the output '" + output + "'") +
       ", the answer has: " + names);
}

}  // namespace offramp::attacks
