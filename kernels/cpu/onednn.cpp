#include "kernels/cpu/onednn.h"

#if OFFRAMP_HAS_ONEDNN

#include "base/errors.h"
#include "kernels/cpu/parallel.h"

#include <sys/mman.h>

#include <string>

namespace offramp::cpu {
namespace {

using dnnl::memory;

constexpr std::size_t kAlignment = 64;
std::size_t aligned(std::size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

// The library's code generator does not check that it got memory for its code: where the address space is
// short it dies with a segmentation fault. A quarter of a megabyte a kernel, a few kernels a primitive: this
// is ample.
void require_room_for_code() {
  constexpr std::size_t kBytes = std::size_t{32} << 20;
  void* const room =
      mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (room == MAP_FAILED) {
    throw OutOfMemoryError("out of memory: conv2d: the library wants " + std::to_string(kBytes >> 20) +
                           " MiB of room for its code; use a smaller network or fewer threads");
  }
  munmap(room, kBytes);
}

memory::desc activation_desc(int n, int c, int h, int w, memory::data_type type, memory::format_tag tag) {
  return memory::desc({n, c, h, w}, type, tag);
}

memory::desc weight_desc(const Conv2dGeom& g, memory::data_type type, bool ours) {
  using tag = memory::format_tag;
  if (g.groups == 1) return memory::desc({g.k, g.c, g.r, g.s}, type, ours ? tag::ohwi : tag::any);
  return memory::desc({g.groups, g.group_k(), g.group_c(), g.r, g.s}, type, ours ? tag::gohwi : tag::any);
}

// Scratch comes from us; the residual is added while the sums are in registers.
dnnl::primitive_attr epilogue_attributes(const LibraryConv::Key& key, const memory::desc& residual) {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (key.residual) {
    dnnl::post_ops ops;
    ops.append_binary(dnnl::algorithm::binary_add, residual);
    attr.set_post_ops(ops);
  }
  return attr;
}

// Taps of the filter's columns that meet no pixel of the map.
bool has_idle_column(const Conv2dGeom& g) {
  const auto meets = [&](int s) {
    for (int j = 0; j < g.out_w(); ++j) {
      const int at = j * g.stride - g.pad + s;
      if (at >= 0 && at < g.w) return true;
    }
    return false;
  };
  for (int s = 0; s < g.s; ++s)
    if (!meets(s)) return true;
  return false;
}

bool has_tiles(const std::string& implementation) { return implementation.find("amx") != std::string::npos; }

// What version 2.6.3 computes wrongly, found by comparing with our own kernels (tests/kernels/conv2d_test.cpp).
bool is_wrong(const LibraryConv::Key& key, const std::string& implementation) {
  const Conv2dGeom& g = key.geom;
  switch (key.direction) {
    case ConvDirection::kForward:
      // Products of whole matrices and one depthwise kernel add one pixel's residual to all. Of one image with one pixel
      // the residual is taken for a value per channel, with other roundings than in a batch.
      if (key.residual && (g.out_h() * g.out_w() == 1 ||
                           !(implementation.starts_with("jit") || implementation.starts_with("brgconv"))))
        return true;
      if (!key.bf16) return false;
      // Products of pixels: one kernel leaves out the last of an odd number of channels (taken where there is a residual;
      // findings/onednn-bf16-odd-channels.sh); the tile unit's, with a residual, write behind the end of some maps (6 x 6, 9 x 4).
      if (g.r == 1 && g.s == 1 && g.c % 2 != 0 && implementation.starts_with("jit_bf16_1x1")) return true;
      if (g.r == 1 && g.s == 1 && key.residual && has_tiles(implementation)) return true;
      // Several threads on one image, where a stride leaves rows out and no border pads them: other sums from run to run.
      // One thread is right, but an image alone has the bits that it has in a batch.
      return has_tiles(implementation) && g.stride > 1 && g.pad < (std::max(g.r, g.s) - 1) / 2;
    case ConvDirection::kBackwardInput:
      return key.bf16 && g.r == 1 && g.s == 1 && g.k % 2 != 0;  // some map sizes: 30 x 30, 60 x 60, 59 pixels
    case ConvDirection::kBackwardWeight:
      return key.bf16 && g.stride > 1 && has_idle_column(g);  // such taps get what stood in the scratch
  }
  return false;
}

}  // namespace

LibraryConv::LibraryConv(const dnnl::engine& engine, const Key& key, int slots) : key_(key) {
  make_primitive(engine);
  stage_activations(engine);
  make_weight_reorders(engine);
  make_slots(engine, slots);
}

// The primitive, and the layouts of its two inputs and its output: ours and those it wants.
void LibraryConv::make_primitive(const dnnl::engine& engine) {
  using tag = memory::format_tag;
  const Conv2dGeom& g = key_.geom;
  const bool winograd = key_.algorithm == ConvAlgorithm::kLibraryWinograd;
  const auto algorithm =
      winograd ? dnnl::algorithm::convolution_winograd : dnnl::algorithm::convolution_direct;
  const auto type = key_.bf16 ? memory::data_type::bf16 : memory::data_type::f32;
  const auto f32 = memory::data_type::f32;
  const tag wanted = winograd ? tag::any : tag::nhwc;
  const memory::desc x = activation_desc(g.n, g.c, g.h, g.w, type, wanted);
  const memory::desc y = activation_desc(g.n, g.k, g.out_h(), g.out_w(), type, wanted);
  const memory::desc our_x = activation_desc(g.n, g.c, g.h, g.w, type, tag::nhwc);
  const memory::desc our_y = activation_desc(g.n, g.k, g.out_h(), g.out_w(), type, tag::nhwc);
  const memory::desc w = weight_desc(g, type, false), dw = weight_desc(g, f32, false);
  our_weight_desc_ = weight_desc(g, f32, true);
  const memory::dims strides{g.stride, g.stride}, pad{g.pad, g.pad};
  if (key_.bias) bias_desc_ = memory::desc({g.k}, f32, tag::a);
  if (key_.residual) residual_desc_ = our_y;

  const dnnl::primitive_attr attr = epilogue_attributes(key_, our_y);
  // Not forward_inference, which has no Winograd.
  const auto kind = dnnl::prop_kind::forward_training;
  using Forward = dnnl::convolution_forward;
  const Forward::desc forward = key_.bias
                                    ? Forward::desc(kind, algorithm, x, w, bias_desc_, y, strides, pad, pad)
                                    : Forward::desc(kind, algorithm, x, w, y, strides, pad, pad);
  const Forward::primitive_desc forward_desc(forward, attr, engine);
  switch (key_.direction) {
    case ConvDirection::kForward:
      primitive_ = Forward(forward_desc);
      roles_ = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST};
      ours_ = {our_x, forward_desc.weights_desc(), our_y};
      theirs_ = {forward_desc.src_desc(), forward_desc.weights_desc(), forward_desc.dst_desc()};
      adopt(forward_desc);
      break;
    case ConvDirection::kBackwardInput: {
      using Backward = dnnl::convolution_backward_data;
      const Backward::primitive_desc desc(
          {algorithm, x, w, y, strides, pad, pad}, attr, engine, forward_desc);
      primitive_ = Backward(desc);
      roles_ = {DNNL_ARG_DIFF_DST, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_SRC};
      ours_ = {our_y, desc.weights_desc(), our_x};
      theirs_ = {desc.diff_dst_desc(), desc.weights_desc(), desc.diff_src_desc()};
      adopt(desc);
      break;
    }
    case ConvDirection::kBackwardWeight: {
      using Backward = dnnl::convolution_backward_weights;
      const Backward::primitive_desc desc(
          {algorithm, x, dw, y, strides, pad, pad}, attr, engine, forward_desc);
      primitive_ = Backward(desc);
      roles_ = {DNNL_ARG_SRC, DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_WEIGHTS};
      ours_ = {our_x, our_y, desc.diff_weights_desc()};
      theirs_ = {desc.src_desc(), desc.diff_dst_desc(), desc.diff_weights_desc()};
      adopt(desc);
      break;
    }
  }
  weight_desc_ = theirs_[key_.direction == ConvDirection::kBackwardWeight ? 2 : 1];
}

// Activations that the library wants in another layout (Winograd) go through the scratch.
void LibraryConv::stage_activations(const dnnl::engine& engine) {
  std::size_t offset = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    if (ours_[i] == theirs_[i]) continue;
    staged_[i].needed = true;
    staged_[i].offset = offset;
    offset += aligned(theirs_[i].get_size());
    const memory::desc &from = i < 2 ? ours_[i] : theirs_[i], &to = i < 2 ? theirs_[i] : ours_[i];
    staged_[i].reorder = dnnl::reorder(dnnl::reorder::primitive_desc(engine, from, engine, to));
  }
  scratchpad_offset_ = offset;
  scratch_bytes_ = offset + aligned(scratchpad_desc_.get_size());
}

