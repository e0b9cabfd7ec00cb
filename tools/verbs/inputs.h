// What verbs are given by name, resolved once: checkpoints by file or run folder, data sets, query images.
#pragma once

#include "attacks/query/pilot.h"
#include "nets/data/open_dataset.h"
#include "nets/graph/layers.h"
#include "tools/frame/verb.h"
#include "tools/verbs/trained_on.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace offramp::tools {

// A checkpoint: the file itself, or what a run folder holds: the victim of a demo, the net of `train`, the copy of
// `extract fit`. A path that is no folder is returned as it is. Throws UsageError for a folder without any.
std::filesystem::path checkpoint_of(const std::filesystem::path& given);
// The same for a verb that needs no name: where nothing is given, this program, if it carries weights (offramp embed).
// Throws UsageError where it carries none, FileError where they are damaged.
std::filesystem::path checkpoint_or_own(const std::string& verb, const std::filesystem::path& given);
// What such an option says of itself.
inline constexpr const char* kCheckpointOrOwn =
    "checkpoint, or run folder of train (--weights is the same); where none is named, the weights in this program (embed)";
// The same where a copy is wanted: that of `demo` and `extract run` comes first.
std::filesystem::path copy_checkpoint_of(const std::filesystem::path& given);

// Threads and the seed of generated sets.
data::OpenOptions open_options(const Session& session);
// A data set by its name. Throws UsageError for one that names nothing known, DataError for data that cannot be read.
data::Dataset open_set(const std::string& set, const std::string& split, const data::OpenOptions& open);
// Pictures as the net takes them, with the labels of its classes where they are known. Throws UsageError as well for a class
// that is not among them.
data::ImageSet open_pictures(Session& session,
                             const TrainedOn& trained,
                             const Samples& samples,
                             const nets::Extent& input);

// "DATASET[@SPLIT][[FIRST:COUNT]]": "fashion-mnist@train[50000:4000]", "synthetic:leaves:8000". SPLIT
// defaults to train. All parts one after the other, resized to the net's side, without labels. Says on the log what each
// part is. Throws UsageError for a part that cannot be read as such, DataError for data that cannot be read.
data::ImageSet open_query_images(Session& session,
                                 const std::vector<std::string>& parts,
                                 const nets::Extent& input);
// The same, where pictures carry the class of their part's own labels, parts counted one behind the other: what an attacker
// knows of pictures of his own.
data::ImageSet open_grouped_images(Session& session,
                                   const std::vector<std::string>& parts,
                                   const nets::Extent& input);
// One such part with its labels: for the owner of a net.
data::ImageSet open_labelled_images(Session& session, const std::string& part, const nets::Extent& input);
// The forms above, for --help.
std::string query_image_forms();
// The parts as one text, for traces and reports.
std::string joined(const std::vector<std::string>& parts);
// Says where a victim has one exit, so that there is nothing to find.
void say_single_exit(Session& session, const nets::LoadedNet& victim);
// What a trace keeps of its images.
void describe_images(const std::vector<std::string>& parts,
                     const data::ImageSet& images,
                     attacks::QueryOptions& query);

}  // namespace offramp::tools
