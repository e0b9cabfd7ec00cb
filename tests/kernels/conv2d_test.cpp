#include "kernels/conv2d.h"

#include <gtest/gtest.h>

#include <cstring>
#include <iterator>
#include <memory>
#include <stdexcept>

#include "kernels/cpu/conv2d_plan.h"
#include "kernels/ref/conv2d.h"
#include "tests/kernels/conv2d_geoms.h"
#include "tests/kernels/tile_geoms.h"
#include "tests/support/backends.h"
#include "tests/support/close.h"
#include "tests/support/conv2d_data.h"
#include "tests/support/fenced.h"
#include "tests/support/gradcheck.h"

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
  for (const Conv2dGeom& g : kConvGeoms) check_packed<TypeParam>(g);
}
TYPED_TEST(Conv2dOptions, ThePackedForwardMatchesTheReference) {
  for (const Conv2dGeom& g : kConvGeoms) check_packed<TypeParam>(g);
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
  for (const Conv2dGeom& g : kConvGeoms) check_geometry<TypeParam>(g, 0);
}
TYPED_TEST(Conv2d, MisalignedBuffersAreFine) {
  for (const std::size_t i : {0, 4, 5, 16}) check_geometry<TypeParam>(kConvGeoms[i], 1);
}
TYPED_TEST(Conv2dOptions, EveryDirectionMatchesTheReference) {
  for (const Conv2dGeom& g : kConvGeoms) check_geometry<TypeParam>(g, 0);
}
TYPED_TEST(Conv2dOptions, MisalignedBuffersAreFine) {
  for (const std::size_t i : {0, 4, 5, 16}) check_geometry<TypeParam>(kConvGeoms[i], 1);
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
  for (const Conv2dGeom& g : kConvGeoms) check(g);
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
  constexpr int kAll = static_cast<int>(std::size(kConvGeoms) + std::size(kWinogradGeoms)) * 6;
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

// Whole sums of small numbers: whatever the order, there is one answer.
TEST(Conv2dAlgorithms, SeveralThreadsOnOneImageGiveTheSameEveryTime) {
  const Conv2dGeom g{1, 13, 6, 152, 280, 3, 3, 2, 0, 1};
  std::vector<bf16> x(static_cast<std::size_t>(g.x_size()));
  std::vector<float> w(static_cast<std::size_t>(g.w_size()));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = bf16(static_cast<float>(i * 7 % 5) - 2);
  for (std::size_t i = 0; i < w.size(); ++i) w[i] = static_cast<float>(i * 11 % 5) - 2;
  cpu::Context alone({.threads = 1});
  std::vector<bf16> want(static_cast<std::size_t>(g.y_size())), y(want.size());
  cpu::conv2d_forward(alone, g, x.data(), w.data(), static_cast<const float*>(nullptr), want.data());
  for (const int threads : {2, 3}) {
    cpu::Context ctx({.threads = threads});
    const auto packed = cpu::conv2d_pack<bf16>(ctx, g, w.data(), nullptr);
    for (int run = 0; run < 60; ++run) {
      cpu::conv2d_forward(ctx, g, x.data(), w.data(), static_cast<const float*>(nullptr), y.data());
      ASSERT_TRUE(std::memcmp(y.data(), want.data(), y.size() * sizeof(bf16)) == 0) << threads << " threads";
      cpu::conv2d_forward_packed(
          ctx, g, *packed, x.data(), static_cast<const bf16*>(nullptr), false, y.data());
      ASSERT_TRUE(std::memcmp(y.data(), want.data(), y.size() * sizeof(bf16)) == 0)
          << threads << " threads, packed";
    }
  }
}

TEST(Conv2dAlgorithms, TheTableAsksForTheProcessorInBf16AloneAndNeverForTheBatch) {
  using cpu::Bf16Products;
  for (Conv2dGeom g : kConvGeoms) {
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

}  // namespace
}  // namespace offramp::test
