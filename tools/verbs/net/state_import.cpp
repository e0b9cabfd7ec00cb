#include "tools/verbs/net/state_import.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/safetensors.h"

namespace offramp::tools {

bool is_state_dict(const std::filesystem::path& file) {
  const auto extension = file.extension();
  if (extension == ".pth" || extension == ".pt") return true;
  return extension == ".safetensors" && safetensors::Reader(file).metadata().count("net.name") == 0;
}

void StateImport::declare(Options& o, const std::string& group, const std::string& default_net) {
  net_.name = default_net;
  o.add("net.name", net_.name, "which net a state dict is of").flag("--net");
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
  o.add(group + ".entry", entry_, "entry of a .pth that holds the state dict; empty: the usual one");
}

StateImport::Imported StateImport::read(Session& session,
                                        const std::filesystem::path& file,
                                        nets::Strictness strictness,
                                        const Device& device) {
  if (!named())
    throw UsageError(fmt::format(
        "{}: a state dict does not say which net it is of: --net NET (and --exits, --placement, --classes, --side, "
        "--mean, --std where they differ from what --help shows), NET one of {}",
        file.string(),
        fmt::join(nets::net_names(), ", ")));
  net_.placement = nets::placement_from(placement_);
  net_.form = nets::exit_form_from(form_);
  net_.mean.assign(mean_.begin(), mean_.end());
  net_.std.assign(std_.begin(), std_.end());
  Imported out;
  out.net = std::make_unique<nets::Network>(net_, device);
  nets::initialize(*out.net, session.seed());
  const auto state = nets::open_state(file, entry_);
  out.report = nets::load_state_dict(*out.net, *state, strictness);
  if (out.report.matched.empty()) throw UsageError(file.string() + ": no tensor of it fits this net");
  // The normalisation is in no such file: where --mean and --std give it, nothing is missing.
  if (!mean_.empty()) std::erase(out.report.missing, "normalize.mean");
  if (!std_.empty()) std::erase(out.report.missing, "normalize.inv_std");
  out.entry = state->entry();
  out.metadata = {{"imported.from", file.string()}};
  return out;
}

}  // namespace offramp::tools
