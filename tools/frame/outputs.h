// The files that a verb makes where the user says (--json, --to, --plot): before any work it is known that they can be
// made there, and that none of them replaces what the run reads, what another run wrote, or a program.
#pragma once

#include "tools/frame/options.h"

#include <filesystem>
#include <string>

namespace offramp::tools {

// One of them. `flag` is for messages. Throws UsageError where it would replace an input (the same file by any name, or a
// file in a folder of inputs), a file of a run, or, unless it is a program itself, a program; FileError where its folder is
// missing or it names a folder or a device.
void check_output(const std::string& flag,
                  const std::filesystem::path& output,
                  Written kind,
                  const Options& options);
// What a verb learns late that it reads (`what` is what such a file does: holds the data set of a checkpoint); `text` as an option would have it. Throws
// UsageError where an option that is written() names a file of it.
void check_late_input(const std::string& what, const std::string& text, const Options& options);
// All options that are written(). Two of them with one name are wrong use as well.
void check_outputs(const Options& options);
// --force: the run in `out` is removed before the new one begins. Throws UsageError where an option reads a file of it.
void check_replaced_run(const std::filesystem::path& out, const Options& options);

}  // namespace offramp::tools
