#pragma once
// The reference kernels: plain templates straight from the formulas, meant for double. They are what the fast
// back ends are compared with, so they share no code with them and take no short cuts.
#include "kernels/backend.h"

namespace offramp::ref {

template <class Real>
void store(Write write, Real* place, Real value) {
  *place = write == Write::kAccumulate ? *place + value : value;
}

}  // namespace offramp::ref
