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

// run(plan, shard, slot, scratch) for every shard.
template <class Run>
void for_shards(Context& ctx, const Plans& plans, std::size_t extra_bytes, Run run) {
  const std::size_t each = (plans.scratch_bytes() + extra_bytes + 127) / 64 * 64;
  const int slots = plans.one_thread ? ctx.threads() : 1;
  auto* scratch =
      static_cast<char*>(ctx.workspace(Context::kLibraryScratch, each * static_cast<std::size_t>(slots)));
  if (!plans.one_thread) {
    const ThreadScope scope(ctx.threads());
    run(plans.of(0), 0, 0, scratch);
    return;
  }
  parallel_ranges(ctx, plans.shards.count, [&](std::int64_t begin, std::int64_t end, int thread) {
    const ThreadScope scope(1);
    for (std::int64_t shard = begin; shard < end; ++shard) {
      run(plans.of(shard), shard, thread, scratch + each * static_cast<std::size_t>(thread));
    }
  });
}

BatchShards shards_for(const Conv2dGeom& g, ConvAlgorithm algorithm) {
  if (algorithm == ConvAlgorithm::kDirect) return activation_shards(g);
  return {g.n, 1};
}

void* packed_weights(Context& ctx, LibraryConv& plan, const float* w) {
  void* packed = ctx.workspace(Context::kPacked, plan.weight_bytes());
  const ThreadScope scope(ctx.threads());
  plan.pack_weights(ctx.primitives().stream, w, packed);
  return packed;
}

// y += x over n values, in the caller's thread.
template <class T>
void add_into(std::int64_t n, const T* x, T* y) {
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
  LibraryConv::Key key{.geom = g, .direction = ConvDirection::kForward, .algorithm = algorithm};
  key.bf16 = std::is_same_v<T, bf16>;
  key.bias = bias != nullptr;
  const BatchShards shards = shards_for(g, algorithm);
  key.one_thread = shards.count > 1;
  Plans plans;
  if (!find_plans(ctx, key, shards, plans)) return false;
  const void* packed = packed_weights(ctx, *plans.of_size[0], w);
  const std::int64_t x_image = g.x_size() / g.n, y_image = g.y_size() / g.n;
  for_shards(ctx, plans, 0, [&](LibraryConv& plan, std::int64_t shard, int slot, char* scratch) {
    const std::int64_t first = shards.begin(shard);
    plan.run(
        ctx.primitives().stream, slot, {x + first * x_image, packed, y + first * y_image, bias}, scratch);
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
  LibraryConv::Key key{.geom = g, .direction = ConvDirection::kBackwardInput, .algorithm = algorithm};
  key.bf16 = std::is_same_v<T, bf16>;
  const BatchShards shards = shards_for(g, algorithm);
  key.one_thread = shards.count > 1;
  Plans plans;
  if (!find_plans(ctx, key, shards, plans)) return false;
  const void* packed = packed_weights(ctx, *plans.of_size[0], w);
  const std::int64_t x_image = g.x_size() / g.n, y_image = g.y_size() / g.n;
  // The library cannot add: the shard is written beside the scratch and added while it is in the cache.
  const bool adds = write == Write::kAccumulate;
  const std::int64_t largest = (shards.images + shards.count - 1) / shards.count;
  const std::size_t staged = adds ? static_cast<std::size_t>(largest * x_image) * sizeof(T) : 0;
  const std::size_t staged_at = (plans.scratch_bytes() + 63) / 64 * 64;
  for_shards(ctx, plans, staged, [&](LibraryConv& plan, std::int64_t shard, int slot, char* scratch) {
    const std::int64_t first = shards.begin(shard);
    T* to = dx + first * x_image;
    T* fresh = adds ? reinterpret_cast<T*>(scratch + staged_at) : to;
    plan.run(ctx.primitives().stream, slot, {dy + first * y_image, packed, fresh}, scratch);
    if (adds) add_into((shards.end(shard) - first) * x_image, fresh, to);
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
  LibraryConv::Key key{.geom = g, .direction = ConvDirection::kBackwardWeight, .algorithm = algorithm};
  key.bf16 = std::is_same_v<T, bf16>;
  key.one_thread = true;  // always: the library's own split of the sum depends on the thread count
  const BatchShards shards = weight_gradient_shards(g);
  Plans plans;
  if (!find_plans(ctx, key, shards, plans)) return false;
  const std::size_t bytes = plans.of_size[0]->weight_bytes();
  auto* partials =
      static_cast<char*>(ctx.workspace(Context::kPartials, bytes * static_cast<std::size_t>(shards.count)));
  const std::int64_t x_image = g.x_size() / g.n, y_image = g.y_size() / g.n;
  for_shards(ctx, plans, 0, [&](LibraryConv& plan, std::int64_t shard, int slot, char* scratch) {
    const std::int64_t first = shards.begin(shard);
    plan.run(ctx.primitives().stream,
             slot,
             {x + first * x_image, dy + first * y_image, partials + bytes * static_cast<std::size_t>(shard)},
             scratch);
  });
  auto* total = reinterpret_cast<float*>(partials);
  if (shards.count > 1) {
    sum_partials(ctx,
                 static_cast<int>(shards.count),
                 static_cast<std::int64_t>(bytes / sizeof(float)),
                 total,
                 total,
                 Write::kOverwrite);
  }
  const ThreadScope scope(ctx.threads());
  plans.of_size[0]->unpack_gradient(ctx.primitives().stream, total, dw, write);
  return true;
}

template <class T>
bool pack_forward_weights(Context& ctx, PackedConv2d& packed) {
  LibraryConv::Key key{
      .geom = packed.geom, .direction = ConvDirection::kForward, .algorithm = packed.algorithm};
  key.geom.n = 1;
  key.bf16 = std::is_same_v<T, bf16>;
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
  LibraryConv::Key key{.geom = g, .direction = ConvDirection::kForward, .algorithm = packed.algorithm};
  key.bf16 = std::is_same_v<T, bf16>;
  key.bias = epilogue.bias != nullptr;
  key.residual = epilogue.residual != nullptr;
  key.relu = epilogue.relu;
  const BatchShards shards = shards_for(g, packed.algorithm);
  key.one_thread = shards.count > 1;
  Plans plans;
  if (!find_plans(ctx, key, shards, plans)) return false;
  const bool as_packed = plans.of_size[0]->weight_layout() == packed.layout;
  const void* weights =
      as_packed ? packed.packed.get() : packed_weights(ctx, *plans.of_size[0], packed.w.data());
  const std::int64_t x_image = g.x_size() / g.n, y_image = g.y_size() / g.n;
  for_shards(ctx, plans, 0, [&](LibraryConv& plan, std::int64_t shard, int slot, char* scratch) {
    const std::int64_t first = shards.begin(shard);
    const T* residual = epilogue.residual ? epilogue.residual + first * y_image : nullptr;
    plan.run(ctx.primitives().stream,
             slot,
             {x + first * x_image, weights, epilogue.y + first * y_image, epilogue.bias, residual},
             scratch);
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
