#pragma once
// Statistics of a batch norm, taken by the blocks of the convolution before it, so that nothing reads the output
// again for them. A block leaves mean and sum of squared deviations of its rows for each of its channels; blocks
// go in groups, the last of a group adds its blocks up, the last group the groups, all in double and in an order
// that the shape alone decides. Only .cu files include this.
#include <algorithm>
#include <cmath>

#include "kernels/batch_norm.h"
#include "kernels/cuda/context.h"
#include "kernels/cuda/last_block.h"

namespace offramp::cuda {

// Mean, inverse deviation and running averages of channel c; `raw` is the biased variance, a little below zero
// where rounding made it so.
template <class T>
__device__ __forceinline__ void finish_statistics(
    const BatchNormGeom& g, const BatchNormTrain<T>& t, int c, double mean, double raw) {
  const double rows = static_cast<double>(g.rows);
  const double var = raw > 0 ? raw : (raw <= 0 ? 0 : raw);  // NaN stays NaN
  t.saved_mean[c] = static_cast<float>(mean);
  t.saved_inv_std[c] = static_cast<float>(1 / sqrt(var + static_cast<double>(g.eps)));
  if (t.running_mean == nullptr) return;
  const double unbiased = g.rows > 1 ? var * rows / (rows - 1) : var;
  const double weight = static_cast<double>(t.momentum);
  t.running_mean[c] =
      static_cast<float>((1 - weight) * static_cast<double>(t.running_mean[c]) + weight * mean);
  t.running_var[c] =
      static_cast<float>((1 - weight) * static_cast<double>(t.running_var[c]) + weight * unbiased);
}

struct ChannelMoments {
  BatchNormGeom g;
  BatchNormTrain<bf16> t;
  int block_rows;         // of every block but the last, which has the rest
  int blocks, per_group;  // along the rows
  float* parts;           // [blocks][2][channels]: mean, sum of squared deviations
  double* sums;           // [groups][2][channels]: of values, of squares

  OFFRAMP_HD int groups() const { return (blocks + per_group - 1) / per_group; }
  // Counters that a tile of channels needs, zero at first.
  OFFRAMP_HD int counters() const { return groups() + 1; }
  __device__ int rows_of(int block) const {
    const std::int64_t rest = g.rows - std::int64_t{block} * block_rows;
    return rest < block_rows ? static_cast<int>(rest) : block_rows;
  }
  // Of this block's rows: `sum` and `squares` of value - pivot.
  __device__ void leave(int c, float pivot, float sum, float squares) const {
    const float mean = sum / static_cast<float>(rows_of(block_x()));
    float* const to = parts + std::int64_t{block_x()} * 2 * g.channels + c;
    to[0] = pivot + mean;
    to[g.channels] = squares - sum * mean;
  }
};

// Blocks of `block_rows` rows each; scratch in Context::kCoefficients.
inline ChannelMoments channel_moments(Context& ctx,
                                      const BatchNormGeom& g,
                                      const BatchNormTrain<bf16>& t,
                                      int block_rows) {
  const auto blocks = static_cast<int>(ceil_div(g.rows, block_rows));
  // Two short sums are faster than a long one: groups of 32, of more where there would be more than 32 of them.
  const int per_group = std::max(32, static_cast<int>(std::ceil(std::sqrt(static_cast<double>(blocks)))));
  ChannelMoments m{.g = g,
                   .t = t,
                   .block_rows = block_rows,
                   .blocks = blocks,
                   .per_group = per_group,
                   .parts = nullptr,
                   .sums = nullptr};
  const auto row = 2 * static_cast<std::size_t>(g.channels);
  const std::size_t sums = static_cast<std::size_t>(m.groups()) * row * sizeof(double);
  auto* scratch = static_cast<char*>(
      ctx.workspace(Context::kCoefficients, sums + static_cast<std::size_t>(blocks) * row * sizeof(float)));
  m.sums = reinterpret_cast<double*>(scratch);
  m.parts = reinterpret_cast<float*>(scratch + sums);
  return m;
}

// For all threads of a block whose parts are left: the last block of all finishes its `width` channels (a power
// of two, at most kThreads) from first_channel on. `arrived`: the counters of this tile of channels. `shared`:
// two values a thread.
template <int kThreads>
__device__ __forceinline__ void finish_moments(
    const ChannelMoments& m, int first_channel, int width, unsigned* arrived, double* shared) {
  const int channels = m.g.channels;
  const int lines = kThreads / width, line = thread_x() / width, c = first_channel + thread_x() % width;
  // Adds up what the lines of threads have of a channel; the first line gets it.
  const auto add_lines = [&](double& values, double& squares) {
    shared[thread_x()] = values;
    shared[kThreads + thread_x()] = squares;
    __syncthreads();
    if (line != 0) return;
    for (int i = 1; i < lines; ++i) {
      values += shared[i * width + thread_x()];
      squares += shared[kThreads + i * width + thread_x()];
    }
  };
  const auto finish = [&](double values, double squares) {
    const double rows = static_cast<double>(m.g.rows), mean = values / rows;
    finish_statistics(m.g, m.t, c, mean, squares / rows - mean * mean);
  };

  const int group = block_x() / m.per_group, first = group * m.per_group, groups = m.groups();
  const int count = m.blocks - first < m.per_group ? m.blocks - first : m.per_group;
  if (!last_block(arrived + group, static_cast<unsigned>(count))) return;
  double values = 0, squares = 0;
  if (c < channels) {
#pragma unroll 8
    for (int i = line; i < count; i += lines) {
      const float* const part = m.parts + std::int64_t{first + i} * 2 * channels + c;
      const double rows = m.rows_of(first + i), mean = static_cast<double>(part[0]);
      values += rows * mean;
      squares += static_cast<double>(part[channels]) + rows * mean * mean;
    }
  }
  add_lines(values, squares);
  const bool own = line == 0 && c < channels;
  if (groups == 1) {
    if (own) finish(values, squares);
    return;
  }
  if (own) {
    m.sums[std::int64_t{group} * 2 * channels + c] = values;
    m.sums[(std::int64_t{group} * 2 + 1) * channels + c] = squares;
  }
  if (!last_block(arrived + groups, static_cast<unsigned>(groups))) return;
  values = squares = 0;
  if (c < channels) {
#pragma unroll 8
    for (int i = line; i < groups; i += lines) {
      values += m.sums[std::int64_t{i} * 2 * channels + c];
      squares += m.sums[(std::int64_t{i} * 2 + 1) * channels + c];
    }
  }
  add_lines(values, squares);
  if (own) finish(values, squares);
}

}  // namespace offramp::cuda
