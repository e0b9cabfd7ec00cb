#pragma once
// How long work ends when it was asked to.
#include "base/errors.h"

namespace offramp {

// Work that was asked to stop, after it has saved what it needs to go on.
class Stopped : public Error {
 public:
  using Error::Error;
};

}  // namespace offramp
