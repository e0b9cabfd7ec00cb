// Augmentation: reads each byte once, writes each value once. Without colour jitter a thread makes one value;
// with it a block makes one picture in shared memory, because contrast needs the picture's mean grey. That
// mean is a sum of integers, so its order does not matter.
#include "kernels/cuda/augment.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "kernels/cuda/context.h"
#include "kernels/cuda/device_helpers.h"

namespace offramp::cuda {
namespace {

constexpr int kThreads = 256;

__device__ std::uint32_t below(std::uint32_t word, std::uint32_t bound) {
  return static_cast<std::uint32_t>((static_cast<std::uint64_t>(word) * bound) >> 32);
}
__device__ float clamp01(float v) { return fminf(fmaxf(v, 0.f), 1.f); }

// How picture `sample` of this epoch is moved.
struct Placement {
  bool flip;
  int top, left;
};
__device__ PhiloxBlock words_of(const AugmentBatch& a, std::uint32_t op, int sample) {
  PhiloxKey key = a.key;
  key.op = op;
  if (a.epoch != nullptr) key.step = static_cast<std::uint32_t>(*a.epoch);
  return key.block(static_cast<std::uint64_t>(sample));
}
__device__ Placement placement(const AugmentBatch& a, int sample) {
  if (!a.augment) return {false, 0, 0};
  const PhiloxBlock words = words_of(a, 0, sample);
  const auto places = static_cast<std::uint32_t>(2 * a.crop_pad + 1);
  return {a.flip && (words.v[0] >> 31) != 0,
          static_cast<int>(below(words.v[1], places)) - a.crop_pad,
          static_cast<int>(below(words.v[2], places)) - a.crop_pad};
}

// Value `at` of the moved picture.
__device__ float moved_value(const AugmentBatch& a, const std::uint8_t* picture, const Placement& p, int at) {
  const int channel = at % a.c, x = at / a.c % a.w, y = at / a.c / a.w;
  const int sy = y + p.top, sx = x + p.left;
  if (sy < 0 || sy >= a.h || sx < 0 || sx >= a.w) return 0.f;
  const int column = p.flip ? a.w - 1 - sx : sx;
  return static_cast<float>(picture[(sy * a.w + column) * a.c + channel]) / 255.0f;
}

template <class T>
__global__ void __launch_bounds__(kThreads) flip_and_crop_kernel(AugmentBatch a, T* y) {
  follow();
  const int size = a.h * a.w * a.c, sample = a.index[block_x()];
  const std::uint8_t* picture = a.pixels + std::int64_t{sample} * size;
  const Placement p = placement(a, sample);
  for (int i = thread_x(); i < size; i += kThreads) {
    y[std::int64_t{block_x()} * size + i] = static_cast<T>(moved_value(a, picture, p, i));
  }
}

__device__ float grey_of(const float* pixel, int channels) {
  return channels == 1 ? pixel[0] : (0.299f * pixel[0] + 0.587f * pixel[1]) + 0.114f * pixel[2];
}

__device__ float mean_grey(const float* values, int pixels, int channels) {
  OFFRAMP_SHARED(float, mean, [1]);
  long long sum = 0;
  for (int i = thread_x(); i < pixels; i += kThreads) {
    sum += static_cast<long long>(
        floor(static_cast<double>(grey_of(values + i * channels, channels)) * 65536 + 0.5));
  }
  sum = block_sum<kThreads>(sum);
  if (thread_x() == 0) mean[0] = static_cast<float>(static_cast<double>(sum) / (65536.0 * pixels));
  __syncthreads();
  return mean[0];
}

template <class T>
__global__ void __launch_bounds__(kThreads) colour_jitter_kernel(AugmentBatch a, T* y) {
  follow();
  OFFRAMP_DYN_SHARED(float, values);  // [h, w, c]
  const int pixels = a.h * a.w, size = pixels * a.c, sample = a.index[block_x()];
  const std::uint8_t* picture = a.pixels + std::int64_t{sample} * size;
  const Placement p = placement(a, sample);
  for (int i = thread_x(); i < size; i += kThreads) values[i] = moved_value(a, picture, p, i);
  __syncthreads();
  constexpr int kOrders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
  const PhiloxBlock words = words_of(a, 1, sample);
  const auto order = below(words.v[3], 6);
  for (int i = 0; i < 3; ++i) {
    const int what = kOrders[order][i];
    const float factor = 0.8f + 0.4f * (static_cast<float>(words.v[what] >> 8) * 0x1p-24f);
    const float mean = what == 1 ? mean_grey(values, pixels, a.c) : 0.f;
    // A thread works on whole pixels, so that what is grey is read before it is changed.
    for (int pixel = thread_x(); pixel < pixels; pixel += kThreads) {
      float* v = values + pixel * a.c;
      const float rest = (1 - factor) * (what == 1 ? mean : grey_of(v, a.c));
      for (int channel = 0; channel < a.c; ++channel) {
        v[channel] = clamp01(what == 0 ? v[channel] * factor : factor * v[channel] + rest);
      }
    }
    __syncthreads();
  }
  for (int i = thread_x(); i < size; i += kThreads) {
    y[std::int64_t{block_x()} * size + i] = static_cast<T>(values[i]);
  }
}

}  // namespace

template <class T>
void augment(Context& ctx, const AugmentBatch& a, T* y) {
  if (a.crop_pad < 0) {
    throw DeviceError("augment: expected crop_pad >= 0, found " + std::to_string(a.crop_pad));
  }
  if (a.n == 0) return;
  if (!a.augment || !a.colour_jitter) {
    launch(flip_and_crop_kernel<T>, a.n, kThreads, 0, ctx.stream(), a, y);
    return;
  }
  const auto shared = static_cast<std::size_t>(a.h * a.w * a.c) * sizeof(float);
  launch(colour_jitter_kernel<T>, a.n, kThreads, shared, ctx.stream(), a, y);
}

template void augment(Context&, const AugmentBatch&, float*);
template void augment(Context&, const AugmentBatch&, bf16*);

}  // namespace offramp::cuda
