#include "nets/data/bytes.h"
#include "tests/fuzz/target.h"

using namespace offramp;

OFFRAMP_FUZZ_TARGET(gzip) {
  fuzz::take_or_refuse([&] { data::inflate_gz({bytes.begin(), bytes.end()}, "input"); });
}
