#pragma once
// OFFRAMP_ASSERT: our own bugs, active in every build. Wrong use by a caller gets a proper exception instead.
#include <stdexcept>
#include <string>

#define OFFRAMP_ASSERT(condition)                                                     \
  do {                                                                                \
    if (!(condition)) {                                                               \
      throw std::logic_error(std::string(__FILE__) + ":" + std::to_string(__LINE__) + \
                             ": broken: " #condition);                                \
    }                                                                                 \
  } while (false)
