#include "base/pickle.h"

#include "base/errors.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstring>
#include <optional>

namespace offramp::pickle {
namespace {

// Opcodes by the letters of Python's pickletools.
enum Op : unsigned char {
  kMark = '(',
  kStop = '.',
  kPop = '0',
  kPopMark = '1',
  kDup = '2',
  kBinBytes = 'B',
  kShortBinBytes = 'C',
  kBinFloat = 'G',
  kBinInt = 'J',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kNone = 'N',
  kBinPersId = 'Q',
  kReduce = 'R',
  kBinString = 'T',
  kShortBinString = 'U',
  kBinUnicode = 'X',
  kEmptyList = ']',
  kAppend = 'a',
  kBuild = 'b',
  kGlobal = 'c',
  kDict = 'd',
  kAppends = 'e',
  kBinGet = 'h',
  kLongBinGet = 'j',
  kList = 'l',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kSetItem = 's',
  kTuple = 't',
  kSetItems = 'u',
  kEmptyDict = '}',
  kEmptyTuple = ')',
  kProto = 0x80,
  kNewObj = 0x81,
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kLong1 = 0x8a,
  kLong4 = 0x8b,
  kShortBinUnicode = 0x8c,
  kBinUnicode8 = 0x8d,
  kBinBytes8 = 0x8e,
  kEmptySet = 0x8f,
  kAddItems = 0x90,
  kFrozenSet = 0x91,
  kNewObjEx = 0x92,
  kStackGlobal = 0x93,
  kMemoize = 0x94,
  kFrame = 0x95,
  kByteArray8 = 0x96,
};

class Machine {
 public:
  Machine(const std::string& path, std::span<const std::byte> bytes) : path_(path), bytes_(bytes) {
    out_.values.emplace_back();
  }

  Pickle run() {
    while (step()) {
    }
    return std::move(out_);
  }

 private:
  [[noreturn]] void fail(const std::string& detail) const {
    throw FileError(path_, "pickle (data.pkl), byte " + std::to_string(op_at_) + ": " + detail);
  }

  // --- reading ---------------------------------------------------------------------------------------------
  std::string_view take(std::uint64_t count) {
    if (count > bytes_.size() - at_) {
      fail(std::to_string(count) + " bytes wanted, " + std::to_string(bytes_.size() - at_) +
           " left: truncated");
    }
    const std::string_view text(reinterpret_cast<const char*>(bytes_.data()) + at_,
                                static_cast<std::size_t>(count));
    at_ += static_cast<std::size_t>(count);
    return text;
  }
  // Little-endian, as pickle writes lengths and integers on every machine.
  std::uint64_t number(std::size_t count) {
    const std::string_view text = take(count);
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < count; ++i) {
      value |= static_cast<std::uint64_t>(static_cast<unsigned char>(text[i])) << (8 * i);
    }
    return value;
  }
  std::string_view line() {
    const std::string_view rest(reinterpret_cast<const char*>(bytes_.data()) + at_, bytes_.size() - at_);
    const std::size_t end = rest.find('\n');
    if (end == std::string_view::npos) fail("a line wanted: truncated");
    at_ += end + 1;
    return rest.substr(0, end);
  }

