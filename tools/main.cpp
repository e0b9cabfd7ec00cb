#include "engine/device.h"
#include "tools/interrupt.h"
#include "tools/verbs/verbs.h"

int main(int argc, char** argv) {
  offramp::tools::install_signal_handlers();
  offramp::tools::Program program;
  offramp::tools::add_verbs(program);
  program.check_device_with([](const std::string& name) {
    if (name != "cpu") offramp::Device::by_name(name);
  });
  return program.run({argv + 1, argv + argc});
}
