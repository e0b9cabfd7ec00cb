#include "engine/captured_step.h"

#include "base/errors.h"

#if OFFRAMP_HAS_CUDA
#include "kernels/cuda/memory.h"
#endif

namespace offramp {

#if OFFRAMP_HAS_CUDA

struct CapturedStep::State {
  explicit State(const Device& on) : device(on), pool(on.cuda_context().allocator().make_pool()) {}
  ~State() {
    if (graph != nullptr) cuda::destroy_graph(graph);
    device.cuda_context().allocator().drop_pool(pool);
  }

  // Allocations come from the pool while one lives.
  class InPool {
   public:
    InPool(State& state, cuda::CachingAllocator::Growth growth)
        : allocator_(state.device.cuda_context().allocator()) {
      allocator_.enter_pool(state.pool, growth);
    }
    ~InPool() { allocator_.leave_pool(); }
    InPool(const InPool&) = delete;
    InPool& operator=(const InPool&) = delete;

   private:
    cuda::CachingAllocator& allocator_;
  };

  void record(const std::function<void()>& program) {
    const InPool in_pool(*this, cuda::CachingAllocator::Growth::kRefused);
    const cuda::Stream stream = device.cuda_context().stream();
    cuda::begin_capture(stream);
    try {
      program();
    } catch (...) {
      cuda::abandon_capture(stream);
      throw;
    }
    graph = cuda::end_capture(stream);
  }

  Device device;
  int pool;
  bool warm = false;
  cuda::GraphExec graph = nullptr;
};

CapturedStep::CapturedStep(const Device& device) {
  if (device.kind() != DeviceKind::kCuda) {
    throw ValueError(std::string("captured step: expected a cuda device, got ") + device.name());
  }
  state_ = std::make_unique<State>(device);
}

void CapturedStep::run(const std::function<void()>& program) {
  State& s = *state_;
  if (!s.warm) {
    const State::InPool in_pool(s, cuda::CachingAllocator::Growth::kAllowed);
    program();
    s.warm = true;
    return;
  }
  if (s.graph == nullptr) s.record(program);
  cuda::Context& context = s.device.cuda_context();
  cuda::launch_graph(s.graph, context.stream());
  context.forget_rounded();  // the graph may update parameters
}

bool CapturedStep::recorded() const { return state_->graph != nullptr; }
std::size_t CapturedStep::operations() const { return recorded() ? cuda::graph_nodes(state_->graph) : 0; }

#else

struct CapturedStep::State {};

CapturedStep::CapturedStep(const Device& device) {
  throw ValueError(std::string("captured step: expected a cuda device, got ") + device.name());
}
void CapturedStep::run(const std::function<void()>&) {}
bool CapturedStep::recorded() const { return false; }
std::size_t CapturedStep::operations() const { return 0; }

#endif

CapturedStep::~CapturedStep() = default;
CapturedStep::CapturedStep(CapturedStep&&) noexcept = default;
CapturedStep& CapturedStep::operator=(CapturedStep&&) noexcept = default;

}  // namespace offramp
