// offramp embed: this program and the weights of a net as one executable.
#include "tools/frame/table.h"
#include "tools/verbs/inputs.h"
#include "tools/verbs/verbs.h"

#include "base/embedded_weights.h"
#include "base/mapped_file.h"
#include "base/sha256.h"
#include "nets/graph/state_dict.h"

#include <fmt/format.h>

namespace offramp::tools {
namespace {

class EmbedVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {
        .name = "embed",
        .group = "Train and use nets",
        .summary = "one executable: this program with the weights of a net behind it",
        .example = "offramp embed out/small --to classifier && ./classifier infer my_pictures/",
        .details =
            "The file is this program, unchanged, with the checkpoint behind it (thresholds, class names and "
            "normalisation included;\nan optimiser's moments left out) and a footer with its SHA-256 digest. It is "
            "still this program: every verb works.\n`infer`, `eval`, `serve` and `export` take the weights that it carries "
            "where none are named, and --weights FILE where they are.\nVerbs that read a checkpoint take it by its "
            "name. A program that carries weights already gives the new file its own\npart: weights are replaced, "
            "not stacked. Damaged weights are noticed when they are wanted, and exit code 1 says so.\nWhat the file "
            "needs on another machine is what this program needs; the standalone build needs libc and libm alone.\n"
            "strip and like tools remove what is behind a program: embed afterwards.",
        .run_folder = false};
  }

  void declare(Options& o) override {
    o.add("embed.checkpoint", checkpoint_, "checkpoint, run folder of train, or another such executable")
        .positional()
        .required();
    o.add("embed.to", to_, "where the executable goes; what is there is replaced if it is a program")
        .required()
        .written(Written::kProgram);
  }

  int run(Session& session) override {
    const std::filesystem::path program_path = embedded::this_program();
    const MappedFile program(program_path);
    const std::uint64_t program_bytes = embedded::program_bytes(program_path, program.bytes());
    const bool replaced = program_bytes != program.bytes().size();
    const nets::LoadedNet loaded =
        nets::load_net(checkpoint_of(checkpoint_), Device::by_name(session.device()));
    const std::vector<std::byte> weights =
        nets::checkpoint_bytes(*loaded.net, loaded.policy, loaded.metadata);
    const std::string digest = to_hex(sha256(weights));
    if (loaded.net->num_exits() > 1 && loaded.policy.thresholds.empty()) {
      session.log.warn(fmt::format(
          "the net has no thresholds, so no exit will be sure without --threshold; offramp tune {} chooses them",
          checkpoint_.string()));
    }
    embedded::write_program_with_weights(to_, program_path, program.bytes(), weights);
    session.answer(fmt::format("{}: program {} bytes, weights {} bytes, SHA-256 {}{}\n",
                               to_.string(),
                               with_thousands(static_cast<std::int64_t>(program_bytes)),
                               with_thousands(static_cast<std::int64_t>(weights.size())),
                               digest,
                               replaced ? "; the weights that this program carries are not in it" : ""),
                   {{"to", to_.string()},
                    {"program_bytes", program_bytes},
                    {"weights_bytes", weights.size()},
                    {"sha256", digest},
                    {"replaced", replaced}});
    return kDone;
  }

 private:
  std::filesystem::path checkpoint_, to_;
};

}  // namespace

std::unique_ptr<Verb> make_embed_verb() { return std::make_unique<EmbedVerb>(); }

}  // namespace offramp::tools
