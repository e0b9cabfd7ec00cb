// Messages of the Open Inference Protocol as a client writes and reads them: JSON, with tensors in it or, by the binary
// tensor extension, as raw little-endian numbers behind it. Nothing here knows how they travel.
// https://github.com/kserve/open-inference-protocol, and Triton's extension_binary_data.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace offramp::attacks {

struct TensorInfo {
  std::string name, datatype;
  std::vector<std::int64_t> shape;  // -1: any; the first is the batch
};

struct ModelInfo {
  std::string name, platform;
  std::vector<TensorInfo> inputs, outputs;
};

// Header of the length of the JSON part where numbers stand behind it.
inline constexpr const char* kJsonLengthHeader = "Inference-Header-Content-Length";

// Each throws ValueError that says what was expected and what stands there.
ModelInfo read_model_info(std::string_view body);
std::vector<std::string> read_extensions(
    std::string_view body);  // of the server's metadata; none where it lists none
std::vector<std::string> read_model_names(std::string_view body);  // of a repository index
std::string read_error(std::string_view body);  // the text of an error answer, or what stands there, cut

struct InferenceBody {
  std::string bytes;
  std::size_t json_bytes = 0;  // 0: all of it is JSON
};
// values [shape]: float32, row-major. output: which tensor is wanted; empty: all.
InferenceBody infer_body(const std::string& input,
                         std::span<const std::int64_t> shape,
                         std::span<const float> values,
                         const std::string& output,
                         bool binary);

struct InferenceAnswer {
  std::string output;
  std::vector<std::int64_t> shape;
  std::vector<float> values;  // [shape]
};
// json_bytes: of the header; 0: all of it is JSON. output: empty: the first of floats.
InferenceAnswer read_infer_answer(std::string_view body, std::size_t json_bytes, const std::string& output);

}  // namespace offramp::attacks
