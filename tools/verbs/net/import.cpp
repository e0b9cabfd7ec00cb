// offramp import: a state dict from elsewhere (.pth or safetensors) to a checkpoint of ours.
#include "tools/frame/table.h"
#include "tools/verbs/net/net_data.h"
#include "tools/verbs/net/state_import.h"
#include "tools/verbs/verbs.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace offramp::tools {
namespace {

using nlohmann::ordered_json;

class ImportVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {
        .name = "import",
        .group = "Train and use nets",
        .summary = "make a checkpoint from a PyTorch state dict",
        .example = "offramp import sdn.pth --to resnet.safetensors",
        .details =
            "The file is a state dict of the reference modules: of torch.save (.pth, since torch 1.6; "
            "nothing in it is executed) or safetensors.\nOf a .pth that holds more, the entry state_dict, "
            "model_state_dict, model or net is taken; --entry names another.\nPrefixes of wrappers "
            "(module., _orig_mod., model., net.) are taken off.\nWhich net it is of is read from names and shapes, "
            "unless --net and what belongs to it say so.\nSays what was matched, what was missing, "
            "what was left over, and which tensors were permuted to our memory order.\nNormalisation is "
            "not part of such files: --mean and --std give it.",
        .run_folder = false};
  }

  void declare(Options& o) override {
    o.add("import.file", file_, "the state dict").positional().required();
    o.add("import.to", to_, "where the checkpoint goes").required().written();
    state_.declare(o, "import");
    o.add("import.partial", partial_, "take what fits by name, keep the start values of the rest");
  }

  int run(Session& session) override {
    const StateImport::Imported imported =
        state_.read(session,
                    file_,
                    partial_ ? nets::Strictness::kPartial : nets::Strictness::kComplete,
                    Device::by_name(session.device()));
    const nets::ImportReport& report = imported.report;
    nets::save_checkpoint(to_, *imported.net, {}, imported.metadata);
    std::string text =
        fmt::format("matched {}, of these permuted {}\n", report.matched.size(), report.permuted.size());
    if (!imported.entry.empty()) text += fmt::format("read from entry {}\n", in_quotes(imported.entry));
    if (!report.prefix.empty()) text += fmt::format("prefix taken off: {}\n", report.prefix);
    list(text, "missing", report.missing);
    list(text, "left over", report.unused);
    list(text, "ignored", report.ignored);
    text += "checkpoint " + to_.string() + "\n";
    session.answer(text,
                   {{"matched", report.matched},
                    {"permuted", report.permuted},
                    {"missing", report.missing},
                    {"unused", report.unused},
                    {"ignored", report.ignored},
                    {"prefix", report.prefix},
                    {"entry", imported.entry},
                    {"checkpoint", to_.string()}});
    return kDone;
  }

 private:
  static void list(std::string& text, const std::string& what, const std::vector<std::string>& names) {
    constexpr std::size_t kShown = 12;
    if (names.empty()) return;
    text += fmt::format("{} {}:", what, names.size());
    for (std::size_t i = 0; i < std::min(kShown, names.size()); ++i) text += " " + in_quotes(names[i]);
    text += names.size() > kShown ? " ...\n" : "\n";
  }

  StateImport state_;
  std::filesystem::path file_, to_;
  bool partial_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_import_verb() { return std::make_unique<ImportVerb>(); }

}  // namespace offramp::tools
