#include "kernels/cuda/nvtx.h"

#if !defined(OFFRAMP_CUDA_HOST) && __has_include(<nvtx3/nvToolsExt.h>)
#include <nvtx3/nvToolsExt.h>
#define OFFRAMP_HAS_NVTX 1
#endif

namespace offramp::cuda {

#if defined(OFFRAMP_HAS_NVTX)

namespace {

class Nvtx final : public RangeListener {
 public:
  void begin(RangeKind kind, const char* name, const Work& /*work*/) override {
    nvtxEventAttributes_t attributes{};
    attributes.version = NVTX_VERSION;
    attributes.size = NVTX_EVENT_ATTRIB_STRUCT_SIZE;
    attributes.category = static_cast<std::uint32_t>(kind) + 1;  // 1 scopes, 2 ops, 3 gradients of ops
    attributes.messageType = NVTX_MESSAGE_TYPE_ASCII;
    attributes.message.ascii = name;
    nvtxDomainRangePushEx(domain_, &attributes);
  }
  void end(RangeKind /*kind*/) override { nvtxDomainRangePop(domain_); }

 private:
  nvtxDomainHandle_t domain_ = nvtxDomainCreateA("offramp");
};

}  // namespace

RangeListener* nvtx_listener() {
  static Nvtx listener;
  return &listener;
}

#else

RangeListener* nvtx_listener() { return nullptr; }

#endif

}  // namespace offramp::cuda
