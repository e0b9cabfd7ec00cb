// Convolution: depthwise layers go to depthwise.cu, the others to the libraries that the context has
// (conv2d_library.cpp), in bf16 then to the tensor cores (conv2d_tensor_core.cu). What is left are products
// of implicit matrices (conv2d_operands.h).
#include "kernels/conv2d.h"

#include <algorithm>
#include <type_traits>

#include "kernels/conv2d_batch_norm.h"
#include "kernels/cuda/batch_norm_apply.h"
#include "kernels/cuda/context.h"
#include "kernels/cuda/conv2d_library.h"
#include "kernels/cuda/conv2d_operands.h"
#include "kernels/cuda/conv2d_tensor_core.h"
#include "kernels/cuda/depthwise.h"
#include "kernels/cuda/last_block.h"
#include "kernels/cuda/memory.h"
#include "kernels/cuda/parts.h"
#include "kernels/cuda/tile_product.h"
#include "kernels/elementwise.h"

namespace offramp::cuda {
namespace {

// Output pixels that one part of the weight gradient sums: by the geometry alone. Enough parts to fill a
// device (about 512 tiles), at least 256 pixels each.
SumRange weight_parts(const Conv2dGeom& g) {
  const int pixels = g.n * g.out_h() * g.out_w();
  const int tiles = g.groups * ceil_div(g.group_k(), kTile) * ceil_div(g.r * g.s * g.group_c(), kTile);
  const int wanted = std::clamp(512 / tiles, 1, std::max(pixels / 256, 1));
  const int size = ceil_div(ceil_div(pixels, wanted), kTileSum) * kTileSum;
  return {pixels, size, ceil_div(pixels, size)};
}

// ---- bias gradient: the rows are cut into fixed parts, which the last block of the columns adds in order
constexpr int kBiasColumns = 32, kBiasRows = 8, kBiasPart = 256;

template <class T>
__global__ void __launch_bounds__(kBiasColumns* kBiasRows) bias_gradient_kernel(std::int64_t rows,
                                                                                int channels,
                                                                                const T* dy,
                                                                                float* parts,
                                                                                unsigned* arrived,
                                                                                float* db,
                                                                                bool accumulate) {
  follow();
  OFFRAMP_SHARED(float, sums, [kBiasRows][kBiasColumns]);
  const int k = block_y() * kBiasColumns + thread_x();
  const std::int64_t first = std::int64_t{block_x()} * kBiasPart;
  const std::int64_t last = first + kBiasPart < rows ? first + kBiasPart : rows;
  float sum = 0;
  if (k < channels) {
    for (std::int64_t r = first + thread_y(); r < last; r += kBiasRows) sum += to_float(dy[r * channels + k]);
  }
  const auto column_total = [&](float mine) {  // of the block's rows of threads, for the first of them
    sums[thread_y()][thread_x()] = mine;
    __syncthreads();
    float total = sums[0][thread_x()];
    for (int i = 1; i < kBiasRows; ++i) total += sums[i][thread_x()];
    return total;
  };
  const float total = column_total(sum);
  if (thread_y() == 0 && k < channels) parts[std::int64_t{block_x()} * channels + k] = total;
  if (!last_block(arrived + block_y(), gridDim.x)) return;
  sum = 0;
  if (k < channels) {
#pragma unroll 8
    for (int p = thread_y(); p < static_cast<int>(gridDim.x); p += kBiasRows) {
      sum += parts[std::int64_t{p} * channels + k];
    }
  }
  const float all = column_total(sum);
  if (thread_y() == 0 && k < channels) store(db + k, all, accumulate);
}

// y = act(y + bias + residual), for the forwards of a library that leave it out.
constexpr int kEpilogueThreads = 256;

__global__ void __launch_bounds__(kEpilogueThreads)
    epilogue_kernel(std::int64_t n, int channels, ConvEpilogue<float> epilogue, float* y) {
  follow();
  const std::int64_t i = grid_thread();
  if (i >= n) return;
  float value = y[i];
  if (epilogue.bias != nullptr) value += epilogue.bias[i % channels];
  if (epilogue.residual != nullptr) value += epilogue.residual[i];
  y[i] = epilogue.relu && value < 0.f ? 0.f : value;
}

template <class T>
void own_forward(
    Context& ctx, const Conv2dGeom& g, const T* x, const float* w, const ConvEpilogue<T>& epilogue, T* y) {
  tile_product(ctx,
               g.groups,
               std::int64_t{g.n} * g.out_h() * g.out_w(),
               g.group_k(),
               whole_sum(g.r * g.s * g.group_c()),
               PatchOfOutput<T>{g, x},
               FilterAlongTaps{g, w},
               OutputSink<T>{g, epilogue, y});
}

bool has_library(const Context& ctx) { return ctx.cudnn() != nullptr || ctx.cublaslt() != nullptr; }

// Whether a library or the tensor cores may read the filters, as T.
template <class T>
bool wants_filters(const Context& ctx, const Conv2dGeom& g) {
  if (g.depthwise()) return false;
  return has_library(ctx) || (std::is_same_v<T, bf16> && tensor_core_can(ctx, g));
}

// These filters: the master copy, or it rounded to T: as the context has it, else in scratch that lasts until
// the next call. Null if not wanted.
template <class T>
const T* filters_of(Context& ctx, const Conv2dGeom& g, const float* w) {
  if (!wants_filters<T>(ctx, g)) return nullptr;
  if constexpr (std::is_same_v<T, float>) {
    return w;
  } else {
    if (const T* const known = ctx.rounded(w, g.w_size()); known != nullptr && aligned(known)) return known;
    auto* filters =
        static_cast<T*>(ctx.workspace(Context::kWeights, static_cast<std::size_t>(g.w_size()) * sizeof(T)));
    convert(ctx, g.w_size(), w, filters, Write::kOverwrite);
    return filters;
  }
}

// `filters` as filters_of makes them.
template <class T>
void forward(Context& ctx,
             const Conv2dGeom& g,
             const T* x,
             const float* w,
             const T* filters,
             const ConvEpilogue<T>& epilogue,
             T* y) {
  if (g.y_size() == 0) return;
  if (g.depthwise()) return depthwise_forward(ctx, g, x, w, epilogue, y);
  const LibraryForward done =
      filters == nullptr ? LibraryForward::kNo : library_forward(ctx, g, x, filters, epilogue, y);
  if (done == LibraryForward::kNo) {
    if constexpr (std::is_same_v<T, bf16>) {
      if (filters != nullptr && tensor_core_forward(ctx, g, x, filters, epilogue, y)) return;
    }
    return own_forward(ctx, g, x, w, epilogue, y);
  }
  if constexpr (std::is_same_v<T, float>) {
    if (done == LibraryForward::kWithoutEpilogue) {
      launch(epilogue_kernel,
             static_cast<unsigned>(ceil_div(g.y_size(), kEpilogueThreads)),
             kEpilogueThreads,
             0,
             ctx.stream(),
             g.y_size(),
             g.k,
             epilogue,
             y);
    }
  }
}

}  // namespace

// Packing copies the filters, so that the caller may change its own, and rounds them once where that is
// wanted.
class PackedConv2d {
 public:
  PackedConv2d(Context& ctx, const Conv2dGeom& g, const float* w, const float* bias, bool rounded)
      : w_(copied(ctx, w, g.w_size())),
        bias_(bias == nullptr ? nullptr : copied(ctx, bias, g.k)),
        rounded_(rounded
                     ? static_cast<bf16*>(device_malloc(static_cast<std::size_t>(g.w_size()) * sizeof(bf16)))
                     : nullptr) {
    if (rounded) convert(ctx, g.w_size(), w, rounded_, Write::kOverwrite);
  }
  ~PackedConv2d() {
    device_free(w_);
    device_free(bias_);
    device_free(rounded_);
  }
  PackedConv2d(const PackedConv2d&) = delete;
  PackedConv2d& operator=(const PackedConv2d&) = delete;
  const float* w() const { return w_; }
  const float* bias() const { return bias_; }
  // As filters_of gives them.
  template <class T>
  const T* filters(const Context& ctx, const Conv2dGeom& g) const {
    if (!wants_filters<T>(ctx, g)) return nullptr;
    if constexpr (std::is_same_v<T, float>) {
      return w_;
    } else {
      return rounded_;
    }
  }

