#include "nets/data/cifar_binary.h"

#include "nets/data/bytes.h"
#include "nets/data/data_error.h"

namespace offramp::data {

void add_cifar_records(std::span<const std::uint8_t> bytes,
                       CifarKind kind,
                       const std::filesystem::path& name,
                       ImageSet& set) {
  constexpr std::size_t kPlane = 32 * 32;
  const std::size_t label_bytes = kind == CifarKind::kCifar10 ? 1 : 2, record = label_bytes + 3 * kPlane;
  if (bytes.empty() || bytes.size() % record != 0)
    fail_at_byte("cifar",
                 "expected records of " + std::to_string(record) + " bytes, found " +
                     std::to_string(bytes.size()) + " bytes",
                 name,
                 bytes.size() - bytes.size() % record);
  const std::size_t count = bytes.size() / record;
  set.pixels.resize(set.pixels.size() + count * 3 * kPlane);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint8_t* in = bytes.data() + i * record;
    const std::uint8_t label = in[label_bytes - 1];  // CIFAR-100: the second byte is the fine class
    if (label >= set.class_names.size())
      fail_at_byte("cifar",
                   "expected a label in 0.." + std::to_string(set.num_classes() - 1) + ", found " +
                       std::to_string(label),
                   name,
                   i * record + label_bytes - 1);
    set.labels.push_back(label);
    std::uint8_t* out = set.image(set.n++).data();
    for (std::size_t p = 0; p < kPlane; ++p)
      for (std::size_t ch = 0; ch < 3; ++ch) out[3 * p + ch] = in[label_bytes + ch * kPlane + p];
  }
}

ImageSet read_cifar_binary(const std::vector<std::filesystem::path>& files,
                           CifarKind kind,
                           std::vector<std::string> class_names) {
  ImageSet set{.n = 0, .h = 32, .w = 32, .c = 3};
  set.class_names = std::move(class_names);
  for (const auto& path : files) add_cifar_records(read_file_or_gz(path), kind, path, set);
  set.source = files.empty() ? "" : files.front().parent_path().string() + " (binary)";
  return set;
}

}  // namespace offramp::data
