#include "kernels/cpu/gemm.h"

namespace offramp::cpu {

void sum_partials(
    const Context& ctx, int parts, std::int64_t size, const float* partials, float* out, Write write) {
  constexpr std::int64_t kChunk = 2048;
  for_chunks(ctx, size, kChunk, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; i += kLanes) {
      const int lanes = lanes_left(end - i);
      f32x16 total = load_n(partials + i, lanes);
      for (int part = 1; part < parts; ++part) total += load_n(partials + part * size + i, lanes);
      if (write == Write::kAccumulate) total = load_n(out + i, lanes) + total;
      store_n(out + i, total, lanes);
    }
  });
}

template <class T>
void column_sums(Context& ctx, std::int64_t rows, int cols, const T* dy, float* db, Write write) {
  constexpr std::int64_t kChunk = 512;
  const std::int64_t chunks = chunk_count(rows, kChunk);
  auto* partials = static_cast<float*>(ctx.workspace(
      Context::kPartials, static_cast<std::size_t>(chunks * cols) * sizeof(float) + sizeof(float)));
  for_chunks(ctx, rows, kChunk, [&](std::int64_t index, std::int64_t begin, std::int64_t end) {
    for (int n = 0; n < cols; n += kLanes) {
      const int lanes = lanes_left(cols - n);
      f32x16 total = zero();
      for (std::int64_t row = begin; row < end; ++row) total += load_n(dy + row * cols + n, lanes);
      store_n(partials + index * cols + n, total, lanes);
    }
  });
  for (int n = 0; n < cols; ++n) {
    double total = 0;
    for (std::int64_t chunk = 0; chunk < chunks; ++chunk)
      total += static_cast<double>(partials[chunk * cols + n]);
    if (write == Write::kAccumulate) total += static_cast<double>(db[n]);
    db[n] = static_cast<float>(total);
  }
}

template void column_sums(Context&, std::int64_t, int, const float*, float*, Write);
template void column_sums(Context&, std::int64_t, int, const bf16*, float*, Write);

}  // namespace offramp::cpu
