#include "tools/serve/inference_request.h"

#include <charconv>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>

#include "tools/serve/number_list.h"

namespace offramp::tools {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr int kDeepest = 16;  // brackets within brackets

[[noreturn]] void refuse(const std::string& what) { throw RequestError(400, what); }

std::string shown_json(const json& value) {
  return in_quotes(value.dump(-1, ' ', false, json::error_handler_t::replace));
}

// So that no text makes the parser's memory grow far beyond the text.
void check_depth(std::string_view text) {
  int depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      quoted = c != '"';
    } else if (c == '"') {
      quoted = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kDeepest)
        refuse("expected JSON with at most " + std::to_string(kDeepest) + " brackets within each other");
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
}

json parse(std::string_view text) {
  check_depth(text);
  try {
    json value = json::parse(text);
    if (!value.is_object()) refuse("expected a JSON object, got " + in_quotes(text));
    return value;
  } catch (const json::parse_error& error) {
    refuse("expected JSON, it goes wrong at byte " + std::to_string(error.byte) + " of " +
           std::to_string(text.size()));
  } catch (const json::out_of_range&) {
    refuse("expected JSON whose numbers fit a double");
  }
}

const json* find(const json& object, const char* key) {
  const auto at = object.find(key);
  return at == object.end() || at->is_null() ? nullptr : &*at;
}

std::string text_of(const json& object, const char* key, const char* where) {
  const json* value = find(object, key);
  if (value == nullptr || !value->is_string()) refuse(std::string(where) + ": expected a text '" + key + "'");
  return value->get<std::string>();
}

bool flag_of(const json& object, const char* key) {
  const json* parameters = find(object, "parameters");
  if (parameters == nullptr) return false;
  if (!parameters->is_object()) refuse("expected an object 'parameters', got " + shown_json(*parameters));
  const json* value = find(*parameters, key);
  if (value == nullptr) return false;
  if (!value->is_boolean())
    refuse(std::string("parameter '") + key + "': expected true or false, got " + shown_json(*value));
  return value->get<bool>();
}

std::string expected_shape(const ServedModel& model) {
  std::string text = model.max_batch > 1 ? "[1.." + std::to_string(model.max_batch) : "[1";
  for (const std::int64_t extent : model.shape) text += "," + std::to_string(extent);
  return text + "]";
}

// The number of images.
int read_shape(const json& input, const ServedModel& model) {
  const json* shape = find(input, "shape");
  bool fits = shape != nullptr && shape->is_array() && shape->size() == model.shape.size() + 1;
  for (std::size_t i = 0; fits && i < shape->size(); ++i) {
    const json& extent = (*shape)[i];
    fits = extent.is_number_unsigned() &&
           (i == 0 ? extent >= 1 && extent <= model.max_batch : extent == model.shape[i - 1]);
  }
  if (!fits)
    refuse("input 'images': expected the shape " + expected_shape(model) + ", got " +
           (shape ? shown_json(*shape) : std::string("none")));
  return (*shape)[0].get<int>();
}

void flatten(const json& data, std::vector<float>& to) {
  for (const json& one : data) {
    if (one.is_array()) {
      flatten(one, to);
    } else if (one.is_number()) {
      to.push_back(one.get<float>());
    } else {
      refuse("input 'images': expected numbers in 'data', got " + shown_json(one));
    }
  }
}

std::optional<std::size_t> binary_size(const json& input) {
  const json* parameters = find(input, "parameters");
  if (parameters == nullptr) return std::nullopt;
  if (!parameters->is_object())
    refuse("input 'images': expected an object 'parameters', got " + shown_json(*parameters));
  const json* size = find(*parameters, "binary_data_size");
  if (size == nullptr) return std::nullopt;
  if (!size->is_number_unsigned())
    refuse("input 'images': expected a number of bytes 'binary_data_size', got " + shown_json(*size));
  return size->get<std::size_t>();
}

