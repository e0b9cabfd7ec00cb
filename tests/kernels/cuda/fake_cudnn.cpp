// A stand-in for libcudnn.so.9 that computes on the host, for tests of everything around the library: which
// descriptors are made, which engines are allowed, when plans are kept. It knows the graphs that
// kernels/cuda/cudnn_plan.cpp builds: one convolution and pointwise steps behind it. Every wrong use is
// CUDNN_STATUS_BAD_PARAM with a sentence.
//
// Its engines: 1 gives other bits every time, 2 uses tensor cores, 3 refuses to become a plan, 4 is right for
// everything, 5 is the fallback. A GPU's cuDNN orders its engines in much the same way.
#include "tests/kernels/cuda/fake_cudnn.h"

#include <cudnn_graph.h>

#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels/bf16.h"

struct cudnnContext {
  cudaStream_t stream = nullptr;
};

namespace {

FakeCudnnCounts counts;
std::string last_error;

cudnnStatus_t wrong(const std::string& why) {
  last_error = why;
  return CUDNN_STATUS_BAD_PARAM;
}

struct Data {
  cudnnBackendDescriptorType_t type;
  bool finalized = false;
  std::int64_t engine = 0;  // of an engine and its configuration
  std::map<int, std::vector<unsigned char>> values;
  std::map<int, std::vector<std::shared_ptr<Data>>> parts;

  template <class V>
  V value(int name, std::size_t index = 0) const {
    V out{};
    std::memcpy(&out, values.at(name).data() + index * sizeof(V), sizeof(V));
    return out;
  }
  const Data& part(int name) const { return *parts.at(name).at(0); }
};
struct Handle {
  std::shared_ptr<Data> data;
};
Handle* handle_of(cudnnBackendDescriptor_t d) { return static_cast<Handle*>(d); }

std::size_t size_of(cudnnBackendAttributeType_t type) {
  switch (type) {
    case CUDNN_TYPE_BOOLEAN:
      return sizeof(bool);
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_VOID_PTR:
      return 8;
    default:
      return 4;  // enums and float
  }
}

// A tensor of the variant pack: values by n, c, h, w.
struct Tensor {
  const Data* d;
  void* memory;
  std::int64_t dim(std::size_t i) const { return d->value<std::int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS, i); }
  std::int64_t offset(const std::array<std::int64_t, 4>& at) const {
    std::int64_t sum = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      const std::int64_t place = dim(i) == 1 ? 0 : at[i];  // a bias is repeated
      sum += place * d->value<std::int64_t>(CUDNN_ATTR_TENSOR_STRIDES, i);
    }
    return sum;
  }
  bool is_float() const { return d->value<cudnnDataType_t>(CUDNN_ATTR_TENSOR_DATA_TYPE) == CUDNN_DATA_FLOAT; }
  double get(const std::array<std::int64_t, 4>& at) const {
    if (is_float()) return static_cast<const float*>(memory)[offset(at)];
    return static_cast<double>(static_cast<float>(static_cast<const offramp::bf16*>(memory)[offset(at)]));
  }
  void set(const std::array<std::int64_t, 4>& at, double value) const {
    if (is_float()) {
      static_cast<float*>(memory)[offset(at)] = static_cast<float>(value);
    } else {
      static_cast<offramp::bf16*>(memory)[offset(at)] = offramp::bf16(static_cast<float>(value));
    }
  }
};

struct Names {
  int image, filter, output, convolution, beta;
};
Names names_of(const Data& operation) {
  switch (operation.type) {
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR:
      return {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA};
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR:
      return {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA};
    default:
      return {CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA};
  }
}

using Places = std::map<std::int64_t, void*>;

Tensor tensor_of(const Data& d, const Places& places) {
  const auto found = places.find(d.value<std::int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID));
  return {&d, found == places.end() ? nullptr : found->second};
}

