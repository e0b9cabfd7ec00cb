// offramp infer: pictures in; class, exit, confidence and time out, with real early exit.
#include "tools/frame/interrupt.h"
#include "tools/frame/table.h"
#include "tools/verbs/dataset/dataset_spec.h"
#include "tools/verbs/inputs.h"
#include "tools/verbs/net/net_data.h"
#include "tools/verbs/net/pictures.h"
#include "tools/verbs/verbs.h"

#include "base/utf8.h"
#include "nets/data/image_file.h"
#include "nets/exits/early_exit.h"
#include "nets/exits/frozen.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

namespace offramp::tools {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

// What lies behind the arguments, in their order; of a folder all pictures below it, in byte order.
struct PictureFiles {
  std::vector<fs::path> files;
  int passed_over = 0;  // other files in folders
};

void add(const fs::path& given, PictureFiles& out) {
  std::error_code error;
  if (!fs::is_directory(given, error)) {
    out.files.push_back(given);  // if it is none, reading it says so
    return;
  }
  std::vector<fs::path> found;
  for (const auto& entry : fs::recursive_directory_iterator(given)) {
    if (!entry.is_regular_file(error) || entry.path().filename().string().front() == '.') continue;
    if (data::is_picture_name(entry.path()))
      found.push_back(entry.path());
    else
      ++out.passed_over;
  }
  std::ranges::sort(found);
  out.files.insert(out.files.end(), found.begin(), found.end());
}

class InferVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {
        .name = "infer",
        .group = "Train and use nets",
        .summary = "classify pictures, leaving at the first sure exit",
        .example = "offramp infer my_pictures/ --checkpoint out/small",
        .details =
            "Pictures are JPEG, PNG or PPM files, or folders of them. They are treated as those that the net "
            "was trained on: resized\nor padded to the net's side, grey or in colour; a picture that is not "
            "square is squashed, not cropped. One at a time: the\ntimes are those of batch 1. A picture that "
            "cannot be read is named, the others are answered, and the exit code is 1.\nClass names are those "
            "of the checkpoint.",
        .run_folder = false};
  }

  void declare(Options& o) override {
    o.add("infer.checkpoint", checkpoint_, kCheckpointOrOwn).alias("infer.weights", "--weights");
    o.add("infer.images", images_, "picture files, and folders of them").positional().required();
    o.add("infer.threshold", threshold_, "one threshold for all exits instead of the checkpoint's policy")
        .range(0, 1);
    o.add("infer.data", data_, "a data set whose class names to print, where the checkpoint has none")
        .flag("--data");
    o.add("infer.precision", precision_, "checkpoint: as it was trained")
        .choices({"checkpoint", "f32", "bf16"});
  }

  int run(Session& session) override {
    const Device device = Device::by_name(session.device());
    const std::filesystem::path checkpoint = checkpoint_or_own("infer", checkpoint_);
    const nets::LoadedNet loaded =
        nets::load_net(checkpoint, device, precision_ == "checkpoint" ? "" : precision_);
    const nets::Network& net = *loaded.net;
    const nets::ExitPolicy policy =
        picture_policy("infer", checkpoint_.empty() ? "CHECKPOINT" : checkpoint_, loaded, threshold_);
    PictureFiles pictures;
    for (const std::string& image : images_) add(image, pictures);
    if (pictures.files.empty())
      throw UsageError(fmt::format("infer: expected pictures (jpg, jpeg, png, ppm, pgm), found none in {}",
                                   joined(images_)));
    const TrainedOn trained = trained_on(loaded.metadata);
    const std::vector<std::string> names = class_names(session, net, trained);
    say_how_pictures_are_treated(session, net, trained, names);
    const nets::FrozenNet frozen(net);
    static_cast<void>(nets::infer(frozen, policy, Tensor::zeros(sample_shape(net), device)));  // warm up

    Table table({"picture", "class", "exit", "confidence", "ms"});
    ordered_json answers = ordered_json::array(), failed = ordered_json::array();
    int squashed = 0;
    for (const fs::path& file : pictures.files) {
      throw_if_interrupted();
      const std::string shown = visible(file.string());  // bytes that are no UTF-8 as \xNN, in JSON too
      data::Picture picture;
      try {
        picture = data::read_picture(file);
      } catch (const Error& error) {
        session.log.error(error.what());
        failed.push_back({{"picture", shown}, {"error", visible(error.what())}});
        continue;
      }
      if (picture.h != picture.w) ++squashed;
      const Tensor x = pixels_of("infer", as_trained(std::move(picture), trained, net.input()), net, device);
      const auto begin = std::chrono::steady_clock::now();
      const nets::EarlyExitResult result = nets::infer(frozen, policy, x);
      const double ms =
          std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
      const auto label = static_cast<std::size_t>(result.label[0]);
      const std::string name = names.empty() ? std::to_string(label) : names[label];
      table.row({shown,
                 visible(name),
                 std::to_string(result.exit[0]),
                 fmt::format("{:.4f}", result.confidence[0]),
                 fmt::format("{:.3f}", ms)});
      answers.push_back({{"picture", shown},
                         {"label", label},
                         {"class", visible(name)},
                         {"exit", result.exit[0]},
                         {"answered", result.answered[0]},
                         {"confidence", result.confidence[0]},
                         {"milliseconds", ms}});
    }
    if (squashed > 0)
      session.log.info(
          fmt::format("{} of {} pictures are not square: they were squashed to {}x{}, not cropped",
                      squashed,
                      pictures.files.size(),
                      net.input().h,
                      net.input().w));
    if (pictures.passed_over > 0)
      session.log.info(fmt::format("{} other files in the folders were passed over", pictures.passed_over));
    std::string text = answers.empty() ? "" : table.text();
    if (!failed.empty())
      text += fmt::format("{} of {} pictures could not be read\n", failed.size(), pictures.files.size());
    session.answer(text, {{"answers", answers}, {"failed", failed}});
    return failed.empty() ? kDone : kFailed;
  }

 private:
  std::vector<std::string> class_names(Session& session,
                                       const nets::Network& net,
                                       const TrainedOn& trained) const {
    if (data_.empty()) return trained.class_names;
    NetData set(session, trained, samples_for(session, trained, net.input(), {.set = data_}));
    set.fit_to(net, trained.class_names, data_);
    return set.class_names();
  }

  fs::path checkpoint_;
  std::vector<std::string> images_;
  std::string data_, precision_ = "checkpoint";
  std::optional<double> threshold_;
};

}  // namespace

std::unique_ptr<Verb> make_infer_verb() { return std::make_unique<InferVerb>(); }

}  // namespace offramp::tools
