// Requests and answers of the Open Inference Protocol as a server reads and writes them, binary tensor extension
// included: text in, numbers out; nothing here knows how they travel or what net answers.
// https://github.com/kserve/open-inference-protocol, and Triton's extension_binary_data.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/errors.h"

namespace offramp::tools {

// A request that cannot be answered: said to the client with this status.
class RequestError : public Error {
 public:
  RequestError(int status, const std::string& what) : Error(what), status_(status) {}
  int status() const { return status_; }

 private:
  int status_;
};

inline constexpr const char* kInputName = "images";
inline constexpr const char* kProbabilities = "probabilities";  // FP32 [n, classes]
inline constexpr const char* kLabel = "label";                  // INT32 [n], the class of the answer, from 0

// What is served.
struct ServedModel {
  std::string name;
  std::vector<std::int64_t> shape;  // of one image {c, h, w}, or {features}
  int classes = 0;
  int max_batch = 1;
  bool tells_exits = false;  // to who asks
};

struct WantedOutput {
  bool label = false;  // else the probabilities
  bool binary = false;
};

struct InferenceRequest {
  std::string id;
  int images = 0;
  std::vector<float> values;  // [images, shape]
  std::vector<WantedOutput> outputs;
  bool exits = false;  // "parameters": {"exit": true}
};

// json_length: the header, empty where there is none. Throws RequestError (400) that says what was expected.
InferenceRequest read_inference_request(std::string_view body,
                                        const std::string& json_length,
                                        const ServedModel& model);

struct NetAnswer {
  std::vector<float> probabilities;  // [images, classes]
  std::vector<std::int32_t> label;   // [images]
  std::vector<std::int32_t> exit;    // [images] from 1
};
struct AnswerBody {
  std::string bytes;
  std::size_t json_bytes = 0;  // 0: all of it is JSON
};
AnswerBody answer_body(const ServedModel& model, const InferenceRequest& request, const NetAnswer& answer);

std::string model_metadata(const ServedModel& model);
std::string error_text(const std::string& what);  // {"error": what}

}  // namespace offramp::tools
