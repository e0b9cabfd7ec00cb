// A defence in a file: what `defend plan --choose` writes and `extract query --defence` puts before a victim. JSON, read
// back with every check; it holds the secret, so it belongs to the owner.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "attacks/defences/padded_victim.h"
#include "attacks/defences/time_guard.h"

namespace offramp::attacks {

struct Defence {
  std::string name;  // for reports: "time-guard, sigma 0.5 ms"
  std::optional<TimeGuardOptions> time_guard;
  std::optional<PaddingPlan> padding;  // exactly one of the two
};

void write_defence(const std::filesystem::path& path, const Defence& defence);
// FileError: no such file, another format, a value outside its domain.
Defence read_defence(const std::filesystem::path& path);

// Before anything is measured. Throws ValueError where the defence was planned for another number of exits.
void check(const Defence& defence, int num_exits);

std::string to_text(InputHash hash);                 // perceptual, average, average-published, exact
InputHash input_hash_from(const std::string& text);  // ValueError that lists what is known

// `plain` answers any number of images, `one` a single one and tells its exit.
VictimFunction defended(VictimFunction plain, ExitVictim one, const Defence& defence);

}  // namespace offramp::attacks
