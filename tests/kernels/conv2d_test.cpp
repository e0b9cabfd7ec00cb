#include "kernels/conv2d.h"

#include <gtest/gtest.h>

#include <iterator>
#include <memory>
#include <ostream>
#include <stdexcept>

#include "kernels/cpu/conv2d_plan.h"
#include "kernels/ref/conv2d.h"
#include "tests/kernels/tile_geoms.h"
#include "tests/support/backends.h"
#include "tests/support/close.h"
#include "tests/support/conv2d_data.h"
#include "tests/support/fenced.h"
#include "tests/support/gradcheck.h"

namespace offramp {
void PrintTo(const Conv2dGeom& g, std::ostream* out) {
  *out << "n" << g.n << " " << g.h << "x" << g.w << "x" << g.c << " -> " << g.k << ", " << g.r << "x" << g.s
       << " stride " << g.stride << " pad " << g.pad << " groups " << g.groups;
}
}  // namespace offramp

namespace offramp::test {
namespace {

// The CPU back end with its options the other way: our own convolution also where the build has the library,
// and without Winograd.
struct CpuNativeDevice : CpuDevice {
  static constexpr bool kDirect = true;
  static const char* name() { return "cpu_native"; }
  static cpu::Context& context() {
    static cpu::Context shared(
        cpu::ContextOptions{.threads = 2, .conv = cpu::ConvBackend::kNative, .winograd = false});
    return shared;
  }
};
struct CpuNativeWinogradDevice : CpuDevice {
  static const char* name() { return "cpu_native_winograd"; }
  static cpu::Context& context() {
    static cpu::Context shared(cpu::ContextOptions{.threads = 2, .conv = cpu::ConvBackend::kNative});
    return shared;
  }
};
struct CpuDirectDevice : CpuDevice {
  static constexpr bool kDirect = true;
  static const char* name() { return "cpu_direct"; }
  static cpu::Context& context() {
    static cpu::Context shared(cpu::ContextOptions{.threads = 2, .winograd = false});
    return shared;
  }
};

template <class B>
class Conv2d : public BackendTest<B> {};
template <class B>
class Conv2dOptions : public BackendTest<B> {};
using OtherBackends = ::testing::Types<Backend<CpuNativeDevice, float>,
                                       Backend<CpuNativeDevice, bf16>,
                                       Backend<CpuNativeWinogradDevice, float>,
                                       Backend<CpuNativeWinogradDevice, bf16>,
                                       Backend<CpuDirectDevice, float>,
                                       Backend<CpuDirectDevice, bf16>>;
TYPED_TEST_SUITE(Conv2d, Backends, BackendNames);
TYPED_TEST_SUITE(Conv2dOptions, OtherBackends, BackendNames);

//                          n   h   w   c   k   r  s  stride pad groups
const Conv2dGeom kGeoms[] = {
    {2, 5, 7, 3, 4, 3, 3, 2, 1, 1},     // all sizes different
    {1, 1, 1, 1, 1, 1, 1, 1, 0, 1},     // all sizes one
    {3, 6, 5, 5, 7, 3, 3, 1, 1, 1},     // no multiple of a vector
    {2, 4, 5, 3, 6, 2, 3, 1, 0, 1},     // even filter, no padding
    {2, 9, 8, 17, 33, 3, 3, 1, 1, 1},   // one more than a vector, than a tile
    {17, 8, 8, 16, 16, 3, 3, 1, 1, 1},  // ResNet body; batch no multiple of the shards
    {9, 8, 8, 16, 32, 3, 3, 2, 1, 1},
    {5, 8, 6, 16, 32, 1, 1, 2, 0, 1},  // shortcut: three pixels of four have no gradient
    {3, 7, 5, 32, 48, 1, 1, 1, 0, 1},  // pointwise
    {2, 12, 9, 3, 64, 3, 3, 1, 1, 1},  // image layer
    {2, 2, 2, 64, 64, 3, 3, 1, 1, 1},  // map smaller than the filter's reach
    {3, 4, 4, 40, 96, 3, 3, 1, 1, 1},
    {2, 11, 10, 4, 8, 5, 5, 1, 2, 1},
    {2, 6, 7, 6, 9, 3, 3, 1, 1, 3},    // groups
    {2, 7, 6, 32, 64, 3, 3, 2, 1, 2},  // groups of whole vectors
    {4, 7, 6, 5, 5, 3, 3, 1, 1, 5},    // depthwise
    {3, 8, 9, 37, 37, 3, 3, 2, 1, 37},
    {2, 2, 2, 64, 64, 3, 3, 1, 1, 64},
    {2, 6, 6, 16, 16, 5, 5, 1, 2, 16},
    {2, 5, 6, 4, 12, 3, 3, 1, 1, 4},    // depthwise with a multiplier
    {14, 2, 2, 20, 17, 3, 3, 1, 1, 1},  // maps of few pixels, which the CPU walks pixel by pixel
    {25, 4, 3, 10, 18, 3, 3, 2, 1, 2},
    {67, 1, 2, 5, 3, 3, 3, 1, 1, 1},
    {4, 1, 1, 8, 8, 3, 3, 2, 1, 1},  // outer columns of the filter meet no pixel
    {5, 16, 1, 48, 33, 3, 3, 3, 1, 1},
    {1, 30, 30, 16, 3, 1, 1, 1, 0, 1},  // an odd number of pointwise filters
    {2, 6, 7, 32, 32, 1, 1, 1, 1, 1},   // pointwise with padding
    {3, 1, 1, 3, 16, 5, 5, 1, 2, 1},
    {1, 1, 1, 48, 48, 1, 1, 1, 0, 48}};

// The packed weights of a device's op namespace.
template <class Device>
struct PackedOf {
  using type = cpu::PackedConv2d;
};
#if OFFRAMP_HAS_CUDA
template <>
struct PackedOf<CudaDevice> {
  using type = cuda::PackedConv2d;
};
#endif

// Result of one direction against the reference's sums, which it adds to `like` or not. The bound is that of
// a direct sum, or `other_bound` where that is larger. A kernel that returns false has no such case.
template <class Device, class Out, class Kernel>
bool check_direction(const std::vector<Out>& like,
                     const Sums& sums,
                     double length,
                     const std::vector<double>& other_bound,
                     Write write,
                     std::size_t offset,
                     Kernel kernel) {
  const bool adds = write == Write::kAccumulate;
  Fenced<Out, Device> out(like.size(), offset);
  if (adds) out.assign(like);
  if (!kernel(out.data())) return false;
  std::vector<double> fresh = sums.value, bound(like.size());
  const std::vector<double> before = to_double(like);
  for (std::size_t i = 0; i < like.size(); ++i) {
    const double computed = sum_bound(length, sums.size[i]);
    bound[i] =
        stored_bound<Out>(fresh[i], other_bound.empty() ? computed : std::max(computed, other_bound[i]));
    if (!adds) continue;
    fresh[i] += before[i];
    bound[i] = stored_bound<Out>(fresh[i], bound[i]);
  }
  EXPECT_CLOSE(out.values(), fresh, bound);
  return true;
}

double forward_length(const Conv2dGeom& g) { return g.r * g.s * g.group_c() + 2; }
double input_length(const Conv2dGeom& g) { return g.r * g.s * g.group_k() + 1; }
double weight_length(const Conv2dGeom& g) { return static_cast<double>(g.n) * g.out_h() * g.out_w() + 1; }

bool winograd_reaches(const Conv2dGeom& g) {
  return g.r == 3 && g.s == 3 && g.stride == 1 && g.groups == 1 && g.pad <= 2;
}

// All directions of `ops`, whose members say false where they cannot. Returns how many of them could.
template <class Device, class T, class Ops>
int check_directions(const Conv2dGeom& g, bool winograd, std::size_t offset, const Ops& ops) {
  SCOPED_TRACE(::testing::PrintToString(g));
  const ConvData<T>& d = ConvData<T>::of(g);
  const Fenced<T, Device> x(d.x, offset), dy(d.dy, offset);
  const Fenced<float, Device> w(d.w, offset), b(d.b, offset);
  const bool wide_bound = winograd && winograd_reaches(g);
  const auto bound_of = [&](WinogradSum which, double length) {
    return wide_bound ? d.winograd_bound(which, length) : std::vector<double>();
  };
  const std::vector<double> forward_bound = bound_of(WinogradSum::kForward, forward_length(g));
  const std::vector<double> input_bound = bound_of(WinogradSum::kInput, input_length(g));
  const std::vector<double> weight_bound = bound_of(WinogradSum::kWeight, weight_length(g));
  int done = 0;
  for (const bool biased : {false, true}) {
    SCOPED_TRACE(biased ? "forward with bias" : "forward");
    done += check_direction<Device>(
        d.dy,
        biased ? d.forward_with_bias() : d.forward(),
        forward_length(g),
        forward_bound,
        Write::kOverwrite,
        offset,
        [&](T* y) { return ops.forward(x.data(), w.data(), biased ? b.data() : nullptr, y); });
  }
  for (const Write write : {Write::kOverwrite, Write::kAccumulate}) {
    SCOPED_TRACE(write == Write::kOverwrite ? "overwrite" : "accumulate");
    {
      SCOPED_TRACE("input gradient");
      done += check_direction<Device>(
          d.x, d.input_gradient(), input_length(g), input_bound, write, offset, [&](T* dx) {
            return ops.backward_input(dy.data(), w.data(), dx, write);
          });
    }
    {
      SCOPED_TRACE("weight gradient");
      done += check_direction<Device>(
          d.w, d.weight_gradient(), weight_length(g), weight_bound, write, offset, [&](float* dw) {
            return ops.backward_weight(x.data(), dy.data(), dw, write);
          });
    }
    {
      SCOPED_TRACE("bias gradient");
      done += check_direction<Device>(
          d.b, d.bias_gradient(), weight_length(g), {}, write, offset, [&](float* db) {
            return ops.backward_bias(dy.data(), db, write);
          });
    }
  }
  return done;
}

// The public functions of a device.
template <class B>
struct PublicOps {
  using T = typename B::Value;
  const Conv2dGeom& g;
  typename B::Device::Context& ctx = B::Device::context();
  bool forward(const T* x, const float* w, const float* b, T* y) const {
    conv2d_forward(ctx, g, x, w, b, y);
    return true;
  }
  bool backward_input(const T* dy, const float* w, T* dx, Write write) const {
    conv2d_backward_input(ctx, g, dy, w, dx, write);
    return true;
  }
  bool backward_weight(const T* x, const T* dy, float* dw, Write write) const {
    conv2d_backward_weight(ctx, g, x, dy, dw, write);
    return true;
  }
  bool backward_bias(const T* dy, float* db, Write write) const {
    conv2d_backward_bias(ctx, g, dy, db, write);
    return true;
  }
};

// A device whose convolutions are direct says so: its errors are smaller.
template <class Device>
constexpr bool kMayUseWinograd = !requires {
  Device::kDirect;
};

template <class B>
void check_geometry(const Conv2dGeom& g, std::size_t offset) {
  using Device = typename B::Device;
  check_directions<Device, typename B::Value>(g, kMayUseWinograd<Device>, offset, PublicOps<B>{g});
}

// The packed forward with every combination of bias, residual and ReLU, for other batches than the packed
// one.
template <class B>
void check_packed(Conv2dGeom g) {
  using Device = typename B::Device;
  using T = typename B::Value;
  SCOPED_TRACE(::testing::PrintToString(g));
  auto& ctx = Device::context();
  const int packed_for = g.n;
  for (const bool biased : {false, true}) {
    std::shared_ptr<const typename PackedOf<Device>::type> packed;
    for (const int batch : {packed_for, 1, packed_for + 3}) {
      g.n = batch;
      const ConvData<T>& d = ConvData<T>::of(g);
      const Fenced<T, Device> x(d.x), residual(d.dy);
      if (!packed) {
        const Fenced<float, Device> w(d.w), b(d.b);
        packed = conv2d_pack<T>(ctx, g, w.data(), biased ? b.data() : nullptr);
      }
      for (const bool adds : {false, true}) {
        for (const bool relu : {false, true}) {
          SCOPED_TRACE(::testing::Message() << "batch " << batch << " bias " << biased << " residual " << adds
                                            << " relu " << relu);
          Sums sums = biased ? d.forward_with_bias() : d.forward();
          for (std::size_t i = 0; i < sums.value.size(); ++i) {
            if (adds) sums.value[i] += d.dyd[i];
            if (adds) sums.size[i] += std::fabs(d.dyd[i]);
            if (relu) sums.value[i] = std::max(sums.value[i], 0.0);
          }
          const auto bound = kMayUseWinograd<Device> && winograd_reaches(g)
                                 ? d.winograd_bound(WinogradSum::kForward, forward_length(g))
                                 : std::vector<double>();
          check_direction<Device>(d.dy, sums, forward_length(g), bound, Write::kOverwrite, 0, [&](T* y) {
            conv2d_forward_packed(ctx, g, *packed, x.data(), adds ? residual.data() : nullptr, relu, y);
            return true;
          });
        }
      }
    }
  }
}
TYPED_TEST(Conv2d, ThePackedForwardMatchesTheReference) {
  for (const Conv2dGeom& g : kGeoms) check_packed<TypeParam>(g);
}
TYPED_TEST(Conv2dOptions, ThePackedForwardMatchesTheReference) {
  for (const Conv2dGeom& g : kGeoms) check_packed<TypeParam>(g);
}

// Sides, channels in and out of layers whose weights are packed once for Winograd.
const Conv2dGeom kPackedLayers[] = {{3, 16, 16, 16, 16, 3, 3, 1, 1, 1},
                                    {1, 8, 8, 64, 64, 3, 3, 1, 1, 1},
                                    {5, 9, 7, 20, 37, 3, 3, 1, 0, 1},
                                    {2, 5, 5, 70, 130, 3, 3, 1, 1, 1},
                                    {2, 8, 8, 128, 64, 3, 3, 1, 1, 1}};

TEST(Conv2dCpu, LayersPackedForWinogradMatchTheReference) {
  cpu::Context ctx;
  for (const Conv2dGeom& g : kPackedLayers) {
    EXPECT_EQ(cpu::packed_algorithm(ctx, g, false), cpu::ConvAlgorithm::kWinograd);
    check_packed<Backend<CpuDevice, float>>(g);
    check_packed<Backend<CpuDevice, bf16>>(g);
  }
}

TEST(Conv2dCpu, AnImagePackedForWinogradHasTheSameBitsInEveryBatchAndOnEveryThreadCount) {
  for (const Conv2dGeom& layer : kPackedLayers) {
    SCOPED_TRACE(::testing::PrintToString(layer));
    Conv2dGeom g = layer;
    g.n = 11;
    const ConvData<float>& d = ConvData<float>::of(g);
    const auto run = [&](int threads, int batch) {
      cpu::Context ctx({.threads = threads});
      const auto packed = cpu::conv2d_pack<float>(ctx, g, d.w.data(), d.b.data());
      std::vector<float> y(static_cast<std::size_t>(g.y_size()));
      Conv2dGeom part = g;
      for (int first = 0; first < g.n; first += part.n) {
        part.n = std::min(batch, g.n - first);
        cpu::conv2d_forward_packed<float>(ctx,
                                          part,
                                          *packed,
                                          d.x.data() + first * (g.x_size() / g.n),
                                          nullptr,
                                          true,
                                          y.data() + first * (g.y_size() / g.n));
      }
      return y;
    };
    const std::vector<float> whole = run(1, g.n);
    EXPECT_EQ(run(1, 1), whole);
    EXPECT_EQ(run(2, 1), whole);
    EXPECT_EQ(run(3, 4), whole);
    std::vector<float> unpacked(whole.size());
    cpu::Context ctx;
    ASSERT_TRUE(cpu::conv2d_forward_by(
        cpu::ConvAlgorithm::kWinograd, ctx, g, d.x.data(), d.w.data(), d.b.data(), unpacked.data()));
    for (float& v : unpacked) v = std::max(v, 0.f);
    EXPECT_EQ(unpacked, whole);
  }
}

// Large transformed weights are read from memory, and one image would wait for them.
TEST(Conv2dCpu, LargeWeightsArePackedForTheDirectForm) {
  cpu::Context ctx;
  const Conv2dGeom wide{1, 4, 4, 512, 512, 3, 3, 1, 1, 1}, half{1, 8, 8, 256, 256, 3, 3, 1, 1, 1};
  EXPECT_NE(cpu::packed_algorithm(ctx, wide, false), cpu::ConvAlgorithm::kWinograd);
  EXPECT_EQ(cpu::packed_algorithm(ctx, half, false), cpu::ConvAlgorithm::kWinograd);
  EXPECT_NE(cpu::packed_algorithm(ctx, half, true), cpu::ConvAlgorithm::kWinograd);
}

TEST(Conv2dCpu, PackedWeightsRefuseAnotherGeometry) {
  cpu::Context ctx;
  Conv2dGeom g{1, 4, 4, 3, 5, 3, 3, 1, 1, 1};
  const std::vector<float> w(static_cast<std::size_t>(g.w_size()), 1.f), x(1000), b(5);
  std::vector<float> y(1000);
  const auto packed = cpu::conv2d_pack<float>(ctx, g, w.data(), b.data());
  g.stride = 2;
  try {
    cpu::conv2d_forward_packed<float>(ctx, g, *packed, x.data(), nullptr, false, y.data());
    FAIL() << "no exception";
  } catch (const std::logic_error& e) {
    EXPECT_STREQ(e.what(), "conv2d_forward_packed: the weights were packed for another geometry");
  }
}

TYPED_TEST(Conv2d, EveryDirectionMatchesTheReference) {
  for (const Conv2dGeom& g : kGeoms) check_geometry<TypeParam>(g, 0);
}
TYPED_TEST(Conv2d, MisalignedBuffersAreFine) {
  for (const std::size_t i : {0, 4, 5, 16}) check_geometry<TypeParam>(kGeoms[i], 1);
}
TYPED_TEST(Conv2dOptions, EveryDirectionMatchesTheReference) {
  for (const Conv2dGeom& g : kGeoms) check_geometry<TypeParam>(g, 0);
}
TYPED_TEST(Conv2dOptions, MisalignedBuffersAreFine) {
  for (const std::size_t i : {0, 4, 5, 16}) check_geometry<TypeParam>(kGeoms[i], 1);
}

// Every algorithm on every geometry that it takes, whatever the table says.
template <class T>
struct AlgorithmOps {
  const Conv2dGeom& g;
  cpu::ConvAlgorithm algorithm;
  cpu::Context& ctx;
  bool forward(const T* x, const float* w, const float* b, T* y) const {
    return cpu::conv2d_forward_by(algorithm, ctx, g, x, w, b, y);
  }
  bool backward_input(const T* dy, const float* w, T* dx, Write write) const {
    return cpu::conv2d_backward_input_by(algorithm, ctx, g, dy, w, dx, write);
  }
  bool backward_weight(const T* x, const T* dy, float* dw, Write write) const {
    return cpu::conv2d_backward_weight_by(algorithm, ctx, g, x, dy, dw, write);
  }
  bool backward_bias(const T*, float*, Write) const { return false; }
};

const Conv2dGeom kWinogradGeoms[] = {{1, 4, 4, 1, 1, 3, 3, 1, 1, 1},
                                     {2, 7, 9, 5, 18, 3, 3, 1, 0, 1},
                                     {3, 5, 6, 20, 3, 3, 3, 1, 2, 1},
                                     {2, 3, 3, 6, 7, 3, 3, 1, 0, 1},
                                     {40, 8, 8, 33, 16, 3, 3, 1, 1, 1}};

template <class T>
int check_algorithm(cpu::ConvAlgorithm algorithm) {
  const bool winograd =
      algorithm == cpu::ConvAlgorithm::kWinograd || algorithm == cpu::ConvAlgorithm::kLibraryWinograd;
  int done = 0;
  const auto check = [&](const Conv2dGeom& g) {
    const AlgorithmOps<T> ops{g, algorithm, CpuDevice::context()};
    done += check_directions<CpuDevice, T>(g, winograd, 1, ops);
  };
  for (const Conv2dGeom& g : kGeoms) check(g);
  for (const Conv2dGeom& g : kWinogradGeoms) check(g);
  if (algorithm == cpu::ConvAlgorithm::kTiles) {
    for (const Conv2dGeom& g : kTileGeoms) check(g);
  }
  if (algorithm == cpu::ConvAlgorithm::kWinograd) {
    check({2, 6, 5, 130, 131, 3, 3, 1, 1, 1});  // its sums are one set
    check({2, 6, 5, 128, 256, 3, 3, 1, 1, 1});  // and its rows a power of two
    check({2, 6, 5, 128, 16, 3, 3, 1, 1, 1});
    check({1, 4, 4, 250, 270, 3, 3, 1, 1, 1});    // weights so large that threads share out the places
    check({129, 1, 1, 250, 270, 3, 3, 1, 1, 1});  // two chunks of their tiles
  }
  return done;
}

TEST(Conv2dAlgorithms, OursMatchTheReferenceWhereTheyApply) {
  constexpr int kAll = static_cast<int>(std::size(kGeoms) + std::size(kWinogradGeoms)) * 6;
  EXPECT_EQ(check_algorithm<float>(cpu::ConvAlgorithm::kNative), kAll);
  EXPECT_EQ(check_algorithm<bf16>(cpu::ConvAlgorithm::kNative), kAll);
  for (const auto algorithm : {cpu::ConvAlgorithm::kWinograd, cpu::ConvAlgorithm::kDepthwise}) {
    EXPECT_GT(check_algorithm<float>(algorithm), 0);
    EXPECT_GT(check_algorithm<bf16>(algorithm), 0);
  }
}

// By the processor's unit where it has one, else by its twin.
TEST(Conv2dAlgorithms, TilesMatchTheReferenceWhereTheyApply) {
  EXPECT_EQ(check_algorithm<float>(cpu::ConvAlgorithm::kTiles), 0);
  int wanted = 0;
  for (const Conv2dGeom& g : kTileGeoms) {
    // Two forwards, and two ways to write each gradient.
    const bool turns = g.stride == 1 && g.r == g.s && g.k % 32 == 0;
    wanted += 4 + (turns || (g.stride == 1 && g.k == 16 && g.w % 16 == 0) ? 2 : 0);
  }
  EXPECT_GE(check_algorithm<bf16>(cpu::ConvAlgorithm::kTiles), wanted);
}

TEST(Conv2dAlgorithms, TheLibrarysMatchTheReferenceWhereTheyApply) {
  int done = 0;
  for (const auto algorithm : {cpu::ConvAlgorithm::kDirect,
                               cpu::ConvAlgorithm::kDirectWhole,
                               cpu::ConvAlgorithm::kWidened,
                               cpu::ConvAlgorithm::kLibraryWinograd}) {
    done += check_algorithm<float>(algorithm) + check_algorithm<bf16>(algorithm);
  }
  if (done == 0) GTEST_SKIP() << "this build has no library convolution";
}

TEST(Conv2dAlgorithms, TheTableAsksForTheProcessorInBf16AloneAndNeverForTheBatch) {
  using cpu::Bf16Products;
  for (Conv2dGeom g : kGeoms) {
    for (int direction = 0; direction < 3; ++direction) {
      const auto choice = [&](int n, bool half, Bf16Products bf16) {
        g.n = n;
        return cpu::default_algorithm(
            g, static_cast<cpu::ConvDirection>(direction), half, {.bf16 = bf16, .tiles = false});
      };
      const auto f32 = choice(1, false, Bf16Products::kSlower);
      for (const auto bf16 : {Bf16Products::kSlower, Bf16Products::kTwiceAsFast, Bf16Products::kMatrixUnit}) {
        EXPECT_EQ(choice(1, true, bf16), choice(128, true, bf16));
        EXPECT_NE(choice(1, true, bf16), cpu::ConvAlgorithm::kTiles);
        EXPECT_EQ(choice(1, false, bf16), f32);
        EXPECT_EQ(choice(128, false, bf16), f32);
      }
    }
  }
}

TEST(Conv2dReference, GradientsMatchCentralDifferences) {
  const Conv2dGeom geoms[] = {{2, 5, 4, 3, 4, 3, 3, 2, 1, 1}, {1, 4, 5, 4, 6, 3, 2, 1, 1, 2}};
  for (const Conv2dGeom& g : geoms) {
    SCOPED_TRACE(::testing::PrintToString(g));
    const ConvData<float>& d = ConvData<float>::of(g);
    const auto forward = [&](const auto& x, const auto& w, const auto& b) {
      std::vector<double> y(d.dy.size());
      ref::conv2d_forward(g, x.data(), w.data(), b.data(), y.data());
      return y;
    };
    std::vector<double> dx(d.x.size()), dw(d.w.size()), db(d.b.size());
    ref::conv2d_backward_input(g, d.dyd.data(), d.wd.data(), dx.data());
    ref::conv2d_backward_weight(g, d.xd.data(), d.dyd.data(), dw.data());
    ref::conv2d_backward_bias(g, d.dyd.data(), db.data());
    expect_gradient([&](const auto& v) { return forward(v, d.wd, d.bd); }, d.xd, d.dyd, dx);
    expect_gradient([&](const auto& v) { return forward(d.xd, v, d.bd); }, d.wd, d.dyd, dw);
    expect_gradient([&](const auto& v) { return forward(d.xd, d.wd, v); }, d.bd, d.dyd, db);
  }
}

// Layers as they occur in the nets, with a batch that fills several shards.
const Conv2dGeom kNetLayers[] = {{20, 32, 32, 3, 16, 3, 3, 1, 1, 1},
                                 {20, 16, 16, 16, 16, 3, 3, 1, 1, 1},
                                 {20, 16, 16, 16, 32, 3, 3, 2, 1, 1},
                                 {20, 8, 8, 64, 64, 3, 3, 1, 1, 1},
                                 {20, 8, 8, 32, 64, 1, 1, 2, 0, 1},
                                 {33, 4, 4, 128, 128, 3, 3, 1, 1, 1},
                                 {129, 4, 4, 256, 256, 3, 3, 1, 1, 1},
                                 {20, 2, 2, 256, 256, 3, 3, 1, 1, 1},
                                 {20, 8, 8, 64, 64, 3, 3, 1, 1, 64},
                                 {20, 8, 8, 64, 64, 3, 3, 2, 1, 64},
                                 {20, 2, 2, 256, 256, 3, 3, 1, 1, 256},
                                 {20, 4, 4, 128, 256, 1, 1, 1, 0, 1},
                                 {20, 6, 6, 12, 20, 3, 3, 1, 1, 2}};

template <class T>
struct ConvResults {
  std::vector<T> y, dx, dx_added;
  std::vector<float> dw, db;
};

template <class T>
ConvResults<T> run_all(const Conv2dGeom& g, cpu::Context& ctx) {
  const ConvData<T>& d = ConvData<T>::of(g);
  ConvResults<T> out{d.dy, d.x, d.x, d.w, d.b};
  cpu::conv2d_forward(ctx, g, d.x.data(), d.w.data(), d.b.data(), out.y.data());
  cpu::conv2d_backward_input(ctx, g, d.dy.data(), d.w.data(), out.dx.data(), Write::kOverwrite);
  cpu::conv2d_backward_input(ctx, g, d.dy.data(), d.w.data(), out.dx_added.data(), Write::kAccumulate);
  cpu::conv2d_backward_weight(ctx, g, d.x.data(), d.dy.data(), out.dw.data(), Write::kOverwrite);
  cpu::conv2d_backward_bias(ctx, g, d.dy.data(), out.db.data(), Write::kOverwrite);
  return out;
}

template <class T>
void check_thread_counts(cpu::ConvBackend backend) {
  cpu::Context one(cpu::ContextOptions{.threads = 1, .conv = backend});
  for (const int threads : {2, 3}) {
    cpu::Context many(cpu::ContextOptions{.threads = threads, .conv = backend});
    for (const Conv2dGeom& g : kNetLayers) {
      SCOPED_TRACE(::testing::PrintToString(g));
      const ConvResults<T> a = run_all<T>(g, one), b = run_all<T>(g, many);
      EXPECT_SAME_BITS(a.y, b.y);
      EXPECT_SAME_BITS(a.dx, b.dx);
      EXPECT_SAME_BITS(a.dx_added, b.dx_added);
      EXPECT_SAME_BITS(a.dw, b.dw);
      EXPECT_SAME_BITS(a.db, b.db);
    }
  }
}

TEST(Conv2dCpu, BitsDoNotDependOnTheThreadCount) {
  check_thread_counts<float>(cpu::ConvBackend::kLibrary);
  check_thread_counts<bf16>(cpu::ConvBackend::kLibrary);
}
TEST(Conv2dCpu, NativeBitsDoNotDependOnTheThreadCount) {
  check_thread_counts<float>(cpu::ConvBackend::kNative);
  check_thread_counts<bf16>(cpu::ConvBackend::kNative);
}

// The default f32 forward gives an image the same bits in every batch.
void check_batch_invariance(cpu::ConvBackend backend) {
  cpu::Context ctx(cpu::ContextOptions{.threads = 2, .conv = backend});
  for (Conv2dGeom g : kNetLayers) {
    SCOPED_TRACE(::testing::PrintToString(g));
    const ConvData<float>& d = ConvData<float>::of(g);
    std::vector<float> all(d.dy.size());
    cpu::conv2d_forward(ctx, g, d.x.data(), d.w.data(), d.b.data(), all.data());
    const std::int64_t image_in = g.x_size() / g.n, image_out = g.y_size() / g.n;
    const int whole = g.n;
    for (const int batch : {1, 2, 7}) {
      g.n = batch;
      const int first = whole - batch;
      std::vector<float> part(static_cast<std::size_t>(g.y_size()));
      cpu::conv2d_forward(ctx, g, d.x.data() + first * image_in, d.w.data(), d.b.data(), part.data());
      EXPECT_SAME_BITS(part, std::vector<float>(all.begin() + first * image_out, all.end()))
          << "batch " << batch;
    }
  }
}
TEST(Conv2dCpu, AnImageHasTheSameBitsInEveryBatch) { check_batch_invariance(cpu::ConvBackend::kLibrary); }
TEST(Conv2dCpu, NativeAnImageHasTheSameBitsInEveryBatch) {
  check_batch_invariance(cpu::ConvBackend::kNative);
}

// The packed form adds the residual of each image in every batch alike, down to one image of one pixel.
TEST(Conv2dCpu, APackedImageWithAResidualHasTheSameBitsInEveryBatch) {
  cpu::Context ctx;
  for (const Conv2dGeom& whole : kGeoms) {
    SCOPED_TRACE(::testing::PrintToString(whole));
    const ConvData<float>& d = ConvData<float>::of(whole);
    const auto packed = cpu::conv2d_pack<float>(ctx, whole, d.w.data(), d.b.data());
    std::vector<float> all(d.dy.size()), each(d.dy.size());
    cpu::conv2d_forward_packed(ctx, whole, *packed, d.x.data(), d.dy.data(), false, all.data());
    Conv2dGeom one = whole;
    one.n = 1;
    const std::int64_t image_in = one.x_size(), image_out = one.y_size();
    for (int i = 0; i < whole.n; ++i) {
      cpu::conv2d_forward_packed(ctx,
                                 one,
                                 *packed,
                                 d.x.data() + i * image_in,
                                 d.dy.data() + i * image_out,
                                 false,
                                 each.data() + i * image_out);
    }
    EXPECT_SAME_BITS(each, all);
  }
}

// A ReLU in the same pass keeps NaN, as relu does: a net that computes none says so.
template <class T>
void check_nan_stays(cpu::ConvBackend backend) {
  cpu::Context ctx(cpu::ContextOptions{.threads = 1, .conv = backend});
  for (const Conv2dGeom& g : kGeoms) {
    SCOPED_TRACE(::testing::PrintToString(g));
    const ConvData<T>& d = ConvData<T>::of(g);
    std::vector<T> x = d.x, plain(d.dy.size()), rectified(d.dy.size());
    x[x.size() / 2] = T(std::nanf(""));
    const auto packed = cpu::conv2d_pack<T>(ctx, g, d.w.data(), d.b.data());
    cpu::conv2d_forward_packed<T>(ctx, g, *packed, x.data(), nullptr, false, plain.data());
    cpu::conv2d_forward_packed<T>(ctx, g, *packed, x.data(), nullptr, true, rectified.data());
    for (std::size_t i = 0; i < plain.size(); ++i) {
      const float before = static_cast<float>(plain[i]), after = static_cast<float>(rectified[i]);
      ASSERT_EQ(std::isnan(after), std::isnan(before)) << i;
      if (std::isnan(before)) continue;
      ASSERT_EQ(after, std::max(before, 0.f)) << i;
    }
  }
}
TEST(Conv2dCpu, NaNStaysInAPackedConvolutionWithAReLU) {
  for (const auto backend : {cpu::ConvBackend::kLibrary, cpu::ConvBackend::kNative}) {
    check_nan_stays<float>(backend);
    check_nan_stays<bf16>(backend);
  }
}

// A gradient does not depend on what an earlier call left in the scratch.
TEST(Conv2dCpu, WhatStandsInTheScratchDoesNotMatter) {
  for (const Conv2dGeom& g : kGeoms) {
    SCOPED_TRACE(::testing::PrintToString(g));
    cpu::Context fresh, used;
    for (int slot = 0; slot < cpu::Context::kSlotCount; ++slot) {
      constexpr std::size_t kFloats = 1 << 18;
      auto* scratch =
          static_cast<float*>(used.workspace(static_cast<cpu::Context::Slot>(slot), kFloats * sizeof(float)));
      std::fill_n(scratch, kFloats, 1e9f);
    }
    const ConvResults<bf16> a = run_all<bf16>(g, fresh), b = run_all<bf16>(g, used);
    EXPECT_SAME_BITS(a.y, b.y);
    EXPECT_SAME_BITS(a.dx, b.dx);
    EXPECT_SAME_BITS(a.dx_added, b.dx_added);
    EXPECT_SAME_BITS(a.dw, b.dw);
    EXPECT_SAME_BITS(a.db, b.db);
  }
}

TEST(Conv2dCpu, AnEmptyBatchIsFine) {
  cpu::Context ctx;
  const Conv2dGeom g{0, 4, 4, 3, 5, 3, 3, 1, 1, 1};
  const std::vector<float> w(static_cast<std::size_t>(g.w_size()), 1.f);
  std::vector<float> dw(w.size(), 7.f), db(5, 7.f);
  cpu::conv2d_forward<float>(ctx, g, nullptr, w.data(), nullptr, nullptr);
  cpu::conv2d_backward_input<float>(ctx, g, nullptr, w.data(), nullptr, Write::kOverwrite);
  cpu::conv2d_backward_weight<float>(ctx, g, nullptr, nullptr, dw.data(), Write::kOverwrite);
  cpu::conv2d_backward_bias<float>(ctx, g, nullptr, db.data(), Write::kOverwrite);
  EXPECT_EQ(dw, std::vector<float>(w.size(), 0.f));
  EXPECT_EQ(db, std::vector<float>(5, 0.f));
}

}  // namespace
}  // namespace offramp::test
