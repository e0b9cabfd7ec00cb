#pragma once
// Another rank of the run ended it.
#include "base/errors.h"

namespace offramp {

// `rank` is the one that failed. Its message is what that rank said, or what is known of its end.
class RankError : public Error {
 public:
  RankError(int failed, const std::string& message) : Error(message), rank_(failed) {}
  int rank() const noexcept { return rank_; }

 private:
  int rank_;
};

// The rank is gone: killed, or its machine does not answer.
class RankLost : public RankError {
 public:
  using RankError::RankError;
};

}  // namespace offramp
