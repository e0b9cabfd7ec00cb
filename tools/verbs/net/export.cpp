// offramp export: a checkpoint for other runtimes: ONNX with every exit, or a PyTorch state dict.
#include "tools/frame/build_info.h"
#include "tools/frame/table.h"
#include "tools/verbs/inputs.h"
#include "tools/verbs/verbs.h"

#include "nets/graph/state_dict.h"
#include "nets/onnx/onnx_export.h"

#include <fmt/format.h>

#include <filesystem>

namespace offramp::tools {
namespace {

class ExportVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {
        .name = "export",
        .group = "Train and use nets",
        .summary = "a net for other runtimes: ONNX with every exit, or a PyTorch state dict",
        .example = "offramp export out/small --to small.onnx",
        .details =
            "The ending of --to says what is written.\n"
            "  .onnx         images [batch,c,h,w] in [0,1] (or rows of features) to logits_1 .. logits_K, one for each exit, "
            "float32; normalisation\n                is in the model, batch norms are folded into convolutions, the "
            "checkpoint's metadata (thresholds, class names)\n                stand in metadata_props. Every exit is "
            "always computed: the caller chooses.\n"
            "  .safetensors  the state dict alone, in PyTorch's names and layouts: "
            "net.load_state_dict(load_file(FILE)). Normalisation\n                is not part of the reference modules "
            "and stands in the metadata.\n"
            "--with-if: the ONNX model leaves at the first sure exit by nested If nodes: one image at a time, to logits "
            "and exit (from 1).\nIt pays where images come one by one and many leave early; who has batches computes all "
            "exits. docs/reference/onnx.md has\nwhat it cost in onnxruntime and OpenVINO.",
        .run_folder = false};
  }

  void declare(Options& o) override {
    o.add("export.checkpoint", checkpoint_, kCheckpointOrOwn)
        .positional()
        .alias("export.weights", "--weights");
    o.add("export.to", to_, "FILE.onnx or FILE.safetensors").required().written();
    o.add("export.with_if", with_if_, "ONNX: compute an exit only where none before it was sure");
    o.add("export.threshold",
          threshold_,
          "--with-if: one threshold for all exits instead of the checkpoint's policy")
        .range(0, 1);
  }

  int run(Session& session) override {
    const std::string ending = to_.extension().string();
    if (ending != ".onnx" && ending != ".safetensors")
      throw UsageError("export: expected --to FILE.onnx or FILE.safetensors, got " + in_quotes(to_.string()));
    const bool onnx = ending == ".onnx";
    if (!onnx && with_if_) throw UsageError("export: --with-if is for FILE.onnx");
    if (threshold_ && !with_if_)
      throw UsageError("export: --threshold is for --with-if; the logits of all exits have none");
    const nets::LoadedNet loaded =
        nets::load_net(checkpoint_or_own("export", checkpoint_), Device::by_name(session.device()));
    const nets::Network& net = *loaded.net;
    if (onnx) {
      nets::save_onnx(to_, net, onnx_options(session, loaded));
    } else {
      nets::save_pytorch_state(to_, net);
    }
    const auto bytes = static_cast<std::int64_t>(std::filesystem::file_size(to_));
    const std::string what = !onnx      ? "state dict"
                             : with_if_ ? fmt::format("ONNX, leaves at one of {} exits", net.num_exits())
                                        : fmt::format("ONNX, logits of {} exits", net.num_exits());
    session.answer(
        fmt::format(
            "{}: {} of {}, {} bytes\n", to_.string(), what, net.options().name, with_thousands(bytes)),
        {{"to", to_.string()},
         {"format", ending.substr(1)},
         {"net", net.options().name},
         {"exits", net.num_exits()},
         {"with_if", with_if_},
         {"bytes", bytes}});
    return kDone;
  }

 private:
  nets::OnnxOptions onnx_options(Session& session, const nets::LoadedNet& loaded) const {
    nets::OnnxOptions options{.with_if = with_if_,
                              .policy = loaded.policy,
                              .producer_version = std::string(build_info().version),
                              .metadata = loaded.metadata};
    if (!with_if_) return options;
    const int exits = loaded.net->num_exits();
    if (exits < 2) throw UsageError("export: --with-if: the net has one exit, nothing can leave before it");
    if (threshold_) {
      options.policy = nets::ExitPolicy::uniform(exits, *threshold_);
      for (const auto& [key, value] : nets::to_metadata(options.policy))
        options.metadata.insert_or_assign(key, value);
    }
    if (options.policy.thresholds.empty())
      throw UsageError(
          "export: --with-if: the checkpoint has no thresholds; offramp tune chooses them, --threshold 0.9 "
          "sets one");
    session.log.warn(
        "--with-if: the model takes one image at a time, because a condition decides for a whole batch; in onnxruntime and "
        "OpenVINO a batch of eight costs 0.4 to 0.8 as much an image, and going to the end costs 0.85 to 1.15 of all exits "
        "(docs/reference/onnx.md)");
    return options;
  }

  std::filesystem::path checkpoint_, to_;
  bool with_if_ = false;
  std::optional<double> threshold_;
};

}  // namespace

std::unique_ptr<Verb> make_export_verb() { return std::make_unique<ExportVerb>(); }

}  // namespace offramp::tools
