#include "nets/graph/state_dict.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/embedded_weights.h"
#include "base/errors.h"
#include "base/mapped_file.h"
#include "base/pth.h"
#include "nets/graph/metadata_text.h"
#include "nets/graph/state_names.h"

namespace offramp::nets {
namespace {

constexpr const char* kFormat = "offramp-checkpoint-1";

std::vector<std::int64_t> dims_of(const Shape& shape) {
  std::vector<std::int64_t> dims;
  for (int i = 0; i < shape.rank(); ++i) dims.push_back(shape[i]);
  return dims;
}

[[noreturn]] void fail_tensor(const StateFile& file, const std::string& name, const std::string& why) {
  throw FileError(file.path().string(), "tensor " + in_quotes(name) + ": " + why);
}

// The values of a tensor that the net takes: of its shape, finite, variances at least 0. A NaN would not show
// in every answer (a ReLU may hide it), so it is refused here.
std::vector<float> checked_floats(const StateFile& file, const StateFile::Item& item, const Shape& shape) {
  if (item.shape != dims_of(shape)) {
    fail_tensor(file, item.name, "expected shape " + shape.to_string() + ", got " + format_shape(item.shape));
  }
  std::vector<float> values = file.floats(item);
  const bool variance = item.name.ends_with(".running_var");
  for (std::size_t i = 0; i < values.size(); ++i) {
    const bool finite = std::isfinite(values[i]);
    if (finite && !(variance && values[i] < 0)) continue;
    fail_tensor(file,
                item.name,
                std::string(finite ? "expected variances of at least 0" : "expected finite float32 values") +
                    ", got " + std::to_string(values[i]) + " at index " + std::to_string(i) + " of " +
                    std::to_string(values.size()));
  }
  return values;
}

// Host values in PyTorch's order.
std::vector<float> disk_values(const ParameterSet::Entry& entry, const Tensor& memory) {
  return to_disk_order(entry.info, entry.value.shape(), memory.to_host<float>());
}

void put(const ParameterSet::Entry& entry, Tensor target, std::vector<float> disk) {
  const std::vector<float> memory = to_memory_order(entry.info, entry.value.shape(), std::move(disk));
  target.device().upload(target.raw(), memory.data(), target.bytes());
}

// A parameter's place in a flat moment buffer.
Tensor slice(const Tensor& flat, const ParameterSet::Entry& entry) {
  return Tensor::view(flat.storage(),
                      static_cast<std::size_t>(entry.offset) * sizeof(float),
                      entry.value.shape(),
                      DType::kFloat32);
}

std::string moment_name(const std::string& moment, const ParameterSet::Entry& entry) {
  return "optimizer." + moment + "." + entry.info.name;
}

// The first few of a list, and how many more.
template <class Range, class Text>
std::string joined(const Range& range, Text text_of) {
  constexpr std::size_t kShown = 5;
  std::string text;
  std::size_t count = 0;
  for (const auto& one : range) {
    if (count++ < kShown) text += (text.empty() ? "" : ", ") + text_of(one);
  }
  if (count > kShown) text += " and " + std::to_string(count - kShown) + " more";
  return text;
}

std::string joined(const std::vector<std::string>& names) {
  return joined(names, [](const std::string& name) { return in_quotes(name); });
}

std::string contents(const StateFile& file) {
  if (file.items().empty()) return "the file holds no tensor";
  return "the file holds " + joined(file.items(), [](const StateFile::Item& item) {
           return in_quotes(item.name) + " " + format_shape(item.shape);
         });
}

Metadata cost_metadata(const NetCosts& costs) {
  std::vector<std::int64_t> parameters, macs, ops;
  for (const Cost& cost : costs.exits) {
    parameters.push_back(cost.parameters);
    macs.push_back(cost.macs);
    ops.push_back(cost.ops_profiler);
  }
  return {{"cost.parameters", text::list(parameters)},
          {"cost.macs", text::list(macs)},
          {"cost.ops_profiler", text::list(ops)}};
}

// Values of a file and the place that they will take.
struct Found {
  const ParameterSet::Entry* entry;
  Tensor target;
  std::vector<float> disk;
};

void find_moments(const StateFile& file,
                  const Network& net,
                  Optimizer& optimizer,
                  std::vector<Found>& values) {
  for (const Optimizer::Moment& moment : optimizer.moments()) {
    for (const ParameterSet::Entry& entry : net.parameters().entries()) {
      if (!entry.trainable) continue;
      const std::string name = moment_name(moment.name, entry);
      const StateFile::Item* found = file.find(name);
      if (!found) throw FileError(file.path().string(), "tensor " + in_quotes(name) + " is missing");
      values.push_back(
          {&entry, slice(moment.values, entry), checked_floats(file, *found, entry.value.shape())});
    }
  }
}

}  // namespace

ImportReport load_state_dict(Network& net,
                             const safetensors::Reader& file,
                             Strictness strictness,
                             Optimizer* optimizer) {
  return load_state_dict(net, *state_of(file), strictness, optimizer);
}

ImportReport load_state_dict(Network& net,
                             const StateFile& file,
                             Strictness strictness,
                             Optimizer* optimizer) {
  ImportReport report;
  std::set<std::string> known;
  for (const ParameterSet::Entry& entry : net.parameters().entries()) known.insert(entry.info.name);
  const auto is_known = [&](const std::string& name) { return known.contains(name); };

  std::map<std::string, const StateFile::Item*> items;  // by the net's names
  std::vector<std::string> prefixes;
  for (const StateFile::Item& item : file.items()) {
    if (item.name.starts_with("optimizer.")) continue;
    const PlainName plain = plain_name(item.name, is_known);
    if (!plain.prefix.empty() &&
        std::find(prefixes.begin(), prefixes.end(), plain.prefix) == prefixes.end()) {
      prefixes.push_back(plain.prefix);
    }
    if (!known.contains(plain.name)) {
      (is_counter(plain.name) ? report.ignored : report.unused).push_back(plain.name);
    } else if (const auto [other, added] = items.emplace(plain.name, &item); !added) {
      throw FileError(file.path().string(),
                      "tensors " + in_quotes(other->second->name) + " and " + in_quotes(item.name) +
                          " are both " + in_quotes(plain.name) + " of this net");
    }
  }
  for (const std::string& prefix : prefixes) report.prefix += (report.prefix.empty() ? "" : ", ") + prefix;
  for (const StateFile::Opaque& opaque : file.opaque()) {
    const std::string name = plain_name(opaque.name, is_known).name;
    if (known.contains(name) && !items.contains(name)) {
      fail_tensor(file, opaque.name, "expected a tensor, the file has " + opaque.what);
    }
  }

  std::vector<Found> values;
  for (const ParameterSet::Entry& entry : net.parameters().entries()) {
    const std::string& name = entry.info.name;
    if (strictness == Strictness::kWeights && name.starts_with("normalize.")) continue;
    const auto found = items.find(name);
    if (found == items.end()) {
      report.missing.push_back(name);
      continue;
    }
    values.push_back({&entry, entry.value, checked_floats(file, *found->second, entry.value.shape())});
    report.matched.push_back(name);
    if (entry.info.layout != DiskLayout::kSame) report.permuted.push_back(name);
  }
  if (strictness == Strictness::kComplete) {
    std::vector<std::string> missing;
    for (const std::string& name : report.missing) {
      if (!name.starts_with("normalize.")) missing.push_back(name);
    }
    if (!missing.empty()) {
      throw FileError(file.path().string(),
                      "missing for this net: " + joined(missing) + "; " + contents(file));
    }
    if (!report.unused.empty()) {
      throw FileError(file.path().string(), "not part of this net: " + joined(report.unused));
    }
  }
  if (optimizer) find_moments(file, net, *optimizer, values);
  for (Found& found : values) put(*found.entry, found.target, std::move(found.disk));
  return report;
}

namespace {

// What a checkpoint holds, ready to be written.
struct Contents {
  std::vector<std::vector<float>> values;  // what the sources point into; moving a vector keeps its memory
  std::vector<safetensors::Source> sources;
  Metadata metadata = {{"format", kFormat}};

