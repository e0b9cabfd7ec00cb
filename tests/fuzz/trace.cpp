// trace.json beside two rows of times and no outputs: what the other files say is read only once it is sound.
#include "attacks/query/trace.h"

#include "tests/fuzz/target.h"
#include "tests/support/temp_folder.h"

using namespace offramp;

OFFRAMP_FUZZ_TARGET(trace) {
  static const test::TempFolder folder;
  static const bool prepared = [] {
    test::write_text(folder / "times.csv", "index,t1,t2\n0,1000,1001\n1,2000,2001\n");
    return true;
  }();
  static_cast<void>(prepared);
  test::write_text(folder / "trace.json", {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  fuzz::take_or_refuse([&] { attacks::read_trace(folder.path()); });
}