void LibraryConv::make_weight_reorders(const dnnl::engine& engine) {
  our_weight_ = memory(our_weight_desc_, engine, nullptr);
  their_weight_ = memory(weight_desc_, engine, nullptr);
  if (key_.direction == ConvDirection::kBackwardWeight) {
    weight_reorder_ = dnnl::reorder(their_weight_, our_weight_);
    dnnl::primitive_attr add;
    dnnl::post_ops sum;
    sum.append_sum(1.f);
    add.set_post_ops(sum);
    weight_reorder_add_ = dnnl::reorder(their_weight_, our_weight_, add);
  } else {
    weight_reorder_ = dnnl::reorder(our_weight_, their_weight_);
  }
}

// What one run needs of its own: handles of memory, whose pointers run() sets.
void LibraryConv::make_slots(const dnnl::engine& engine, int slots) {
  slots_.resize(static_cast<std::size_t>(slots));
  for (Slot& slot : slots_) {
    for (std::size_t i = 0; i < 3; ++i) {
      slot.theirs[i] = memory(theirs_[i], engine, nullptr);
      if (staged_[i].needed) slot.ours[i] = memory(ours_[i], engine, nullptr);
      slot.args.push_back({roles_[i], slot.theirs[i].get()});
    }
    slot.scratchpad = memory(scratchpad_desc_, engine, nullptr);
    slot.args.push_back({DNNL_ARG_SCRATCHPAD, slot.scratchpad.get()});
    if (key_.bias) {
      slot.bias = memory(bias_desc_, engine, nullptr);
      slot.args.push_back({DNNL_ARG_BIAS, slot.bias.get()});
    }
    if (key_.residual) {
      slot.residual = memory(residual_desc_, engine, nullptr);
      slot.args.push_back({DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1, slot.residual.get()});
    }
  }
}

