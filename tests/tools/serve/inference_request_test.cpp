#include "tools/serve/inference_request.h"

#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "attacks/query/inference_message.h"
#include "tests/attacks/message.h"

namespace offramp::tools {
namespace {

const ServedModel kModel{.name = "m", .shape = {1, 2, 2}, .classes = 3, .max_batch = 2, .tells_exits = true};

std::string message(const std::string& body,
                    const std::string& json_length = "",
                    const ServedModel& model = kModel) {
  return test::message_of([&] { static_cast<void>(read_inference_request(body, json_length, model)); });
}

// A whole request around the input's members.
std::string with_input(const std::string& members, const std::string& more = "") {
  return R"({"inputs":[{"name":"images","datatype":"FP32",)" + members + "}]" + more + "}";
}
const std::string kGood = R"("shape":[1,1,2,2],"data":[0.25,0.5,0.75,1])";

TEST(InferenceRequest, NumbersMayBeFlatOrNested) {
  const std::vector<float> values = {0.25f, 0.5f, 0.75f, 1.0f};
  for (const std::string data :
       {R"([0.25,0.5,0.75,1])", R"([[[[0.25,0.5],[0.75,1.0]]]])", R"([[0.25,0.5],[0.75,1]])"}) {
    const auto request =
        read_inference_request(with_input(R"("shape":[1,1,2,2],"data":)" + data), "", kModel);
    EXPECT_EQ(request.images, 1);
    EXPECT_EQ(request.values, values) << data;
    ASSERT_EQ(request.outputs.size(), 2u);
    EXPECT_FALSE(request.outputs[0].label || request.outputs[0].binary || request.exits);
    EXPECT_TRUE(request.outputs[1].label);
  }
}

// What stands in the place of numbers that were taken out early is no way in for a client.
TEST(InferenceRequest, APlaceholderOfAClientIsNoList) {
  EXPECT_EQ(message(with_input(R"("shape":[1,1,2,2],"data":"\u0001numbers")")),
            "input 'images': expected a list 'data'");
  // Only the first list is taken out; two inputs are refused whatever they hold.
  EXPECT_NE(message(R"({"inputs":[{"data":[1]},{"data":[2]}]})"), "accepted");
}

TEST(InferenceRequest, BinaryTensorsStandBehindTheJson) {
  const std::vector<float> values = {0.1f, 0.2f, 0.3f, 0.4f, 0.5f, 0.6f, 0.7f, 0.8f};
  const std::vector<std::int64_t> shape = {2, 1, 2, 2};
  const auto body = attacks::infer_body("images", shape, values, "probabilities", true);
  const auto request = read_inference_request(body.bytes, std::to_string(body.json_bytes), kModel);
  EXPECT_EQ(request.images, 2);
  EXPECT_EQ(request.values, values);
  ASSERT_EQ(request.outputs.size(), 1u);
  EXPECT_TRUE(request.outputs[0].binary);
}

TEST(InferenceRequest, OptionsOfARequest) {
  const auto request = read_inference_request(
      with_input(
          kGood,
          R"(,"id":"q7","parameters":{"exit":true,"binary_data_output":true,"else":[1]},"outputs":[{"name":"label"}])"),
      "",
      kModel);
  EXPECT_EQ(request.id, "q7");
  EXPECT_TRUE(request.exits);
  ASSERT_EQ(request.outputs.size(), 1u);
  EXPECT_TRUE(request.outputs[0].label && request.outputs[0].binary);
}

TEST(InferenceRequest, EveryBadBodyIsNamed) {
  struct Row {
    std::string body, reason;
  };
  const std::string binary = R"("shape":[1,1,2,2],"parameters":{"binary_data_size":16})";
  for (const Row& row : std::vector<Row>{
           {"", "expected JSON, it goes wrong at byte 1 of 0"},
           {"{", "expected JSON, it goes wrong at byte 2 of 1"},
           {"[]", "expected a JSON object, got '[]'"},
           {"\xff\xfe", "expected JSON, it goes wrong at byte 1"},
           {R"({"inputs":[{"name":"images","datatype":"FP32","shape":[1,1,2,2],"data":[1e999,0,0,0]}]})",
            "expected JSON whose numbers fit a double"},
           {std::string(100000, '['), "expected JSON with at most 16 brackets within each other"},
           {"{}", "expected a list 'inputs' with one tensor, 'images'"},
           {R"({"inputs":{}})", "expected a list 'inputs' with one tensor, 'images'"},
           {R"({"inputs":[]})", "expected a list 'inputs' with one tensor, 'images'"},
           {R"({"inputs":[1]})", "expected a list 'inputs' with one tensor, 'images'"},
           {R"({"inputs":[{}]})", "inputs: expected a text 'name'"},
           {R"({"inputs":[{"name":"x"}]})", "input 'x': the model has one input, 'images'"},
           {R"({"inputs":[{"name":"images"}]})", "input 'images': expected a text 'datatype'"},
           {R"({"inputs":[{"name":"images","datatype":"INT8"}]})",
            "input 'images': expected the datatype FP32, got 'INT8'"},
           {with_input(R"("data":[])"), "input 'images': expected the shape [1..2,1,2,2], got none"},
           {with_input(R"("shape":[3,1,2,2])"),
            "input 'images': expected the shape [1..2,1,2,2], got '[3,1,2,2]'"},
           {with_input(R"("shape":[0,1,2,2])"),
            "input 'images': expected the shape [1..2,1,2,2], got '[0,1,2,2]'"},
           {with_input(R"("shape":[-1,1,2,2])"),
            "input 'images': expected the shape [1..2,1,2,2], got '[-1,1,2,2]'"},
           {with_input(R"("shape":[1,1,2])"),
            "input 'images': expected the shape [1..2,1,2,2], got '[1,1,2]'"},
           {with_input(R"("shape":[1.5,1,2,2])"),
            "input 'images': expected the shape [1..2,1,2,2], got '[1.5,1,2,2]'"},
           {with_input(R"("shape":[18446744073709551615,1,2,2])"), "expected the shape [1..2,1,2,2], got "},
           {with_input(R"("shape":[1,1,2,2])"), "input 'images': expected a list 'data'"},
           {with_input(R"("shape":[1,1,2,2],"data":[1,2,3])"),
            "input 'images': expected 4 numbers in 'data', got 3"},
           {with_input(R"("shape":[1,1,2,2],"data":[1,2,3,4,5])"),
            "input 'images': expected 4 numbers in 'data', got 5"},
           {with_input(R"("shape":[1,1,2,2],"data":[1,2,3,"4"])"),
            R"(input 'images': expected numbers in 'data', got '"4"')"},
           {with_input(R"("shape":[1,1,2,2],"data":[1,2,3,null])"),
            "input 'images': expected numbers in 'data', got 'null'"},
           {with_input(R"("shape":[1,1,2,2],"data":[0,1,0.5,1e300])"),
            "input 'images': number 3 is not finite in FP32"},
           {with_input(R"("shape":[1,1,2,2],"data":[0,1,0.5,255])"),
            "input 'images': number 3 is 255.0; pixels lie from 0 to 1, bytes are divided by 255"},
           {with_input(R"("shape":[1,1,2,2],"data":[-0.5,1,0.5,1])"), "number 0 is -0.5; pixels lie"},
           {with_input(binary + R"(,"data":[1,2,3,4])"),
            "expected either 'data' or 'binary_data_size', not both"},
           {with_input(binary), "expected 16 bytes behind the JSON, got 0"},
           {with_input(R"("shape":[1,1,2,2],"parameters":{"binary_data_size":15})"),
            "expected a 'binary_data_size' of 16 bytes, got 15"},
           {with_input(R"("shape":[1,1,2,2],"parameters":{"binary_data_size":-1})"),
            "expected a number of bytes 'binary_data_size', got '-1'"},
           {with_input(R"("shape":[1,1,2,2],"parameters":7)"),
            "input 'images': expected an object 'parameters', got '7'"},
           {with_input(kGood, R"(,"id":7)"), "expected a text 'id', got '7'"},
           {with_input(kGood, R"(,"parameters":[])"), "expected an object 'parameters', got '[]'"},
           {with_input(kGood, R"(,"parameters":{"exit":1})"),
            "parameter 'exit': expected true or false, got '1'"},
           {with_input(kGood, R"(,"outputs":{})"), "expected a list 'outputs', got '{}'"},
           {with_input(kGood, R"(,"outputs":[1])"), "outputs: expected objects, got '1'"},
           {with_input(kGood, R"(,"outputs":[{"name":"x"}])"),
            "output 'x': the model has 'probabilities' and 'label'"},
           {with_input(kGood, R"(,"outputs":[{"name":"label"},{"name":"label"}])"),
            "output 'label' is named twice"},
       }) {
    const std::string said = message(row.body);
    EXPECT_NE(said.find(row.reason), std::string::npos) << row.body.substr(0, 120) << "\n" << said;
  }
  for (const std::string length : {"x", "-1", "99999999999999999999", "12 ", "200"})
    EXPECT_NE(message(with_input(kGood), length)
                  .find("Inference-Header-Content-Length: expected a number of bytes"),
              std::string::npos)
        << length;
  const std::string json = with_input(kGood);
  EXPECT_NE(message(json + "tail", std::to_string(json.size())).find("4 bytes behind the JSON that no"),
            std::string::npos);
  ServedModel silent = kModel;
  silent.tells_exits = false;
  EXPECT_NE(message(with_input(kGood, R"(,"parameters":{"exit":true})"), "", silent)
                .find("does not tell which exit"),
            std::string::npos);
  EXPECT_EQ(message(with_input(kGood, R"(,"parameters":{"exit":false})"), "", silent), "");
}

// What the server writes, the client reads: the same bits, as JSON and as binary tensors.
TEST(InferenceRequest, AnswersAreReadBackExactly) {
  const NetAnswer net{
      .probabilities = {0.1f, 0.2f, 0.7f, 1e-30f, 1.0f / 3, 0.6666666f}, .label = {2, 2}, .exit = {1, 3}};
  InferenceRequest request;
  request.id = "a\"b";
  request.images = 2;
  request.exits = true;
  for (const bool binary : {false, true}) {
    request.outputs = {{true, binary}, {false, binary}};
    const AnswerBody body = answer_body(kModel, request, net);
    EXPECT_EQ(body.json_bytes > 0, binary);
    const auto read = attacks::read_infer_answer(body.bytes, body.json_bytes, "");
    EXPECT_EQ(read.output, "probabilities");
    EXPECT_EQ(read.shape, (std::vector<std::int64_t>{2, 3}));
    EXPECT_EQ(read.values, net.probabilities);
    const auto json = nlohmann::json::parse(binary ? body.bytes.substr(0, body.json_bytes) : body.bytes);
    EXPECT_EQ(json["id"], "a\"b");
    EXPECT_EQ(json["parameters"]["exit"], "1,3");
    EXPECT_EQ(json["model_name"], "m");
  }
  request.images = 1;
  const NetAnswer one{.probabilities = {0.1f, 0.2f, 0.7f}, .label = {2}, .exit = {3}};
  EXPECT_EQ(nlohmann::json::parse(
                answer_body(kModel, request, one)
                    .bytes.substr(0, answer_body(kModel, request, one).json_bytes))["parameters"]["exit"],
            3);
  request.exits = false;
  EXPECT_EQ(answer_body(kModel, request, one).bytes.find("exit"), std::string::npos);
}

TEST(InferenceMessage, EveryBadAnswerIsNamed) {
  const auto said = [](const std::string& body, std::size_t json_bytes = 0, const std::string& output = "") {
    return test::message_of([&] { static_cast<void>(attacks::read_infer_answer(body, json_bytes, output)); });
  };
  const std::string p = "Open Inference Protocol: ";
  EXPECT_EQ(said("x"), p + "expected a JSON object, got 'x'");
  EXPECT_EQ(said("{}", 3), p + "expected 3 bytes of JSON as the header says, got 2");
  EXPECT_EQ(said("{}"), p + "expected a list 'outputs' in '{}'");
  EXPECT_EQ(said(R"({"outputs":[{"name":"l","datatype":"INT64","shape":[1],"data":[1]}]})"),
            p + "expected an output of floats, the answer has: l INT64");
  EXPECT_EQ(said(R"({"outputs":[{"name":"l","datatype":"INT64","shape":[1],"data":[1]}]})", 0, "l"),
            p + "output 'l' is of type INT64, expected FP32 or FP64");
  EXPECT_EQ(said(R"({"outputs":[{"name":"o","datatype":"FP32","shape":[1,2],"data":[1]}]})"),
            p + "output 'o' has 1 numbers and the shape [1,2]");
  EXPECT_EQ(said(R"({"outputs":[{"name":"o","datatype":"FP32","shape":[-1,2],"data":[1]}]})"),
            p + "expected a shape of sensible size, got [-1,2]");
  EXPECT_EQ(said(R"({"outputs":[{"name":"o","datatype":"FP32","shape":[1],"data":["x"]}]})"),
            p + "expected numbers in 'data', got '\"x\"'");
  EXPECT_EQ(said(R"({"outputs":[{"name":"o","datatype":"FP32","shape":[1]}]})"),
            p + "output 'o' has no 'data'");
  const std::string binary =
      R"({"outputs":[{"name":"o","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4}}]})";
  EXPECT_EQ(said(binary, binary.size()), p + "output 'o' wants 4 bytes behind the JSON, there are 0");
  EXPECT_EQ(said(binary + "abcd", binary.size()), "");
  const std::string doubles =
      R"({"outputs":[{"name":"o","datatype":"FP64","shape":[1,1],"parameters":{"binary_data_size":8}}]})";
  const double third = 1.0 / 3;
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &third, 8);
  EXPECT_EQ(attacks::read_infer_answer(doubles + bytes, doubles.size(), "").values,
            std::vector<float>{1.0f / 3});
}

TEST(InferenceMessage, MetadataAreReadBack) {
  const auto info = attacks::read_model_info(model_metadata(kModel));
  EXPECT_EQ(info.name, "m");
  EXPECT_EQ(info.platform, "offramp");
  ASSERT_EQ(info.inputs.size(), 1u);
  EXPECT_EQ(info.inputs[0].shape, (std::vector<std::int64_t>{-1, 1, 2, 2}));
  ASSERT_EQ(info.outputs.size(), 2u);
  EXPECT_EQ(info.outputs[0].shape, (std::vector<std::int64_t>{-1, 3}));
  EXPECT_EQ(attacks::read_model_names(R"([{"name":"a"},{"name":"b","state":"READY"}])"),
            (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(attacks::read_error(R"({"error":"no"})"), "'no'");
  EXPECT_EQ(attacks::read_error("<html>"), "'<html>'");
}

}  // namespace
}  // namespace offramp::tools
