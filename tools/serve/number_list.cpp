#include "tools/serve/number_list.h"

#include <charconv>
#include <cstddef>

namespace offramp::tools {
namespace {

constexpr int kDeepestList = 4;
constexpr std::size_t kMostDigits = 15;  // of a whole number that is a double without rounding

// Reads on through a text; every function says whether it found what it wanted.
class Reader {
 public:
  Reader(std::string_view text, std::size_t at) : text_(text), at_(at) {}

  std::size_t at() const { return at_; }
  char next() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void skip_space() {
    while (next() == ' ' || next() == '\t' || next() == '\n' || next() == '\r') ++at_;
  }
  bool take(char c) {
    skip_space();
    if (next() != c) return false;
    ++at_;
    return true;
  }

  // -?(0|[1-9][0-9]*)(.[0-9]+)?([eE][+-]?[0-9]+)?, as RFC 8259 has it.
  bool take_number(float& to) {
    const std::size_t begin = at_;
    if (next() == '-') ++at_;
    const std::size_t whole = at_;
    if (!take_digits() || (text_[whole] == '0' && at_ > whole + 1)) return false;
    bool integer = true;
    if (next() == '.') {
      ++at_;
      integer = false;
      if (!take_digits()) return false;
    }
    if (next() == 'e' || next() == 'E') {
      ++at_;
      integer = false;
      if (next() == '+' || next() == '-') ++at_;
      if (!take_digits()) return false;
    }
    if (integer && at_ - whole > kMostDigits) return false;
    double value = 0;
    const auto [end, error] = std::from_chars(text_.data() + begin, text_.data() + at_, value);
    if (error != std::errc() || end != text_.data() + at_) return false;
    to = static_cast<float>(integer ? value + 0.0 : value);  // -0 is the whole number 0
    return true;
  }

 private:
  bool take_digits() {
    const std::size_t begin = at_;
    while (next() >= '0' && next() <= '9') ++at_;
    return at_ > begin;
  }

  std::string_view text_;
  std::size_t at_;
};

// A list whose first bracket comes next.
bool take_list(Reader& in, std::vector<float>& numbers) {
  int depth = 0;
  do {
    // A value: brackets, then a number.
    while (in.take('[')) {
      if (++depth > kDeepestList) return false;
    }
    float number = 0;
    if (depth == 0 || !in.take_number(number)) return false;
    numbers.push_back(number);
    while (depth > 0 && in.take(']')) --depth;
  } while (depth > 0 && in.take(','));
  return depth == 0;
}

}  // namespace

std::optional<NumberList> take_number_list(std::string_view text, const std::string& key) {
  const std::string quoted = '"' + key + '"';
  const std::size_t found = text.find(quoted);
  if (found == std::string_view::npos) return std::nullopt;
  Reader in(text, found + quoted.size());
  if (!in.take(':')) return std::nullopt;
  in.skip_space();
  const std::size_t begin = in.at();
  NumberList list;
  if (!take_list(in, list.numbers)) return std::nullopt;
  list.rest.append(text.substr(0, begin)).append(kListPlaceholder).append(text.substr(in.at()));
  return list;
}

}  // namespace offramp::tools
