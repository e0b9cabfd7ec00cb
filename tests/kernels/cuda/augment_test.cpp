// Augmentation on the device equals nets/data/augment.h bit for bit.
#include "kernels/cuda/augment.h"

#include <gtest/gtest.h>

#include "base/errors.h"
#include "nets/data/augment.h"
#include "nets/data/streams.h"
#include "tests/support/close.h"
#include "tests/support/fenced.h"

namespace offramp::test {
namespace {

template <class T>
void expect_twin(int h, int w, int c, const data::Augmentation& options, bool augments) {
  constexpr int kTotal = 9;
  const auto size = static_cast<std::size_t>(h * w * c);
  std::vector<std::uint8_t> pixels(kTotal * size);
  const PhiloxKey source = test_key(11);
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(source.word(i));
  const std::vector<std::int32_t> index{8, 0, 3, 3, 5};
  constexpr std::uint32_t kEpoch = 7;

  std::vector<T> expected(index.size() * size);
  for (std::size_t i = 0; i < index.size(); ++i) {
    const std::uint8_t* picture = pixels.data() + static_cast<std::size_t>(index[i]) * size;
    T* out = expected.data() + i * size;
    if (augments) {
      data::augment<T>({picture, h, w, c}, options, kSeed, kEpoch, index[i], out);
    } else {
      data::to_unit_range<T>({picture, size}, out);
    }
  }
  const Fenced<std::uint8_t, CudaDevice> set(pixels);
  const Fenced<std::int32_t, CudaDevice> places(index);
  const Fenced<std::int32_t, CudaDevice> epoch(std::vector<std::int32_t>{kEpoch});
  for (const bool epoch_on_device : {false, true}) {
    Fenced<T, CudaDevice> y(expected.size());
    cuda::AugmentBatch batch{.pixels = set.data(),
                             .index = places.data(),
                             .n = static_cast<int>(index.size()),
                             .h = h,
                             .w = w,
                             .c = c,
                             .augment = augments,
                             .flip = options.flip,
                             .crop_pad = options.crop_pad,
                             .colour_jitter = options.colour_jitter,
                             .key = {.seed = kSeed, .stream = data::kAugmentStream, .step = kEpoch},
                             .epoch = nullptr};
    if (epoch_on_device) {
      batch.epoch = epoch.data();
      batch.key.step = 0;
    }
    cuda::augment(CudaDevice::context(), batch, y.data());
    EXPECT_SAME_BITS(y.values(), expected);
  }
}

class CudaAugment : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = CudaDevice::missing(); !why.empty()) GTEST_SKIP() << why;
  }
};

TEST_F(CudaAugment, EveryOptionEqualsTheCpu) {
  for (const data::Augmentation& options :
       {data::Augmentation{},
        data::Augmentation{.flip = true},
        data::Augmentation{.crop_pad = 2},
        data::Augmentation{.flip = true, .crop_pad = 4},
        data::Augmentation{.colour_jitter = true},
        data::Augmentation{.flip = true, .crop_pad = 3, .colour_jitter = true}}) {
    expect_twin<float>(7, 9, 3, options, true);
    expect_twin<bf16>(7, 9, 3, options, true);
    expect_twin<float>(5, 4, 1, options, true);
  }
}

TEST_F(CudaAugment, WithoutAugmentationThePictureStays) {
  expect_twin<float>(6, 5, 3, {.flip = true, .crop_pad = 4, .colour_jitter = true}, false);
  expect_twin<bf16>(6, 5, 1, {}, false);
}

TEST_F(CudaAugment, RefusesANegativePadding) {
  try {
    cuda::augment(CudaDevice::context(), cuda::AugmentBatch{.crop_pad = -1}, static_cast<float*>(nullptr));
    FAIL();
  } catch (const DeviceError& error) {
    EXPECT_STREQ(error.what(), "augment: expected crop_pad >= 0, found -1");
  }
}

}  // namespace
}  // namespace offramp::test
