#include "nets/data/npy.h"
#include "tests/fuzz/target.h"

using namespace offramp;

OFFRAMP_FUZZ_TARGET(npy) {
  fuzz::take_or_refuse([&] { data::parse_npy(bytes, "input"); });
}
