#include "base/safetensors_header.h"

#include "base/errors.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <iterator>
#include <limits>
#include <optional>
#include <set>
#include <unordered_set>

namespace offramp::safetensors {
namespace {

constexpr std::size_t kShownMessage = 200;

std::optional<Dtype> dtype_of(std::string_view name) {
  for (int i = 0; i <= static_cast<int>(kLastDtype); ++i) {
    if (dtype_name(static_cast<Dtype>(i)) == name) return static_cast<Dtype>(i);
  }
  return std::nullopt;
}

// Iterates over the header and counts, so that a SAX callback knows roughly where the parser stands.
class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CountingIterator(const char* at, std::uint64_t* count) : at_(at), count_(count) {}
  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    ++at_;
    ++*count_;
    return *this;
  }
  CountingIterator operator++(int) {
    CountingIterator old = *this;
    ++*this;
    return old;
  }
  bool operator==(const CountingIterator& other) const { return at_ == other.at_; }
  bool operator!=(const CountingIterator& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  std::uint64_t* count_;
};

// Builds the entries while the parser runs: nothing deeper than the format has is ever entered, and the first
// thing that is wrong stops the parse.
class HeaderSax {
 public:
  using json = nlohmann::json;

  HeaderSax(const std::string& path, Header& out) : path_(path), out_(out) {}
  std::uint64_t consumed = 0;

  bool null() { return wrong_value("null"); }
  bool boolean(bool) { return wrong_value("a boolean"); }
  bool number_integer(json::number_integer_t) { return wrong_value("a negative number"); }
  bool number_float(json::number_float_t, const std::string&) {
    return wrong_value("a number that is no 64-bit integer");
  }
  bool binary(json::binary_t&) { return wrong_value("binary"); }

  bool number_unsigned(json::number_unsigned_t value) {
    constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    if (value > kMax) return wrong_value("a number above 2^63 - 1");
    if (in_ == In::kShape) {
      if (entry_.shape.size() == kMaxRank)
        fail("shape: at most " + std::to_string(kMaxRank) + " dimensions" + of_tensor());
      entry_.shape.push_back(static_cast<std::int64_t>(value));
    } else if (in_ == In::kOffsets) {
      if (offsets_.size() == 2) fail("data_offsets: two numbers wanted, more came" + of_tensor());
      offsets_.push_back(value);
    } else {
      return wrong_value("a number");
    }
    return true;
  }

  bool string(std::string& value) {
    if (in_ == In::kMetadata) {
      count_text(value.size());
      out_.metadata[key_] = std::move(value);
    } else if (in_ == In::kTensor && key_ == "dtype") {
      const auto dtype = dtype_of(value);
      if (!dtype) fail("dtype: " + in_quotes(value) + " is not known" + of_tensor());
      entry_.dtype = *dtype;
    } else {
      return wrong_value("a string");
    }
    return true;
  }

  bool start_object(std::size_t) {
    if (in_ == In::kNothing) {
      in_ = In::kRoot;
    } else if (in_ == In::kRoot) {
      in_ = key_ == "__metadata__" ? In::kMetadata : In::kTensor;
      if (in_ == In::kTensor) {
        if (out_.entries.size() == kMaxTensors)
          fail("tensors: at most " + std::to_string(kMaxTensors) + " are read");
        entry_ = Entry{};
        entry_.name = key_;
        offsets_.clear();
        seen_ = {};
      }
    } else {
      return wrong_value("an object");
    }
    return true;
  }

  bool key(std::string& value) {
    key_ = std::move(value);
    if (in_ == In::kTensor) {
      const auto field = std::find(kFields.begin(), kFields.end(), key_);
      if (field == kFields.end())
        fail("tensor field: dtype, shape or data_offsets wanted, got " + in_quotes(key_) + of_tensor());
      bool& seen = seen_[static_cast<std::size_t>(field - kFields.begin())];
      if (seen) fail("duplicate key: " + in_quotes(key_) + of_tensor());
      seen = true;
      return true;
    }
    count_text(key_.size());
    if (in_ == In::kMetadata ? out_.metadata.contains(key_) : !names_.insert(key_).second) {
      fail("duplicate key: " + in_quotes(key_));
    }
    return true;
  }

