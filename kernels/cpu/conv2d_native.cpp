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

// Maps of few pixels are walked pixel by pixel, image after image: then all rows of a register tile have the
// same taps outside, which are left out (on a 2x2 map 5 of a 3x3 filter's 9).
bool by_pixel(const Conv2dGeom& g) { return g.out_h() * g.out_w() <= 4 && g.n >= kTileRows; }

// The order of the rows of a product.
struct RowOrder {
  std::int64_t images, pixels;
  bool by_pixel;
  std::int64_t image(std::int64_t m) const { return by_pixel ? m % images : m / pixels; }
  std::int64_t pixel(std::int64_t m) const { return by_pixel ? m / images : m % pixels; }
};

// A tensor as float rows, one for each pixel of each image, and a row of zeros for taps outside.
struct FloatRows {
  const float* data;
  const float* zeros;
  std::int64_t image_step, pixel_step;
  const float* at(std::int64_t image, std::int64_t pixel) const {
    return data + image * image_step + pixel * pixel_step;
  }
};

// Floats of the space behind a FloatRows. Rows that follow each other image by image are set apart by more
// than a power of two, so that they do not share a set of the cache.
template <class T>
std::int64_t rows_space(const Conv2dGeom& g, std::int64_t pixels, int c) {
  if (by_pixel(g)) return c + g.n * pixels * (c + kLanes);
  return c + (std::is_same_v<T, float> ? 0 : g.n * pixels * c);
}

