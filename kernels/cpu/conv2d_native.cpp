// Indirect convolution: for every output pixel and filter tap a pointer to the input pixel under the tap (or
// to a row of zeros), then products of rows (gemm.h). Nothing is copied into columns: reads x about r * s
// times from cache, writes y once.
#include "kernels/cpu/conv2d_native.h"

#include <type_traits>
#include <vector>

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/shards.h"

namespace offramp::cpu::native {
namespace {

// x itself, or its float copy in kColumns behind `front` floats of zeros for taps outside of the image.
template <class T>
const float* widened(Context& ctx, std::int64_t size, const T* x, std::int64_t front, float* space) {
  std::fill_n(space, front, 0.f);
  if constexpr (std::is_same_v<T, float>) {
    return x;
  } else {
    constexpr std::int64_t kChunk = 1 << 15;
    float* copy = space + front;
    for_chunks(ctx, size, kChunk, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; i += kLanes) {
        store_n(copy + i, load_n(x + i, lanes_left(end - i)), lanes_left(end - i));
      }
    });
    return copy;
  }
}

// Floats of kColumns that widened() needs.
template <class T>
std::int64_t widened_size(std::int64_t size, std::int64_t front) {
  return front + (std::is_same_v<T, float> ? 0 : size);
}

float* floats(Context& ctx, Context::Slot slot, std::int64_t count) {
  return static_cast<float*>(ctx.workspace(slot, static_cast<std::size_t>(count) * sizeof(float)));
}

template <class T>
void store_result(T* at, int lanes, f32x16 value, bool accumulate) {
  if (accumulate) value += load_n(at, lanes);
  store_n(at, value, lanes);
}

}  // namespace

std::int64_t forward_weight_size(const Conv2dGeom& g) {
  return g.groups * packed_size(g.r * g.s, g.group_c(), g.group_k());
}

void pack_forward_weights(Context& ctx, const Conv2dGeom& g, const float* w, float* packed) {
  const int gc = g.group_c(), gk = g.group_k(), taps = g.r * g.s;
  for (int group = 0; group < g.groups; ++group, packed += packed_size(taps, gc, gk)) {
    const float* wg = w + std::int64_t{group} * gk * taps * gc;
    pack_panels(
        ctx,
        taps,
        gc,
        gk,
        [=](int t, int d, int k) { return wg[(std::int64_t{k} * taps + t) * gc + d]; },
        packed);
  }
}

template <class T>
void conv2d_forward(
    Context& ctx, const Conv2dGeom& g, const T* x, const float* packed, const Epilogue<T>& epilogue) {
  const int gc = g.group_c(), gk = g.group_k(), taps = g.r * g.s, oh = g.out_h(), ow = g.out_w();
  float* space = floats(ctx, Context::kColumns, widened_size<T>(g.x_size(), gc));
  const float *zeros = space, *xf = widened(ctx, g.x_size(), x, gc, space);
  for (int group = 0; group < g.groups; ++group, packed += packed_size(taps, gc, gk)) {
    const auto fill = [=](std::int64_t begin, std::int64_t end, const RowBlock& block) {
      for (std::int64_t m = begin; m < end; ++m) {
        const int j = static_cast<int>(m % ow), i = static_cast<int>(m / ow % oh);
        const float* image = xf + m / (std::int64_t{ow} * oh) * g.h * g.w * g.c + std::int64_t{group} * gc;
        block.out[m - begin] = m * g.k + std::int64_t{group} * gk;
        const float** to = block.rows + (m - begin);
        for (int r = 0; r < g.r; ++r) {
          for (int s = 0; s < g.s; ++s, to += kRowBlock) {
            const int row = i * g.stride - g.pad + r, column = j * g.stride - g.pad + s;
            const bool inside = row >= 0 && row < g.h && column >= 0 && column < g.w;
            *to = inside ? image + (std::int64_t{row} * g.w + column) * g.c : zeros;
          }
        }
      }
    };
    gemm_rows(ctx,
              std::int64_t{g.n} * oh * ow,
              taps,
              gc,
              gk,
              packed,
              fill,
              [=](std::int64_t at, int n, int lanes, f32x16 value) {
                epilogue.store(at, group * gk + n, lanes, value);
              });
  }
}

