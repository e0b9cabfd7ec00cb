#include "base/pth_state.h"

#include "base/errors.h"
#include "base/safetensors_header.h"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <set>
#include <string_view>

namespace offramp::pth {
namespace {

using pickle::Index;
using pickle::Kind;
using pickle::Pickle;
using pickle::Value;

struct TypeName {
  std::string_view name;
  Dtype dtype;
};
// torch.FloatStorage, or torch.cuda.FloatStorage of older writers.
constexpr std::array<TypeName, 11> kStorages{{{"FloatStorage", Dtype::kF32},
                                              {"DoubleStorage", Dtype::kF64},
                                              {"HalfStorage", Dtype::kF16},
                                              {"BFloat16Storage", Dtype::kBF16},
                                              {"LongStorage", Dtype::kI64},
                                              {"IntStorage", Dtype::kI32},
                                              {"ShortStorage", Dtype::kI16},
                                              {"CharStorage", Dtype::kI8},
                                              {"ByteStorage", Dtype::kU8},
                                              {"BoolStorage", Dtype::kBool},
                                              {"ComplexFloatStorage", Dtype::kC64}}};
// torch.float32 and so on, beside an untyped storage.
constexpr std::array<TypeName, 20> kTypes{{{"float32", Dtype::kF32},
                                           {"float64", Dtype::kF64},
                                           {"float16", Dtype::kF16},
                                           {"bfloat16", Dtype::kBF16},
                                           {"int64", Dtype::kI64},
                                           {"int32", Dtype::kI32},
                                           {"int16", Dtype::kI16},
                                           {"int8", Dtype::kI8},
                                           {"uint8", Dtype::kU8},
                                           {"uint16", Dtype::kU16},
                                           {"uint32", Dtype::kU32},
                                           {"uint64", Dtype::kU64},
                                           {"bool", Dtype::kBool},
                                           {"complex64", Dtype::kC64},
                                           {"float8_e4m3fn", Dtype::kF8E4M3},
                                           {"float8_e5m2", Dtype::kF8E5M2},
                                           {"float8_e4m3fnuz", Dtype::kF8E4M3Fnuz},
                                           {"float8_e5m2fnuz", Dtype::kF8E5M2Fnuz},
                                           {"float8_e8m0fnu", Dtype::kF8E8M0},
                                           {"float", Dtype::kF32}}};

template <std::size_t N>
std::optional<Dtype> find_type(const std::array<TypeName, N>& types, std::string_view name) {
  for (const TypeName& type : types) {
    if (type.name == name) return type.dtype;
  }
  return std::nullopt;
}

struct Storage {
  std::optional<Dtype> dtype;  // none: untyped, elements are bytes
  std::string key;
  std::uint64_t elements = 0;
};

class Finder {
 public:
  Finder(const std::string& path, const Pickle& pickle) : path_(path), pickle_(pickle) {}

  State find(const std::string& wanted) const {
    State state;
    Index at = pickle_.root;
    if (wanted.empty()) {
      at = unwrap(at, state.entry, 0);
    } else {
      const std::optional<Index> found = is_dict(at) ? entry_of(at, wanted) : std::nullopt;
      if (!found) throw FileError(path_, "no entry " + in_quotes(wanted) + "; " + holds(pickle_.root));
      at = *found;
      state.entry = wanted;
    }
    if (!is_dict(at)) {
      throw FileError(path_,
                      (state.entry.empty() ? "the file holds " : "entry " + in_quotes(state.entry) + " is ") +
                          pickle::describe(pickle_, at) +
                          ", a state dict is wanted: torch.save(model.state_dict(), FILE)");
    }
    read(at, state);
    if (state.tensors.empty()) throw FileError(path_, "no state dict found; " + holds(pickle_.root));
    return state;
  }

 private:
  const Value& at(Index index) const { return pickle_.at(index); }

  bool is_global(Index index, std::string_view module, std::string_view name) const {
    const Value& value = at(index);
    return value.kind == Kind::kGlobal && value.text == module && value.name == name;
  }
  // The arguments of a call of `module.name`, or null.
  const Value* call_of(Index index, std::string_view module, std::string_view name) const {
    const Value& value = at(index);
    if (value.kind != Kind::kCall || !is_global(value.items[0], module, name)) return nullptr;
    const Value& arguments = at(value.items[1]);
    return arguments.kind == Kind::kTuple ? &arguments : nullptr;
  }
  std::optional<std::int64_t> integer(Index index) const {
    const Value& value = at(index);
    if (value.kind != Kind::kInt) return std::nullopt;
    return value.integer;
  }