 private:
  static float* copied(Context& ctx, const float* from, std::int64_t count) {
    const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(float);
    auto* to = static_cast<float*>(device_malloc(bytes));
    copy_async(to, from, bytes, Copy::kDeviceToDevice, ctx.stream());
    return to;
  }
  float* w_;
  float* bias_;
  bf16* rounded_;
};

template <class T>
std::shared_ptr<const PackedConv2d> conv2d_pack(Context& ctx,
                                                const Conv2dGeom& g,
                                                const float* w,
                                                const float* bias) {
  const bool rounded = std::is_same_v<T, bf16> && wants_filters<T>(ctx, g);
  return std::make_shared<const PackedConv2d>(ctx, g, w, bias, rounded);
}

template <class T>
void conv2d_forward_packed(Context& ctx,
                           const Conv2dGeom& g,
                           const PackedConv2d& packed,
                           const T* x,
                           const T* residual,
                           bool relu,
                           T* y) {
  forward(
      ctx, g, x, packed.w(), packed.filters<T>(ctx, g), ConvEpilogue<T>{packed.bias(), residual, relu}, y);
}

template <class T>
void conv2d_forward(Context& ctx, const Conv2dGeom& g, const T* x, const float* w, const float* bias, T* y) {
  forward(ctx, g, x, w, filters_of<T>(ctx, g, w), ConvEpilogue<T>{.bias = bias}, y);
}

template <class T>
void conv2d_batch_norm_train(Context& ctx,
                             const Conv2dGeom& g,
                             const T* x,
                             const float* w,
                             const float* bias,
                             T* out,
                             const BatchNormGeom& norm,
                             const BatchNormTrain<T>& t) {
  if constexpr (std::is_same_v<T, bf16>) {  // our own kernels take the statistics; the libraries' do not
    const bool done =
        g.depthwise() ? depthwise_forward_moments(ctx, g, x, w, bias, out, norm, t)
        : has_library(ctx) || !tensor_core_can(ctx, g)
            ? false
            : tensor_core_forward_moments(ctx, g, x, filters_of<T>(ctx, g, w), bias, out, norm, t);
    if (done) return batch_norm_apply(ctx, norm, t);
  }
  conv2d_forward(ctx, g, x, w, bias, out);
  batch_norm_train(ctx, norm, t);
}

template <class T>
void conv2d_backward_input(
    Context& ctx, const Conv2dGeom& g, const T* dy, const float* w, T* dx, Write write) {
  if (g.x_size() == 0) return;
  if (g.depthwise()) return depthwise_backward_input(ctx, g, dy, w, dx, write);
  if (const T* const filters = filters_of<T>(ctx, g, w); filters != nullptr) {
    if (library_backward_input(ctx, g, dy, filters, dx, write)) return;
    if constexpr (std::is_same_v<T, bf16>) {
      if (tensor_core_backward_input(ctx, g, dy, filters, dx, write)) return;
    }
  }
  tile_product(ctx,
               g.groups,
               std::int64_t{g.n} * g.h * g.w,
               g.group_c(),
               whole_sum(g.r * g.s * g.group_k()),
               OutputsOfPixel<T>{g, dy},
               FilterAcrossChannels{g, w},
               InputSink<T>{g, dx, write == Write::kAccumulate});
}

template <class T>
void conv2d_backward_weight(
    Context& ctx, const Conv2dGeom& g, const T* x, const T* dy, float* dw, Write write) {
  if (g.w_size() == 0) return;
  if (g.depthwise()) return depthwise_backward_weight(ctx, g, x, dy, dw, write);
  if (g.y_size() == 0) {
    if (write == Write::kOverwrite) set_zero(ctx, dw, static_cast<std::size_t>(g.w_size()) * sizeof(float));
    return;
  }
  if (library_backward_weight(ctx, g, x, dy, dw, write)) return;
  if constexpr (std::is_same_v<T, bf16>) {
    if (tensor_core_backward_weight(ctx, g, x, dy, dw, write)) return;
  }
  const SumRange range = weight_parts(g);
  const bool one_part = range.splits == 1;
  float* parts =
      one_part ? dw
               : static_cast<float*>(ctx.workspace(Context::kPartials,
                                                   static_cast<std::size_t>(range.splits) *
                                                       static_cast<std::size_t>(g.w_size()) * sizeof(float)));
  tile_product(ctx,
               g.groups,
               g.group_k(),
               g.r * g.s * g.group_c(),
               range,
               OutputsAcrossFilters<T>{g, dy},
               PatchAcrossTaps<T>{g, x},
               WeightSink{g, range.splits, parts, one_part && write == Write::kAccumulate});
  if (one_part) return;
  add_parts(ctx, g.w_size(), range.splits, parts, dw, write);
}

template <class T>
void conv2d_backward_bias(Context& ctx, const Conv2dGeom& g, const T* dy, float* db, Write write) {
  const std::int64_t rows = std::int64_t{g.n} * g.out_h() * g.out_w();
  if (g.k == 0) return;
  const int parts = static_cast<int>(std::max<std::int64_t>(ceil_div(rows, kBiasPart), 1));
  auto* sums = static_cast<float*>(ctx.workspace(
      Context::kPartials, static_cast<std::size_t>(parts) * static_cast<std::size_t>(g.k) * sizeof(float)));
  launch(bias_gradient_kernel<T>,
         dim3(static_cast<unsigned>(parts), static_cast<unsigned>(ceil_div(g.k, kBiasColumns))),
         dim3(kBiasColumns, kBiasRows),
         0,
         ctx.stream(),
         rows,
         g.k,
         dy,
         sums,
         ctx.arrivals(static_cast<std::size_t>(ceil_div(g.k, kBiasColumns))),
         db,
         write == Write::kAccumulate);
}

#define OFFRAMP_INSTANTIATE(T)                                                                          \
  template std::shared_ptr<const PackedConv2d> conv2d_pack<T>(                                          \
      Context&, const Conv2dGeom&, const float*, const float*);                                         \
  template void conv2d_forward_packed(                                                                  \
      Context&, const Conv2dGeom&, const PackedConv2d&, const T*, const T*, bool, T*);                  \
  template void conv2d_forward(Context&, const Conv2dGeom&, const T*, const float*, const float*, T*);  \
  template void conv2d_batch_norm_train(Context&,                                                       \
                                        const Conv2dGeom&,                                              \
                                        const T*,                                                       \
                                        const float*,                                                   \
                                        const float*,                                                   \
                                        T*,                                                             \
                                        const BatchNormGeom&,                                           \
                                        const BatchNormTrain<T>&);                                      \
  template void conv2d_backward_input(Context&, const Conv2dGeom&, const T*, const float*, T*, Write);  \
  template void conv2d_backward_weight(Context&, const Conv2dGeom&, const T*, const T*, float*, Write); \
  template void conv2d_backward_bias(Context&, const Conv2dGeom&, const T*, float*, Write);
OFFRAMP_INSTANTIATE(float)
OFFRAMP_INSTANTIATE(bf16)
#undef OFFRAMP_INSTANTIATE

}  // namespace offramp::cuda
