#include "tools/verbs/net/state_import.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/safetensors.h"
#include "nets/families/recognise.h"
#include "nets/graph/metadata_text.h"

namespace offramp::tools {
namespace {

// "resnet-56, exits after blocks 3, 7, 11, 10 classes, 3x32x32".
std::string described(const nets::NetOptions& o) {
  std::string text = o.name;
  if (!o.exits_after.empty()) text += fmt::format(", exits after blocks {}", fmt::join(o.exits_after, ", "));
  if (o.form == nets::ExitForm::kTwoLayer) text += ", two-layer exits";
  if (o.width_divisor > 1) text += fmt::format(", widths divided by {}", o.width_divisor);
  text += fmt::format(", {} classes, ", o.classes);
  return text + (o.features > 0 ? fmt::format("{} features", o.features)
                                : fmt::format("images {}x{}x{}", o.channels, o.side, o.side));
}

// Our own export writes it beside the tensors.
void take_normalisation(const std::filesystem::path& file, nets::NetOptions& net) {
  if (file.extension() != ".safetensors") return;
  const safetensors::Reader reader(file);
  const auto& metadata = reader.metadata();
  const auto mean = metadata.find("normalize.mean"), std = metadata.find("normalize.std");
  if (mean == metadata.end() || std == metadata.end()) return;
  try {
    net.mean = nets::text::read_list<float>(mean->first, mean->second);
    net.std = nets::text::read_list<float>(std->first, std->second);
  } catch (const ValueError& error) {
    throw FileError(file.string(), error.what());
  }
}

}  // namespace

bool is_state_dict(const std::filesystem::path& file) {
  const auto extension = file.extension();
  if (extension == ".pth" || extension == ".pt") return true;
  return extension == ".safetensors" && safetensors::Reader(file).metadata().count("net.name") == 0;
}

void StateImport::declare(Options& o, const std::string& group) {
  o.add("net.name", net_, "which net a state dict is of; default: what its names and shapes say")
      .flag("--net");
  o.add("net.exits", exits_, "exits in all; 1: plain; default: the placement's own number").range(0, 16);
  o.add("net.placement", placement_, "where exits stand; default equal-cost")
      .choices({"equal-cost", "sdn", "ccs", "explicit"});
  o.add("net.exits_after", exits_after_, "blocks, for --placement explicit");
  o.add("net.form", form_, "of an exit; default linear").choices({"linear", "two-layer"});
  o.add("net.width_divisor", width_divisor_, "divide all widths; default 1").range(1, 64);
  o.add("net.classes", classes_, "classes; default 10").range(2, 1e6);
  o.add("net.channels", channels_, "of the images; default 3").range(1, 16);
  o.add("net.side", side_, "of the images; default 32").range(1, 4096);
  o.add("net.features", features_, "of a row, for fcn-18 nets").range(0, 1e6);
  o.add("net.mean", mean_, "of the pixels in [0,1], per channel").range(0, 1);
  o.add("net.std", std_, "of the pixels in [0,1], per channel").range(1e-6, 1);
  o.add(group + ".entry", entry_, "entry of a .pth that holds the state dict; empty: the usual one");
}

bool StateImport::describes_a_net() const {
  return exits_ || placement_ || !exits_after_.empty() || form_ || width_divisor_ || classes_ || channels_ ||
         side_ || features_;
}

bool StateImport::given() const {
  return named() || describes_a_net() || !mean_.empty() || !std_.empty() || !entry_.empty();
}

nets::NetOptions StateImport::as_told() const {
  nets::NetOptions o;
  o.name = net_;
  o.num_exits = exits_.value_or(o.num_exits);
  if (placement_) o.placement = nets::placement_from(*placement_);
  o.exits_after = exits_after_;
  if (form_) o.form = nets::exit_form_from(*form_);
  o.width_divisor = width_divisor_.value_or(o.width_divisor);
  o.classes = classes_.value_or(o.classes);
  o.channels = channels_.value_or(o.channels);
  o.side = side_.value_or(o.side);
  o.features = features_.value_or(o.features);
  return o;
}

nets::NetOptions StateImport::recognised(Session& session, const nets::StateFile& state) const {
  if (describes_a_net())
    throw UsageError(
        "--exits, --classes, --side and their kin describe the net that --net names: name it, or leave them out");
  const auto fitting = nets::nets_that_fit(state);
  if (fitting.size() == 1) {
    session.log.info(fmt::format(
        "{}: {} (--net and its kin say otherwise)", state.path().string(), described(fitting.front())));
    return fitting.front();
  }
  std::vector<std::string> which;
  for (const auto& o : fitting) which.push_back(described(o));
  throw UsageError(fmt::format(
      "{}: its tensors are those of {}: --net NET (and --exits, --placement, --classes, --side where they differ from what "
      "--help shows) says which net it is of, NET one of {}",
      state.path().string(),
      fitting.empty() ? "none of the nets known here"
                      : fmt::format("several nets ({})", fmt::join(which, "; ")),
      fmt::join(nets::net_names(), ", ")));
}

StateImport::Imported StateImport::read(Session& session,
                                        const std::filesystem::path& file,
                                        nets::Strictness strictness,
                                        const Device& device) {
  const auto state = nets::open_state(file, entry_);
  nets::NetOptions net = named() ? as_told() : recognised(session, *state);
  if (mean_.empty() != std_.empty())
    throw UsageError("--mean and --std belong together: pixels are taken as (x - mean) / std");
  net.mean.assign(mean_.begin(), mean_.end());
  net.std.assign(std_.begin(), std_.end());
  if (mean_.empty())
    take_normalisation(file, net);
  else if (state->find("normalize.mean") != nullptr)
    throw UsageError(file.string() +
                     ": has a normalisation of its own; --mean and --std are for files without one");
  Imported out;
  out.net = std::make_unique<nets::Network>(net, device);
  nets::initialize(*out.net, session.seed());
  out.report = nets::load_state_dict(*out.net, *state, strictness);
  if (out.report.matched.empty()) throw UsageError(file.string() + ": no tensor of it fits this net");
  // The normalisation is no tensor of such a file: where --mean and --std or its metadata give it, nothing is missing.
  if (!net.mean.empty())
    for (const char* name : {"normalize.mean", "normalize.inv_std"}) std::erase(out.report.missing, name);
  out.entry = state->entry();
  out.metadata = {{"imported.from", file.string()}};
  return out;
}

}  // namespace offramp::tools
