// Every verb of the program: the rows of verbs.cpp.
#pragma once

#include "tools/frame/program.h"

namespace offramp::tools {

void add_verbs(Program& program);

}  // namespace offramp::tools
