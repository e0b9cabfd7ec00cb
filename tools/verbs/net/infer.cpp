// offramp infer: pictures in; class, exit, confidence and time out, with real early exit.
#include "tools/frame/interrupt.h"
#include "tools/frame/table.h"
#include "tools/verbs/inputs.h"
#include "tools/verbs/net/net_data.h"
#include "tools/verbs/verbs.h"

#include "nets/data/image_file.h"
#include "nets/data/transform.h"
#include "nets/exits/early_exit.h"
#include "nets/exits/frozen.h"

#include <fmt/format.h>

#include <chrono>

namespace offramp::tools {
namespace {

using nlohmann::ordered_json;

class InferVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {
        .name = "infer",
        .group = "Train and use nets",
        .summary = "classify pictures, leaving at the first sure exit",
        .example = "offramp infer picture.png --checkpoint out/small --threshold 0.9",
        .details =
            "Pictures (JPEG, PNG, PPM) are resized to the net's side. One at a time: the times are those of "
            "batch 1.",
        .run_folder = false};
  }

  void declare(Options& o) override {
    o.add("infer.checkpoint", checkpoint_, "checkpoint, or run folder of train").required();
    o.add("infer.images", images_, "picture files").positional().required();
    o.add("infer.threshold", threshold_, "one threshold for all exits instead of the checkpoint's policy")
        .range(0, 1);
    o.add("infer.data", data_, "a data set whose class names to print, where the checkpoint has none")
        .flag("--data");
    o.add("infer.precision", precision_, "checkpoint: as it was trained")
        .choices({"checkpoint", "f32", "bf16"});
  }

  int run(Session& session) override {
    const Device device = Device::by_name(session.device());
    const nets::LoadedNet loaded =
        nets::load_net(checkpoint_of(checkpoint_), device, precision_ == "checkpoint" ? "" : precision_);
    const nets::Network& net = *loaded.net;
    if (!net.architecture().pixels) throw UsageError("infer: the net takes rows of features, not pictures");
    nets::ExitPolicy policy = loaded.policy;
    if (threshold_) policy = nets::ExitPolicy::uniform(net.num_exits(), *threshold_);
    if (policy.thresholds.empty() && net.num_exits() > 1) {
      throw UsageError(
          "infer: the checkpoint has no thresholds; offramp tune chooses them, --threshold sets one");
    }
    std::vector<std::string> names = class_names_in(loaded.metadata);
    if (!data_.empty()) {
      NetData set(session, data_, "test");
      set.fit_to(net, loaded.metadata, data_);
      names = set.class_names();
    }
    const nets::FrozenNet frozen(net);
    static_cast<void>(nets::infer(frozen, policy, Tensor::zeros(sample_shape(net), device)));  // warm up
    Table table({"picture", "class", "exit", "confidence", "ms"});
    ordered_json answers = ordered_json::array();
    for (const std::string& image : images_) {
      throw_if_interrupted();
      const Tensor x = pixels_of(image, net, device);
      const auto begin = std::chrono::steady_clock::now();
      const nets::EarlyExitResult result = nets::infer(frozen, policy, x);
      const double ms =
          std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
      const auto label = static_cast<std::size_t>(result.label[0]);
      const std::string name = names.empty() ? std::to_string(label) : names[label];
      table.row({image,
                 name,
                 std::to_string(result.exit[0]),
                 fmt::format("{:.4f}", result.confidence[0]),
                 fmt::format("{:.3f}", ms)});
      answers.push_back({{"picture", image},
                         {"label", label},
                         {"class", name},
                         {"exit", result.exit[0]},
                         {"answered", result.answered[0]},
                         {"confidence", result.confidence[0]},
                         {"milliseconds", ms}});
    }
    session.answer(table.text(), {{"answers", answers}});
    return kDone;
  }

 private:
  static Shape sample_shape(const nets::Network& net) {
    return {1, net.input().c, net.input().h, net.input().w};
  }

  static Tensor pixels_of(const std::string& path, const nets::Network& net, const Device& device) {
    const nets::Extent& in = net.input();
    data::ImageSet one;
    {
      const data::Picture picture = data::resize_to(data::read_picture(path), in.h);
      one.n = 1, one.h = picture.h, one.w = picture.w, one.c = picture.c;
      one.pixels = picture.pixels;
      one.labels = {0};
      one.class_names = {"?"};
    }
    if (one.c == 1 && in.c == 3) one = data::grey_to_rgb(one);
    if (one.c != in.c) {
      throw UsageError(fmt::format("{}: the net takes {} channels, the picture has {}", path, in.c, one.c));
    }
    std::vector<float> values(one.pixels.size());
    data::to_unit_range<float>(one.pixels, values.data());
    return Tensor::from<float>(sample_shape(net), values, device);
  }

  std::filesystem::path checkpoint_;
  std::vector<std::string> images_;
  std::string data_, precision_ = "checkpoint";
  std::optional<double> threshold_;
};

}  // namespace

std::unique_ptr<Verb> make_infer_verb() { return std::make_unique<InferVerb>(); }

}  // namespace offramp::tools
