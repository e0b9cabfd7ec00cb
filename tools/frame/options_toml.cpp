// The TOML side of Options: --config files in, config.toml out.
#include "tools/frame/options.h"

#include "base/utf8.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iterator>

// toml++ 3.3 meets some damaged texts ([@=a], 1979-05-27T'7:32) with assertions, which in a build without them are taken for
// granted. They must hold in any build, so they throw.
namespace {
struct DamagedToml {};
[[noreturn]] void toml_assertion_failed() { throw DamagedToml(); }
}  // namespace
#pragma push_macro("NDEBUG")
#undef NDEBUG
#define TOML_ASSERT(expr) ((expr) ? static_cast<void>(0) : toml_assertion_failed())
#include <toml++/toml.h>
#pragma pop_macro("NDEBUG")

namespace offramp::tools {
namespace {

std::string quoted_toml(const std::string& text) {
  std::string out = "\"";
  for (const char ch : text) {
    if (ch == '"' || ch == '\\') {
      out += {'\\', ch};
    } else if (ch == '\n') {
      out += "\\n";
    } else if (ch == '\t') {
      out += "\\t";
    } else if (static_cast<unsigned char>(ch) < 0x20 || ch == 0x7f) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(ch));
    } else {
      out += ch;
    }
  }
  return out + '"';
}

std::string number_toml(double value) {
  std::string text = fmt::format("{}", value);  // the shortest that reads back equal
  if (text.find_first_not_of("-0123456789") == std::string::npos) text += ".0";
  return text;
}

template <class T, class F>
std::string list_toml(const std::vector<T>& values, F&& text_of) {
  std::string out = "[";
  for (const T& value : values) out += (out.size() > 1 ? ", " : "") + text_of(value);
  return out + "]";
}

std::optional<Value> scalar(const toml::node& node, std::size_t type) {
  switch (type) {
    case 1:
      if (const auto* b = node.as_boolean()) return Value(b->get());
      break;
    case 2:
      if (const auto* i = node.as_integer()) return Value(i->get());
      break;
    case 3:
      if (const auto* d = node.as_floating_point()) return Value(d->get());
      if (const auto* i = node.as_integer()) return Value(static_cast<double>(i->get()));
      break;
    default:
      if (const auto* s = node.as_string()) return Value(s->get());
  }
  return std::nullopt;
}

template <class T>
std::optional<Value> list(const toml::array& array, std::size_t element_type) {
  std::vector<T> out;
  for (const toml::node& node : array) {
    const std::optional<Value> value = scalar(node, element_type);
    if (!value) return std::nullopt;
    out.push_back(std::get<T>(*value));
  }
  return out;
}

std::optional<Value> value_of(const toml::node& node, std::size_t type) {
  if (type < 5) return scalar(node, type);
  const toml::array* const array = node.as_array();
  if (array == nullptr) return std::nullopt;
  if (type == 5) return list<std::int64_t>(*array, 2);
  if (type == 6) return list<double>(*array, 3);
  return list<std::string>(*array, 4);
}

struct Leaf {
  std::string key;
  const toml::node* node;
};

void collect(const toml::table& table, const std::string& prefix, std::vector<Leaf>& out) {
  for (const auto& [key, node] : table) {
    const std::string full = prefix + std::string(key.str());
    if (const toml::table* inner = node.as_table()) {
      collect(*inner, full + ".", out);
    } else {
      out.push_back({full, &node});
    }
  }
}

constexpr std::string_view kWanted[] = {"",
                                        "true or false",
                                        "an integer",
                                        "a number",
                                        "text",
                                        "a list of integers",
                                        "a list of numbers",
                                        "a list of words"};

// What toml++ 3.3 cannot be given: on characters beyond ASCII outside of quotes, and behind a backslash that ends a line of
// text of several lines, it runs into code marked unreachable. Configurations need these as little as control characters
// and lists of tables. Empty, or what is wrong and the line.
std::string unreadable(std::string_view text) {
  const auto at_line = [&](std::size_t i, const char* what) {
    return fmt::format("line {}: {}",
                       1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(i), '\n'),
                       what);
  };
  if (const std::size_t bad = first_bad_utf8(text); bad != std::string_view::npos)
    return at_line(bad, "expected UTF-8");
  const auto control = std::find_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\r' && c != '\t') || c == 0x7f;
  });
  if (control != text.end())
    return at_line(static_cast<std::size_t>(control - text.begin()),
                   "expected text, found a control character");
  bool blank_line = true, in_value = false;
  char before = '\n';  // the last character that is no blank
  for (std::size_t i = text.starts_with("\xEF\xBB\xBF") ? 3 : 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '#') {
      i = std::min(text.find('\n', i), text.size()) - 1;
    } else if (c == '"' || c == '\'') {
      if (std::string_view("\n=[,{.").find(before) == std::string_view::npos || (before == '.' && in_value))
        return at_line(i, "expected no quote in the middle of a word");
      if (text.substr(i, 3) == std::string(3, c))
        return at_line(i, "expected text on one line; \\n in quotes stands for a line break");
      const std::size_t begin = i;
      for (++i; i < text.size() && text[i] != c && text[i] != '\n'; ++i) {
        if (c == '"' && text[i] == '\\' && i + 1 < text.size() && text[i + 1] != '\n') ++i;
      }
      if (i >= text.size() || text[i] != c) return at_line(begin, "expected the quote to end on its line");
      blank_line = false;
      before = c;
    } else if (static_cast<unsigned char>(c) >= 0x80) {
      return at_line(i, "expected ASCII outside of quotes");
    } else if ((c == '[' || c == '{') && std::string_view("\n=[,").find(before) == std::string_view::npos) {
      return at_line(i, "expected no bracket in the middle of a word");
    } else if (blank_line && text.substr(i).starts_with("[[")) {
      return at_line(i, "expected [section], lists of tables are not used here");
    } else if (c == '\n') {
      blank_line = true;
      in_value = false;
      before = c;
    } else if (c != ' ' && c != '\t' && c != '\r') {
      blank_line = false;
      in_value = in_value || c == '=';
      before = c;
    }
  }
  return "";
}

}  // namespace