  // --- the stack -------------------------------------------------------------------------------------------
  Value& make(Kind kind) {
    if (out_.values.size() >= kMaxValues) {
      fail("at most " + std::to_string(kMaxValues) + " values are read");
    }
    push(static_cast<Index>(out_.values.size()));
    Value& value = out_.values.emplace_back();
    value.kind = kind;
    return value;
  }
  void push(Index index) {
    if (stack_.size() >= kMaxStack) fail("stack: at most " + std::to_string(kMaxStack) + " values");
    stack_.push_back(index);
  }
  std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  void want(std::size_t count) const {
    if (stack_.size() - floor() < count) {
      fail("opcode wants " + std::to_string(count) + " values on the stack, there are " +
           std::to_string(stack_.size() - floor()));
    }
  }
  Index pop() {
    want(1);
    const Index index = stack_.back();
    stack_.pop_back();
    return index;
  }
  std::vector<Index> pop_to_mark() {
    if (marks_.empty()) fail("opcode wants a mark on the stack, there is none");
    const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<Index> items(begin, stack_.end());
    stack_.erase(begin, stack_.end());
    marks_.pop_back();
    return items;
  }
  Value& top() {
    want(1);
    return out_.values[stack_.back()];
  }
  void container(Kind kind, std::vector<Index> items) {
    if (kind == Kind::kDict && items.size() % 2 != 0) fail("a dict wants keys and values in pairs");
    make(kind).items = std::move(items);
  }
  void tuple(std::size_t count) {
    want(count);
    std::vector<Index> items(stack_.end() - static_cast<std::ptrdiff_t>(count), stack_.end());
    stack_.resize(stack_.size() - count);
    container(Kind::kTuple, std::move(items));
  }
  void text(Kind kind, std::string_view value) { make(kind).text = value; }
  void integer(std::int64_t value) { make(Kind::kInt).integer = value; }

  void long_integer(std::uint64_t count) {
    const std::string_view digits = take(count);
    if (digits.size() > 8) {
      make(Kind::kBigInt);
      return;
    }
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < digits.size(); ++i) {
      value |= static_cast<std::uint64_t>(static_cast<unsigned char>(digits[i])) << (8 * i);
    }
    const bool negative = !digits.empty() && (static_cast<unsigned char>(digits.back()) & 0x80) != 0;
    if (negative && digits.size() < 8) value |= ~std::uint64_t{0} << (8 * digits.size());
    integer(static_cast<std::int64_t>(value));
  }

  void real(std::string_view big_endian) {
    std::uint64_t bits = 0;
    for (const char byte : big_endian) bits = bits << 8 | static_cast<unsigned char>(byte);
    make(Kind::kFloat).real = std::bit_cast<double>(bits);
  }

  // --- objects ---------------------------------------------------------------------------------------------
  void call(Index callable, Index arguments) {
    Value& value = make(Kind::kCall);
    value.items = {callable, arguments};
  }

  // Adds to a list, a set or a dict; what a call gave keeps its pairs or elements in a value beside it.
  void add(Kind kind, std::span<const Index> items) {
    const Index target_at = stack_.empty() ? 0 : stack_.back();
    Value* target = &top();
    if (target->kind == Kind::kCall) {
      if (target->extra == 0) {
        make(kind);
        target = &out_.values[target_at];  // a deque's elements stay where they are, but be plain about it
        target->extra = pop();
      }
      target = &out_.values[target->extra];
    }
    if (target->kind != kind) fail("opcode adds to a container of another kind");
    if (kind == Kind::kDict && items.size() % 2 != 0) fail("a dict wants keys and values in pairs");
    target->items.insert(target->items.end(), items.begin(), items.end());
  }

  void put(std::uint64_t slot) {
    want(1);
    if (slot >= kMaxValues) fail("memo: at most " + std::to_string(kMaxValues) + " slots");
    if (memo_.size() <= slot) memo_.resize(static_cast<std::size_t>(slot) + 1, kEmptySlot);
    memo_[static_cast<std::size_t>(slot)] = stack_.back();
    memoized_ = std::max(memoized_, static_cast<std::size_t>(slot) + 1);
  }
  void get(std::uint64_t slot) {
    if (slot >= memo_.size() || memo_[static_cast<std::size_t>(slot)] == kEmptySlot) {
      fail("memo slot " + std::to_string(slot) + " is empty");
    }
    push(memo_[static_cast<std::size_t>(slot)]);
  }

