// Drives the cached primitives of onednn.h. Weights are packed per call from the float32 master copy; a batch
// runs in one-thread shards inside one parallel loop, or whole on all threads.
#include "kernels/cpu/conv2d_library.h"

#include "kernels/cpu/onednn.h"

#if OFFRAMP_HAS_ONEDNN

#include <type_traits>

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/shards.h"

namespace offramp::cpu::library {
namespace {

// The plans of a call: shards of two sizes at most, the second null where all are equal.
struct Plans {
  BatchShards shards;
  bool one_thread = false;
  LibraryConv* of_size[2] = {};
  std::int64_t images[2] = {};

  LibraryConv& of(std::int64_t shard) const {
    return *of_size[shards.end(shard) - shards.begin(shard) == images[0] ? 0 : 1];
  }
  std::size_t scratch_bytes() const {
    std::size_t bytes = of_size[0]->scratch_bytes();
    if (of_size[1]) bytes = std::max(bytes, of_size[1]->scratch_bytes());
    return bytes;
  }
};

bool find_plans(Context& ctx, LibraryConv::Key key, const BatchShards& shards, Plans& plans) {
  plans.shards = shards;
  plans.one_thread = key.one_thread;
  const std::int64_t smaller = shards.images / shards.count;
  plans.images[0] = smaller;
  plans.images[1] = smaller + 1;
  const int sizes = shards.images % shards.count == 0 ? 1 : 2;
  for (int i = 0; i < sizes; ++i) {
    key.geom.n = static_cast<int>(plans.images[i]);
    plans.of_size[i] = ctx.primitives().find(ctx, key);
    if (!plans.of_size[i]) return false;
  }
  return sizes == 1 || plans.of_size[0]->weight_layout() == plans.of_size[1]->weight_layout();
}

// run(plan, shard, slot, scratch, copies) for every shard; copies has `extra` floats.
template <class Run>
void for_shards(Context& ctx, const Plans& plans, std::int64_t extra, Run run) {
  const std::size_t copies_at = (plans.scratch_bytes() + 63) / 64 * 64;
  const std::size_t each = copies_at + (static_cast<std::size_t>(extra) * sizeof(float) + 127) / 64 * 64;
  const int slots = plans.one_thread ? ctx.threads() : 1;
  auto* scratch =
      static_cast<char*>(ctx.workspace(Context::kLibraryScratch, each * static_cast<std::size_t>(slots)));
  const auto run_shard = [&](std::int64_t shard, int slot) {
    char* mine = scratch + each * static_cast<std::size_t>(slot);
    run(plans.of(shard), shard, slot, mine, reinterpret_cast<float*>(mine + copies_at));
  };
  if (!plans.one_thread) {
    const ThreadScope scope(ctx.threads());
    run_shard(0, 0);
    return;
  }
  parallel_ranges(ctx, plans.shards.count, [&](std::int64_t begin, std::int64_t end, int thread) {
    const ThreadScope scope(1);
    for (std::int64_t shard = begin; shard < end; ++shard) run_shard(shard, thread);
  });
}

BatchShards shards_for(const Conv2dGeom& g, ConvAlgorithm algorithm) {
  if (algorithm == ConvAlgorithm::kDirect || algorithm == ConvAlgorithm::kWidened)
    return activation_shards(g);
  return {g.n, 1};
}

// bf16 activations reach the library as float where the algorithm says so: copies of a shard, in the scratch
// of its thread behind what the plan needs.
template <class T>
bool widens(ConvAlgorithm algorithm) {
  return std::is_same_v<T, bf16> && algorithm == ConvAlgorithm::kWidened;
}

template <class From, class To>
void convert_values(std::int64_t n, const From* from, To* to) {
  for (std::int64_t i = 0; i < n; i += kLanes) {
    const int lanes = lanes_left(n - i);
    if (lanes == kLanes) {
      store(to + i, load(from + i));
    } else {
      store_n(to + i, load_n(from + i, lanes), lanes);
    }
  }
}

LibraryConv::Key key_for(
    const Conv2dGeom& g, ConvDirection direction, ConvAlgorithm algorithm, bool bf16, bool one_thread) {
  LibraryConv::Key key{.geom = g, .direction = direction};
  key.algorithm = algorithm == ConvAlgorithm::kLibraryWinograd ? algorithm : ConvAlgorithm::kDirect;
  key.bf16 = bf16;
  key.one_thread = one_thread;
  return key;
}

// In the caller's thread, while the values are in its cache. Not the library's own, which makes 0 of NaN.
void rectify(std::int64_t n, float* y) {
  for (std::int64_t i = 0; i < n; ++i) y[i] = y[i] < 0 ? 0.f : y[i];
}
void rectify(std::int64_t n, bf16* y) {  // by their bits, 32 at a time: negative, and not above the infinite
  constexpr std::uint16_t kSign = 0x8000, kNegativeInfinity = 0xFF80;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint16_t bits = y[i].bits;
    y[i].bits = bits > kSign && bits <= kNegativeInfinity ? 0 : bits;
  }
}

void* packed_weights(Context& ctx, LibraryConv& plan, const float* w) {
  void* packed = ctx.workspace(Context::kPacked, plan.weight_bytes());
  const ThreadScope scope(ctx.threads());
  plan.pack_weights(ctx.primitives().stream, w, packed);
  return packed;
}

// y += x over n values, in the caller's thread.
template <class From, class To>
void add_into(std::int64_t n, const From* x, To* y) {
  for (std::int64_t i = 0; i < n; i += kLanes) {
    const int lanes = lanes_left(n - i);
    store_n(y + i, load_n(y + i, lanes) + load_n(x + i, lanes), lanes);
  }
}

}  // namespace

