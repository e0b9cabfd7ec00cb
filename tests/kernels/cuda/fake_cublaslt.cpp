// A stand-in for libcublasLt that computes on the host: products in columns, as the real one, with the checks
// that a wrong use would fail. Its first algorithm is refused, the second is right.
#include <cublasLt.h>

#include <cstdint>
#include <cstring>
#include <map>
#include <vector>

#include "kernels/bf16.h"

namespace {

using Attributes = std::map<int, std::vector<unsigned char>>;

struct Operation {
  cublasComputeType_t compute;
  Attributes set;
  template <class V>
  V get(int name, V otherwise) const {
    const auto found = set.find(name);
    if (found == set.end()) return otherwise;
    std::memcpy(&otherwise, found->second.data(), sizeof(V));
    return otherwise;
  }
};
struct Layout {
  cudaDataType type;
  std::int64_t rows, columns, ld;
  double get(const void* memory, std::int64_t row, std::int64_t column) const {
    const std::int64_t at = column * ld + row;
    if (type == CUDA_R_32F) return static_cast<const float*>(memory)[at];
    return static_cast<double>(static_cast<float>(static_cast<const offramp::bf16*>(memory)[at]));
  }
  void put(void* memory, std::int64_t row, std::int64_t column, double value) const {
    const std::int64_t at = column * ld + row;
    if (type == CUDA_R_32F) {
      static_cast<float*>(memory)[at] = static_cast<float>(value);
    } else {
      static_cast<offramp::bf16*>(memory)[at] = offramp::bf16(static_cast<float>(value));
    }
  }
};

template <class To, class From>
To* as(From* opaque) {
  return reinterpret_cast<To*>(opaque);
}
std::vector<unsigned char> bytes_of(const void* buffer, size_t size) {
  const auto* first = static_cast<const unsigned char*>(buffer);
  return {first, first + size};
}

constexpr std::uint64_t kRightAlgorithm = 7;

}  // namespace

extern "C" {

size_t cublasLtGetVersion() { return 130909; }
const char* cublasLtGetStatusString(cublasStatus_t) { return "the stand-in refuses"; }
cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  *handle = as<cublasLtContext>(new int(0));
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete as<int>(handle);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* out,
                                        cublasComputeType_t compute,
                                        cudaDataType_t) {
  *out = as<cublasLtMatmulDescOpaque_t>(new Operation{compute, {}});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d) {
  delete as<Operation>(d);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t d,
                                              cublasLtMatmulDescAttributes_t name,
                                              const void* buffer,
                                              size_t size) {
  const size_t wanted = name == CUBLASLT_MATMUL_DESC_BIAS_POINTER ? 8 : 4;
  if (size != wanted) return CUBLAS_STATUS_INVALID_VALUE;
  as<Operation>(d)->set[name] = bytes_of(buffer, size);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutCreate(
    cublasLtMatrixLayout_t* out, cudaDataType type, uint64_t rows, uint64_t columns, int64_t ld) {
  *out = as<cublasLtMatrixLayoutOpaque_t>(
      new Layout{type, static_cast<std::int64_t>(rows), static_cast<std::int64_t>(columns), ld});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete as<Layout>(layout);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* out) {
  *out = as<cublasLtMatmulPreferenceOpaque_t>(new Operation{});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p) {
  delete as<Operation>(p);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p,
                                                    cublasLtMatmulPreferenceAttributes_t name,
                                                    const void* buffer,
                                                    size_t size) {
  const size_t wanted = name == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES ? 8 : 4;
  if (size != wanted) return CUBLAS_STATUS_INVALID_VALUE;
  as<Operation>(p)->set[name] = bytes_of(buffer, size);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t,
                                              cublasLtMatmulDesc_t,
                                              cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t,
                                              cublasLtMatmulPreference_t preference,
                                              int room,
                                              cublasLtMatmulHeuristicResult_t* results,
                                              int* count) {
  const auto schemes =
      as<Operation>(preference)
          ->get<std::uint32_t>(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, CUBLASLT_REDUCTION_SCHEME_MASK);
  if ((schemes & CUBLASLT_REDUCTION_SCHEME_INPLACE) != 0 || room < 2) return CUBLAS_STATUS_INVALID_VALUE;
  results[0].state = CUBLAS_STATUS_NOT_SUPPORTED;
  results[1].state = CUBLAS_STATUS_SUCCESS;
  results[1].algo.data[0] = kRightAlgorithm;
  results[1].workspaceSize = 128;
  *count = 2;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmul(cublasLtHandle_t,
                              cublasLtMatmulDesc_t operation,
                              const void* alpha,
                              const void* a,
                              cublasLtMatrixLayout_t a_layout,
                              const void* b,
                              cublasLtMatrixLayout_t b_layout,
                              const void* beta,
                              const void* c,
                              cublasLtMatrixLayout_t c_layout,
                              void* d,
                              cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t* algorithm,
                              void* workspace,
                              size_t workspace_bytes,
                              cudaStream_t stream) {
  const Operation& o = *as<Operation>(operation);
  const Layout la = *as<Layout>(a_layout), lb = *as<Layout>(b_layout), lc = *as<Layout>(c_layout),
               ld = *as<Layout>(d_layout);
  const bool turn_a = o.get<std::int32_t>(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_N) == CUBLAS_OP_T;
  const bool turn_b = o.get<std::int32_t>(CUBLASLT_MATMUL_DESC_TRANSB, CUBLAS_OP_N) == CUBLAS_OP_T;
  const std::int64_t m = turn_a ? la.columns : la.rows, k = turn_a ? la.rows : la.columns;
  const std::int64_t n = turn_b ? lb.rows : lb.columns;
  const bool fits = (turn_b ? lb.columns : lb.rows) == k && ld.rows == m && ld.columns == n && lc.rows == m &&
                    la.ld >= la.rows && lb.ld >= lb.rows && ld.ld >= ld.rows;
  if (!fits || algorithm->data[0] != kRightAlgorithm || workspace == nullptr || workspace_bytes < 128 ||
      stream == nullptr) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  const bool with_bias = o.get<std::uint32_t>(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_DEFAULT) ==
                         CUBLASLT_EPILOGUE_BIAS;
  const auto* bias = o.get<const float*>(CUBLASLT_MATMUL_DESC_BIAS_POINTER, nullptr);
  if (with_bias && (bias == nullptr || ld.type != CUDA_R_32F)) return CUBLAS_STATUS_INVALID_VALUE;
  const double scale = *static_cast<const float*>(alpha), keep = *static_cast<const float*>(beta);
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (std::int64_t l = 0; l < k; ++l) {
        sum += la.get(a, turn_a ? l : i, turn_a ? i : l) * lb.get(b, turn_b ? j : l, turn_b ? l : j);
      }
      sum *= scale;
      if (keep != 0) sum += keep * lc.get(c, i, j);
      if (with_bias) sum += static_cast<double>(bias[i]);
      ld.put(d, i, j, sum);
    }
  }
  return CUBLAS_STATUS_SUCCESS;
}
}
