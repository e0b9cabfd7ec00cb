#include "nets/families/recognise.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <set>
#include <string_view>

#include "base/errors.h"
#include "nets/families/build.h"
#include "nets/families/families.h"
#include "nets/graph/state_names.h"

namespace offramp::nets {
namespace {

using Dims = std::vector<std::int64_t>;
constexpr int kSides[] = {32, 28, 64, 96, 224, 16};

// What a net's state dict holds, in order: what is trained and what is counted, without the normalisation.
struct Tensors {
  std::vector<std::string> names;
  std::map<std::string, Dims> shapes;
};

Tensors tensors_of(const NetOptions& options) {
  Architecture architecture = build(options);
  ParameterSet parameters;  // declared, without memory
  for_each_layer(architecture, [&](Layer& layer, int exit) { declare(layer, exit, parameters); });
  Tensors out;
  for (const ParameterSet::Entry& entry : parameters.entries()) {
    const Shape& shape = entry.value.shape();
    Dims dims;
    for (int i = 0; i < shape.rank(); ++i) dims.push_back(shape[i]);
    out.names.push_back(entry.info.name);
    out.shapes.emplace(entry.info.name, std::move(dims));
  }
  return out;
}

// The file's tensors by the names that a net with `names` has; nothing where one of the file is none of the net's.
std::optional<std::map<std::string, Dims>> by_names(const StateFile& file,
                                                    const std::set<std::string>& names) {
  std::map<std::string, Dims> out;
  for (const StateFile::Item& item : file.items()) {
    const std::string name =
        plain_name(item.name, [&](const std::string& n) { return names.contains(n); }).name;
    if (is_counter(name) || name.starts_with("optimizer.") || name.starts_with("normalize.")) continue;
    if (!names.contains(name) || !out.emplace(name, item.shape).second) return std::nullopt;
  }
  return out.size() == names.size() ? std::optional(out) : std::nullopt;
}

// Blocks with an exit, as names say it: "layers.3.output.linear.weight", whatever stands before.
std::vector<int> exits_named_in(const StateFile& file) {
  std::set<int> blocks;
  for (const StateFile::Item& item : file.items()) {
    constexpr std::string_view kOutput = ".output.";
    const std::size_t dot = item.name.find(kOutput);
    if (dot == std::string::npos || dot == 0) continue;
    const std::size_t start = item.name.rfind('.', dot - 1) + 1;  // npos + 1 is 0
    int block = -1;
    const char* end = item.name.data() + dot;
    const auto [stop, error] = std::from_chars(item.name.data() + start, end, block);
    if (error != std::errc{} || stop != end) continue;
    blocks.insert(block);
  }
  return {blocks.begin(), blocks.end()};
}

// Names of a family's nets, the smallest first.
std::vector<std::string> names_to_try(const Family& family) {
  const std::string form = family.form;
  const std::size_t open = form.find('<');
  if (open == std::string::npos) return {form};
  std::vector<std::string> out;
  for (int n = 1; n <= 1202; ++n)
    if (const std::string name = form.substr(0, open) + std::to_string(n); family.number_in(family, name) > 0)
      out.push_back(name);
  return out;
}

// Options in which classes, channels and features are those of the file's tensors; its names fit. Returns the name of the first
// weight, whose outputs tell by what the widths are divided; empty: the file's is no such tensor.
std::string read_sizes(NetOptions& o, const Tensors& net, const std::map<std::string, Dims>& file) {
  const auto weight = [](const std::string& name) { return name.ends_with(".weight"); };
  const auto first = std::ranges::find_if(net.names, weight);
  const auto last = std::find_if(net.names.rbegin(), net.names.rend(), weight);
  const Dims &in_net = net.shapes.at(*first), &in_file = file.at(*first);
  const Dims& classes = file.at(*last);
  if (in_net.size() != in_file.size() || in_file.size() < 2 || in_file[0] < 1 || classes.empty()) return "";
  o.classes = static_cast<int>(std::clamp<std::int64_t>(classes[0], 2, 1'000'000));
  const auto wide = static_cast<int>(std::clamp<std::int64_t>(in_file[1], 1, 1'000'000));
  (o.features > 0 ? o.features : o.channels) = wide;
  return *first;
}

// Nothing where there is no such net: exits where it has no block, a side that it was not made for.
std::optional<Tensors> tensors_if_any(const NetOptions& o) {
  try {
    return tensors_of(o);
  } catch (const ValueError&) {
  } catch (const ShapeError&) {
  }
  return std::nullopt;
}

// `o` with the sizes of the file, where a net like it has its tensors; `tensors`: how many such a net has, 0 where there is none.
std::optional<NetOptions> fitted(const StateFile& file, NetOptions o, std::size_t& tensors) {
  const auto tried = tensors_if_any(o);
  if (!tried) return std::nullopt;
  tensors = tried->names.size();
  const auto found = by_names(file, std::set<std::string>(tried->names.begin(), tried->names.end()));
  if (!found) return std::nullopt;
  const std::string first = read_sizes(o, *tried, *found);
  constexpr int kMostDivided = 64;
  for (o.width_divisor = 1; !first.empty() && o.width_divisor <= kMostDivided; ++o.width_divisor)
    for (const int side : kSides) {
      o.side = side;
      const auto net = tensors_if_any(o);
      if (net && net->shapes.at(first)[0] != found->at(first)[0]) break;  // of every side
      if (net && net->shapes == *found) return o;
    }
  return std::nullopt;
}

}  // namespace

std::vector<NetOptions> nets_that_fit(const StateFile& file) {
  const std::vector<int> exits = exits_named_in(file);
  std::vector<NetOptions> out;
  for (const Family& family : families()) {
    const bool own_exits = std::string_view(family.form).starts_with("msdnet");
    for (const std::string& name : names_to_try(family)) {
      std::size_t fewest = 0;  // tensors of such a net; 0: there is none with these exits
      for (const ExitForm form : {ExitForm::kLinear, ExitForm::kTwoLayer}) {  // of the end too
        NetOptions o;
        o.name = name;
        if (family.takes == Takes::kRows) o.features = 8;
        if (!own_exits) {
          o.num_exits = static_cast<int>(exits.size()) + 1;
          if (!exits.empty()) o.placement = Placement::kExplicit;
          o.exits_after = exits;
          o.form = form;
        }
        std::size_t tensors = 0;
        if (const auto fitting = fitted(file, o, tensors)) {
          out.push_back(*fitting);
          break;
        }
        if (tensors > 0 && (fewest == 0 || tensors < fewest)) fewest = tensors;
      }
      if (fewest > file.items().size()) break;  // and so are the larger ones
    }
  }
  return out;
}

}  // namespace offramp::nets