template <class PrimitiveDesc>
void LibraryConv::adopt(const PrimitiveDesc& desc) {
  scratchpad_desc_ = desc.scratchpad_desc();
  implementation_ = desc.impl_info_str();
}

void LibraryConv::run(const dnnl::stream& stream, int slot_index, const Data& data, char* scratch) {
  Slot& slot = slots_[static_cast<std::size_t>(slot_index)];
  void* const pointers[3] = {const_cast<void*>(data.a), const_cast<void*>(data.b), data.out};
  for (std::size_t i = 0; i < 3; ++i) {
    if (staged_[i].needed) {
      slot.ours[i].set_data_handle(pointers[i]);
      slot.theirs[i].set_data_handle(scratch + staged_[i].offset);
      if (i < 2) staged_[i].reorder.execute(stream, slot.ours[i], slot.theirs[i]);
    } else {
      slot.theirs[i].set_data_handle(pointers[i]);
    }
  }
  slot.scratchpad.set_data_handle(scratch + scratchpad_offset_);
  if (key_.bias) slot.bias.set_data_handle(const_cast<float*>(data.bias));
  if (key_.residual) slot.residual.set_data_handle(const_cast<void*>(data.residual));
  dnnl::error::wrap_c_api(
      dnnl_primitive_execute(
          primitive_.get(), stream.get(), static_cast<int>(slot.args.size()), slot.args.data()),
      "conv2d: the library's convolution failed");
  if (staged_[2].needed) staged_[2].reorder.execute(stream, slot.theirs[2], slot.ours[2]);
}

void LibraryConv::pack_weights(const dnnl::stream& stream, const float* w, void* packed) {
  our_weight_.set_data_handle(const_cast<float*>(w));
  their_weight_.set_data_handle(packed);
  weight_reorder_.execute(stream, our_weight_, their_weight_);
}

void LibraryConv::unpack_gradient(const dnnl::stream& stream, const void* packed, float* dw, Write write) {
  their_weight_.set_data_handle(const_cast<void*>(packed));
  our_weight_.set_data_handle(dw);
  (write == Write::kAccumulate ? weight_reorder_add_ : weight_reorder_)
      .execute(stream, their_weight_, our_weight_);
}

LibraryConv* Context::Primitives::find(Context& ctx, const LibraryConv::Key& key) {
  const auto found = convolutions.find(key);
  if (found != convolutions.end()) return found->second.get();
  require_room_for_code();
  const ThreadScope scope(key.one_thread ? 1 : ctx.threads());
  std::unique_ptr<LibraryConv> made;
  try {
    made = std::make_unique<LibraryConv>(engine, key, key.one_thread ? ctx.threads() : 1);
    const std::string implementation = made->implementation();
    if (implementation.starts_with("ref") || is_wrong(key, implementation)) made.reset();
  } catch (const dnnl::error& e) {
    if (e.status == dnnl_out_of_memory)
      throw OutOfMemoryError(std::string("out of memory: conv2d: the library says: ") + e.what());
    if (e.status != dnnl_unimplemented && e.status != dnnl_invalid_arguments) throw;
  }
  return (convolutions[key] = std::move(made)).get();
}

}  // namespace offramp::cpu

#endif
