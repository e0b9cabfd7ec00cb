#include "nets/data/svhn.h"
#include "tests/fuzz/target.h"

using namespace offramp;

OFFRAMP_FUZZ_TARGET(svhn) {
  fuzz::take_or_refuse([&] { data::check(data::parse_svhn(bytes, "input"), "svhn"); });
}
