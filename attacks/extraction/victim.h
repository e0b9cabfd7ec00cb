#pragma once
// A net of ours as a victim: what stands behind the black box of an audit. This is the owner's side; nothing
// of the attack includes it.
#include <filesystem>

#include "attacks/defences/defence_file.h"
#include "attacks/query/in_process.h"
#include "nets/exits/exit_policy.h"
#include "nets/graph/network.h"

namespace offramp::attacks {

// Real early exit as a service would run it: weights packed once (nets/exits/frozen.h), a query runs up to the exit
// it takes. Copies what it needs of the net. For timing put the net on a device with one thread.
VictimFunction early_exit_victim(const nets::Network& net, const nets::ExitPolicy& policy);
// The same for one image at a time, and which exit it took: for a defence that knows.
ExitVictim exit_victim(const nets::Network& net, const nets::ExitPolicy& policy);

// A checkpoint of ours behind a black box, on one thread, behind a defence where one is given. Throws FileError for a
// file that is no checkpoint, ValueError for a net with exits but without thresholds.
InProcessBlackBox own_victim(const std::filesystem::path& checkpoint, const Defence* defence = nullptr);

}  // namespace offramp::attacks