template <class T>
bool conv2d_forward(Context& ctx,
                    const Conv2dGeom& g,
                    ConvAlgorithm algorithm,
                    const T* x,
                    const float* w,
                    const float* bias,
                    T* y) {
  const BatchShards shards = shards_for(g, algorithm);
  const bool wide = widens<T>(algorithm);
  LibraryConv::Key key =
      key_for(g, ConvDirection::kForward, algorithm, std::is_same_v<T, bf16> && !wide, shards.count > 1);
  key.bias = bias != nullptr;
  Plans plans;
  if (!find_plans(ctx, key, shards, plans)) return false;
  const void* packed = packed_weights(ctx, *plans.of_size[0], w);
  const std::int64_t x_image = g.x_size() / g.n, y_image = g.y_size() / g.n, largest = shards.largest();
  const std::int64_t extra = wide ? largest * (x_image + y_image) : 0;
  for_shards(
      ctx, plans, extra, [&](LibraryConv& plan, std::int64_t shard, int slot, char* scratch, float* copies) {
        const std::int64_t first = shards.begin(shard), images = shards.end(shard) - first;
        const T* from = x + first * x_image;
        T* to = y + first * y_image;
        if (wide) {
          float* wide_y = copies + largest * x_image;
          convert_values(images * x_image, from, copies);
          plan.run(ctx.primitives().stream, slot, {copies, packed, wide_y, bias}, scratch);
          convert_values(images * y_image, wide_y, to);
        } else {
          plan.run(ctx.primitives().stream, slot, {from, packed, to, bias}, scratch);
        }
      });
  return true;
}

template <class T>
bool conv2d_backward_input(Context& ctx,
                           const Conv2dGeom& g,
                           ConvAlgorithm algorithm,
                           const T* dy,
                           const float* w,
                           T* dx,
                           Write write) {
  const BatchShards shards = shards_for(g, algorithm);
  const bool wide = widens<T>(algorithm), adds = write == Write::kAccumulate;
  Plans plans;
  const LibraryConv::Key key = key_for(
      g, ConvDirection::kBackwardInput, algorithm, std::is_same_v<T, bf16> && !wide, shards.count > 1);
  if (!find_plans(ctx, key, shards, plans)) return false;
  const void* packed = packed_weights(ctx, *plans.of_size[0], w);
  const std::int64_t x_image = g.x_size() / g.n, y_image = g.y_size() / g.n, largest = shards.largest();
  // The library cannot add: the shard is written beside the scratch and added while it is in the cache.
  const std::int64_t extra = wide ? largest * (x_image + y_image) : adds ? largest * x_image : 0;
  for_shards(
      ctx, plans, extra, [&](LibraryConv& plan, std::int64_t shard, int slot, char* scratch, float* copies) {
        const std::int64_t first = shards.begin(shard), images = shards.end(shard) - first;
        const T* from = dy + first * y_image;
        T* to = dx + first * x_image;
        if (wide) {
          float* wide_dy = copies + largest * x_image;
          convert_values(images * y_image, from, wide_dy);
          plan.run(ctx.primitives().stream, slot, {wide_dy, packed, copies}, scratch);
          if (adds) {
            add_into(images * x_image, copies, to);
          } else {
            convert_values(images * x_image, copies, to);
          }
          return;
        }
        T* fresh = adds ? reinterpret_cast<T*>(copies) : to;
        plan.run(ctx.primitives().stream, slot, {from, packed, fresh}, scratch);
        if (adds) add_into(images * x_image, fresh, to);
      });
  return true;
}

