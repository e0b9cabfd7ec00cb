#pragma once
// Asks a black box about every image r times and records a trace; survives being killed. Each pass goes over
// all images in a fresh random order, so that slow spells of the machine hit different images in each pass
// and no image keeps the same neighbour.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>

#include "attacks/query/pilot.h"
#include "attacks/query/run_state.h"
#include "attacks/query/trace.h"

namespace offramp::attacks {

struct QueryProgress {
  std::int64_t done = 0, total = 0;          // queries of the pilot, then of the trace; these may grow
  const RepetitionChoice* choice = nullptr;  // null: this is the pilot, which is made again where it was left
};

// The trace in `folder`: read when it is there, gone on with when it was begun with the same images, seed and
// size (else FileError), started otherwise. `report` is called after every pass of the pilot and after
// every block.
Trace query_victim(BlackBox& victim,
                   const ImageSource& images,
                   const std::filesystem::path& folder,
                   const QueryOptions& options,
                   const std::function<void(const QueryProgress&)>& report = {});

// images [n,c,h,w], image i that of indices[i]: each moved by its own noise of QueryOptions::near_duplicates.
Tensor near_duplicates(
    const Tensor& images, std::span<const std::int32_t> indices, double reach, std::uint64_t seed, int pass);

}  // namespace offramp::attacks
