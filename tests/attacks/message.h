#pragma once
#include <string>

#include "base/errors.h"

namespace offramp::test {

// The message of what `f` throws; empty when it throws nothing.
template <class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

}  // namespace offramp::test