// `list`: the numbers that stood where the placeholder stands; null: none were taken out.
void read_input(const json& request,
                std::string_view behind,
                const ServedModel& model,
                NumberList* list,
                InferenceRequest& to) {
  const json* inputs = find(request, "inputs");
  if (inputs == nullptr || !inputs->is_array() || inputs->size() != 1 || !(*inputs)[0].is_object())
    refuse("expected a list 'inputs' with one tensor, 'images'");
  const json& input = (*inputs)[0];
  if (const std::string name = text_of(input, "name", "inputs"); name != kInputName)
    refuse("input " + in_quotes(name) + ": the model has one input, 'images'");
  if (const std::string type = text_of(input, "datatype", "input 'images'"); type != "FP32")
    refuse("input 'images': expected the datatype FP32, got " + in_quotes(type));
  to.images = read_shape(input, model);
  std::size_t wanted = static_cast<std::size_t>(to.images);
  for (const std::int64_t extent : model.shape) wanted *= static_cast<std::size_t>(extent);
  const json* data = find(input, "data");
  if (const auto size = binary_size(input)) {
    if (data != nullptr) refuse("input 'images': expected either 'data' or 'binary_data_size', not both");
    if (*size != wanted * sizeof(float))
      refuse("input 'images': expected a 'binary_data_size' of " + std::to_string(wanted * sizeof(float)) +
             " bytes, got " + std::to_string(*size));
    if (behind.size() != *size)
      refuse("input 'images': expected " + std::to_string(*size) + " bytes behind the JSON, got " +
             std::to_string(behind.size()) +
             " (the header Inference-Header-Content-Length says where they begin)");
    to.values.resize(wanted);
    std::memcpy(to.values.data(), behind.data(), *size);
  } else {
    const bool taken = list != nullptr && data != nullptr && *data == kListPlaceholderText;
    if (!taken && (data == nullptr || !data->is_array())) refuse("input 'images': expected a list 'data'");
    if (!behind.empty())
      refuse("there are " + std::to_string(behind.size()) +
             " bytes behind the JSON that no 'binary_data_size' claims");
    if (taken) {
      to.values = std::move(list->numbers);
    } else {
      to.values.reserve(wanted);
      flatten(*data, to.values);
    }
    if (to.values.size() != wanted)
      refuse("input 'images': expected " + std::to_string(wanted) + " numbers in 'data', got " +
             std::to_string(to.values.size()));
  }
  const bool pictures = model.shape.size() == 3;
  for (std::size_t i = 0; i < to.values.size(); ++i) {
    if (!std::isfinite(to.values[i]))
      refuse("input 'images': number " + std::to_string(i) + " is not finite in FP32");
    if (pictures && (to.values[i] < 0 || to.values[i] > 1))
      refuse("input 'images': number " + std::to_string(i) + " is " + json(to.values[i]).dump() +
             "; pixels lie from 0 to 1, bytes are divided by 255");
  }
}

void read_outputs(const json& request, InferenceRequest& to) {
  const bool all_binary = flag_of(request, "binary_data_output");
  const json* outputs = find(request, "outputs");
  if (outputs == nullptr) {
    to.outputs = {{false, all_binary}, {true, all_binary}};
    return;
  }
  if (!outputs->is_array()) refuse("expected a list 'outputs', got " + shown_json(*outputs));
  for (const json& one : *outputs) {
    if (!one.is_object()) refuse("outputs: expected objects, got " + shown_json(one));
    const std::string name = text_of(one, "name", "outputs");
    if (name != kProbabilities && name != kLabel)
      refuse("output " + in_quotes(name) + ": the model has 'probabilities' and 'label'");
    const WantedOutput wanted{name == kLabel, all_binary || flag_of(one, "binary_data")};
    for (const WantedOutput& before : to.outputs)
      if (before.label == wanted.label) refuse("output " + in_quotes(name) + " is named twice");
    to.outputs.push_back(wanted);
  }
}

template <class T>
void append_output(ordered_json& outputs,
                   std::string& behind,
                   const char* name,
                   const char* datatype,
                   const std::vector<std::int64_t>& shape,
                   std::span<const T> values,
                   bool binary) {
  ordered_json output = {{"name", name}, {"datatype", datatype}, {"shape", shape}};
  if (binary) {
    output["parameters"] = {{"binary_data_size", values.size_bytes()}};
    behind.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
  } else {
    output["data"] = std::vector<T>(values.begin(), values.end());
  }
  outputs.push_back(std::move(output));
}

}  // namespace

