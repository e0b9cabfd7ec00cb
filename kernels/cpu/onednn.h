#pragma once
// What a context keeps of the library between calls: convolution primitives by geometry. The only header of
// ours that names oneDNN; included by files of kernels/cpu alone.
#include "kernels/cpu/context.h"

#if OFFRAMP_HAS_ONEDNN

#include <array>
#include <compare>
#include <map>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <vector>

#include "kernels/cpu/conv2d_plan.h"

namespace offramp::cpu {

// One primitive of the library with everything that belongs to its execution but the data. A plan that is
// one_thread may be run by several threads at once, each with its own slot.
class LibraryConv {
 public:
  struct Key {
    Conv2dGeom geom;
    ConvDirection direction = ConvDirection::kForward;
    ConvAlgorithm algorithm = ConvAlgorithm::kDirect;
    bool bf16 = false;
    bool bias = false, residual = false;  // forward only
    bool one_thread = false;
    friend auto operator<=>(const Key&, const Key&) = default;
  };

  // Throws dnnl::error where the library has no such primitive.
  LibraryConv(const dnnl::engine& engine, const Key& key, int slots);

  // The two inputs and the output of a run: forward x, w -> y; input gradient dy, w -> dx; weight gradient x,
  // dy -> dw. Activations are ours (NHWC), weights and their gradients in the library's layout.
  struct Data {
    const void* a;
    const void* b;
    void* out;
    const float* bias = nullptr;
    const void* residual = nullptr;
  };
  // `scratch` has scratch_bytes(), 64-byte aligned.
  void run(const dnnl::stream& stream, int slot, const Data& data, char* scratch);
  std::size_t scratch_bytes() const { return scratch_bytes_; }

  std::size_t weight_bytes() const { return weight_desc_.get_size(); }  // in the library's layout
  const dnnl::memory::desc& weight_layout() const { return weight_desc_; }
  void pack_weights(const dnnl::stream& stream, const float* w, void* packed);
  void unpack_gradient(const dnnl::stream& stream, const void* packed, float* dw, Write write);

  const std::string& implementation() const { return implementation_; }

 private:
  struct Staged {  // an activation that the library wants in another layout (Winograd)
    bool needed = false;
    std::size_t offset = 0;  // in the scratch
    dnnl::reorder reorder;
  };
  struct Slot {
    std::array<dnnl::memory, 3> ours, theirs;
    dnnl::memory bias, residual, scratchpad;
    std::vector<dnnl_exec_arg_t> args;
  };
  // The four parts of the constructor, in this order.
  void make_primitive(const dnnl::engine& engine);
  void stage_activations(const dnnl::engine& engine);
  void make_weight_reorders(const dnnl::engine& engine);
  void make_slots(const dnnl::engine& engine, int slots);
  template <class PrimitiveDesc>
  void adopt(const PrimitiveDesc& desc);

  Key key_;
  dnnl::primitive primitive_;
  std::string implementation_;
  std::array<dnnl::memory::desc, 3> ours_, theirs_;
  std::array<int, 3> roles_{};
  std::array<Staged, 3> staged_;
  dnnl::memory::desc weight_desc_, our_weight_desc_, bias_desc_, residual_desc_, scratchpad_desc_;
  std::size_t scratch_bytes_ = 0, scratchpad_offset_ = 0;
  dnnl::reorder weight_reorder_, weight_reorder_add_;
  dnnl::memory our_weight_, their_weight_;
  std::vector<Slot> slots_;
};

struct Context::Primitives {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  // Null: asked for and not to be had (or only by the library's unoptimised code).
  std::map<LibraryConv::Key, std::unique_ptr<LibraryConv>> convolutions;

  LibraryConv* find(Context& ctx, const LibraryConv::Key& key);
};

}  // namespace offramp::cpu

#else

namespace offramp::cpu {
struct Context::Primitives {};
}  // namespace offramp::cpu

#endif