// The convolution as sums over all taps, into doubles of the written tensor in the order n, c, h, w.
struct Sums {
  std::array<std::int64_t, 4> dims;
  std::vector<double> values;
  double& at(const std::array<std::int64_t, 4>& i) {
    return values[static_cast<std::size_t>(((i[0] * dims[1] + i[1]) * dims[2] + i[2]) * dims[3] + i[3])];
  }
};

Sums convolve(const Data& operation, const Places& places) {
  const Names names = names_of(operation);
  const Tensor image = tensor_of(operation.part(names.image), places);
  const Tensor filter = tensor_of(operation.part(names.filter), places);
  const Tensor output = tensor_of(operation.part(names.output), places);
  const bool to_image = operation.type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR;
  const bool to_filter = operation.type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR;
  const Tensor& written = to_image ? image : to_filter ? filter : output;
  Sums sums{{written.dim(0), written.dim(1), written.dim(2), written.dim(3)}, {}};
  sums.values.resize(static_cast<std::size_t>(sums.dims[0] * sums.dims[1] * sums.dims[2] * sums.dims[3]));
  const Data& c = operation.part(names.convolution);
  const auto stride = c.value<std::int64_t>(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES);
  const auto pad = c.value<std::int64_t>(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS);
  const std::int64_t group_c = filter.dim(1), group_k = output.dim(1) / (image.dim(1) / group_c);
  for (std::int64_t n = 0; n < output.dim(0); ++n)
    for (std::int64_t k = 0; k < output.dim(1); ++k)
      for (std::int64_t i = 0; i < output.dim(2); ++i)
        for (std::int64_t j = 0; j < output.dim(3); ++j)
          for (std::int64_t ch = 0; ch < group_c; ++ch)
            for (std::int64_t r = 0; r < filter.dim(2); ++r)
              for (std::int64_t s = 0; s < filter.dim(3); ++s) {
                const std::int64_t row = i * stride - pad + r, column = j * stride - pad + s;
                if (row < 0 || row >= image.dim(2) || column < 0 || column >= image.dim(3)) continue;
                const std::array<std::int64_t, 4> at_image{n, k / group_k * group_c + ch, row, column},
                    at_filter{k, ch, r, s}, at_output{n, k, i, j};
                if (to_image) {
                  sums.at(at_image) += filter.get(at_filter) * output.get(at_output);
                } else if (to_filter) {
                  sums.at(at_filter) += image.get(at_image) * output.get(at_output);
                } else {
                  sums.at(at_output) += image.get(at_image) * filter.get(at_filter);
                }
              }
  return sums;
}

void run_graph(const Data& graph, const Places& places) {
  const auto& operations = graph.parts.at(CUDNN_ATTR_OPERATIONGRAPH_OPS);
  const Data& convolution = *operations[0];
  const Names names = names_of(convolution);
  const bool to_image = convolution.type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR;
  const bool to_filter = convolution.type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR;
  Sums sums = convolve(convolution, places);
  const Data* last = &convolution.part(to_image ? names.image : to_filter ? names.filter : names.output);
  if (operations.size() > 1) last = &operations.back()->part(CUDNN_ATTR_OPERATION_POINTWISE_YDESC);
  const Tensor out = tensor_of(*last, places);
  const double beta = static_cast<double>(convolution.value<float>(names.beta));
  std::array<std::int64_t, 4> at{};
  for (at[0] = 0; at[0] < sums.dims[0]; ++at[0])
    for (at[1] = 0; at[1] < sums.dims[1]; ++at[1])
      for (at[2] = 0; at[2] < sums.dims[2]; ++at[2])
        for (at[3] = 0; at[3] < sums.dims[3]; ++at[3]) {
          double value = sums.at(at);
          if (beta != 0) value += beta * out.get(at);
          for (std::size_t i = 1; i < operations.size(); ++i) {
            const auto mode = operations[i]
                                  ->part(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR)
                                  .value<cudnnPointwiseMode_t>(CUDNN_ATTR_POINTWISE_MODE);
            if (mode == CUDNN_POINTWISE_ADD) {
              value += tensor_of(operations[i]->part(CUDNN_ATTR_OPERATION_POINTWISE_BDESC), places).get(at);
            }
            if (mode == CUDNN_POINTWISE_RELU_FWD && value < 0) value = 0;
          }
          out.set(at, value);
        }
}