  bool step() {
    op_at_ = at_;
    const auto op = static_cast<unsigned char>(number(1));
    switch (op) {
      case kStop:
        if (stack_.size() != 1 || !marks_.empty()) {
          fail("the end wants one value, there are " + std::to_string(stack_.size()));
        }
        out_.root = stack_.back();
        return false;
      case kProto:
        if (const std::uint64_t protocol = number(1); protocol < 2 || protocol > 5) {
          fail("protocol: 2 to 5 are read, got " + std::to_string(protocol));
        }
        break;
      case kFrame:
        number(8);  // a hint for readers of streams
        break;
      case kMark:
        if (marks_.size() >= kMaxStack) fail("stack: at most " + std::to_string(kMaxStack) + " marks");
        marks_.push_back(static_cast<Index>(stack_.size()));
        break;
      case kPop:
        if (!marks_.empty() && stack_.size() == marks_.back()) {
          marks_.pop_back();
        } else {
          pop();
        }
        break;
      case kPopMark:
        pop_to_mark();
        break;
      case kDup:
        want(1);
        push(stack_.back());
        break;
      case kNone:
        make(Kind::kNone);
        break;
      case kNewTrue:
      case kNewFalse:
        make(Kind::kBool).integer = op == kNewTrue ? 1 : 0;
        break;
      case kBinInt:
        integer(static_cast<std::int32_t>(number(4)));
        break;
      case kBinInt1:
        integer(static_cast<std::int64_t>(number(1)));
        break;
      case kBinInt2:
        integer(static_cast<std::int64_t>(number(2)));
        break;
      case kLong1:
        long_integer(number(1));
        break;
      case kLong4:
        long_integer(number(4));
        break;
      case kBinFloat:
        real(take(8));
        break;
      case kBinUnicode:
        text(Kind::kText, take(number(4)));
        break;
      case kShortBinUnicode:
        text(Kind::kText, take(number(1)));
        break;
      case kBinUnicode8:
        text(Kind::kText, take(number(8)));
        break;
      case kBinString:  // Python 2's str
        text(Kind::kText, take(number(4)));
        break;
      case kShortBinString:
        text(Kind::kText, take(number(1)));
        break;
      case kBinBytes:
        text(Kind::kBytes, take(number(4)));
        break;
      case kShortBinBytes:
        text(Kind::kBytes, take(number(1)));
        break;
      case kBinBytes8:
      case kByteArray8:
        text(Kind::kBytes, take(number(8)));
        break;
      case kEmptyList:
        make(Kind::kList);
        break;
      case kEmptyTuple:
        make(Kind::kTuple);
        break;
      case kEmptyDict:
        make(Kind::kDict);
        break;
      case kEmptySet:
        make(Kind::kSet);
        break;
      case kList:
        container(Kind::kList, pop_to_mark());
        break;
      case kTuple:
        container(Kind::kTuple, pop_to_mark());
        break;
      case kDict:
        container(Kind::kDict, pop_to_mark());
        break;
      case kFrozenSet:
        container(Kind::kSet, pop_to_mark());
        break;
      case kTuple1:
      case kTuple2:
      case kTuple3:
        tuple(op - kTuple1 + 1u);
        break;
      case kAppend: {
        const Index item = pop();
        add(Kind::kList, std::span(&item, 1));
        break;
      }
      case kAppends:
        add(Kind::kList, pop_to_mark());
        break;
      case kAddItems:
        add(Kind::kSet, pop_to_mark());
        break;
      case kSetItem: {
        want(2);
        const Index pair[2] = {stack_[stack_.size() - 2], stack_.back()};
        stack_.resize(stack_.size() - 2);
        add(Kind::kDict, pair);
        break;
      }
      case kSetItems:
        add(Kind::kDict, pop_to_mark());
        break;
      case kBinGet:
        get(number(1));
        break;
      case kLongBinGet:
        get(number(4));
        break;
      case kBinPut:
        put(number(1));
        break;
      case kLongBinPut:
        put(number(4));
        break;
      case kMemoize:
        put(memoized_);
        break;
      case kGlobal: {
        const std::string_view module = line(), name = line();
        Value& value = make(Kind::kGlobal);
        value.text = module;
        value.name = name;
        break;
      }
      case kStackGlobal: {
        const Index name = pop(), module = pop();
        if (out_.at(name).kind != Kind::kText || out_.at(module).kind != Kind::kText) {
          fail("a class is named by two texts");
        }
        const std::string_view module_text = out_.at(module).text, name_text = out_.at(name).text;
        Value& value = make(Kind::kGlobal);
        value.text = module_text;
        value.name = name_text;
        break;
      }
      case kReduce:
      case kNewObj: {
        const Index arguments = pop(), callable = pop();
        call(callable, arguments);
        break;
      }
      case kNewObjEx: {
        pop();  // keyword arguments
        const Index arguments = pop(), callable = pop();
        call(callable, arguments);
        break;
      }
      case kBuild:
        pop();
        top().built = true;
        break;
      case kBinPersId: {
        const Index id = pop();
        make(Kind::kPersistent).items = {id};
        break;
      }
      default: {
        char hex[8];
        std::snprintf(hex, sizeof hex, "0x%02x", static_cast<unsigned>(op));
        fail(std::string("opcode ") + hex +
             " is not taken: files of torch.save with pickle protocol 2 to 5 are read");
      }
    }
    return true;
  }

