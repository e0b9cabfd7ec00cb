#pragma once
// One report that uses everything: for the browser test and for looking at.
#include <string>

namespace offramp::report {

std::string example_report();

}  // namespace offramp::report