cudnnStatus_t fill(cudnnBackendDescriptor_t to,
                   cudnnBackendDescriptorType_t type,
                   const std::shared_ptr<Data>& data) {
  if (handle_of(to)->data->type != type) return wrong("a descriptor of another type was given to be filled");
  handle_of(to)->data = data;
  return CUDNN_STATUS_SUCCESS;
}

std::shared_ptr<Data> made(cudnnBackendDescriptorType_t type, std::int64_t engine) {
  auto data = std::make_shared<Data>(Data{type, true, engine, {}, {}});
  return data;
}

}  // namespace

extern "C" {

FakeCudnnCounts* fake_cudnn_counts() { return &counts; }

size_t cudnnGetVersion() { return 90909; }
const char* cudnnGetErrorString(cudnnStatus_t status) {
  return status == CUDNN_STATUS_NOT_INITIALIZED ? "CUDNN_STATUS_NOT_INITIALIZED" : "CUDNN_STATUS_BAD_PARAM";
}
void cudnnGetLastErrorString(char* message, size_t room) {
  std::strncpy(message, last_error.c_str(), room - 1);
  message[room - 1] = '\0';
}
cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  if (counts.refuse_handles) {
    last_error = "no device that this library knows";
    return CUDNN_STATUS_NOT_INITIALIZED;
  }
  *handle = new cudnnContext;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
  counts.live_at_destroy = counts.live_descriptors;
  delete handle;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  handle->stream = stream;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t* out) {
  *out = new Handle{std::make_shared<Data>(Data{type, false, 0, {}, {}})};
  ++counts.live_descriptors;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor) {
  delete handle_of(descriptor);
  --counts.live_descriptors;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor,
                                       cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type,
                                       int64_t count,
                                       const void* elements) {
  Data& data = *handle_of(descriptor)->data;
  if (data.finalized) return wrong("an attribute is set after finalize");
  if (type == CUDNN_TYPE_BACKEND_DESCRIPTOR) {
    auto& parts = data.parts[name];
    parts.clear();
    for (std::int64_t i = 0; i < count; ++i) {
      const auto& part = handle_of(static_cast<const cudnnBackendDescriptor_t*>(elements)[i])->data;
      if (!part->finalized) return wrong("a part is not finalized");
      parts.push_back(part);
    }
    return CUDNN_STATUS_SUCCESS;
  }
  const auto* bytes = static_cast<const unsigned char*>(elements);
  data.values[name].assign(bytes, bytes + static_cast<std::size_t>(count) * size_of(type));
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t descriptor) {
  Data& data = *handle_of(descriptor)->data;
  if (data.finalized) return wrong("finalized twice");
  if (data.type == CUDNN_BACKEND_TENSOR_DESCRIPTOR) {
    for (const int name : {CUDNN_ATTR_TENSOR_UNIQUE_ID,
                           CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT,
                           CUDNN_ATTR_TENSOR_DATA_TYPE,
                           CUDNN_ATTR_TENSOR_DIMENSIONS,
                           CUDNN_ATTR_TENSOR_STRIDES}) {
      if (data.values.count(name) == 0) return wrong("a tensor lacks attribute " + std::to_string(name));
    }
  }
  if (data.type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR) {
    if (data.values.count(CUDNN_ATTR_EXECUTION_PLAN_HANDLE) == 0) return wrong("a plan lacks its handle");
    if (data.part(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG).engine == 3) return CUDNN_STATUS_NOT_SUPPORTED;
    ++counts.finalized_plans;
  }
  data.finalized = true;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendGetAttribute(const cudnnBackendDescriptor_t descriptor,
                                       cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t /*type*/,
                                       int64_t room,
                                       int64_t* count,
                                       void* elements) {
  const Data& data = *handle_of(descriptor)->data;
  if (!data.finalized) return wrong("an attribute is read before finalize");
  std::int64_t ignored = 0;
  if (count == nullptr) count = &ignored;
  const auto put = [&](std::int64_t value) {
    *count = 1;
    std::memcpy(elements, &value, sizeof(value));
    return CUDNN_STATUS_SUCCESS;
  };
  switch (name) {
    case CUDNN_ATTR_ENGINEHEUR_RESULTS: {
      const bool fallback =
          data.value<cudnnBackendHeurMode_t>(CUDNN_ATTR_ENGINEHEUR_MODE) == CUDNN_HEUR_MODE_FALLBACK;
      const std::vector<std::int64_t> engines =
          fallback ? std::vector<std::int64_t>{5} : std::vector<std::int64_t>{1, 2, 3, 4};
      *count = static_cast<std::int64_t>(engines.size());
      for (std::int64_t i = 0; i < std::min(room, *count); ++i) {
        auto config = made(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, engines[static_cast<std::size_t>(i)]);
        config->parts = data.parts;
        const cudnnStatus_t status =
            fill(static_cast<cudnnBackendDescriptor_t*>(elements)[i], config->type, config);
        if (status != CUDNN_STATUS_SUCCESS) return status;
      }
      return CUDNN_STATUS_SUCCESS;
    }
    case CUDNN_ATTR_ENGINECFG_ENGINE:
      *count = 1;
      return fill(*static_cast<cudnnBackendDescriptor_t*>(elements),
                  CUDNN_BACKEND_ENGINE_DESCRIPTOR,
                  made(CUDNN_BACKEND_ENGINE_DESCRIPTOR, data.engine));
    case CUDNN_ATTR_ENGINE_NUMERICAL_NOTE: {
      *count = data.engine <= 2 ? 1 : 0;
      const auto note =
          data.engine == 1 ? CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC : CUDNN_NUMERICAL_NOTE_TENSOR_CORE;
      if (*count == 1) *static_cast<cudnnBackendNumericalNote_t*>(elements) = note;
      return CUDNN_STATUS_SUCCESS;
    }
    case CUDNN_ATTR_ENGINE_GLOBAL_INDEX:
      return put(data.engine);
    case CUDNN_ATTR_ENGINECFG_KNOB_CHOICES:
      *count = 1;
      return fill(*static_cast<cudnnBackendDescriptor_t*>(elements),
                  CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR,
                  made(CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, data.engine));
    case CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE:
      *count = 1;
      *static_cast<cudnnBackendKnobType_t*>(elements) = CUDNN_KNOB_TYPE_TILE_SIZE;
      return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE:
      return put(10 + data.engine);
    case CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE:
      return put(1000);
    default:
      return wrong("unknown attribute " + std::to_string(name));
  }
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle,
                                  cudnnBackendDescriptor_t plan,
                                  cudnnBackendDescriptor_t pack) {
  if (handle->stream == nullptr) return wrong("the handle has no stream");
  const Data& p = *handle_of(plan)->data;
  const Data& v = *handle_of(pack)->data;
  if (!p.finalized || !v.finalized) return wrong("executed before finalize");
  if (v.value<void*>(CUDNN_ATTR_VARIANT_PACK_WORKSPACE) == nullptr) return wrong("no workspace");
  Places places;
  const std::size_t length = v.values.at(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS).size() / 8;
  for (std::size_t i = 0; i < length; ++i) {
    void* const place = v.value<void*>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, i);
    if (reinterpret_cast<std::uintptr_t>(place) % 16 != 0)
      return wrong("a tensor is not aligned to 16 bytes");
    places[v.value<std::int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, i)] = place;
  }
  const Data& config = p.part(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
  if (counts.failing_engine == -1 || config.engine == counts.failing_engine)
    return wrong("this engine fails");
  counts.last_engine = config.engine;
  ++counts.executions;
  run_graph(config.part(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH), places);
  return CUDNN_STATUS_SUCCESS;
}
}
