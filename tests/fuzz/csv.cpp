#include "nets/data/table.h"
#include "tests/fuzz/target.h"

using namespace offramp;

OFFRAMP_FUZZ_TARGET(csv) {
  fuzz::take_or_refuse([&] { data::check(data::parse_csv_table(bytes, "input"), "csv"); });
}