template <class T>
bool conv2d_backward_weight(Context& ctx,
                            const Conv2dGeom& g,
                            ConvAlgorithm algorithm,
                            const T* x,
                            const T* dy,
                            float* dw,
                            Write write) {
  const BatchShards shards = weight_gradient_shards(g);
  const bool wide = widens<T>(algorithm);
  // One thread a shard, always: the library's own split of the sum depends on the thread count.
  const LibraryConv::Key key =
      key_for(g, ConvDirection::kBackwardWeight, algorithm, std::is_same_v<T, bf16> && !wide, true);
  Plans plans;
  if (!find_plans(ctx, key, shards, plans)) return false;
  const std::size_t bytes = plans.of_size[0]->weight_bytes();
  auto* partials =
      static_cast<char*>(ctx.workspace(Context::kPartials, bytes * static_cast<std::size_t>(shards.count)));
  const std::int64_t x_image = g.x_size() / g.n, y_image = g.y_size() / g.n, largest = shards.largest();
  const std::int64_t extra = wide ? largest * (x_image + y_image) : 0;
  for_shards(
      ctx, plans, extra, [&](LibraryConv& plan, std::int64_t shard, int slot, char* scratch, float* copies) {
        const std::int64_t first = shards.begin(shard), images = shards.end(shard) - first;
        const void *a = x + first * x_image, *b = dy + first * y_image;
        if (wide) {
          convert_values(images * x_image, x + first * x_image, copies);
          convert_values(images * y_image, dy + first * y_image, copies + largest * x_image);
          a = copies;
          b = copies + largest * x_image;
        }
        plan.run(ctx.primitives().stream,
                 slot,
                 {a, b, partials + bytes * static_cast<std::size_t>(shard)},
                 scratch);
      });
  auto* total = reinterpret_cast<float*>(partials);
  if (shards.count > 1) {
    const auto size = static_cast<std::int64_t>(bytes / sizeof(float));
    sum_partials(ctx, static_cast<int>(shards.count), size, total, total, Write::kOverwrite);
  }
  const ThreadScope scope(ctx.threads());
  plans.of_size[0]->unpack_gradient(ctx.primitives().stream, total, dw, write);
  return true;
}

template <class T>
bool pack_forward_weights(Context& ctx, PackedConv2d& packed) {
  LibraryConv::Key key = key_for(packed.geom,
                                 ConvDirection::kForward,
                                 packed.algorithm,
                                 std::is_same_v<T, bf16> && !widens<T>(packed.algorithm),
                                 false);
  key.geom.n = 1;
  key.bias = !packed.bias.empty();
  LibraryConv* plan = ctx.primitives().find(ctx, key);
  if (!plan) return false;
  packed.layout = plan->weight_layout();
  packed.packed = aligned_bytes(plan->weight_bytes());
  const ThreadScope scope(ctx.threads());
  plan->pack_weights(ctx.primitives().stream, packed.w.data(), packed.packed.get());
  return true;
}

