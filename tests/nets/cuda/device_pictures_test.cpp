// Pictures that lie in the device's memory and are augmented there: the batches, and the training, of the CPU's loader.
#include "engine/device_pictures.h"

#include <gtest/gtest.h>

#include <numeric>

#include "nets/training/loader_source.h"
#include "nets/training/trainer.h"
#include "tests/nets/cuda/device_nets.h"
#include "tests/nets/nets.h"

namespace offramp::nets {
namespace {

data::ImageSet noise_pictures(int n, int h, int w, int c) {
  data::ImageSet set{.n = n, .h = h, .w = w, .c = c};
  const PhiloxKey key{3, 71, 0, 0};
  set.pixels.resize(static_cast<std::size_t>(n) * set.image_bytes());
  for (std::size_t i = 0; i < set.pixels.size(); ++i) set.pixels[i] = static_cast<std::uint8_t>(key.word(i));
  for (int i = 0; i < n; ++i) set.labels.push_back(i % 5);
  set.class_names = {"a", "b", "c", "d", "e"};
  return set;
}

class CudaDevicePictures : public test::OnCuda {};

TEST_F(CudaDevicePictures, ALoaderGivesTheBatchesOfTheCpu) {
  const data::ImageSet set = noise_pictures(11, 6, 5, 3);
  for (const data::Augmentation& how :
       {data::Augmentation{}, {.flip = true, .crop_pad = 2}, {.flip = true, .colour_jitter = true}}) {
    const auto options = LoaderSource::training(4, 8, {9, 1, 2, 3, 10, 5});
    LoaderSource cpu(set, how, options, Device::cpu()), made(set, how, options, Device::cuda()),
        to_make(set, how, options, Device::cuda());
    for (int i = 0; i < 6; ++i) {  // three epochs
      SCOPED_TRACE(i);
      const Batch a = cpu.next(), b = made.next(), c = to_make.next_to_make();
      EXPECT_FALSE(c.inputs);
      EXPECT_EQ(a.indices, b.indices);
      EXPECT_EQ(a.indices, c.indices);
      EXPECT_EQ(a.labels.to_host<std::int32_t>(), b.labels.to_host<std::int32_t>());
      EXPECT_EQ(a.inputs.shape(), b.inputs.shape());
      EXPECT_SAME_BITS(a.inputs.to_host<float>(), b.inputs.to_host<float>());
      EXPECT_SAME_BITS(a.inputs.to_host<float>(), to_make.make(c.places).to_host<float>());
    }
    cpu.start(7, 1);
    to_make.start(7, 1);  // resumed
    EXPECT_SAME_BITS(cpu.next().inputs.to_host<float>(),
                     to_make.make(to_make.next_to_make().places).to_host<float>());
  }
}

// What is looked at once is not kept there.
TEST_F(CudaDevicePictures, EvaluationUploadsItsBatches) {
  const data::ImageSet set = noise_pictures(5, 4, 4, 1);
  LoaderSource source(set, {}, LoaderSource::evaluation(2), Device::cuda());
  EXPECT_TRUE(source.next_to_make().inputs);
}

TEST_F(CudaDevicePictures, CapturedTrainingIsTheEagerOneBitForBit) {
  const data::ImageSet set = noise_pictures(9, 8, 8, 3);
  NetOptions options = test::tiny_options("small-cnn");
  options.width_divisor = 16;
  TrainOptions train = reference_options("small-cnn", TrainKind::kJoint);
  train.epochs = 3;
  train.batch_size = 2;
  train.learning_rate = 0.01;
  std::vector<float> states[2];
  std::vector<double> losses[2];
  for (const StepMode mode : {StepMode::kEager, StepMode::kCaptured}) {
    const auto which = static_cast<std::size_t>(mode);
    Network net(options, Device::cuda());
    initialize(net, 3);
    LoaderSource source(set, {.flip = true, .crop_pad = 2}, LoaderSource::training(2, 6), Device::cuda());
    Trainer trainer(net, train, source, mode);
    while (!trainer.done()) losses[which].push_back(trainer.step().loss);
    states[which] = net.parameters().values().to_host<float>();
  }
  EXPECT_EQ(losses[0], losses[1]);
  EXPECT_EQ(losses[0].size(), 15U);
  EXPECT_SAME_BITS(states[0], states[1]);
}

TEST_F(CudaDevicePictures, RefusesWhatItCannotHold) {
  const std::vector<std::uint8_t> pixels(12);
  const DevicePictures::Form form{.n = 2, .h = 2, .w = 2, .c = 1};
  EXPECT_EQ(test::message_of([&] { DevicePictures(pixels, form, Device::cuda()); }),
            "device pictures: expected 8 bytes for [2,1,2,2], got 12");
  EXPECT_EQ(test::message_of([&] { DevicePictures(std::span(pixels).first(8), form, Device::cpu()); }),
            "device pictures: expected a cuda device, got cpu");
  EXPECT_FALSE(DevicePictures::fit(8, Device::cpu()));
  EXPECT_TRUE(DevicePictures::fit(8, Device::cuda()));
  EXPECT_FALSE(DevicePictures::fit(std::size_t{1} << 40, Device::cuda()));
}

}  // namespace
}  // namespace offramp::nets
