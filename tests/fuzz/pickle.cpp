// The pickle of a .pth file without its archive, whose checksums stop nearly every mutation.
#include "base/pickle.h"

#include "base/pth_state.h"
#include "tests/fuzz/target.h"

using namespace offramp;

OFFRAMP_FUZZ_TARGET(pickle) {
  fuzz::take_or_refuse([&] {
    const pickle::Pickle parsed = pickle::parse("input", std::as_bytes(bytes));
    pickle::describe(parsed, parsed.root);
    fuzz::take_or_refuse([&] { pth::find_state("input", parsed, ""); });
    fuzz::take_or_refuse([&] { pth::find_state("input", parsed, "model"); });
  });
}
