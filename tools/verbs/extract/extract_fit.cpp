// offramp extract fit: train a copy on a victim's answers.
#include "attacks/extraction/images.h"
#include "attacks/extraction/names.h"
#include "nets/graph/state_dict.h"
#include "tools/verbs/extract/options.h"
#include "tools/verbs/extract/session_listener.h"
#include "tools/verbs/inputs.h"
#include "tools/verbs/verbs.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

namespace offramp::tools {
namespace {

class ExtractFitVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {
        .name = "extract fit",
        .group = "Attack",
        .summary = "train a copy on what a victim answered",
        .example =
            "offramp extract fit --trace out/extract-query/trace --assignment out/assignment.csv --net resnet-56",
        .details =
            "Writes the copy (copy.safetensors, without thresholds) and confidences.csv, from which "
            "`offramp extract search` finds them.\n" +
            query_image_forms(),
        .run_folder = true};
  }
  void declare(Options& options) override {
    options.add("fit.trace", trace_, "folder with the victim's answers").required();
    options.add("fit.assignment", assignment_, "CSV with the exit of each image, from extract estimate")
        .required();
    options.add(
        "fit.images", images_, "the images of the trace, in its order; default: as the trace names them");
    options.add_choice(
        "fit.method", method_, attacks::kFitMethods, "the paper's loss, or ordinary training on soft labels");
    options
        .add("fit.side",
             side_,
             "pixels along a side of the images that the victim takes; default: the trace's, or 32")
        .range(8, 1024);
    options.add("fit.channels", channels_, "1: grey, 3: RGB; default: the trace's, or 3").range(1, 3);
    tools::declare(options, copy_);
  }
  int run(Session& session) override {
    const auto trace = attacks::read_trace(trace_);
    const auto exits = attacks::read_assignment(assignment_);
    if (images_.empty()) images_ = trace.info.image_parts;
    if (images_.empty()) throw UsageError("fit: --images is wanted, the trace does not name its images");
    const int side = side_.value_or(trace.info.side > 0 ? trace.info.side : 32),
              channels = channels_.value_or(trace.info.channels > 0 ? trace.info.channels : 3);
    const data::ImageSet images = open_query_images(session, images_, {channels, side, side});
    if (images.n != trace.samples || exits.size() != static_cast<std::size_t>(trace.samples))
      throw UsageError(fmt::format("fit: the trace has {} images, the assignment {}, --images name {}",
                                   trace.samples,
                                   exits.size(),
                                   images.n));
    if (!trace.info.images_digest.empty() &&
        attacks::digest_of(attacks::image_source(images)) != trace.info.images_digest)
      throw UsageError("fit: --images are not those of the trace (" + trace.info.images +
                       "): their digest differs");
    copy_.check(images);
    RunFolder& folder = session.folder();
    SessionListener listener(session);
    set_session(session, copy_);
    const int num_exits = *std::max_element(exits.begin(), exits.end());
    const auto fitted = attacks::fit_stage("copy",
                                           copy_.complete(images, trace.classes, num_exits),
                                           copy_.options(method_),
                                           copy_.pretrained,
                                           images,
                                           {trace.outputs, exits},
                                           Device::by_name(session.device()),
                                           folder.path(),
                                           listener);
    nets::save_checkpoint(folder.path() / "copy.safetensors", *fitted.net, {});  // thresholds: extract search
    attacks::write_confidences(folder.path() / "confidences.csv",
                               attacks::confidence_stage(*fitted.net, images, exits, {}, listener));
    const auto& last = fitted.history.back();
    const nlohmann::ordered_json results = {{"copy", (folder.path() / "copy.safetensors").string()},
                                            {"loss", last.loss},
                                            {"strategy_loss", last.strategy_loss},
                                            {"exit_loss", last.exit_loss},
                                            {"exit_agreement", last.exit_agreement}};
    folder.results(results);
    folder.done();
    session.answer(
        fmt::format("{}: loss {:.4f}, agrees with the victim's class on {:.2f} % at the last exit\n",
                    (folder.path() / "copy.safetensors").string(),
                    last.loss,
                    100 * last.exit_agreement.back()),
        results);
    return kDone;
  }

 private:
  std::filesystem::path trace_, assignment_;
  std::vector<std::string> images_;
  attacks::FitMethod method_ = attacks::FitMethod::kStrategy;
  std::optional<int> side_, channels_;
  attacks::CopyPlan copy_;
};

}  // namespace

std::unique_ptr<Verb> make_extract_fit_verb() { return std::make_unique<ExtractFitVerb>(); }

}  // namespace offramp::tools
