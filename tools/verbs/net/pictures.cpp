#include "tools/verbs/net/pictures.h"

#include "nets/data/augment.h"

#include <fmt/format.h>

namespace offramp::tools {

nets::ExitPolicy picture_policy(const std::string& verb,
                                const std::filesystem::path& checkpoint,
                                const nets::LoadedNet& loaded,
                                const std::optional<double>& threshold) {
  const nets::Network& net = *loaded.net;
  if (!net.architecture().pixels) throw UsageError(verb + ": the net takes rows of features, not pictures");
  if (threshold) return nets::ExitPolicy::uniform(net.num_exits(), *threshold);
  if (loaded.policy.thresholds.empty() && net.num_exits() > 1) {
    throw UsageError(fmt::format(
        "{}: the checkpoint has no thresholds, so no exit is sure; offramp tune {} --drop 0.5 chooses "
        "them, --threshold 0.9 sets one",
        verb,
        checkpoint.string()));
  }
  return loaded.policy;
}

void say_how_pictures_are_treated(Session& session,
                                  const nets::Network& net,
                                  const TrainedOn& trained,
                                  const std::vector<std::string>& names) {
  const nets::Extent& in = net.input();
  std::string how =
      fmt::format("pictures as {}x{} {}", in.h, in.w, trained.grey || in.c == 1 ? "grey" : "colour");
  if (trained.padding > 0)
    how += fmt::format(" with a border of {} zeros around {}x{}",
                       trained.padding,
                       in.h - 2 * trained.padding,
                       in.w - 2 * trained.padding);
  session.log.info(fmt::format("data from the checkpoint: {}{}, {}",
                               trained.set.empty() ? "" : trained.set + ", ",
                               how,
                               names.empty() ? "no class names (--data names a data set that has them)"
                                             : fmt::format("{} class names", names.size())));
}

Shape sample_shape(const nets::Network& net) { return {1, net.input().c, net.input().h, net.input().w}; }

Tensor pixels_of(const std::string& verb,
                 const data::Picture& picture,
                 const nets::Network& net,
                 const Device& device) {
  if (picture.c != net.input().c)
    throw UsageError(fmt::format("{}: the net takes {} channels, pictures have 1 or 3", verb, net.input().c));
  std::vector<float> values(picture.pixels.size());
  data::to_unit_range<float>(picture.pixels, values.data());
  return Tensor::from<float>(sample_shape(net), values, device);
}

}  // namespace offramp::tools
