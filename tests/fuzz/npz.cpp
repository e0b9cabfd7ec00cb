#include "nets/data/npz_dataset.h"
#include "tests/fuzz/target.h"

using namespace offramp;

OFFRAMP_FUZZ_TARGET(npz) {
  fuzz::take_or_refuse([&] {
    const data::NpzArchive file({bytes.begin(), bytes.end()}, "input");
    for (const std::string& name : file.names()) fuzz::take_or_refuse([&] { file.read(name); });
    for (const std::string& split : data::npz_splits(file))
      fuzz::take_or_refuse([&] {
        std::visit([](const auto& set) { data::check(set, "npz"); }, data::read_npz_dataset(file, split));
      });
  });
}
