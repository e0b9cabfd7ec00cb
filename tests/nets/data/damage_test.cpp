// dataset verify on damaged files: it never crashes, and names every one whose samples differ or cannot be read. 20 mutants of
// each kind of file; OFFRAMP_MUTANTS sets another number (the nightly stage: 200).
#include <cstdlib>
#include <functional>
#include <random>

#include "nets/data/inspect.h"
#include "nets/data/npy.h"
#include "tests/nets/data/support.h"

namespace offramp::data {
namespace {

using Bytes = std::vector<std::uint8_t>;

int mutants() {
  const char* text = std::getenv("OFFRAMP_MUTANTS");
  return text == nullptr ? 20 : std::atoi(text);
}

// One to three changes: bytes turned over, cut off, doubled, or written over.
Bytes mutated(Bytes bytes, std::mt19937& random) {
  const auto below_size = [&] { return static_cast<std::ptrdiff_t>(random() % bytes.size()); };
  for (auto left = 1 + random() % 3; left > 0 && !bytes.empty(); --left) {
    const auto at = bytes.begin() + below_size();
    switch (random() % 4) {
      case 0:
        *at ^= static_cast<std::uint8_t>(1u << (random() % 8));
        break;
      case 1:
        bytes.erase(at, std::min(at + 1 + static_cast<std::ptrdiff_t>(random() % 16), bytes.end()));
        break;
      case 2:
        bytes.insert(at, static_cast<std::uint8_t>(random()));
        break;
      default:
        std::fill(at, std::min(at + 4, bytes.end()), static_cast<std::uint8_t>(random() % 2 * 255));
    }
  }
  return bytes;
}

Bytes seed(const std::string& name) {
  return read_file(std::filesystem::path(OFFRAMP_SOURCE_DIR) / "tests" / "fuzz" / "corpus" / name);
}

struct Kind {
  const char* name;
  std::string spec, file;  // in the folder; `file` is the one that is damaged
  Bytes bytes;
  bool has_checksum;  // every change of the samples can be known
};

std::vector<Kind> kinds() {
  const Bytes images = {0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 28, 0, 0, 0, 28};
  Bytes idx = images;
  for (int i = 0; i < 784; ++i) idx.push_back(static_cast<std::uint8_t>(i * 5));
  Bytes record(3073, 50);
  record[0] = 4;
  const Bytes csv = {'1', ',', '0', ',', '1', '\n', '2', ',', '0', '.', '5', ',', '3', '\n'};
  const Bytes ppm = {'P', '5', '\n', '2', ' ', '1', '\n', '2', '5', '5', '\n', 7, 9};
  const NpzFile npz = {{"images", {{2, 2, 2}, Bytes{1, 2, 3, 4, 5, 6, 7, 8}}},
                       {"labels", {{2}, std::vector<std::int64_t>{0, 1}}}};
  return {{"idx", "fashion-mnist:", "train-images-idx3-ubyte", idx, false},
          {"idx.gz", "fashion-mnist:", "train-images-idx3-ubyte.gz", gzip(idx), true},
          {"cifar", "cifar10:", "data_batch_1.bin", record, false},
          {"png", "folder:", "k/a.png", encode_png(pattern(6, 5, 3)), true},
          {"jpeg", "folder:", "k/a.jpg", encode_jpeg(pattern(16, 9, 3), 80), false},
          {"ppm", "folder:", "k/a.ppm", ppm, false},
          {"npz", "npz:a.npz", "a.npz", encode_npz(npz, true), true},
          {"mat", "svhn:", "train_32x32.mat", seed("svhn/compressed"), true},
          {"csv", "csv:a.csv", "a.csv", csv, false},
          {"gtsrb", "gtsrb:", "GT-final_test.csv", seed("gtsrb/bom"), false}};
}

// What a run would get of the damaged part: its fingerprint, or nothing where the reader refuses it.
std::string contents(const Verification& v) {
  std::string out;
  for (const auto& [split, hash] : v.contents) out += split + hash;
  return out;
}

TEST(Damage, VerifyNamesWhatDiffersOrCannotBeRead) {
  for (const Kind& kind : kinds()) {
    SCOPED_TRACE(kind.name);
    const TempFolder folder;
    folder.put("train-labels-idx1-ubyte", {0, 0, 8, 1, 0, 0, 0, 1, 9});
    folder.put("Final_Test/Images/00000.ppm", {'P', '5', '\n', '1', ' ', '1', '\n', '2', '5', '5', '\n', 7});
    const std::string name = kind.name;
    if (name == "cifar")
      for (int b = 2; b <= 5; ++b) folder.put("data_batch_" + std::to_string(b) + ".bin", kind.bytes);
    // Only what the kind needs may lie in a folder of classes.
    const bool classes = kind.spec == "folder:";
    const std::size_t colon = kind.spec.find(':');
    const std::filesystem::path root = classes ? folder / "set" : folder.path();
    const std::string argument = kind.spec.substr(colon + 1),
                      spec = kind.spec.substr(0, colon + 1) +
                             (argument.empty() ? root : root / argument).string();
    const std::string file = (classes ? "set/" : "") + kind.file;
    VerifyOptions options;
    options.open.threads = 1;
    options.split = name == "gtsrb" ? "test" : name == "npz" || name == "csv" || classes ? "both" : "train";
    folder.put(file, kind.bytes);
    const Verification sound = verify_dataset(spec, options);
    ASSERT_TRUE(sound.sound()) << sound.problems[0];
    const std::string open_split = options.split == "both" ? "all" : options.split;
    const Dataset want = open_dataset(spec, open_split, options.open);
    std::mt19937 random(7);
    int refused = 0;
    for (int i = 0; i < mutants(); ++i) {
      SCOPED_TRACE("mutant " + std::to_string(i));
      folder.put(file, mutated(kind.bytes, random));
      const Verification v = verify_dataset(spec, options);
      bool readable = true, equal = false;
      try {
        const Dataset got = open_dataset(spec, open_split, options.open);
        equal = got.index() == want.index() &&
                std::visit(
                    [&]<class Set>(const Set& a) {
                      const Set& b = std::get<Set>(want);
                      if (a.labels != b.labels || a.class_names != b.class_names) return false;
                      if constexpr (std::is_same_v<Set, ImageSet>)
                        return a.h == b.h && a.w == b.w && a.c == b.c && a.pixels == b.pixels;
                      else
                        return a.d == b.d && a.features == b.features;
                    },
                    got);
      } catch (const DataError&) {
        readable = false;
      }
      refused += readable ? 0 : 1;
      EXPECT_EQ(v.sound(), readable) << (v.sound() ? "not named" : v.problems[0]);
      if (!readable) {
        EXPECT_FALSE(v.problems.empty());
      } else if (kind.has_checksum) {
        EXPECT_TRUE(equal);
      } else {
        EXPECT_EQ(contents(v) == contents(sound), equal);
      }
    }
    EXPECT_GT(refused, 0);
  }
}

}  // namespace
}  // namespace offramp::data
