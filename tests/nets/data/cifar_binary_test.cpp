#include "nets/data/cifar_binary.h"

#include "tests/nets/data/support.h"

namespace offramp::data {
namespace {

std::vector<std::uint8_t> record(std::vector<std::uint8_t> labels, int shift) {
  for (int i = 0; i < 3072; ++i)
    labels.push_back(static_cast<std::uint8_t>((i / 1024) * 80 + (i % 1024) % 79 + shift));
  return labels;
}

TEST(CifarBinary, PlanesBecomeInterleavedPixels) {
  const TempFolder folder;
  auto bytes = record({3}, 0);
  const auto second = record({9}, 5);
  bytes.insert(bytes.end(), second.begin(), second.end());
  const auto a = folder.put("a.bin", bytes), b = folder.put("b.bin", record({0}, 1));
  const ImageSet set = read_cifar_binary({a, b}, CifarKind::kCifar10, std::vector<std::string>(10, "x"));
  ASSERT_EQ(set.n, 3);
  EXPECT_EQ(set.labels, (std::vector<std::int32_t>{3, 9, 0}));
  const int y = 5, x = 7, p = y * 32 + x;
  for (int ch = 0; ch < 3; ++ch)
    EXPECT_EQ(set.image(1)[static_cast<std::size_t>(p * 3 + ch)], ch * 80 + p % 79 + 5);
}

TEST(CifarBinary, Cifar100TakesTheFineLabel) {
  const TempFolder folder;
  const auto path = folder.put("t.bin", record({19, 99}, 0));
  EXPECT_EQ(read_cifar_binary({path}, CifarKind::kCifar100, std::vector<std::string>(100, "x")).labels[0],
            99);
}

TEST(CifarBinary, LengthAndLabelsAreChecked) {
  const TempFolder folder;
  auto bytes = record({3}, 0);
  bytes.push_back(0);
  const std::vector<std::string> names(10, "x");
  EXPECT_MESSAGE(read_cifar_binary({folder.put("a", bytes)}, CifarKind::kCifar10, names),
                 "cifar: expected records of 3073 bytes, found 3074 bytes");
  EXPECT_MESSAGE(read_cifar_binary({folder.put("b", record({10}, 0))}, CifarKind::kCifar10, names),
                 "expected a label in 0..9, found 10");
  EXPECT_MESSAGE(read_cifar_binary({folder.put("c", {})}, CifarKind::kCifar10, names), "found 0 bytes");
}

}  // namespace
}  // namespace offramp::data
