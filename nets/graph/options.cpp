#include "nets/graph/options.h"

#include "nets/graph/metadata_text.h"

namespace offramp::nets {
namespace {

constexpr text::Names<Placement, 4> kPlacements{{{Placement::kEqualCost, "equal-cost"},
                                                 {Placement::kSdn, "sdn"},
                                                 {Placement::kCcs, "ccs"},
                                                 {Placement::kExplicit, "explicit"}}};
constexpr text::Names<ExitForm, 2> kForms{
    {{ExitForm::kLinear, "linear"}, {ExitForm::kTwoLayer, "two-layer"}}};
constexpr text::Names<Precision, 2> kPrecisions{{{Precision::kFloat32, "f32"}, {Precision::kMixed, "bf16"}}};

}  // namespace

const char* to_text(Placement value) { return text::of(kPlacements, value); }
const char* to_text(ExitForm value) { return text::of(kForms, value); }
const char* to_text(Precision value) { return text::of(kPrecisions, value); }
Placement placement_from(const std::string& name) { return text::value_of(kPlacements, "placement", name); }
ExitForm exit_form_from(const std::string& name) { return text::value_of(kForms, "exit form", name); }
Precision precision_from(const std::string& name) { return text::value_of(kPrecisions, "precision", name); }

std::map<std::string, std::string> to_metadata(const NetOptions& o) {
  return {{"net.name", o.name},
          {"net.classes", text::number(o.classes)},
          {"net.channels", text::number(o.channels)},
          {"net.side", text::number(o.side)},
          {"net.features", text::number(o.features)},
          {"net.num_exits", text::number(o.num_exits)},
          {"net.placement", to_text(o.placement)},
          {"net.exits_after", text::list(o.exits_after)},
          {"net.form", to_text(o.form)},
          {"net.precision", to_text(o.precision)},
          {"net.width_divisor", text::number(o.width_divisor)},
          {"net.mean", text::list(o.mean)},
          {"net.std", text::list(o.std)}};
}

NetOptions options_from_metadata(const std::map<std::string, std::string>& metadata) {
  const auto value = [&](const std::string& key) -> const std::string& {
    return text::required(metadata, key);
  };
  const auto integer = [&](const std::string& key) { return text::read_number<int>(key, value(key)); };
  NetOptions o;
  o.name = value("net.name");
  o.classes = integer("net.classes");
  o.channels = integer("net.channels");
  o.side = integer("net.side");
  o.features = integer("net.features");
  o.num_exits = integer("net.num_exits");
  o.placement = placement_from(value("net.placement"));
  o.exits_after = text::read_list<int>("net.exits_after", value("net.exits_after"));
  o.form = exit_form_from(value("net.form"));
  o.precision = precision_from(value("net.precision"));
  o.width_divisor = integer("net.width_divisor");
  o.mean = text::read_list<float>("net.mean", value("net.mean"));
  o.std = text::read_list<float>("net.std", value("net.std"));
  return o;
}

}  // namespace offramp::nets
