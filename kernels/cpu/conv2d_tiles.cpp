#include "kernels/cpu/conv2d_tiles.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "kernels/cpu/conv2d_tiles_planes.h"
#include "kernels/cpu/conv2d_tiles_weight.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/shards.h"

namespace offramp::cpu {

#if OFFRAMP_HAS_TILES
bool TileUnit::usable() {
#if defined(__linux__)
  static const bool usable = [] {
    unsigned a = 0, b = 0, c = 0, d = 0;
    constexpr unsigned kBf16 = 1u << 22, kTile = 1u << 24;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & kBf16) == 0 || (d & kTile) == 0) return false;
    // Linux saves the 8 KB of a thread's tiles only for processes that ask.
    constexpr int kRequestState = 0x1023, kTileData = 18;
    return syscall(SYS_arch_prctl, kRequestState, kTileData) == 0;
  }();
  return usable;
#else
  return false;
#endif
}
#endif

namespace tiles {
namespace {

constexpr std::int64_t kLargeWeights =
    200'000;                  // floats: from here on one set of sums instead of one a shard
constexpr int kPixels = 256;  // of a weight gradient, packed at a time; twice as many where sums are large

// run(type_identity<Unit>) with the unit, or with its twin where the machine has none.
template <class Run>
void with_unit(Run run) {
#if OFFRAMP_HAS_TILES
  if (available()) {
    run(std::type_identity<TileUnit>{});
    return;
  }
#endif
  run(std::type_identity<TileArray>{});
}

bf16* workspace(Context& ctx, Context::Slot slot, std::int64_t values) {
  return static_cast<bf16*>(ctx.workspace(slot, static_cast<std::size_t>(values) * sizeof(bf16)));
}

// finish(at, channel, sums) for every output of the correlation of x, `packed` as pack_forward or pack_turned leave it.
template <class Input, class Finish>
void correlate_by(Context& ctx, const Conv2dGeom& g, const bf16* x, const bf16* packed, Finish finish) {
  const std::int64_t pixels = g.y_size() / g.k, share = (pixels + ctx.threads() - 1) / ctx.threads();
  const Input source(g, share);
  const Lines& lines = source.lines();
  const int blocks = g.k / kTileSide, groups = source.groups(), tiles = source.tiles();
  // A few pixels (one image) are shared out by outputs, in pairs of blocks.
  const int parts = std::clamp(ctx.threads() / groups, 1, std::max(1, blocks / 2));
  auto* offsets = static_cast<std::int64_t*>(
      ctx.workspace(Context::kPartials, sizeof(std::int64_t) * static_cast<std::size_t>(lines.count)));
  for (int line = 0; line < lines.count; ++line) {
    const int tap = line / lines.blocks;
    offsets[line] = source.offset(tap / lines.columns, tap % lines.columns, line % lines.blocks);
  }
  bf16* inputs = workspace(ctx, Context::kColumns, source.values() * ctx.threads());
  const std::size_t list_bytes = static_cast<std::size_t>(tiles) * (sizeof(bf16*) + sizeof(PixelTiles::Tile));
  auto* lists = static_cast<char*>(
      ctx.workspace(Context::kStage, list_bytes * static_cast<std::size_t>(ctx.threads())));
  with_unit([&](auto type) {
    parallel_ranges(ctx, std::int64_t{groups} * parts, [&](std::int64_t begin, std::int64_t end, int thread) {
      typename decltype(type)::type unit;
      bf16* input = inputs + source.values() * thread;
      auto* places = reinterpret_cast<const bf16**>(lists + list_bytes * static_cast<std::size_t>(thread));
      PixelTiles of{offsets,
                    lines.count,
                    source.stride(),
                    places,
                    reinterpret_cast<PixelTiles::Tile*>(places + tiles),
                    0};
      for (std::int64_t job = begin, packed_group = -1; job < end; ++job) {
        const std::int64_t group = job / parts, part = job % parts;
        if (group != packed_group) source.pack(x, static_cast<int>(group), input, of);
        packed_group = group;
        const auto border = [&](std::int64_t p) {
          return p == parts ? blocks : static_cast<int>(blocks * p / parts / 2 * 2);
        };
        correlate_tiles(unit, of, packed, border(part), border(part + 1), g.k, finish);
      }
    });
  });
}

template <class Finish>
void correlate(Context& ctx, const Conv2dGeom& g, const bf16* x, const bf16* packed, Finish finish) {
  if (InPlace::fits(g)) return correlate_by<InPlace>(ctx, g, x, packed, finish);
  if (Planes::fits(g)) return correlate_by<Planes>(ctx, g, x, packed, finish);
  correlate_by<Copies>(ctx, g, x, packed, finish);
}

template <class Pack>
const bf16* packed_weights(Context& ctx, const Conv2dGeom& g, Pack pack) {
  bf16* packed = workspace(ctx, Context::kPacked, packed_weight_values(g));
  parallel_ranges(ctx, g.k / kTileSide, [&](std::int64_t begin, std::int64_t end, int) {
    pack(static_cast<int>(begin), static_cast<int>(end), packed);
  });
  return packed;
}

// The input gradient as a correlation of dy.
Conv2dGeom turned(const Conv2dGeom& g) {
  return {g.n, g.out_h(), g.out_w(), g.k, g.c, g.r, g.s, 1, g.r - 1 - g.pad, 1};
}

// Small weights: a shard of the batch at a time, sums of its own, added in order.
template <class Unit>
void weight_by_shard(
    Context& ctx, const Conv2dGeom& g, const bf16* x, const bf16* dy, float* dw, Write write) {
  const BatchShards shards = weight_gradient_shards(g);
  Conv2dGeom of_shard = g;
  of_shard.n = static_cast<int>(shards.largest());
  const TileLayout layout(of_shard, kPixels, true);
  const std::int64_t b_values = b_size(layout, g.c), each = b_values + kWide * a_block(layout);
  bf16* space = workspace(ctx, Context::kColumns, each * ctx.threads());
  auto* partials = static_cast<float*>(
      ctx.workspace(Context::kPartials, static_cast<std::size_t>(shards.count * g.w_size()) * sizeof(float)));
  const std::int64_t x_image = g.x_size() / g.n, y_image = g.y_size() / g.n;
  parallel_ranges(ctx, shards.count, [&](std::int64_t begin, std::int64_t end, int thread) {
    bf16* b = space + each * thread;
    for (std::int64_t shard = begin; shard < end; ++shard) {
      const std::int64_t first = shards.begin(shard);
      add_weight_gradient<Unit>({.layout = &layout,
                                 .x = x + first * x_image,
                                 .dy = dy + first * y_image,
                                 .images = shards.end(shard) - first,
                                 .c0 = 0,
                                 .c1 = g.c,
                                 .b = b,
                                 .a = b + b_values,
                                 .a_is_packed = false,
                                 .dw = partials + shard * g.w_size(),
                                 .adds = false});
    }
  });
  sum_partials(ctx, static_cast<int>(shards.count), g.w_size(), partials, dw, write);
}

// Large weights: one set of sums, whose input channels the threads share out; dy is packed once for all.
template <class Unit>
void weight_by_channels(
    Context& ctx, const Conv2dGeom& g, const bf16* x, const bf16* dy, float* dw, Write write) {
  const TileLayout layout(g, 2 * kPixels, true);
  const int units = layout.units(g.n), groups = (units + layout.group - 1) / layout.group,
            blocks = g.k / kTileSide;
  bf16* packed = workspace(ctx, Context::kPacked, std::int64_t{groups} * blocks * a_block(layout));
  parallel_for(ctx, std::int64_t{groups} * blocks, [&](std::int64_t job) {
    const int first = static_cast<int>(job / blocks) * layout.group,
              k = static_cast<int>(job % blocks) * kTileSide;
    pack_gradient(
        layout, dy, g.n, first, std::min(layout.group, units - first), k, packed + job * a_block(layout));
  });
  const int step = g.c % 64 == 0 && g.c / 64 >= 2 * ctx.threads() ? 64 : g.c % 32 == 0 ? 32 : 16;
  const std::int64_t b_values = b_size(layout, step);
  bf16* space = workspace(ctx, Context::kColumns, b_values * ctx.threads());
  parallel_ranges(ctx, g.c / step, [&](std::int64_t begin, std::int64_t end, int thread) {
    for (std::int64_t job = begin; job < end; ++job) {
      add_weight_gradient<Unit>({.layout = &layout,
                                 .x = x,
                                 .dy = dy,
                                 .images = g.n,
                                 .c0 = static_cast<int>(job) * step,
                                 .c1 = static_cast<int>(job + 1) * step,
                                 .b = space + b_values * thread,
                                 .a = packed,
                                 .a_is_packed = true,
                                 .dw = dw,
                                 .adds = write == Write::kAccumulate});
    }
  });
}

}  // namespace

bool available() {
#if OFFRAMP_HAS_TILES
  return TileUnit::usable();
#else
  return false;
#endif
}

bool handles(const Conv2dGeom& g, ConvDirection direction) {
  if (g.groups != 1 || g.c <= 0 || g.k <= 0 || g.c % kTileSide != 0 || g.k % kTileSide != 0) return false;
  if (direction == ConvDirection::kBackwardWeight) return true;
  if (direction == ConvDirection::kBackwardInput && (g.stride != 1 || g.r != g.s || g.pad >= g.r))
    return false;
  const Conv2dGeom of = direction == ConvDirection::kBackwardInput ? turned(g) : g;
  return Copies::fits(of) || (of.c == kTileSide && (InPlace::fits(of) || Planes::fits(of)));
}

void conv2d_forward(
    Context& ctx, const Conv2dGeom& g, const bf16* x, const float* w, const Epilogue<bf16>& epilogue) {
  const bf16* packed =
      packed_weights(ctx, g, [&](int begin, int end, bf16* to) { pack_forward(g, w, begin, end, to); });
  conv2d_forward_packed(ctx, g, x, packed, epilogue);
}

std::int64_t forward_weight_size(const Conv2dGeom& g) { return packed_weight_values(g); }
void pack_forward_weights(const Conv2dGeom& g, const float* w, bf16* packed) {
  pack_forward(g, w, 0, g.k / kTileSide, packed);
}
void conv2d_forward_packed(
    Context& ctx, const Conv2dGeom& g, const bf16* x, const bf16* packed, const Epilogue<bf16>& epilogue) {
  correlate(ctx, g, x, packed, [=](std::int64_t at, int channel, f32x16 sums) {
    epilogue.store(at, channel, kLanes, sums);
  });
}

void conv2d_backward_input(
    Context& ctx, const Conv2dGeom& g, const bf16* dy, const float* w, bf16* dx, Write write) {
  const Conv2dGeom of = turned(g);
  const bf16* packed =
      packed_weights(ctx, of, [&](int begin, int end, bf16* to) { pack_turned(of, w, begin, end, to); });
  correlate(ctx, of, dy, packed, [=](std::int64_t at, int, f32x16 sums) {
    store(dx + at, write == Write::kAccumulate ? load(dx + at) + sums : sums);
  });
}

void conv2d_backward_weight(
    Context& ctx, const Conv2dGeom& g, const bf16* x, const bf16* dy, float* dw, Write write) {
  with_unit([&](auto type) {
    using Unit = typename decltype(type)::type;
    g.w_size() >= kLargeWeights ? weight_by_channels<Unit>(ctx, g, x, dy, dw, write)
                                : weight_by_shard<Unit>(ctx, g, x, dy, dw, write);
  });
}

}  // namespace tiles
}  // namespace offramp::cpu
