#pragma once
// A visitor of lambdas for std::visit.

namespace offramp::nets {

template <class... Fs>
struct Overloaded : Fs... {
  using Fs::operator()...;
};

}  // namespace offramp::nets