  bool end_object() {
    if (in_ == In::kTensor) {
      finish_tensor();
      in_ = In::kRoot;
    } else if (in_ == In::kMetadata) {
      in_ = In::kRoot;
    } else {
      in_ = In::kDone;
    }
    return true;
  }

  bool start_array(std::size_t) {
    if (in_ == In::kTensor && key_ == "shape") {
      in_ = In::kShape;
    } else if (in_ == In::kTensor && key_ == "data_offsets") {
      in_ = In::kOffsets;
    } else {
      return wrong_value("an array");
    }
    return true;
  }

  bool end_array() {
    in_ = In::kTensor;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const json::exception& error) {
    std::string text = error.what();
    const std::size_t id = text.find("] ");  // "[json.exception.parse_error.101] parse error at ..."
    if (id != std::string::npos) text.erase(0, id + 2);
    if (text.size() > kShownMessage) text.resize(kShownMessage);
    throw FileError(
        path_, kLengthBytes + (position == 0 ? 0 : position - 1), "header is not valid JSON: " + text);
  }

 private:
  enum class In { kNothing, kRoot, kMetadata, kTensor, kShape, kOffsets, kDone };
  static constexpr std::array<std::string_view, 3> kFields{"dtype", "shape", "data_offsets"};

  std::string of_tensor() const { return " of tensor " + in_quotes(entry_.name); }

  [[noreturn]] void fail(const std::string& detail) const {
    throw FileError(path_, kLengthBytes + (consumed == 0 ? 0 : consumed - 1), detail);
  }

  bool wrong_value(std::string_view got) const {
    const std::string came = ", got " + std::string(got);
    switch (in_) {
      case In::kNothing:
      case In::kDone:
        fail("header: an object wanted" + came);
      case In::kRoot:
        fail("value of " + in_quotes(key_) + ": an object wanted" + came);
      case In::kMetadata:
        fail("metadata " + in_quotes(key_) + ": a string wanted" + came);
      case In::kTensor:
        fail(key_ + ": " + (key_ == "dtype" ? "a string" : "an array") + " wanted" + came + of_tensor());
      case In::kShape:
        fail("shape: numbers from 0 to 2^63 - 1 wanted" + came + of_tensor());
      case In::kOffsets:
        fail("data_offsets: numbers from 0 to 2^63 - 1 wanted" + came + of_tensor());
    }
    return false;
  }

  void count_text(std::size_t bytes) {
    text_bytes_ += bytes;
    if (text_bytes_ > kMaxTextBytes) {
      fail("names and metadata: at most " + std::to_string(kMaxTextBytes) + " bytes are read");
    }
  }

  void finish_tensor() {
    for (std::size_t i = 0; i < kFields.size(); ++i) {
      if (!seen_[i]) fail("missing field: " + std::string(kFields[i]) + of_tensor());
    }
    if (offsets_.size() != 2)
      fail("data_offsets: two numbers wanted, got " + std::to_string(offsets_.size()) + of_tensor());
    entry_.begin = offsets_[0];
    entry_.end = offsets_[1];
    if (entry_.end < entry_.begin) {
      fail("data_offsets: [" + std::to_string(entry_.begin) + "," + std::to_string(entry_.end) +
           "] ends before it begins" + of_tensor());
    }
    std::uint64_t wanted = 0;
    try {
      wanted = checked_bytes(entry_.shape, entry_.dtype);
    } catch (const ShapeError& error) {
      fail(error.what() + of_tensor());
    }
    if (entry_.bytes() != wanted) {
      fail("data_offsets: shape " + format_shape(entry_.shape) + " of " +
           std::string(dtype_name(entry_.dtype)) + " takes " + std::to_string(wanted) +
           " bytes, offsets span " + std::to_string(entry_.bytes()) + of_tensor());
    }
    out_.entries.push_back(std::move(entry_));
  }

