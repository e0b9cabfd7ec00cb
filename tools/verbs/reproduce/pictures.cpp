// The labelled pictures of the smoke scale: gratings whose direction is the class, some faint and some clear, under noise.
#include "kernels/philox.h"
#include "nets/data/npy.h"
#include "tools/verbs/reproduce/study.h"

#include <cmath>
#include <numbers>

namespace offramp::tools::reproduce {

void write_smoke_pictures(const std::filesystem::path& path) {
  constexpr int kClasses = 4, kSide = 16, kChannels = 3;
  constexpr std::uint32_t kStream = 309;
  data::NpzFile arrays;
  for (const auto& [part, count] : {std::pair{"train", 320}, {"test", 120}}) {
    std::vector<std::uint8_t> pixels;
    std::vector<std::int32_t> labels;
    for (int i = 0; i < count; ++i) {
      const PhiloxKey key{1, kStream, part[1] == 'r' ? 0u : 1u, static_cast<std::uint32_t>(i)};
      const int label = i % kClasses;
      labels.push_back(label);
      const double angle = std::numbers::pi * label / kClasses,
                   phase = 2 * std::numbers::pi * static_cast<double>(key.uniform(0)),
                   height = 20 + 70 * static_cast<double>(key.uniform(1));
      std::uint64_t at = 2;
      for (int y = 0; y < kSide; ++y)
        for (int x = 0; x < kSide; ++x)
          for (int c = 0; c < kChannels; ++c) {
            const double wave = std::sin(0.9 * (x * std::cos(angle) + y * std::sin(angle)) + phase);
            const double noise = 60 * (static_cast<double>(key.uniform(at++)) - 0.5);
            pixels.push_back(static_cast<std::uint8_t>(std::lround(127 + height * wave + noise)));
          }
    }
    arrays[std::string(part) + "_images"] = {{count, kSide, kSide, kChannels}, std::move(pixels)};
    arrays[std::string(part) + "_labels"] = {{count}, std::move(labels)};
  }
  std::filesystem::create_directories(path.parent_path());
  data::write_npz(path, arrays, false);
}

}  // namespace offramp::tools::reproduce
