// offramp extract fit: train a copy on a victim's answers.
#include "attacks/extraction/images.h"
#include "tools/verbs/extract/extract_files.h"
#include "tools/verbs/extract/extract_options.h"
#include "tools/verbs/verbs.h"

#include <fmt/format.h>

#include <algorithm>

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
            "offramp extract fit --trace out/extract-query/trace --assignment out/assignment.csv --images "
            "fashion-mnist@train[50000:4000] --net resnet-56",
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
    options.add("fit.images", images_, "the images of the trace, in its order").required();
    options.add("fit.method", method_, "the paper's loss, or ordinary training on soft labels")
        .choices({"strategy", "knockoff"});
    options.add("fit.side", side_, "pixels along a side of the images that the victim takes").range(8, 1024);
    options.add("fit.channels", channels_, "1: grey, 3: RGB").range(1, 3);
    fit_.declare(options);
  }
  int run(Session& session) override {
    const auto trace = attacks::read_trace(trace_);
    const auto exits = read_assignment(assignment_);
    const data::ImageSet images = open_query_images(images_, {channels_, side_, side_}, session.seed());
    if (images.n != trace.samples || exits.size() != static_cast<std::size_t>(trace.samples))
      throw UsageError(fmt::format("fit: the trace has {} images, the assignment {}, --images name {}",
                                   trace.samples,
                                   exits.size(),
                                   images.n));
    if (!trace.info.images_digest.empty() &&
        attacks::digest_of(attacks::image_source(images)) != trace.info.images_digest)
      throw UsageError("fit: --images are not those of the trace (" + trace.info.images +
                       "): their digest differs");
    RunFolder& folder = session.folder();
    const auto method = method_ == "strategy" ? attacks::FitMethod::kStrategy : attacks::FitMethod::kKnockoff;
    const auto net = attacks::substitute_options(fit_.net_options(trace.classes, images),
                                                 *std::max_element(exits.begin(), exits.end()));
    const auto fitted = fit_stage(session,
                                  "copy",
                                  net,
                                  fit_.resolve(session, method),
                                  fit_.pretrained,
                                  images,
                                  {trace.outputs, exits},
                                  folder.path());
    nets::save_checkpoint(folder.path() / "copy.safetensors",
                          *fitted.net,
                          nets::ExitPolicy::uniform(fitted.net->num_exits(), 1.0));
    const auto table = attacks::exit_table(*fitted.net, images);
    write_confidences(folder.path() / "confidences.csv", table.confidence, exits, {});
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
    return 0;
  }

 private:
  std::filesystem::path trace_, assignment_;
  std::vector<std::string> images_;
  std::string method_ = "strategy";
  int side_ = 32, channels_ = 3;
  FitSettings fit_;
};

}  // namespace

std::unique_ptr<Verb> make_extract_fit_verb() { return std::make_unique<ExtractFitVerb>(); }

}  // namespace offramp::tools
