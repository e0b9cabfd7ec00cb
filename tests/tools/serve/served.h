// A net with random weights whose thresholds send about as many pictures to each exit, its checkpoint, and the pictures.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "attacks/query/black_box.h"
#include "nets/exits/early_exit.h"
#include "nets/exits/frozen.h"
#include "nets/graph/state_dict.h"
#include "tests/attacks/tiny.h"
#include "tests/support/temp_folder.h"

namespace offramp::test {

struct Served {
  explicit Served(const nets::NetOptions& options, int count, std::uint64_t seed = 3)
      : net(options, one_thread()), checkpoint(folder / "net.safetensors") {
    nets::initialize(net, seed);
    const PhiloxKey draw{seed, 5};
    pixels.resize(static_cast<std::size_t>(count * options.channels * options.side * options.side));
    const std::size_t size = pixels.size() / static_cast<std::size_t>(count);
    for (std::size_t i = 0; i < pixels.size(); ++i) {
      // Each picture with a contrast of its own: confidences differ.
      const float contrast = static_cast<float>(1 + i / size % 16) / 16.0f;
      pixels[i] = 0.5f + contrast * (draw.uniform(i) - 0.5f);
    }
    images = Tensor::from<float>({count, options.channels, options.side, options.side}, pixels, one_thread());
    const nets::FrozenNet frozen(net);
    const std::vector<Tensor> outputs = frozen.forward(images);
    std::vector<std::size_t> here(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < here.size(); ++i) here[i] = i;
    const std::size_t exits = outputs.size(), classes = static_cast<std::size_t>(options.classes);
    for (std::size_t e = 0; e + 1 < exits; ++e) {
      const std::vector<float> logits = outputs[e].to_host<float>();
      std::vector<std::pair<double, std::size_t>> sure;
      for (const std::size_t i : here) {
        const auto row = std::span(logits).subspan(i * classes, classes);
        const double most = *std::max_element(row.begin(), row.end());
        double sum = 0;
        for (const float z : row) sum += std::exp(z - most);
        sure.emplace_back(1 / sum, i);
      }
      std::sort(sure.rbegin(), sure.rend());
      const std::size_t leave = sure.size() / (exits - e);
      policy.thresholds.push_back((sure[leave - 1].first + sure[leave].first) / 2);
      here.clear();
      for (std::size_t i = leave; i < sure.size(); ++i) here.push_back(sure[i].second);
    }
    nets::save_checkpoint(checkpoint, net, policy);
    truth = nets::infer(frozen, policy, images);
  }

  attacks::ImageSource source() const {
    return {static_cast<int>(images.shape()[0]), [this](std::span<const std::int32_t> indices) {
              const std::size_t size = pixels.size() / static_cast<std::size_t>(images.shape()[0]);
              std::vector<float> part;
              for (const std::int32_t i : indices) {
                const auto at =
                    pixels.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(i) * size);
                part.insert(part.end(), at, at + static_cast<std::ptrdiff_t>(size));
              }
              return Tensor::from<float>({static_cast<std::int64_t>(indices.size()),
                                          images.shape().c(),
                                          images.shape().h(),
                                          images.shape().w()},
                                         part,
                                         Device::cpu());
            }};
  }

  TempFolder folder;
  nets::Network net;
  std::filesystem::path checkpoint;
  std::vector<float> pixels;
  Tensor images;
  nets::ExitPolicy policy;
  nets::EarlyExitResult truth;
};

}  // namespace offramp::test