  void add(std::string name, const ParameterSet::Entry& entry, const Tensor& memory) {
    values.push_back(disk_values(entry, memory));
    sources.push_back({std::move(name),
                       safetensors::Dtype::kF32,
                       dims_of(entry.value.shape()),
                       std::as_bytes(std::span<const float>(values.back()))});
  }
};

Contents contents_of(const Network& net,
                     const ExitPolicy& policy,
                     const Metadata& extra,
                     Optimizer* optimizer) {
  Contents out;
  out.metadata.merge(to_metadata(net.options()));
  if (!policy.thresholds.empty()) out.metadata.merge(to_metadata(policy));
  out.metadata.merge(cost_metadata(net.costs()));
  for (const auto& [key, value] : extra) out.metadata.insert_or_assign(key, value);
  for (const ParameterSet::Entry& entry : net.parameters().entries()) {
    out.add(entry.info.name, entry, entry.value);
    if (!optimizer || !entry.trainable) continue;
    for (const Optimizer::Moment& moment : optimizer->moments()) {
      out.add(moment_name(moment.name, entry), entry, slice(moment.values, entry));
    }
  }
  return out;
}

}  // namespace

void save_checkpoint(const std::filesystem::path& path,
                     const Network& net,
                     const ExitPolicy& policy,
                     const Metadata& extra,
                     Optimizer* optimizer) {
  const Contents contents = contents_of(net, policy, extra, optimizer);
  safetensors::write(path, contents.sources, contents.metadata);
}

std::vector<std::byte> checkpoint_bytes(const Network& net, const ExitPolicy& policy, const Metadata& extra) {
  const Contents contents = contents_of(net, policy, extra, nullptr);
  return safetensors::file_bytes(contents.sources, contents.metadata);
}

void save_pytorch_state(const std::filesystem::path& path, const Network& net) {
  Contents contents;
  contents.metadata = {{"format", "pt"}, {"net", net.options().name}};
  for (const ParameterSet::Entry& entry : net.parameters().entries()) {
    if (!entry.info.name.starts_with("normalize.")) {
      contents.add(entry.info.name, entry, entry.value);
      continue;
    }
    std::vector<double> values;
    const bool inverse = entry.info.name == "normalize.inv_std";
    for (const float v : entry.value.to_host<float>()) values.push_back(inverse ? 1.0 / v : v);
    contents.metadata[inverse ? "normalize.std" : entry.info.name] = text::list(values);
  }
  constexpr std::int64_t kNoBatches = 0;
  for_each_layer(net.architecture(), [&](const Layer& layer, int) {
    if (const auto* norm = std::get_if<BatchNorm>(&layer)) {
      contents.sources.push_back({norm->name + ".num_batches_tracked",
                                  safetensors::Dtype::kI64,
                                  {},
                                  std::as_bytes(std::span(&kNoBatches, 1))});
    }
  });
  safetensors::write(path, contents.sources, contents.metadata);
}

LoadedNet load_net(const std::filesystem::path& path, const Device& device, const std::string& precision) {
  const MappedFile mapped(path);
  std::span<const std::byte> bytes = mapped.bytes();
  if (embedded::is_program(bytes)) {
    bytes = embedded::weights_of(path, bytes);
    if (bytes.empty()) {
      throw FileError(path.string(),
                      "a program without weights; offramp embed MODEL --to FILE makes one that carries them");
    }
  }
  if (pth::looks_like(bytes)) {
    throw FileError(path.string(),
                    "a PyTorch file does not say which net its values belong to; make a checkpoint of it: "
                    "offramp import " +
                        path.string() + " --net NAME ... --to FILE.safetensors");
  }
  const safetensors::Reader file(path, bytes);
  const auto format = file.metadata().find("format");
  if (format == file.metadata().end() || format->second != kFormat) {
    throw FileError(path.string(),
                    "expected a checkpoint of this program (metadata format " + std::string(kFormat) +
                        ", got " + (format == file.metadata().end() ? "none" : in_quotes(format->second)) +
                        "); a state dict from elsewhere goes through import");
  }
  LoadedNet loaded;
  loaded.metadata = file.metadata();
  NetOptions options;
  try {
    options = options_from_metadata(file.metadata());
    if (!precision.empty()) options.precision = precision_from(precision);
    loaded.policy = policy_from_metadata(file.metadata());
    loaded.net = std::make_unique<Network>(options, device);
    if (!loaded.policy.thresholds.empty()) loaded.policy.check(loaded.net->num_exits());
  } catch (const ValueError& error) {
    throw FileError(path.string(), error.what());
  } catch (const ShapeError& error) {
    throw FileError(path.string(), error.what());
  }
  for (const auto& [key, value] : cost_metadata(loaded.net->costs())) {
    const auto found = file.metadata().find(key);
    if (found == file.metadata().end() || found->second != value) {
      throw FileError(path.string(),
                      "metadata " + key + ": expected " + value + " for this net, got " +
                          (found == file.metadata().end() ? "none" : in_quotes(found->second)));
    }
  }
  load_state_dict(*loaded.net, file, Strictness::kComplete);
  return loaded;
}

}  // namespace offramp::nets
