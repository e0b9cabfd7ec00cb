// The three text files of Tiny ImageNet, one behind the other, cut at the first two bytes of value 0.
#include <algorithm>

#include "nets/data/image_annotations.h"
#include "tests/fuzz/target.h"

using namespace offramp;

OFFRAMP_FUZZ_TARGET(tiny_imagenet) {
  const auto next = [&] {
    const auto size = static_cast<std::size_t>(std::ranges::find(bytes, std::uint8_t{0}) - bytes.begin());
    const auto part = bytes.first(size);
    bytes = bytes.subspan(std::min(size + 1, bytes.size()));
    return part;
  };
  fuzz::take_or_refuse([&] {
    const data::WordNetLabels labels = data::parse_wnids(next(), "wnids.txt");
    std::vector<std::string> names(labels.size());
    data::name_by_words(next(), labels, names);
    data::parse_val_annotations(bytes, labels, "val_annotations.txt");
  });
}
