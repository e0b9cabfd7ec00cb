#include "kernels/cuda/cublaslt_product.h"

#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "base/errors.h"
#include "kernels/cuda/context.h"
#include "kernels/cuda/dynamic_library.h"
#include "kernels/cuda/vendor_libraries.h"

namespace offramp::cuda {
namespace {

struct Api {
  DynamicLibrary library;
  decltype(&cublasLtGetVersion) get_version = nullptr;
  decltype(&cublasLtGetStatusString) get_status_string = nullptr;
  decltype(&cublasLtCreate) create = nullptr;
  decltype(&cublasLtDestroy) destroy = nullptr;
  decltype(&cublasLtMatmul) matmul = nullptr;
  decltype(&cublasLtMatmulDescCreate) desc_create = nullptr;
  decltype(&cublasLtMatmulDescDestroy) desc_destroy = nullptr;
  decltype(&cublasLtMatmulDescSetAttribute) desc_set = nullptr;
  decltype(&cublasLtMatrixLayoutCreate) layout_create = nullptr;
  decltype(&cublasLtMatrixLayoutDestroy) layout_destroy = nullptr;
  decltype(&cublasLtMatmulPreferenceCreate) preference_create = nullptr;
  decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy = nullptr;
  decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set = nullptr;
  decltype(&cublasLtMatmulAlgoGetHeuristic) get_heuristic = nullptr;
};

Api open_api() {
  Api api;
  api.library =
      DynamicLibrary({.file = "libcublasLt.so." + std::to_string(CUBLAS_VER_MAJOR),
                      .variable = "OFFRAMP_CUBLASLT",
                      .pytorch_folders = {"lib",
                                          "../nvidia/cu" + std::to_string(CUBLAS_VER_MAJOR) + "/lib",
                                          "../nvidia/cublas/lib"}},
                     executes_on_host());
  DynamicLibrary& library = api.library;
  library.find(api.get_version, "cublasLtGetVersion");
  library.find(api.get_status_string, "cublasLtGetStatusString");
  library.find(api.create, "cublasLtCreate");
  library.find(api.destroy, "cublasLtDestroy");
  library.find(api.matmul, "cublasLtMatmul");
  library.find(api.desc_create, "cublasLtMatmulDescCreate");
  library.find(api.desc_destroy, "cublasLtMatmulDescDestroy");
  library.find(api.desc_set, "cublasLtMatmulDescSetAttribute");
  library.find(api.layout_create, "cublasLtMatrixLayoutCreate");
  library.find(api.layout_destroy, "cublasLtMatrixLayoutDestroy");
  library.find(api.preference_create, "cublasLtMatmulPreferenceCreate");
  library.find(api.preference_destroy, "cublasLtMatmulPreferenceDestroy");
  library.find(api.preference_set, "cublasLtMatmulPreferenceSetAttribute");
  library.find(api.get_heuristic, "cublasLtMatmulAlgoGetHeuristic");
  return api;
}

const Api& the_api() {
  // Never closed: contexts in statics still call it while the program ends.
  static const auto* api = new Api(open_api());
  return *api;
}

void check(const Api& api, cublasStatus_t status, const char* call) {
  if (status != CUBLAS_STATUS_SUCCESS) {
    throw DeviceError(std::string("cublasLt: ") + call + ": " + api.get_status_string(status));
  }
}

// The opaque objects of cuBLASLt, each with its destructor.
template <class Object>
class Owned {
 public:
  Owned() = default;
  Owned(Object object, cublasStatus_t (*destroy)(Object)) : object_(object), destroy_(destroy) {}
  ~Owned() {
    if (object_ != nullptr) destroy_(object_);
  }
  Owned(Owned&& other) noexcept : object_(std::exchange(other.object_, nullptr)), destroy_(other.destroy_) {}
  Owned& operator=(Owned&& other) noexcept {
    std::swap(object_, other.object_);
    std::swap(destroy_, other.destroy_);
    return *this;
  }
  Object get() const { return object_; }