std::string toml_text(const Value& value) {
  struct Writer {
    std::string operator()(std::monostate) const { return "none"; }
    std::string operator()(bool b) const { return b ? "true" : "false"; }
    std::string operator()(std::int64_t i) const { return std::to_string(i); }
    std::string operator()(double d) const { return number_toml(d); }
    std::string operator()(const std::string& s) const { return quoted_toml(s); }
    std::string operator()(const std::vector<std::int64_t>& v) const {
      return list_toml(v, [](std::int64_t i) { return std::to_string(i); });
    }
    std::string operator()(const std::vector<double>& v) const { return list_toml(v, number_toml); }
    std::string operator()(const std::vector<std::string>& v) const { return list_toml(v, quoted_toml); }
  };
  return std::visit(Writer(), value);
}

std::optional<Value> words_of_toml(const std::string& text) {
  if (!text.starts_with('[') || !unreadable("words = " + text).empty()) return std::nullopt;
  try {
    const toml::table table = toml::parse("words = " + text);
    const toml::node* const words = table.get("words");
    return table.size() == 1 && words != nullptr ? value_of(*words, 7) : std::nullopt;
  } catch (const toml::parse_error&) {
    return std::nullopt;  // a word that begins with a bracket
  } catch (const DamagedToml&) {
    return std::nullopt;
  }
}

void Options::apply_toml_file(const std::string& verb, const std::filesystem::path& path) {
  toml::table table;
  std::ifstream in(path, std::ios::binary);
  if (!in || std::filesystem::is_directory(path)) throw UsageError(path.string() + ": cannot be read");
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  if (const std::string wrong = unreadable(text); !wrong.empty())
    throw UsageError(path.string() + ": " + wrong);
  try {
    table = toml::parse(text, path.string());
  } catch (const DamagedToml&) {
    throw UsageError(path.string() + ": expected TOML");
  } catch (const toml::parse_error& error) {
    if (error.source().begin.line == 0)
      throw UsageError(path.string() + ": " + std::string(error.description()));
    throw UsageError(fmt::format("{}:{}: {}", path.string(), error.source().begin.line, error.description()));
  }
  std::vector<Leaf> leaves;
  collect(table, "", leaves);
  for (const Leaf& leaf : leaves) {
    const std::string where = fmt::format("{}:{}", path.string(), leaf.node->source().begin.line);
    if (leaf.key == "verb") {
      const auto* named = leaf.node->as_string();
      if (named == nullptr || named->get() != verb) {
        throw UsageError(where + ": this configuration is for another verb than '" + verb + "'");
      }
      continue;
    }
    Option& option = known_key(leaf.key, where);
    std::optional<Value> value = value_of(*leaf.node, option.type_);
    if (!value) throw UsageError(fmt::format("{}: {}: {} wanted", where, leaf.key, kWanted[option.type_]));
    assign(option, std::move(*value), where + ": " + leaf.key);
  }
}

std::string Options::resolved_toml(const std::string& verb) const {
  std::string top = "verb = " + quoted_toml(verb) + "\n";
  std::vector<std::pair<std::string, std::string>> sections;  // in order of declaration
  for (const Option& option : options_) {
    if (!option.in_config_ || std::holds_alternative<std::monostate>(option.value_)) continue;
    const std::size_t dot = option.key_.rfind('.');
    const std::string line = option.key_.substr(dot + 1) + " = " + toml_text(option.value_) + "\n";
    if (dot == std::string::npos) {
      top += line;
      continue;
    }
    const std::string name = option.key_.substr(0, dot);
    auto it = std::find_if(sections.begin(), sections.end(), [&](const auto& s) { return s.first == name; });
    if (it == sections.end()) it = sections.insert(sections.end(), {name, ""});
    it->second += line;
  }
  for (const auto& [name, lines] : sections) top += "\n[" + name + "]\n" + lines;
  return top;
}

}  // namespace offramp::tools