template <class T>
bool conv2d_forward_packed(
    Context& ctx, const Conv2dGeom& g, const PackedConv2d& packed, const T* x, const Epilogue<T>& epilogue) {
  const BatchShards shards = shards_for(g, packed.algorithm);
  const bool wide = widens<T>(packed.algorithm);
  LibraryConv::Key key = key_for(
      g, ConvDirection::kForward, packed.algorithm, std::is_same_v<T, bf16> && !wide, shards.count > 1);
  key.bias = epilogue.bias != nullptr;
  key.residual = epilogue.residual != nullptr;
  Plans plans;
  if (!find_plans(ctx, key, shards, plans)) return false;
  const bool as_packed = plans.of_size[0]->weight_layout() == packed.layout;
  const void* weights =
      as_packed ? packed.packed.get() : packed_weights(ctx, *plans.of_size[0], packed.w.data());
  const std::int64_t x_image = g.x_size() / g.n, y_image = g.y_size() / g.n, largest = shards.largest();
  const std::int64_t extra = wide ? largest * (x_image + y_image * (key.residual ? 2 : 1)) : 0;
  for_shards(
      ctx, plans, extra, [&](LibraryConv& plan, std::int64_t shard, int slot, char* scratch, float* copies) {
        const std::int64_t first = shards.begin(shard), images = shards.end(shard) - first;
        const T* from = x + first * x_image;
        T* to = epilogue.y + first * y_image;
        const T* residual = key.residual ? epilogue.residual + first * y_image : nullptr;
        if (!wide) {
          plan.run(ctx.primitives().stream, slot, {from, weights, to, epilogue.bias, residual}, scratch);
          if (epilogue.relu) rectify(images * y_image, to);
          return;
        }
        float* wide_y = copies + largest * x_image;
        float* wide_residual = residual ? wide_y + largest * y_image : nullptr;
        convert_values(images * x_image, from, copies);
        if (residual) convert_values(images * y_image, residual, wide_residual);
        plan.run(
            ctx.primitives().stream, slot, {copies, weights, wide_y, epilogue.bias, wide_residual}, scratch);
        if (epilogue.relu) rectify(images * y_image, wide_y);
        convert_values(images * y_image, wide_y, to);
      });
  return true;
}

}  // namespace offramp::cpu::library

#else

namespace offramp::cpu::library {

template <class T>
bool conv2d_forward(Context&, const Conv2dGeom&, ConvAlgorithm, const T*, const float*, const float*, T*) {
  return false;
}
template <class T>
bool conv2d_backward_input(Context&, const Conv2dGeom&, ConvAlgorithm, const T*, const float*, T*, Write) {
  return false;
}
template <class T>
bool conv2d_backward_weight(Context&, const Conv2dGeom&, ConvAlgorithm, const T*, const T*, float*, Write) {
  return false;
}
template <class T>
bool pack_forward_weights(Context&, PackedConv2d&) {
  return false;
}
template <class T>
bool conv2d_forward_packed(Context&, const Conv2dGeom&, const PackedConv2d&, const T*, const Epilogue<T>&) {
  return false;
}

}  // namespace offramp::cpu::library

#endif

namespace offramp::cpu::library {

template bool conv2d_forward(
    Context&, const Conv2dGeom&, ConvAlgorithm, const float*, const float*, const float*, float*);
template bool conv2d_forward(
    Context&, const Conv2dGeom&, ConvAlgorithm, const bf16*, const float*, const float*, bf16*);
template bool conv2d_backward_input(
    Context&, const Conv2dGeom&, ConvAlgorithm, const float*, const float*, float*, Write);
template bool conv2d_backward_input(
    Context&, const Conv2dGeom&, ConvAlgorithm, const bf16*, const float*, bf16*, Write);
template bool conv2d_backward_weight(
    Context&, const Conv2dGeom&, ConvAlgorithm, const float*, const float*, float*, Write);
template bool conv2d_backward_weight(
    Context&, const Conv2dGeom&, ConvAlgorithm, const bf16*, const bf16*, float*, Write);

template bool pack_forward_weights<float>(Context&, PackedConv2d&);
template bool pack_forward_weights<bf16>(Context&, PackedConv2d&);
template bool conv2d_forward_packed(
    Context&, const Conv2dGeom&, const PackedConv2d&, const float*, const Epilogue<float>&);
template bool conv2d_forward_packed(
    Context&, const Conv2dGeom&, const PackedConv2d&, const bf16*, const Epilogue<bf16>&);

}  // namespace offramp::cpu::library