  // A dict, or an OrderedDict whose pairs came behind the call.
  const Value* dict(Index index) const {
    const Value& value = at(index);
    if (value.kind == Kind::kDict) return &value;
    const Value* arguments = call_of(index, "collections", "OrderedDict");
    if (arguments == nullptr || !arguments->items.empty()) return nullptr;
    static const Value none = [] {
      Value empty;
      empty.kind = Kind::kDict;
      return empty;
    }();
    if (value.extra == 0) return &none;
    return at(value.extra).kind == Kind::kDict ? &at(value.extra) : nullptr;
  }
  bool is_dict(Index index) const { return dict(index) != nullptr; }

  bool is_tensor(Index index) const {
    const Value& value = at(index);
    if (value.kind != Kind::kCall) return false;
    const Value& callable = at(value.items[0]);
    return callable.kind == Kind::kGlobal &&
           (callable.text == "torch._utils" || callable.text == "torch._tensor") &&
           callable.name.starts_with("_rebuild");
  }
  std::size_t tensors_in(Index index) const {
    const Value* pairs = dict(index);
    std::size_t count = 0;
    for (std::size_t i = 0; pairs != nullptr && i + 1 < pairs->items.size(); i += 2) {
      if (at(pairs->items[i]).kind == Kind::kText && is_tensor(pairs->items[i + 1])) ++count;
    }
    return count;
  }
  std::optional<Index> entry_of(Index index, std::string_view key) const {
    const Value& pairs = *dict(index);
    std::optional<Index> found;
    for (std::size_t i = 0; i + 1 < pairs.items.size(); i += 2) {
      const Value& name = at(pairs.items[i]);
      if (name.kind == Kind::kText && name.text == key) found = pairs.items[i + 1];  // the last one counts
    }
    return found;
  }

  // The state dict in `index`, at most three wrappers deep; `entry` becomes the way there.
  Index unwrap(Index index, std::string& entry, int depth) const {
    constexpr int kDeepest = 3;
    constexpr std::string_view kUsual[] = {"state_dict", "model_state_dict", "model", "net"};
    if (!is_dict(index) || depth == kDeepest) return index;
    const auto enter = [&](std::string_view name, Index inner) {
      entry += (entry.empty() ? "" : ".") + std::string(name);
      return unwrap(inner, entry, depth + 1);
    };
    std::vector<std::string_view> usual, with_tensors;
    for (const std::string_view name : kUsual) {
      const std::optional<Index> inner = entry_of(index, name);
      if (inner && holds_tensors(*inner, depth + 1)) usual.push_back(name);
    }
    if (usual.size() == 1) return enter(usual[0], *entry_of(index, usual[0]));
    if (usual.size() > 1) ambiguous(usual);
    if (tensors_in(index) > 0) return index;
    const Value& pairs = *dict(index);
    for (std::size_t i = 0; i + 1 < pairs.items.size(); i += 2) {
      const Value& name = at(pairs.items[i]);
      if (name.kind == Kind::kText && tensors_in(pairs.items[i + 1]) > 0) with_tensors.push_back(name.text);
    }
    if (with_tensors.size() == 1) return enter(with_tensors[0], *entry_of(index, with_tensors[0]));
    if (with_tensors.size() > 1) ambiguous(with_tensors);
    // An object where the state dict usually stands is what the message should name.
    for (const std::string_view name : kUsual) {
      if (const std::optional<Index> inner = entry_of(index, name); inner && at(*inner).kind == Kind::kCall) {
        entry += (entry.empty() ? "" : ".") + std::string(name);
        return *inner;
      }
    }
    return index;
  }
  bool holds_tensors(Index index, int depth) const {
    if (!is_dict(index) || depth > 3) return false;
    if (tensors_in(index) > 0) return true;
    for (const std::string_view name : {"state_dict", "model_state_dict", "model", "net"}) {
      const std::optional<Index> inner = entry_of(index, name);
      if (inner && holds_tensors(*inner, depth + 1)) return true;
    }
    return false;
  }
  [[noreturn]] void ambiguous(const std::vector<std::string_view>& names) const {
    std::string text;
    for (const std::string_view name : names) text += (text.empty() ? "" : ", ") + in_quotes(name);
    throw FileError(path_, "several entries hold tensors: " + text + "; --entry NAME chooses one");
  }

