#include "tools/frame/interrupt.h"

#include <csignal>

namespace offramp::tools {
namespace {

volatile std::sig_atomic_t g_signal = 0;

extern "C" void offramp_on_signal(int signal) {
  if (g_signal != 0) {  // the second one: as if we had never handled it
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
  g_signal = signal;
}

}  // namespace

void install_signal_handlers() {
  struct sigaction action {};
  action.sa_handler = offramp_on_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  std::signal(SIGXFSZ, SIG_IGN);
}

bool interrupted() { return g_signal != 0; }
int interrupting_signal() { return static_cast<int>(g_signal); }

void throw_if_interrupted() {
  if (interrupted()) throw Interrupted();
}

}  // namespace offramp::tools
