#include "nets/data/idx.h"
#include "tests/fuzz/target.h"

using namespace offramp;

OFFRAMP_FUZZ_TARGET(idx) {
  for (const int rank : {1, 3})
    fuzz::take_or_refuse([&] { data::parse_idx({bytes.begin(), bytes.end()}, rank, "input"); });
}
