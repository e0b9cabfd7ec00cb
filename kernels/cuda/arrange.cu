// Moving values around, one read and one write each: columns, rows, dropout, pixels, layouts.
#include "kernels/arrange.h"

#include <algorithm>

#include "kernels/cuda/elements.h"

namespace offramp::cuda {
namespace {

// ---- columns: `i` runs over the elements of the part
struct Columns {
  int total, offset, width;
  __device__ std::int64_t in_whole(std::int64_t i) const {
    const std::int64_t row = i / width;
    return row * total + offset + (i - row * width);
  }
};

template <class T>
__global__ void __launch_bounds__(kElementThreads)
    write_columns_kernel(std::int64_t n, Columns columns, const T* part, T* whole) {
  follow();
  for (std::int64_t i = grid_thread(); i < n; i += grid_threads()) whole[columns.in_whole(i)] = part[i];
}
template <class T>
__global__ void __launch_bounds__(kElementThreads)
    read_columns_kernel(std::int64_t n, Columns columns, const T* whole, T* part, bool accumulate) {
  follow();
  for (std::int64_t i = grid_thread(); i < n; i += grid_threads()) {
    const T value = whole[columns.in_whole(i)];
    part[i] = accumulate ? static_cast<T>(to_float(part[i]) + to_float(value)) : value;
  }
}

unsigned blocks_for(std::int64_t n) {
  return static_cast<unsigned>(std::min<std::int64_t>(ceil_div(n, kElementThreads), 8192));
}

// ---- rows: copied as 16-byte words where size and addresses allow it, else as bytes
template <class Word, bool kScatter>
__global__ void __launch_bounds__(kElementThreads) move_rows_kernel(
    std::int64_t n, std::int64_t words, const std::int32_t* index, const Word* src, Word* dst) {
  follow();
  for (std::int64_t i = grid_thread(); i < n; i += grid_threads()) {
    const std::int64_t row = i / words, word = i - row * words, there = index[row] * words + word;
    if constexpr (kScatter) {
      dst[there] = src[i];
    } else {
      dst[i] = src[there];
    }
  }
}

template <bool kScatter>
void move_rows(
    Context& ctx, int count, std::int64_t row_bytes, const std::int32_t* index, const void* src, void* dst) {
  const bool wide = row_bytes % 16 == 0 && aligned(src) && aligned(dst);
  const std::int64_t words = wide ? row_bytes / 16 : row_bytes, n = count * words;
  if (n == 0) return;
  if (wide) {
    launch(move_rows_kernel<uint4, kScatter>,
           blocks_for(n),
           kElementThreads,
           0,
           ctx.stream(),
           n,
           words,
           index,
           static_cast<const uint4*>(src),
           static_cast<uint4*>(dst));
  } else {
    launch(move_rows_kernel<unsigned char, kScatter>,
           blocks_for(n),
           kElementThreads,
           0,
           ctx.stream(),
           n,
           words,
           index,
           static_cast<const unsigned char*>(src),
           static_cast<unsigned char*>(dst));
  }
}

// ---- dropout: four elements share one block of random words
template <class T>
struct Dropout {
  float p, keep_scale;
  PhiloxKey key;
  const StepState* state;
  const T* x;
  T* y;
  bool accumulate;