  std::string holds(Index index) const {
    constexpr std::size_t kShown = 8;
    const Value* pairs = dict(index);
    if (pairs == nullptr) return "the file holds " + pickle::describe(pickle_, index);
    std::string text;
    for (std::size_t i = 0; i + 1 < pairs->items.size() && i < 2 * kShown; i += 2) {
      const Value& name = at(pairs->items[i]);
      text += (text.empty() ? "" : ", ") +
              (name.kind == Kind::kText ? in_quotes(name.text) : pickle::describe(pickle_, pairs->items[i])) +
              ": " + what(pairs->items[i + 1]);
    }
    if (pairs->items.size() > 2 * kShown) text += " and more";
    return "the file holds " + (text.empty() ? "an empty dict" : text);
  }
  std::string what(Index index) const {
    if (is_tensor(index)) return "a tensor";
    const Value* pairs = dict(index);
    return pairs ? "a dict of " + std::to_string(pairs->items.size() / 2) : pickle::describe(pickle_, index);
  }

  void read(Index index, State& state) const {
    const Value& pairs = *dict(index);
    std::set<std::string_view> names;
    for (std::size_t i = 0; i + 1 < pairs.items.size(); i += 2) {
      const Value& key = at(pairs.items[i]);
      if (key.kind != Kind::kText) continue;
      if (!names.insert(key.text).second)
        throw FileError(path_, "tensor " + in_quotes(key.text) + " comes twice");
      if (names.size() > kMaxTensors) {
        throw FileError(path_, "tensors: at most " + std::to_string(kMaxTensors) + " are read");
      }
      Tensor tensor;
      tensor.name = std::string(key.text);
      if (rebuild(pairs.items[i + 1], tensor, 0)) {
        check(tensor);
        state.tensors.push_back(std::move(tensor));
      } else {
        state.opaque.push_back({std::move(tensor.name), what_opaque(pairs.items[i + 1])});
      }
    }
  }
  std::string what_opaque(Index index) const {
    if (!is_tensor(index)) return what(index);
    const Value& callable = at(at(index).items[0]);
    return "a tensor of a kind that is not read (" + std::string(callable.text) + "." +
           std::string(callable.name) + ")";
  }