// Input pixels fall into stride * stride classes by their remainders; the pixels of a class see the same
// taps, so that a strided convolution multiplies no zeros.
template <class T>
void conv2d_backward_input(
    Context& ctx, const Conv2dGeom& g, const T* dy, const float* w, T* dx, Write write) {
  const int gc = g.group_c(), gk = g.group_k(), oh = g.out_h(), ow = g.out_w();
  float* space = floats(ctx, Context::kColumns, widened_size<T>(g.y_size(), gk));
  const float *zeros = space, *dyf = widened(ctx, g.y_size(), dy, gk, space);
  struct Tap {
    int r, s;
  };
  for (int class_id = 0; class_id < g.stride * g.stride; ++class_id) {
    const int first_row = class_id / g.stride, first_column = class_id % g.stride;
    const int rows = (g.h - first_row + g.stride - 1) / g.stride,
              columns = (g.w - first_column + g.stride - 1) / g.stride;
    if (rows <= 0 || columns <= 0) continue;
    std::vector<Tap> taps;
    for (int r = 0; r < g.r; ++r) {
      for (int s = 0; s < g.s; ++s) {
        const bool hits =
            (first_row + g.pad - r) % g.stride == 0 && (first_column + g.pad - s) % g.stride == 0;
        if (hits) taps.push_back({r, s});
      }
    }
    const int tap_count = static_cast<int>(taps.size());
    float* packed = floats(ctx, Context::kPacked, packed_size(tap_count, gk, gc));
    for (int group = 0; group < g.groups; ++group) {
      const auto weight = [&](int t, int d, int n) {
        const Tap tap = taps[static_cast<std::size_t>(t)];
        return w[((std::int64_t{group} * gk + d) * g.r * g.s + tap.r * g.s + tap.s) * gc + n];
      };
      pack_panels(ctx, tap_count, gk, gc, weight, packed);
      const auto fill = [&](std::int64_t begin, std::int64_t end, const RowBlock& block) {
        for (std::int64_t m = begin; m < end; ++m) {
          const int column = first_column + static_cast<int>(m % columns) * g.stride;
          const int row = first_row + static_cast<int>(m / columns % rows) * g.stride;
          const std::int64_t image = m / (std::int64_t{columns} * rows);
          block.out[m - begin] = ((image * g.h + row) * g.w + column) * g.c + std::int64_t{group} * gc;
          const float* from = dyf + image * oh * ow * g.k + std::int64_t{group} * gk;
          const float** to = block.rows + (m - begin);
          for (const Tap tap : taps) {
            const int i = row + g.pad - tap.r, j = column + g.pad - tap.s;  // multiples of the stride
            const bool inside = i >= 0 && i < oh * g.stride && j >= 0 && j < ow * g.stride;
            *to = inside ? from + (std::int64_t{i / g.stride} * ow + j / g.stride) * g.k : zeros;
            to += kRowBlock;
          }
        }
      };
      gemm_rows(ctx,
                std::int64_t{g.n} * rows * columns,
                tap_count,
                gk,
                gc,
                packed,
                fill,
                [=](std::int64_t at, int, int lanes, f32x16 value) {
                  store_result(dx + at, lanes, value, write == Write::kAccumulate);
                });
    }
  }
}

template <class T>
void conv2d_backward_weight(
    Context& ctx, const Conv2dGeom& g, const T* x, const T* dy, float* dw, Write write) {
  const int gc = g.group_c(), gk = g.group_k(), taps = g.r * g.s, oh = g.out_h(), ow = g.out_w();
  const std::int64_t x_space = widened_size<T>(g.x_size(), gc);
  float* space = floats(ctx, Context::kColumns, x_space + widened_size<T>(g.y_size(), 0));
  const float *zeros = space, *xf = widened(ctx, g.x_size(), x, gc, space);
  const float* dyf = widened(ctx, g.y_size(), dy, 0, space + x_space);
  const BatchShards shards = weight_gradient_shards(g);
  float* partials = floats(ctx, Context::kPartials, shards.count * g.w_size());
  const std::size_t table = static_cast<std::size_t>(taps) * kOuterBlock;
  auto* tables = static_cast<const float**>(
      ctx.workspace(Context::kStage, table * sizeof(float*) * static_cast<std::size_t>(ctx.threads())));
  parallel_ranges(ctx, shards.count, [&](std::int64_t first, std::int64_t last, int thread) {
    const float** rows = tables + static_cast<std::size_t>(thread) * table;
    for (std::int64_t shard = first; shard < last; ++shard) {
      float* part = partials + shard * g.w_size();
      std::fill_n(part, g.w_size(), 0.f);
      const std::int64_t pixels = std::int64_t{oh} * ow;
      const std::int64_t begin = shards.begin(shard) * pixels, end = shards.end(shard) * pixels;
      for (std::int64_t m0 = begin; m0 < end; m0 += kOuterBlock) {
        const int count = static_cast<int>(std::min<std::int64_t>(kOuterBlock, end - m0));
        for (int group = 0; group < g.groups; ++group) {
          for (int m = 0; m < count; ++m) {
            const std::int64_t at = m0 + m;
            const int j = static_cast<int>(at % ow), i = static_cast<int>(at / ow % oh);
            const float* image = xf + at / pixels * g.h * g.w * g.c + std::int64_t{group} * gc;
            const float** to = rows + m;
            for (int r = 0; r < g.r; ++r) {
              for (int s = 0; s < g.s; ++s, to += kOuterBlock) {
                const int row = i * g.stride - g.pad + r, column = j * g.stride - g.pad + s;
                const bool inside = row >= 0 && row < g.h && column >= 0 && column < g.w;
                *to = inside ? image + (std::int64_t{row} * g.w + column) * g.c : zeros;
              }
            }
          }
          gemm_outer_block(count,
                           gk,
                           dyf + m0 * g.k + std::int64_t{group} * gk,
                           g.k,
                           taps,
                           rows,
                           gc,
                           part + std::int64_t{group} * gk * taps * gc,
                           std::int64_t{taps} * gc);
        }
      }
    }
  });
  sum_partials(ctx, static_cast<int>(shards.count), g.w_size(), partials, dw, write);
}

template void conv2d_forward(Context&, const Conv2dGeom&, const float*, const float*, const Epilogue<float>&);
template void conv2d_forward(Context&, const Conv2dGeom&, const bf16*, const float*, const Epilogue<bf16>&);
template void conv2d_backward_input(Context&, const Conv2dGeom&, const float*, const float*, float*, Write);
template void conv2d_backward_input(Context&, const Conv2dGeom&, const bf16*, const float*, bf16*, Write);
template void conv2d_backward_weight(Context&, const Conv2dGeom&, const float*, const float*, float*, Write);
template void conv2d_backward_weight(Context&, const Conv2dGeom&, const bf16*, const bf16*, float*, Write);

}  // namespace offramp::cpu::native