InferenceRequest read_inference_request(std::string_view body,
                                        const std::string& json_length,
                                        const ServedModel& model) {
  std::string_view text = body, behind;
  if (!json_length.empty()) {
    std::size_t length = 0;
    const auto [end, error] =
        std::from_chars(json_length.data(), json_length.data() + json_length.size(), length);
    if (error != std::errc() || end != json_length.data() + json_length.size() || length > body.size())
      refuse("Inference-Header-Content-Length: expected a number of bytes of at most " +
             std::to_string(body.size()) + ", the length of the body, got " + in_quotes(json_length));
    text = body.substr(0, length);
    behind = body.substr(length);
  }
  std::optional<NumberList> list = take_number_list(text, "data");
  json object;
  try {
    object = parse(list ? std::string_view(list->rest) : text);
  } catch (const RequestError&) {
    if (!list) throw;
    list.reset();
    object = parse(text);  // says where it goes wrong, in what was sent
  }
  InferenceRequest request;
  if (const json* id = find(object, "id")) {
    if (!id->is_string()) refuse("expected a text 'id', got " + shown_json(*id));
    request.id = id->get<std::string>();
  }
  request.exits = flag_of(object, "exit");
  if (request.exits && !model.tells_exits)
    refuse(
        "parameter 'exit': this server does not tell which exit answered (its owner may allow it: offramp serve "
        "--tell-exits)");
  read_outputs(object, request);
  read_input(object, behind, model, list ? &*list : nullptr, request);
  return request;
}

AnswerBody answer_body(const ServedModel& model, const InferenceRequest& request, const NetAnswer& answer) {
  ordered_json object = {{"model_name", model.name}, {"model_version", "1"}};
  if (!request.id.empty()) object["id"] = request.id;
  if (request.exits) {
    // A parameter is one value: of several images their exits as text.
    std::string text;
    for (const std::int32_t exit : answer.exit) text += (text.empty() ? "" : ",") + std::to_string(exit);
    object["parameters"]["exit"] = request.images == 1 ? ordered_json(answer.exit.at(0)) : ordered_json(text);
  }
  ordered_json outputs = ordered_json::array();
  std::string behind;
  for (const WantedOutput& wanted : request.outputs) {
    if (wanted.label)
      append_output<std::int32_t>(
          outputs, behind, kLabel, "INT32", {request.images}, answer.label, wanted.binary);
    else
      append_output<float>(outputs,
                           behind,
                           kProbabilities,
                           "FP32",
                           {request.images, model.classes},
                           answer.probabilities,
                           wanted.binary);
  }
  object["outputs"] = std::move(outputs);
  AnswerBody body{object.dump(-1, ' ', false, json::error_handler_t::replace), 0};
  bool binary = false;
  for (const WantedOutput& wanted : request.outputs) binary = binary || wanted.binary;
  if (binary) {
    body.json_bytes = body.bytes.size();
    body.bytes += behind;
  }
  return body;
}

std::string model_metadata(const ServedModel& model) {
  std::vector<std::int64_t> shape = {model.max_batch > 1 ? -1 : 1};
  const std::int64_t n = shape[0];
  shape.insert(shape.end(), model.shape.begin(), model.shape.end());
  const auto tensor = [](const char* name, const char* datatype, const std::vector<std::int64_t>& extents) {
    return ordered_json{{"name", name}, {"datatype", datatype}, {"shape", extents}};
  };
  ordered_json object;
  object["name"] = model.name;
  object["versions"] = ordered_json::array({"1"});
  object["platform"] = "offramp";
  object["inputs"] = ordered_json::array({tensor(kInputName, "FP32", shape)});
  object["outputs"] =
      ordered_json::array({tensor(kProbabilities, "FP32", {n, model.classes}), tensor(kLabel, "INT32", {n})});
  return object.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string error_text(const std::string& what) {
  return json{{"error", what}}.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace offramp::tools