  // False where the value is no dense tensor of a known type.
  bool rebuild(Index index, Tensor& tensor, int depth) const {
    if (depth > 4) return false;
    const Value* a = nullptr;
    for (const std::string_view name : {"_rebuild_parameter", "_rebuild_parameter_with_state"}) {
      a = call_of(index, "torch._utils", name);  // (tensor, requires_grad, hooks[, state])
      if (a != nullptr) return !a->items.empty() && rebuild(a->items[0], tensor, depth + 1);
    }
    a = call_of(index, "torch._tensor", "_rebuild_from_type_v2");  // (function, type, arguments, state)
    if (a != nullptr) {
      return a->items.size() == 4 && plain_type(a->items[1]) &&
             dense(a->items[0], a->items[2], tensor, depth);
    }
    const Value& value = at(index);
    return value.kind == Kind::kCall && dense(value.items[0], value.items[1], tensor, depth);
  }
  bool plain_type(Index index) const {
    return is_global(index, "torch", "Tensor") || is_global(index, "torch.nn.parameter", "Parameter") ||
           is_global(index, "torch.nn.parameter", "Buffer");
  }
  // _rebuild_tensor(storage, offset, shape, strides), _v2(..., requires_grad, hooks[, metadata]),
  // _v3(..., requires_grad, hooks, dtype[, metadata]) over an untyped storage.
  bool dense(Index function, Index arguments, Tensor& tensor, int depth) const {
    if (is_global(function, "torch._utils", "_rebuild_parameter") && depth < 4) {
      const Value& a = at(arguments);
      return a.kind == Kind::kTuple && !a.items.empty() && rebuild(a.items[0], tensor, depth + 1);
    }
    const bool v1 = is_global(function, "torch._utils", "_rebuild_tensor"),
               v2 = is_global(function, "torch._utils", "_rebuild_tensor_v2"),
               v3 = is_global(function, "torch._utils", "_rebuild_tensor_v3");
    const Value& a = at(arguments);
    if ((!v1 && !v2 && !v3) || a.kind != Kind::kTuple || a.items.size() < (v1 ? 4u : v2 ? 6u : 7u))
      return false;
    Storage storage;
    if (!read_storage(a.items[0], storage)) return false;
    if (v3 != !storage.dtype) return false;
    if (v3) {
      const Value& type = at(a.items[6]);
      if (type.kind != Kind::kGlobal || type.text != "torch") return false;
      storage.dtype = find_type(kTypes, type.name);
      if (!storage.dtype) return false;
      storage.elements /= safetensors::dtype_bits(*storage.dtype) / 8;
    }
    const std::optional<std::int64_t> offset = integer(a.items[1]);
    if (!offset || !integers(a.items[2], tensor.shape) || !integers(a.items[3], tensor.strides)) return false;
    tensor.offset = *offset;
    tensor.dtype = *storage.dtype;
    tensor.storage = std::move(storage.key);
    tensor.storage_elements = storage.elements;
    return true;
  }
  bool integers(Index index, std::vector<std::int64_t>& out) const {
    const Index sizes = index;
    const Value* value = &at(sizes);
    if (const Value* a = call_of(index, "torch", "Size"); a != nullptr && a->items.size() == 1) {
      value = &at(a->items[0]);
    }
    if ((value->kind != Kind::kTuple && value->kind != Kind::kList) ||
        value->items.size() > safetensors::kMaxRank)
      return false;
    for (const Index item : value->items) {
      const std::optional<std::int64_t> number = integer(item);
      if (!number) return false;
      out.push_back(*number);
    }
    return true;
  }
  // ('storage', class, key, location, elements)
  bool read_storage(Index index, Storage& storage) const {
    const Value& value = at(index);
    if (value.kind != Kind::kPersistent) return false;
    const Value& id = at(value.items[0]);
    if (id.kind != Kind::kTuple || id.items.size() < 5) return false;
    const Value &tag = at(id.items[0]), &type = at(id.items[1]), &key = at(id.items[2]);
    const std::optional<std::int64_t> elements = integer(id.items[4]);
    if (tag.text != "storage" || type.kind != Kind::kGlobal || key.kind != Kind::kText || !elements)
      return false;
    if (*elements < 0) return false;
    if (type.text != "torch" && type.text != "torch.cuda" && type.text != "torch.storage") return false;
    storage.dtype = find_type(kStorages, type.name);
    if (!storage.dtype && type.name != "UntypedStorage") return false;
    storage.key = std::string(key.text);
    storage.elements = static_cast<std::uint64_t>(*elements);
    return true;
  }

  // The elements that the strides reach lie inside the storage; no product overflows.
  // A stride that is never taken becomes 0.
  void check(Tensor& t) const {
    const auto fail = [&](const std::string& why) {
      throw FileError(path_, "tensor " + in_quotes(t.name) + ": " + why);
    };
    if (t.shape.size() != t.strides.size()) {
      fail("shape " + format_shape(t.shape) + " and strides " + format_shape(t.strides) +
           " differ in length");
    }
    try {
      safetensors::checked_bytes(t.shape, t.dtype);
    } catch (const ShapeError& error) {
      fail(error.what());
    }
    if (t.offset < 0 ||
        std::any_of(t.strides.begin(), t.strides.end(), [](std::int64_t s) { return s < 0; })) {
      fail("offset " + std::to_string(t.offset) + " or strides " + format_shape(t.strides) + " below 0");
    }
    if (std::find(t.shape.begin(), t.shape.end(), 0) != t.shape.end()) return;
    std::int64_t last = t.offset;
    for (std::size_t d = 0; d < t.shape.size(); ++d) {
      if (t.shape[d] == 1) t.strides[d] = 0;
      std::int64_t reach = 0;
      if (__builtin_mul_overflow(t.shape[d] - 1, t.strides[d], &reach) ||
          __builtin_add_overflow(last, reach, &last)) {
        fail("strides " + format_shape(t.strides) + " overflow 64 bits");
      }
    }
    if (static_cast<std::uint64_t>(last) >= t.storage_elements) {
      fail("shape " + format_shape(t.shape) + " with strides " + format_shape(t.strides) + " at offset " +
           std::to_string(t.offset) + " ends at element " + std::to_string(last) + ", its storage has " +
           std::to_string(t.storage_elements));
    }
  }

  const std::string& path_;
  const Pickle& pickle_;
};

}  // namespace

State find_state(const std::string& path, const pickle::Pickle& pickle, const std::string& entry) {
  return Finder(path, pickle).find(entry);
}

}  // namespace offramp::pth
