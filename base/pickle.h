// Reads a pickle (Python's object format, protocols 2 to 5) without ever running or constructing anything: a
// call of a Python function or class stays a kCall value that names what would have been called. Who reads a
// format on top (base/pth.h) decides which calls it knows; all others are only names for a message.
//
// Memory is bounded whatever the bytes say: values are nodes of one table (cycles are harmless), texts point
// into the input, and the caps below hold.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace offramp::pickle {

inline constexpr std::size_t kMaxBytes = 32'000'000;  // a checkpoint of 1,000 tensors takes 0.1 MB
inline constexpr std::size_t kMaxValues = 1'000'000;
inline constexpr std::size_t kMaxStack = 4'000'000;

enum class Kind : std::uint8_t {
  kNone,
  kBool,        // integer
  kInt,         // integer
  kBigInt,      // does not fit 64 bits; not decoded
  kFloat,       // real
  kText,        // text, UTF-8 as it came
  kBytes,       // text
  kTuple,       // items
  kList,        // items
  kDict,        // items: key, value, key, value ...
  kSet,         // items
  kGlobal,      // text: module, name: a class or function by name
  kPersistent,  // items[0]: what names an object outside the pickle
  kCall,  // items[0]: the callable, items[1]: its arguments; extra: pairs set on the result, as in a dict
};

using Index = std::uint32_t;  // into Pickle::values

struct Value {
  Kind kind = Kind::kNone;
  bool built = false;  // kCall: the object was given a state, which is not kept
  Index extra = 0;     // kCall: a kDict of pairs set on the result, or a kList of elements; 0: none
  union {
    std::int64_t integer = 0;
    double real;
  };
  std::string_view text, name;
  std::vector<Index> items;
};

struct Pickle {
  std::deque<Value> values;  // values[0] is None
  Index root = 0;

  const Value& at(Index index) const { return values[index]; }
};

// `path` names the file in messages. Throws FileError with the byte in the pickle and the opcode that is not
// taken.
Pickle parse(const std::string& path, std::span<const std::byte> bytes);

// For a message: "a dict of 3", "an object of class 'argparse.Namespace'".
std::string describe(const Pickle& pickle, Index index);

}  // namespace offramp::pickle
