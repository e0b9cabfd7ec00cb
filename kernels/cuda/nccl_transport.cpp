#include "kernels/cuda/nccl_transport.h"

#include <cstring>
#include <string>
#include <vector>

#include "base/errors.h"
#include "kernels/cuda/dynamic_library.h"
#include "kernels/cuda/runtime.h"

namespace offramp::cuda {
namespace {

// NCCL's interface, as it has been since version 2.0; its header is not needed.
struct NcclId {
  char bytes[128];
};
using NcclComm = void*;
constexpr int kNcclChar = 0;

struct NcclApi {
  DynamicLibrary library;
  int (*get_version)(int*) = nullptr;
  int (*get_unique_id)(NcclId*) = nullptr;
  int (*comm_init_rank)(NcclComm*, int, NcclId, int) = nullptr;
  int (*comm_destroy)(NcclComm) = nullptr;
  int (*all_gather)(const void*, void*, std::size_t, int, NcclComm, Stream) = nullptr;
  const char* (*get_error_string)(int) = nullptr;
};

const NcclApi& nccl_api() {
  static const NcclApi* const api = [] {
    auto* a = new NcclApi;
    const LibrarySearch search{
        .file = "libnccl.so.2", .variable = "OFFRAMP_NCCL", .pytorch_folders = {"lib", "../nvidia/nccl/lib"}};
    a->library = DynamicLibrary(search, executes_on_host());
    a->library.find(a->get_version, "ncclGetVersion");
    a->library.find(a->get_unique_id, "ncclGetUniqueId");
    a->library.find(a->comm_init_rank, "ncclCommInitRank");
    a->library.find(a->comm_destroy, "ncclCommDestroy");
    a->library.find(a->all_gather, "ncclAllGather");
    a->library.find(a->get_error_string, "ncclGetErrorString");
    return a;
  }();
  return *api;
}

void check_nccl(int code, const char* call) {
  if (code != 0) throw DeviceError(std::string("nccl: ") + call + ": " + nccl_api().get_error_string(code));
}

class NcclTransport final : public DeviceTransport {
 public:
  NcclTransport(Transport& host, Context& ctx, const NcclId& id) : ctx_(ctx), rank_(host.rank()) {
    check_nccl(nccl_api().comm_init_rank(&comm_, host.size(), id, rank_), "ncclCommInitRank");
  }
  ~NcclTransport() override { nccl_api().comm_destroy(comm_); }
  NcclTransport(const NcclTransport&) = delete;
  NcclTransport& operator=(const NcclTransport&) = delete;

  void all_gather(void* all, std::size_t bytes) override {
    const auto* mine = static_cast<const std::byte*>(all) + bytes * static_cast<std::size_t>(rank_);
    check_nccl(nccl_api().all_gather(mine, all, bytes, kNcclChar, comm_, ctx_.stream()), "ncclAllGather");
  }

 private:
  Context& ctx_;
  int rank_;
  NcclComm comm_ = nullptr;
};

}  // namespace

LibraryState nccl_state() {
  const NcclApi& api = nccl_api();
  if (!api.library.is_open()) return {false, "missing: " + api.library.problem()};
  int version = 0;  // 22203 is 2.22.3
  check_nccl(api.get_version(&version), "ncclGetVersion");
  return {true,
          std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
              std::to_string(version % 100) + " (" + api.library.path() + ")"};
}

std::unique_ptr<DeviceTransport> open_nccl(Transport& host, Context& ctx, std::string& why) {
  const auto ranks = static_cast<std::size_t>(host.size());
  std::vector<char> there(ranks);
  there[static_cast<std::size_t>(host.rank())] = nccl_state().usable ? 1 : 0;
  host.all_gather(there.data(), 1);
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    if (there[rank] != 0) continue;
    why = "nccl: rank " + std::to_string(rank) + " has none" +
          (static_cast<int>(rank) == host.rank() ? " (" + nccl_state().text + ")" : "");
    return nullptr;
  }
  NcclId id{};
  if (host.rank() == 0) check_nccl(nccl_api().get_unique_id(&id), "ncclGetUniqueId");
  host.broadcast(&id, sizeof id);
  return std::make_unique<NcclTransport>(host, ctx, id);
}

}  // namespace offramp::cuda
