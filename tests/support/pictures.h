// Folders of pictures that a small net learns in seconds.
#pragma once

#include <filesystem>
#include <string>

#include "tests/support/temp_folder.h"

namespace offramp::test {

struct Pictures {
  int per_class = 12;
  int bright = 180, dark = 60, spread = 50;  // grey values of the two halves; the pattern on top of both
};

// train/ and test/ with the classes left and right of 16x16 colour pictures: the bright half is on the left
// or on the right, a pattern that depends on the picture tells the classes apart in no way.
inline void write_pictures(const std::filesystem::path& folder, const Pictures& p = {}) {
  for (const char* split : {"train", "test"}) {
    for (int label = 0; label < 2; ++label) {
      const auto place = folder / split / (label == 0 ? "left" : "right");
      std::filesystem::create_directories(place);
      for (int i = 0; i < p.per_class; ++i) {
        std::string text = "P6\n16 16\n255\n";
        for (int y = 0; y < 16; ++y)
          for (int x = 0; x < 16; ++x)
            for (int c = 0; c < 3; ++c)
              text += static_cast<char>(((x < 8) == (label == 0) ? p.bright : p.dark) +
                                        (x * 7 + y * 13 + c * 5 + i * 29) % p.spread);
        write_text(place / (std::to_string(i) + ".ppm"), text);
      }
    }
  }
}

}  // namespace offramp::test
