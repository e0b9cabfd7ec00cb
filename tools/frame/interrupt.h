// SIGINT and SIGTERM: the first one asks running work to stop at the next good place, the second one kills.
#pragma once

#include "base/stopped.h"

namespace offramp::tools {

void install_signal_handlers();  // also ignores SIGXFSZ, so that a file size limit is an error and no death
bool interrupted();              // long work polls this between steps and throws Interrupted
int interrupting_signal();       // 0 if none
void throw_if_interrupted();

// Caught by the program, as every Stopped: exit code 1 and a hint how to go on.
class Interrupted : public Stopped {
 public:
  Interrupted() : Stopped("interrupted") {}
};

}  // namespace offramp::tools