 private:
  Object object_ = nullptr;
  cublasStatus_t (*destroy_)(Object) = nullptr;
};

constexpr std::size_t kWorkspaceLimit = std::size_t{32} << 20;

cudaDataType data_type(NumberType type) { return type == NumberType::kFloat ? CUDA_R_32F : CUDA_R_16BF; }

struct Plan {
  Owned<cublasLtMatmulDesc_t> operation;
  Owned<cublasLtMatrixLayout_t> left, right, result;
  cublasLtMatmulAlgo_t algorithm{};
  std::size_t workspace_bytes = 0;
};

// The problem and what its pointers are multiples of, in bytes: an algorithm is right for an alignment.
struct Key {
  ProductProblem problem;
  std::uint32_t alignment;
  friend auto operator<=>(const Key&, const Key&) = default;
};

std::uint32_t alignment_of(std::initializer_list<const void*> pointers, NumberType smallest) {
  const bool by_16 = std::all_of(pointers.begin(), pointers.end(), [](const void* p) {
    return reinterpret_cast<std::uintptr_t>(p) % 16 == 0;
  });
  return by_16 ? 16 : smallest == NumberType::kFloat ? 4 : 2;
}

class OpenProducts final : public CublasLtProducts {
 public:
  OpenProducts(const Api& api, cublasLtHandle_t handle) : api_(api), handle_(handle) {}
  ~OpenProducts() override { api_.destroy(handle_); }
  OpenProducts(const OpenProducts&) = delete;
  OpenProducts& operator=(const OpenProducts&) = delete;

