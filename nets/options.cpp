#include "nets/options.h"

#include <array>
#include <charconv>
#include <utility>

#include "engine/errors.h"

namespace offramp::nets {
namespace {

template <class E, std::size_t N>
using Names = std::array<std::pair<E, const char*>, N>;

constexpr Names<Placement, 4> kPlacements{{{Placement::kEqualCost, "equal-cost"},
                                           {Placement::kSdn, "sdn"},
                                           {Placement::kCcs, "ccs"},
                                           {Placement::kExplicit, "explicit"}}};
constexpr Names<ExitForm, 2> kForms{{{ExitForm::kLinear, "linear"}, {ExitForm::kTwoLayer, "two-layer"}}};
constexpr Names<Precision, 2> kPrecisions{{{Precision::kFloat32, "f32"}, {Precision::kMixed, "bf16"}}};

template <class E, std::size_t N>
const char* text_of(const Names<E, N>& names, E value) {
  for (const auto& [candidate, text] : names) {
    if (candidate == value) return text;
  }
  throw ValueError("options: a value outside its enumeration");
}

template <class E, std::size_t N>
E value_of(const Names<E, N>& names, const char* what, const std::string& text) {
  std::string known;
  for (const auto& [value, name] : names) {
    if (text == name) return value;
    known += (known.empty() ? "" : ", ") + std::string(name);
  }
  throw ValueError(std::string(what) + ": expected one of " + known + ", got " + quoted(text));
}

// Shortest text that reads back to the same value.
template <class T>
std::string number(T value) {
  std::array<char, 32> buffer;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr;
  return {buffer.data(), end};
}

template <class T>
std::string list(const std::vector<T>& values) {
  std::string text;
  for (const T value : values) {
    if (!text.empty()) text += ',';
    text += number(value);
  }
  return text;
}

template <class T>
T read_number(const std::string& key, std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) {
    throw ValueError("metadata " + key + ": expected a number, got " + quoted(text));
  }
  return value;
}

template <class T>
std::vector<T> read_list(const std::string& key, std::string_view text) {
  std::vector<T> values;
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    values.push_back(read_number<T>(key, text.substr(0, comma)));
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
  }
  return values;
}

}  // namespace

const char* to_text(Placement value) { return text_of(kPlacements, value); }
const char* to_text(ExitForm value) { return text_of(kForms, value); }
const char* to_text(Precision value) { return text_of(kPrecisions, value); }
Placement placement_from(const std::string& text) { return value_of(kPlacements, "placement", text); }
ExitForm exit_form_from(const std::string& text) { return value_of(kForms, "exit form", text); }
Precision precision_from(const std::string& text) { return value_of(kPrecisions, "precision", text); }

std::map<std::string, std::string> to_metadata(const NetOptions& o) {
  return {{"net.name", o.name},
          {"net.classes", number(o.classes)},
          {"net.channels", number(o.channels)},
          {"net.side", number(o.side)},
          {"net.features", number(o.features)},
          {"net.num_exits", number(o.num_exits)},
          {"net.placement", to_text(o.placement)},
          {"net.exits_after", list(o.exits_after)},
          {"net.form", to_text(o.form)},
          {"net.precision", to_text(o.precision)},
          {"net.width_divisor", number(o.width_divisor)},
          {"net.mean", list(o.mean)},
          {"net.std", list(o.std)}};
}

NetOptions options_from_metadata(const std::map<std::string, std::string>& metadata) {
  const auto text = [&](const std::string& key) -> const std::string& {
    const auto found = metadata.find("net." + key);
    if (found == metadata.end()) throw ValueError("metadata: 'net." + key + "' is missing");
    return found->second;
  };
  const auto integer = [&](const std::string& key) { return read_number<int>("net." + key, text(key)); };
  NetOptions o;
  o.name = text("name");
  o.classes = integer("classes");
  o.channels = integer("channels");
  o.side = integer("side");
  o.features = integer("features");
  o.num_exits = integer("num_exits");
  o.placement = placement_from(text("placement"));
  o.exits_after = read_list<int>("net.exits_after", text("exits_after"));
  o.form = exit_form_from(text("form"));
  o.precision = precision_from(text("precision"));
  o.width_divisor = integer("width_divisor");
  o.mean = read_list<float>("net.mean", text("mean"));
  o.std = read_list<float>("net.std", text("std"));
  return o;
}

}  // namespace offramp::nets
