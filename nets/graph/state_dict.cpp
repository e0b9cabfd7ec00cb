#include "nets/graph/state_dict.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <set>

#include "base/errors.h"
#include "nets/graph/metadata_text.h"

namespace offramp::nets {
namespace {

constexpr const char* kFormat = "offramp-checkpoint-1";

float half_to_float(std::uint16_t h) {
  const int exponent = (h >> 10) & 31, mantissa = h & 1023;
  const float sign = (h & 0x8000) != 0 ? -1.f : 1.f;
  if (exponent == 31) return mantissa != 0 ? std::nanf("") : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(mantissa), -24);
  return sign * std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25);
}

template <class T, class F>
std::vector<float> read_as(std::span<const std::byte> bytes, F convert) {
  std::vector<float> values(bytes.size() / sizeof(T));
  for (std::size_t i = 0; i < values.size(); ++i) {
    T value;
    std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));  // foreign files need not align
    values[i] = convert(value);
  }
  return values;
}

std::vector<float> floats_of(const safetensors::Reader& file, const safetensors::Entry& entry) {
  const std::span<const std::byte> bytes = file.bytes(entry);
  switch (entry.dtype) {
    case safetensors::Dtype::kF32:
      return read_as<float>(bytes, [](float v) { return v; });
    case safetensors::Dtype::kF64:
      return read_as<double>(bytes, [](double v) { return static_cast<float>(v); });
    case safetensors::Dtype::kF16:
      return read_as<std::uint16_t>(bytes, half_to_float);
    case safetensors::Dtype::kBF16:
      return read_as<std::uint16_t>(
          bytes, [](std::uint16_t v) { return std::bit_cast<float>(static_cast<std::uint32_t>(v) << 16); });
    default:
      throw FileError(file.path().string(),
                      "tensor " + in_quotes(entry.name) + ": expected F32, F64, F16 or BF16, got " +
                          std::string(safetensors::dtype_name(entry.dtype)));
  }
}

std::vector<std::int64_t> dims_of(const Shape& shape) {
  std::vector<std::int64_t> dims;
  for (int i = 0; i < shape.rank(); ++i) dims.push_back(shape[i]);
  return dims;
}

void check_shape(const safetensors::Reader& file, const safetensors::Entry& entry, const Shape& shape) {
  if (entry.shape != dims_of(shape)) {
    throw FileError(file.path().string(),
                    "tensor " + in_quotes(entry.name) + ": expected shape " + shape.to_string() + ", got " +
                        format_shape(entry.shape));
  }
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

std::string joined(const std::vector<std::string>& names) {
  constexpr std::size_t kShown = 5;
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), kShown); ++i) {
    if (i > 0) text += ", ";
    text += in_quotes(names[i]);
  }
  if (names.size() > kShown) text += " and " + std::to_string(names.size() - kShown) + " more";
  return text;
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

void find_moments(const safetensors::Reader& file,
                  const Network& net,
                  Optimizer& optimizer,
                  std::vector<Found>& values) {
  for (const Optimizer::Moment& moment : optimizer.moments()) {
    for (const ParameterSet::Entry& entry : net.parameters().entries()) {
      if (!entry.trainable) continue;
      const std::string name = moment_name(moment.name, entry);
      const safetensors::Entry* found = file.find(name);
      if (!found) throw FileError(file.path().string(), "tensor " + in_quotes(name) + " is missing");
      check_shape(file, *found, entry.value.shape());
      values.push_back({&entry, slice(moment.values, entry), floats_of(file, *found)});
    }
  }
}

}  // namespace

ImportReport load_state_dict(Network& net,
                             const safetensors::Reader& file,
                             Strictness strictness,
                             Optimizer* optimizer) {
  ImportReport report;
  const bool prefixed = !file.entries().empty() &&
                        std::all_of(file.entries().begin(), file.entries().end(), [](const auto& entry) {
                          return entry.name.starts_with("module.");
                        });
  if (prefixed) report.prefix = "module.";
  std::set<std::string> known;
  std::vector<Found> values;
  for (const ParameterSet::Entry& entry : net.parameters().entries()) {
    const std::string& name = entry.info.name;
    known.insert(name);
    const safetensors::Entry* found = file.find(report.prefix + name);
    if (!found) {
      report.missing.push_back(name);
      continue;
    }
    check_shape(file, *found, entry.value.shape());
    values.push_back({&entry, entry.value, floats_of(file, *found)});
    report.matched.push_back(name);
    if (entry.info.layout != DiskLayout::kSame) report.permuted.push_back(name);
  }
  for (const safetensors::Entry& entry : file.entries()) {
    const std::string name = entry.name.substr(report.prefix.size());
    if (known.contains(name) || name.starts_with("optimizer.")) continue;
    (name.ends_with(".num_batches_tracked") ? report.ignored : report.unused).push_back(name);
  }
  if (strictness == Strictness::kComplete) {
    std::vector<std::string> missing;
    for (const std::string& name : report.missing) {
      if (!name.starts_with("normalize.")) missing.push_back(name);
    }
    if (!missing.empty()) throw FileError(file.path().string(), "missing for this net: " + joined(missing));
    if (!report.unused.empty()) {
      throw FileError(file.path().string(), "not part of this net: " + joined(report.unused));
    }
  }
  if (optimizer) find_moments(file, net, *optimizer, values);
  for (Found& found : values) put(*found.entry, found.target, std::move(found.disk));
  return report;
}

void save_checkpoint(const std::filesystem::path& path,
                     const Network& net,
                     const ExitPolicy& policy,
                     const Metadata& extra,
                     Optimizer* optimizer) {
  Metadata metadata = {{"format", kFormat}};
  metadata.merge(to_metadata(net.options()));
  if (!policy.thresholds.empty()) metadata.merge(to_metadata(policy));
  metadata.merge(cost_metadata(net.costs()));
  for (const auto& [key, value] : extra) metadata.insert_or_assign(key, value);

  std::vector<std::vector<float>> values;  // what the sources point into; moving a vector keeps its memory
  std::vector<safetensors::Source> sources;
  const auto add = [&](std::string name, const ParameterSet::Entry& entry, const Tensor& memory) {
    values.push_back(disk_values(entry, memory));
    sources.push_back({std::move(name),
                       safetensors::Dtype::kF32,
                       dims_of(entry.value.shape()),
                       std::as_bytes(std::span<const float>(values.back()))});
  };
  for (const ParameterSet::Entry& entry : net.parameters().entries()) {
    add(entry.info.name, entry, entry.value);
    if (!optimizer || !entry.trainable) continue;
    for (const Optimizer::Moment& moment : optimizer->moments()) {
      add(moment_name(moment.name, entry), entry, slice(moment.values, entry));
    }
  }
  safetensors::write(path, sources, metadata);
}

LoadedNet load_net(const std::filesystem::path& path, const Device& device, const std::string& precision) {
  const safetensors::Reader file(path);
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