  bool run(Context& ctx,
           const ProductProblem& problem,
           const void* a,
           const void* b,
           const void* bias,
           void* c) override {
    if (problem.rows == 0 || problem.columns == 0 || problem.depth == 0) return false;
    const Key key{problem, alignment_of({a, b, bias, c}, problem.in)};
    auto found = plans_.find(key);
    if (found == plans_.end()) found = plans_.emplace(key, make_plan(key, bias)).first;
    if (!found->second) return false;
    const Plan& plan = *found->second;
    if (problem.bias) set(plan.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    const float alpha = 1, beta = problem.adds ? 1.f : 0.f;
    void* const workspace =
        plan.workspace_bytes == 0 ? nullptr : ctx.workspace(Context::kLibrary, plan.workspace_bytes);
    check(api_,
          api_.matmul(handle_,
                      plan.operation.get(),
                      &alpha,
                      b,
                      plan.left.get(),
                      a,
                      plan.right.get(),
                      &beta,
                      c,
                      plan.result.get(),
                      c,
                      plan.result.get(),
                      &plan.algorithm,
                      workspace,
                      plan.workspace_bytes,
                      ctx.stream()),
          "cublasLtMatmul");
    return true;
  }
  std::size_t plans() const override { return plans_.size(); }

 private:
  template <class V>
  void set(const Owned<cublasLtMatmulDesc_t>& operation,
           cublasLtMatmulDescAttributes_t name,
           const V& value) const {
    check(
        api_, api_.desc_set(operation.get(), name, &value, sizeof(value)), "cublasLtMatmulDescSetAttribute");
  }
  template <class V>
  void set(const Owned<cublasLtMatmulPreference_t>& preference,
           cublasLtMatmulPreferenceAttributes_t name,
           const V& value) const {
    check(api_,
          api_.preference_set(preference.get(), name, &value, sizeof(value)),
          "cublasLtMatmulPreferenceSetAttribute");
  }
  Owned<cublasLtMatrixLayout_t> layout(NumberType type, int rows, int columns) const {
    cublasLtMatrixLayout_t made = nullptr;
    check(api_,
          api_.layout_create(&made,
                             data_type(type),
                             static_cast<std::uint64_t>(rows),
                             static_cast<std::uint64_t>(columns),
                             rows),
          "cublasLtMatrixLayoutCreate");
    return {made, api_.layout_destroy};
  }

  // cuBLASLt thinks in columns: it is asked for the transposed result [columns x rows] = b * a, where a
  // matrix that lies along the sum is stored as (depth x lines).
  std::optional<Plan> make_plan(const Key& key, const void* bias) const {
    const ProductProblem& p = key.problem;
    const bool b_along = p.b == Lines::kAlongSum, a_along = p.a == Lines::kAlongSum;
    Plan plan;
    cublasLtMatmulDesc_t operation = nullptr;
    check(api_,
          api_.desc_create(
              &operation,
              p.tf32 && p.in == NumberType::kFloat ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F,
              CUDA_R_32F),
          "cublasLtMatmulDescCreate");
    plan.operation = {operation, api_.desc_destroy};
    set(plan.operation, CUBLASLT_MATMUL_DESC_TRANSA, std::int32_t{b_along ? CUBLAS_OP_T : CUBLAS_OP_N});
    set(plan.operation, CUBLASLT_MATMUL_DESC_TRANSB, std::int32_t{a_along ? CUBLAS_OP_N : CUBLAS_OP_T});
    if (p.bias) {
      set(plan.operation, CUBLASLT_MATMUL_DESC_EPILOGUE, std::uint32_t{CUBLASLT_EPILOGUE_BIAS});
      set(plan.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    }
    plan.left = b_along ? layout(p.in, p.depth, p.columns) : layout(p.in, p.columns, p.depth);
    plan.right = a_along ? layout(p.in, p.depth, p.rows) : layout(p.in, p.rows, p.depth);
    plan.result = layout(p.out, p.columns, p.rows);

    cublasLtMatmulPreference_t made = nullptr;
    check(api_, api_.preference_create(&made), "cublasLtMatmulPreferenceCreate");
    const Owned<cublasLtMatmulPreference_t> preference(made, api_.preference_destroy);
    set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kWorkspaceLimit);
    // Parts of a sum are added in a pass of their own, in order and in float, or there are no parts.
    set(preference,
        CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
        std::uint32_t{CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
    for (const auto name : {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
                            CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                            CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
                            CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
      set(preference, name, key.alignment);
    }
    std::array<cublasLtMatmulHeuristicResult_t, 8> results{};
    int count = 0;
    const cublasStatus_t status = api_.get_heuristic(handle_,
                                                     plan.operation.get(),
                                                     plan.left.get(),
                                                     plan.right.get(),
                                                     plan.result.get(),
                                                     plan.result.get(),
                                                     preference.get(),
                                                     static_cast<int>(results.size()),
                                                     results.data(),
                                                     &count);
    if (status == CUBLAS_STATUS_NOT_SUPPORTED) return std::nullopt;
    check(api_, status, "cublasLtMatmulAlgoGetHeuristic");
    const auto* const best = std::find_if(results.data(), results.data() + count, [](const auto& result) {
      return result.state == CUBLAS_STATUS_SUCCESS;
    });
    if (best == results.data() + count) return std::nullopt;
    plan.algorithm = best->algo;
    plan.workspace_bytes = best->workspaceSize;
    return plan;
  }

  const Api& api_;
  cublasLtHandle_t handle_;
  std::map<Key, std::optional<Plan>> plans_;
};

}  // namespace

LibraryState cublaslt_state() {
  const Api& api = the_api();
  if (!api.library.is_open()) return {false, "missing: " + api.library.problem()};
  const std::size_t version = api.get_version();  // 130100 is 13.1.0
  return {true,
          std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
              std::to_string(version % 100) + " (" + api.library.path() + ")"};
}

std::unique_ptr<CublasLtProducts> CublasLtProducts::open(std::string& why) {
  const Api& api = the_api();
  if (!api.library.is_open()) {
    why = api.library.problem();
    return nullptr;
  }
  cublasLtHandle_t handle = nullptr;
  const cublasStatus_t status = api.create(&handle);
  if (status != CUBLAS_STATUS_SUCCESS) {
    why = std::string("cublasLtCreate: ") + api.get_status_string(status);
    return nullptr;
  }
  return std::make_unique<OpenProducts>(api, handle);
}

}  // namespace offramp::cuda