  static constexpr Index kEmptySlot = ~Index{0};

  const std::string& path_;
  std::span<const std::byte> bytes_;
  std::size_t at_ = 0, op_at_ = 0;
  Pickle out_;
  std::vector<Index> stack_, marks_, memo_;
  std::size_t memoized_ = 0;
};

}  // namespace

Pickle parse(const std::string& path, std::span<const std::byte> bytes) {
  if (bytes.size() > kMaxBytes) {
    throw FileError(path,
                    "pickle (data.pkl): at most " + std::to_string(kMaxBytes) + " bytes are read, got " +
                        std::to_string(bytes.size()));
  }
  return Machine(path, bytes).run();
}

std::string describe(const Pickle& pickle, Index index) {
  const Value& value = pickle.at(index);
  const auto of = [&](const char* what, std::size_t count) {
    return std::string(what) + " of " + std::to_string(count);
  };
  switch (value.kind) {
    case Kind::kNone:
      return "None";
    case Kind::kBool:
      return value.integer != 0 ? "True" : "False";
    case Kind::kInt:
      return "the number " + std::to_string(value.integer);
    case Kind::kBigInt:
      return "a number above 64 bits";
    case Kind::kFloat:
      return "a float";
    case Kind::kText:
      return "the text " + in_quotes(value.text);
    case Kind::kBytes:
      return of("bytes", value.text.size());
    case Kind::kTuple:
      return of("a tuple", value.items.size());
    case Kind::kList:
      return of("a list", value.items.size());
    case Kind::kDict:
      return of("a dict", value.items.size() / 2);
    case Kind::kSet:
      return of("a set", value.items.size());
    case Kind::kGlobal:
      return "the class or function " + in_quotes(std::string(value.text) + "." + std::string(value.name));
    case Kind::kPersistent:
      return "a storage";
    case Kind::kCall: {
      const Value& callable = pickle.at(value.items[0]);
      if (callable.kind != Kind::kGlobal) return "an object that a call made";
      // Protocol 2 and up make plain objects through copyreg: the class is an argument.
      const Value& arguments = pickle.at(value.items[1]);
      if (callable.text.starts_with("copy") && !arguments.items.empty() &&
          pickle.at(arguments.items[0]).kind == Kind::kGlobal) {
        const Value& type = pickle.at(arguments.items[0]);
        return "an object of " + in_quotes(std::string(type.text) + "." + std::string(type.name));
      }
      return "an object of " + in_quotes(std::string(callable.text) + "." + std::string(callable.name));
    }
  }
  return "";
}

}  // namespace offramp::pickle
