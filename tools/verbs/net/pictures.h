// What the verbs that answer single pictures share: the policy they answer by, and a picture as the net takes it.
#pragma once

#include "nets/data/image_file.h"
#include "nets/graph/state_dict.h"
#include "tools/frame/verb.h"
#include "tools/verbs/trained_on.h"

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace offramp::tools {

// The checkpoint's thresholds, or `threshold` at every exit. Throws UsageError for a net that takes no pictures, and for one
// whose exits have no thresholds; `verb` begins the message.
nets::ExitPolicy picture_policy(const std::string& verb,
                                const std::filesystem::path& checkpoint,
                                const nets::LoadedNet& loaded,
                                const std::optional<double>& threshold);

// Says on the log how pictures become the input of the net, and whose class names are printed.
void say_how_pictures_are_treated(Session& session,
                                  const nets::Network& net,
                                  const TrainedOn& trained,
                                  const std::vector<std::string>& names);

Shape sample_shape(const nets::Network& net);  // [1,c,h,w]
// float32 in [0,1] of a picture that as_trained() has brought to the net's size. Throws UsageError for a net of other channels.
Tensor pixels_of(const std::string& verb,
                 const data::Picture& picture,
                 const nets::Network& net,
                 const Device& device);

}  // namespace offramp::tools
