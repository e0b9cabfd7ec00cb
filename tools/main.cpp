#include "engine/device.h"
#include "tools/environment.h"
#include "tools/interrupt.h"
#include "tools/thread_waiting.h"
#include "tools/verbs/verbs.h"

int main(int argc, char** argv) {
  offramp::tools::bound_spinning(argv);
  offramp::tools::install_signal_handlers();
  offramp::tools::Program program;
  offramp::tools::add_verbs(program);
  program.prepare_device_with([](const offramp::tools::Common& common) {
    using offramp::cpu::ConvBackend;
    offramp::Device::set_cpu_defaults(
        {.threads = common.threads > 0 ? common.threads : offramp::tools::this_machine().usable_cpus,
         .conv = common.conv == "native" ? ConvBackend::kNative : ConvBackend::kLibrary},
        static_cast<std::size_t>(common.memory_mb) * 1'000'000);
    if (common.device != "cpu") offramp::Device::by_name(common.device);  // missing: said before any work
  });
  return program.run({argv + 1, argv + argc});
}