  const std::string& path_;
  Header& out_;
  In in_ = In::kNothing;
  std::string key_;
  Entry entry_;
  std::vector<std::uint64_t> offsets_;
  std::array<bool, 3> seen_{};
  std::unordered_set<std::string> names_;
  std::size_t text_bytes_ = 0;
};

// The parser collects a string, a number or a run of spaces before it looks at it; one of 100 MB would take
// 200 MB of buffers. It also takes a zero byte for the end of the text, whatever follows.
void check_tokens(const std::string& path, std::string_view text) {
  const std::size_t zero = text.find('\0');
  if (zero != std::string_view::npos) {
    throw FileError(path, kLengthBytes + zero, "header is not valid JSON: zero byte");
  }
  if (text.size() <= kMaxTokenBytes) return;
  std::size_t begin = 0;  // of the token that is being read
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char ch = text[i];
    if (in_string && ch == '\\') {
      ++i;
    } else if (ch == '"') {
      in_string = !in_string;
      begin = i;
    } else if (!in_string && (ch == ',' || ch == ':' || ch == '[' || ch == ']' || ch == '{' || ch == '}')) {
      begin = i;
    }
    if (i - begin > kMaxTokenBytes) {
      throw FileError(path,
                      kLengthBytes + begin,
                      "header token: at most " + std::to_string(kMaxTokenBytes) + " bytes are read");
    }
  }
}

void check_layout(const std::string& path,
                  std::uint64_t data_begin,
                  std::uint64_t data_bytes,
                  std::vector<Entry>& entries) {
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end != b.end ? a.end < b.end : a.name < b.name;
  });
  std::uint64_t at = 0;
  for (const Entry& entry : entries) {
    const std::string name = "tensor " + in_quotes(entry.name);
    if (entry.end > data_bytes) {
      throw FileError(path,
                      data_begin + data_bytes,
                      "truncated: " + name + " ends at byte " + std::to_string(data_begin + entry.end) +
                          ", the file before that");
    }
    if (entry.begin < at)
      throw FileError(
          path, data_begin + entry.begin, "overlap: " + name + " begins inside the tensor before it");
    if (entry.begin > at)
      throw FileError(path, data_begin + at, "hole: no tensor covers the bytes before " + name);
    at = entry.end;
  }
  if (at != data_bytes) {
    throw FileError(
        path, data_begin + at, "length: " + std::to_string(data_bytes - at) + " bytes after the last tensor");
  }
}

}  // namespace

std::uint64_t checked_elements(std::span<const std::int64_t> shape, std::size_t element_bytes) {
  if (shape.size() > kMaxRank)
    throw ShapeError("shape: at most " + std::to_string(kMaxRank) + " dimensions, got " +
                     std::to_string(shape.size()));
  std::int64_t nonzero = static_cast<std::int64_t>(element_bytes);
  bool empty = false;
  for (const std::int64_t extent : shape) {
    if (extent < 0) throw ShapeError("shape: negative extent in " + format_shape(shape));
    if (extent == 0) {
      empty = true;
    } else if (__builtin_mul_overflow(nonzero, extent, &nonzero)) {
      throw ShapeError("shape: size of " + format_shape(shape) + " overflows 64 bits");
    }
  }
  return empty ? 0 : static_cast<std::uint64_t>(nonzero) / element_bytes;
}

std::uint64_t checked_bytes(std::span<const std::int64_t> shape, Dtype dtype) {
  const std::size_t bits = dtype_bits(dtype);
  if (bits % 8 == 0) return checked_elements(shape, bits / 8) * (bits / 8);
  const std::uint64_t elements = checked_elements(shape, 1);
  if (elements % 8 * bits % 8 != 0) {
    throw ShapeError("shape: " + format_shape(shape) + " of " + std::string(dtype_name(dtype)) +
                     " does not fill whole bytes");
  }
  return elements / 8 * bits + elements % 8 * bits / 8;
}

Header parse_header(const std::string& path, std::string_view text, std::uint64_t data_bytes) {
  if (text.empty() || text.front() != '{') throw FileError(path, kLengthBytes, "header: must begin with '{'");
  check_tokens(path, text);
  Header header;
  HeaderSax sax(path, header);
  const CountingIterator first(text.data(), &sax.consumed);
  const CountingIterator last(text.data() + text.size(), &sax.consumed);
  nlohmann::json::sax_parse(first, last, &sax);
  check_layout(path, kLengthBytes + text.size(), data_bytes, header.entries);
  return header;
}

}  // namespace offramp::safetensors
