// offramp import: a state dict from elsewhere (.pth or safetensors) to a checkpoint of ours.
#include "tools/frame/table.h"
#include "tools/verbs/net/net_data.h"
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
        .example = "offramp import sdn.pth --net resnet-56 --placement sdn --exits 7 --to resnet.safetensors",
        .details =
            "The file is a state dict of the reference modules: of torch.save (.pth, since torch 1.6; "
            "nothing in it is executed) or safetensors.\nOf a .pth that holds more, the entry state_dict, "
            "model_state_dict, model or net is taken; --entry names another.\nPrefixes of wrappers "
            "(module., _orig_mod., model., net.) are taken off.\nSays what was matched, what was missing, "
            "what was left over, and which tensors were permuted to our memory order.\nNormalisation is "
            "not part of such files: --mean and --std give it.",
        .run_folder = false};
  }

  void declare(Options& o) override {
    o.add("import.file", file_, "the state dict").positional().required();
    o.add("import.to", to_, "where the checkpoint goes").required();
    o.add("net.name", net_.name, "which net").flag("--net");
    o.add("net.exits", net_.num_exits, "exits in all; 1: plain").range(0, 16);
    o.add("net.placement", placement_, "where exits stand").choices({"equal-cost", "sdn", "ccs", "explicit"});
    o.add("net.exits_after", net_.exits_after, "blocks, for --placement explicit");
    o.add("net.form", form_, "of an exit").choices({"linear", "two-layer"});
    o.add("net.width_divisor", net_.width_divisor, "divide all widths").range(1, 64);
    o.add("net.classes", net_.classes, "classes").range(2, 1e6);
    o.add("net.channels", net_.channels, "of the images").range(1, 16);
    o.add("net.side", net_.side, "of the images").range(1, 4096);
    o.add("net.features", net_.features, "of a row, for fcn-18 nets").range(0, 1e6);
    o.add("net.mean", mean_, "of the pixels in [0,1], per channel").range(0, 1);
    o.add("net.std", std_, "of the pixels in [0,1], per channel").range(1e-6, 1);
    o.add("import.entry", entry_, "entry of a .pth that holds the state dict; empty: the usual one");
    o.add("import.partial", partial_, "take what fits by name, keep the start values of the rest");
  }

  int run(Session& session) override {
    net_.placement = nets::placement_from(placement_);
    net_.form = nets::exit_form_from(form_);
    net_.mean.assign(mean_.begin(), mean_.end());
    net_.std.assign(std_.begin(), std_.end());
    nets::Network net(net_, Device::by_name(session.device()));
    nets::initialize(net, session.seed());
    const auto file = nets::open_state(file_, entry_);
    const nets::ImportReport report = nets::load_state_dict(
        net, *file, partial_ ? nets::Strictness::kPartial : nets::Strictness::kComplete);
    if (report.matched.empty()) throw UsageError(file_.string() + ": no tensor of it fits this net");
    nets::save_checkpoint(to_, net, {}, {{"imported.from", file_.string()}});
    std::string text =
        fmt::format("matched {}, of these permuted {}\n", report.matched.size(), report.permuted.size());
    if (!file->entry().empty()) text += fmt::format("read from entry {}\n", in_quotes(file->entry()));
    if (!report.prefix.empty()) text += fmt::format("prefix taken off: {}\n", report.prefix);
    const std::vector<std::string> missing = still_missing(report);
    list(text, "missing", missing);
    list(text, "left over", report.unused);
    list(text, "ignored", report.ignored);
    text += "checkpoint " + to_.string() + "\n";
    session.answer(text,
                   {{"matched", report.matched},
                    {"permuted", report.permuted},
                    {"missing", missing},
                    {"unused", report.unused},
                    {"ignored", report.ignored},
                    {"prefix", report.prefix},
                    {"entry", file->entry()},
                    {"checkpoint", to_.string()}});
    return kDone;
  }

 private:
  // The normalisation is in no such file: where --mean and --std give it, nothing is missing.
  std::vector<std::string> still_missing(const nets::ImportReport& report) const {
    std::vector<std::string> names = report.missing;
    if (!mean_.empty()) std::erase(names, "normalize.mean");
    if (!std_.empty()) std::erase(names, "normalize.inv_std");
    return names;
  }

  static void list(std::string& text, const std::string& what, const std::vector<std::string>& names) {
    constexpr std::size_t kShown = 12;
    if (names.empty()) return;
    text += fmt::format("{} {}:", what, names.size());
    for (std::size_t i = 0; i < std::min(kShown, names.size()); ++i) text += " " + in_quotes(names[i]);
    text += names.size() > kShown ? " ...\n" : "\n";
  }

  nets::NetOptions net_;
  std::filesystem::path file_, to_;
  std::string placement_ = "equal-cost", form_ = "linear", entry_;
  std::vector<double> mean_, std_;
  bool partial_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_import_verb() { return std::make_unique<ImportVerb>(); }

}  // namespace offramp::tools