  template <int N>
  __device__ void run(std::int64_t i) const {
    PhiloxKey at = key;
    if (state != nullptr) at.step = static_cast<std::uint32_t>(state->step);
    float values[N];
    load(x + i, values);
    if constexpr (N % 4 == 0) {
#pragma unroll
      for (int j = 0; j < N; j += 4) {
        const PhiloxBlock words = at.block(static_cast<std::uint64_t>(i + j) >> 2);
#pragma unroll
        for (int w = 0; w < 4; ++w) values[j + w] = dropped(words.v[w], values[j + w]);
      }
    } else {
      values[0] = dropped(at.word(static_cast<std::uint64_t>(i)), values[0]);
    }
    store(y + i, values, accumulate);
  }
  __device__ float dropped(std::uint32_t word, float value) const {
    const float uniform = static_cast<float>(word >> 8) * 0x1p-24f;
    return uniform >= p ? value * keep_scale : 0.f;
  }
};

// ---- pixels
template <class T>
__global__ void __launch_bounds__(kElementThreads) normalize_pixels_kernel(
    std::int64_t n, int channels, const float* mean, const float* inv_std, const float* x, T* y) {
  follow();
  for (std::int64_t i = grid_thread(); i < n; i += grid_threads()) {
    const auto c = static_cast<int>(i % channels);
    y[i] = static_cast<T>((x[i] - mean[c]) * inv_std[c]);
  }
}
template <class T>
__global__ void __launch_bounds__(kElementThreads) normalize_pixels_backward_kernel(
    std::int64_t n, int channels, const float* inv_std, const T* dy, float* dx, bool accumulate) {
  follow();
  for (std::int64_t i = grid_thread(); i < n; i += grid_threads()) {
    store(dx + i, to_float(dy[i]) * inv_std[i % channels], accumulate);
  }
}

// ---- layouts: [n, rows, columns] -> [n, columns, rows] through a tile in shared memory
constexpr int kTransposeTile = 32, kTransposeRows = 8;

__global__ void __launch_bounds__(kTransposeTile* kTransposeRows)
    transpose_kernel(int rows, int columns, const float* x, float* y) {
  follow();
  OFFRAMP_SHARED(float, tile, [kTransposeTile][kTransposeTile + 1]);
  const std::int64_t image = std::int64_t{block_z()} * rows * columns;
  const int first_row = block_y() * kTransposeTile, first_column = block_x() * kTransposeTile;
  for (int i = thread_y(); i < kTransposeTile; i += kTransposeRows) {
    const int row = first_row + i, column = first_column + thread_x();
    if (row < rows && column < columns) tile[i][thread_x()] = x[image + std::int64_t{row} * columns + column];
  }
  __syncthreads();
  for (int i = thread_y(); i < kTransposeTile; i += kTransposeRows) {
    const int column = first_column + i, row = first_row + thread_x();
    if (row < rows && column < columns) y[image + std::int64_t{column} * rows + row] = tile[thread_x()][i];
  }
}

void transpose(Context& ctx, int images, int rows, int columns, const float* x, float* y) {
  if (rows == 0 || columns == 0) return;
  constexpr int kMaxImages = 65535;  // of one launch
  for (int first = 0; first < images; first += kMaxImages) {
    const int count = std::min(kMaxImages, images - first);
    const std::int64_t skipped = std::int64_t{first} * rows * columns;
    launch(transpose_kernel,
           dim3(static_cast<unsigned>(ceil_div(columns, kTransposeTile)),
                static_cast<unsigned>(ceil_div(rows, kTransposeTile)),
                static_cast<unsigned>(count)),
           dim3(kTransposeTile, kTransposeRows),
           0,
           ctx.stream(),
           rows,
           columns,
           x + skipped,
           y + skipped);
  }
}

}  // namespace

template <class T>
void write_columns(
    Context& ctx, std::int64_t rows, int total, int offset, int width, const T* part, T* whole) {
  const std::int64_t n = rows * width;
  if (n == 0) return;
  launch(write_columns_kernel<T>,
         blocks_for(n),
         kElementThreads,
         0,
         ctx.stream(),
         n,
         Columns{total, offset, width},
         part,
         whole);
}
template <class T>
void read_columns(
    Context& ctx, std::int64_t rows, int total, int offset, int width, const T* whole, T* part, Write write) {
  const std::int64_t n = rows * width;
  if (n == 0) return;
  launch(read_columns_kernel<T>,
         blocks_for(n),
         kElementThreads,
         0,
         ctx.stream(),
         n,
         Columns{total, offset, width},
         whole,
         part,
         write == Write::kAccumulate);
}

void gather_rows(
    Context& ctx, int count, std::int64_t row_bytes, const std::int32_t* index, const void* src, void* dst) {
  move_rows<false>(ctx, count, row_bytes, index, src, dst);
}
void scatter_rows(
    Context& ctx, int count, std::int64_t row_bytes, const std::int32_t* index, const void* src, void* dst) {
  move_rows<true>(ctx, count, row_bytes, index, src, dst);
}

template <class T>
void dropout(Context& ctx,
             std::int64_t n,
             float p,
             PhiloxKey key,
             const StepState* state,
             const T* x,
             T* y,
             Write write) {
  run_elements<kElementStep<T>>(
      ctx,
      n,
      aligned(x) && aligned(y),
      Dropout<T>{p, 1.f / (1.f - p), key, state, x, y, write == Write::kAccumulate});
}

template <class T>
void normalize_pixels(Context& ctx,
                      std::int64_t rows,
                      int channels,
                      const float* mean,
                      const float* inv_std,
                      const float* x,
                      T* y) {
  const std::int64_t n = rows * channels;
  if (n == 0) return;
  launch(normalize_pixels_kernel<T>,
         blocks_for(n),
         kElementThreads,
         0,
         ctx.stream(),
         n,
         channels,
         mean,
         inv_std,
         x,
         y);
}
template <class T>
void normalize_pixels_backward(Context& ctx,
                               std::int64_t rows,
                               int channels,
                               const float* inv_std,
                               const T* dy,
                               float* dx,
                               Write write) {
  const std::int64_t n = rows * channels;
  if (n == 0) return;
  launch(normalize_pixels_backward_kernel<T>,
         blocks_for(n),
         kElementThreads,
         0,
         ctx.stream(),
         n,
         channels,
         inv_std,
         dy,
         dx,
         write == Write::kAccumulate);
}

void nchw_to_nhwc(Context& ctx, int n, int c, int h, int w, const float* x, float* y) {
  transpose(ctx, n, c, h * w, x, y);
}
void nhwc_to_nchw(Context& ctx, int n, int c, int h, int w, const float* x, float* y) {
  transpose(ctx, n, h * w, c, x, y);
}

#define OFFRAMP_INSTANTIATE(T)                                                                               \
  template void write_columns(Context&, std::int64_t, int, int, int, const T*, T*);                          \
  template void read_columns(Context&, std::int64_t, int, int, int, const T*, T*, Write);                    \
  template void dropout(Context&, std::int64_t, float, PhiloxKey, const StepState*, const T*, T*, Write);    \
  template void normalize_pixels(Context&, std::int64_t, int, const float*, const float*, const float*, T*); \
  template void normalize_pixels_backward(Context&, std::int64_t, int, const float*, const T*, float*, Write);
OFFRAMP_INSTANTIATE(float)
OFFRAMP_INSTANTIATE(bf16)
#undef OFFRAMP_INSTANTIATE

}  // namespace offramp::cuda
