#include "nets/data/cifar_binary.h"
#include "tests/fuzz/target.h"

using namespace offramp;

OFFRAMP_FUZZ_TARGET(cifar) {
  for (const auto kind : {data::CifarKind::kCifar10, data::CifarKind::kCifar100})
    fuzz::take_or_refuse([&] {
      data::ImageSet set{.n = 0, .h = 32, .w = 32, .c = 3};
      set.class_names.assign(kind == data::CifarKind::kCifar10 ? 10 : 100, "x");
      data::add_cifar_records(bytes, kind, "input", set);
      data::check(set, "cifar");
    });
}