// x [n, pixels, c] itself, or its float copy in `space`: for by_pixel(g) [pixels, n, c + 16].
template <class T>
FloatRows float_rows(
    Context& ctx, const Conv2dGeom& g, std::int64_t pixels, int c, const T* x, float* space) {
  std::fill_n(space, c, 0.f);
  const bool turned = by_pixel(g);
  const std::int64_t image_step = turned ? c + kLanes : pixels * c;
  const std::int64_t pixel_step = turned ? g.n * image_step : c;
  if constexpr (std::is_same_v<T, float>) {
    if (!turned) return {x, space, image_step, pixel_step};
  }
  constexpr std::int64_t kChunkFloats = 1 << 15;
  float* copy = space + c;
  for_chunks(
      ctx, g.n * pixels, kChunkFloats / c + 1, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
        for (std::int64_t row = begin; row < end; ++row) {
          float* to = copy + row / pixels * image_step + row % pixels * pixel_step;
          for (int i = 0; i < c; i += kLanes) {
            store_n(to + i, load_n(x + row * c + i, lanes_left(c - i)), lanes_left(c - i));
          }
        }
      });
  return {copy, space, image_step, pixel_step};
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
  const int gc = g.group_c(), gk = g.group_k(), taps = g.r * g.s, ow = g.out_w();
  const std::int64_t in_pixels = std::int64_t{g.h} * g.w, pixels = std::int64_t{g.out_h()} * ow;
  const FloatRows xs =
      float_rows(ctx, g, in_pixels, g.c, x, floats(ctx, Context::kColumns, rows_space<T>(g, in_pixels, g.c)));
  const RowOrder order{g.n, pixels, by_pixel(g)};
  for (int group = 0; group < g.groups; ++group, packed += packed_size(taps, gc, gk)) {
    const auto fill = [=](std::int64_t begin, std::int64_t end, const RowBlock& block) {
      for (std::int64_t m = begin; m < end; ++m) {
        const std::int64_t image = order.image(m), pixel = order.pixel(m);
        const int j = static_cast<int>(pixel % ow), i = static_cast<int>(pixel / ow);
        block.out[m - begin] = (image * pixels + pixel) * g.k + std::int64_t{group} * gk;
        const float** to = block.rows + (m - begin);
        for (int r = 0; r < g.r; ++r) {
          for (int s = 0; s < g.s; ++s, to += kRowBlock) {
            const int row = i * g.stride - g.pad + r, column = j * g.stride - g.pad + s;
            const bool inside = row >= 0 && row < g.h && column >= 0 && column < g.w;
            *to =
                inside ? xs.at(image, std::int64_t{row} * g.w + column) + std::int64_t{group} * gc : xs.zeros;
          }
        }
      }
    };
    gemm_rows(ctx,
              g.n * pixels,
              taps,
              gc,
              gk,
              packed,
              xs.zeros,
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
  const std::int64_t pixels = std::int64_t{oh} * ow;
  const FloatRows dys =
      float_rows(ctx, g, pixels, g.k, dy, floats(ctx, Context::kColumns, rows_space<T>(g, pixels, g.k)));
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
    const RowOrder order{g.n, std::int64_t{rows} * columns, by_pixel(g)};
    float* packed = floats(ctx, Context::kPacked, packed_size(tap_count, gk, gc));
    for (int group = 0; group < g.groups; ++group) {
      const auto weight = [&](int t, int d, int n) {
        const Tap tap = taps[static_cast<std::size_t>(t)];
        return w[((std::int64_t{group} * gk + d) * g.r * g.s + tap.r * g.s + tap.s) * gc + n];
      };
      pack_panels(ctx, tap_count, gk, gc, weight, packed);
      const auto fill = [&](std::int64_t begin, std::int64_t end, const RowBlock& block) {
        for (std::int64_t m = begin; m < end; ++m) {
          const std::int64_t image = order.image(m), pixel = order.pixel(m);
          const int column = first_column + static_cast<int>(pixel % columns) * g.stride;
          const int row = first_row + static_cast<int>(pixel / columns) * g.stride;
          block.out[m - begin] = ((image * g.h + row) * g.w + column) * g.c + std::int64_t{group} * gc;
          const float** to = block.rows + (m - begin);
          for (const Tap tap : taps) {
            const int i = row + g.pad - tap.r, j = column + g.pad - tap.s;  // multiples of the stride
            const bool inside = i >= 0 && i < oh * g.stride && j >= 0 && j < ow * g.stride;
            *to = inside ? dys.at(image, std::int64_t{i / g.stride} * ow + j / g.stride) +
                               std::int64_t{group} * gk
                         : dys.zeros;
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
                dys.zeros,
                fill,
                [=](std::int64_t at, int, int lanes, f32x16 value) {
                  store_result(dx + at, lanes, value, write == Write::kAccumulate);
                });
    }
  }
}

namespace {

// The weight gradient by_pixel: a job owns some rows of one tap of dw and adds to them, pixel by pixel, the
// images' products. A tap outside costs nothing, and dw is written once instead of once a shard.
void backward_weight_by_pixel(
    Context& ctx, const Conv2dGeom& g, const FloatRows& xs, const FloatRows& dys, float* dw, Write write) {
  constexpr int kRowsOfAJob = 48;  // a multiple of both tile heights of gemm.h
  const int gc = g.group_c(), gk = g.group_k(), taps = g.r * g.s, ow = g.out_w();
  const std::int64_t parts = chunk_count(gk, kRowsOfAJob), dw_step = std::int64_t{taps} * gc;
  parallel_for(ctx, g.groups * taps * parts, [&](std::int64_t job) {
    const int k0 = static_cast<int>(job % parts) * kRowsOfAJob, height = std::min(kRowsOfAJob, gk - k0);
    const int tap = static_cast<int>(job / parts % taps), group = static_cast<int>(job / parts / taps);
    float* mine = dw + (std::int64_t{group} * gk + k0) * dw_step + std::int64_t{tap} * gc;
    if (write == Write::kOverwrite) {
      for (int k = 0; k < height; ++k) std::fill_n(mine + k * dw_step, gc, 0.f);
    }
    for (int pixel = 0; pixel < g.out_h() * ow; ++pixel) {
      const int row = pixel / ow * g.stride - g.pad + tap / g.s;
      const int column = pixel % ow * g.stride - g.pad + tap % g.s;
      if (row < 0 || row >= g.h || column < 0 || column >= g.w) continue;
      const float* rows[kOuterBlock];
      for (int first = 0; first < g.n; first += kOuterBlock) {
        const int count = std::min(kOuterBlock, g.n - first);
        for (int i = 0; i < count; ++i) {
          rows[i] = xs.at(first + i, std::int64_t{row} * g.w + column) + std::int64_t{group} * gc;
        }
        const float* a = dys.at(first, pixel) + std::int64_t{group} * gk + k0;
        gemm_outer_block(count, height, a, dys.image_step, 1, rows, gc, mine, dw_step);
      }
    }
  });
}

}  // namespace

template <class T>
void conv2d_backward_weight(
    Context& ctx, const Conv2dGeom& g, const T* x, const T* dy, float* dw, Write write) {
  const int gc = g.group_c(), gk = g.group_k(), taps = g.r * g.s, oh = g.out_h(), ow = g.out_w();
  const std::int64_t in_pixels = std::int64_t{g.h} * g.w, pixels = std::int64_t{oh} * ow;
  const std::int64_t x_space = rows_space<T>(g, in_pixels, g.c);
  float* space = floats(ctx, Context::kColumns, x_space + rows_space<T>(g, pixels, g.k));
  const FloatRows xs = float_rows(ctx, g, in_pixels, g.c, x, space);
  const FloatRows dys = float_rows(ctx, g, pixels, g.k, dy, space + x_space);
  if (by_pixel(g)) {
    backward_weight_by_pixel(ctx, g, xs, dys, dw, write);
    return;
  }
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
      const std::int64_t begin = shards.begin(shard) * pixels, end = shards.end(shard) * pixels;
      for (std::int64_t m0 = begin; m0 < end; m0 += kOuterBlock) {
        const int count = static_cast<int>(std::min<std::int64_t>(kOuterBlock, end - m0));
        for (int group = 0; group < g.groups; ++group) {
          for (int m = 0; m < count; ++m) {
            const std::int64_t at = m0 + m;
            const int j = static_cast<int>(at % ow), i = static_cast<int>(at / ow % oh);
            const float* image = xs.at(at / pixels, 0) + std::int64_t{group} * gc;
            const float** to = rows + m;
            for (int r = 0; r < g.r; ++r) {
              for (int s = 0; s < g.s; ++s, to += kOuterBlock) {
                const int row = i * g.stride - g.pad + r, column = j * g.stride - g.pad + s;
                const bool inside = row >= 0 && row < g.h && column >= 0 && column < g.w;
                *to = inside ? image + (std::int64_t{row} * g.w + column) * g.c : xs.zeros;
              }
            }
          }
          gemm_outer_block(count,
                           gk,
                           dys.data + m0 * g.k + std::int64_t{group} * gk,
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
