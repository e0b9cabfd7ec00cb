#include "tools/frame/options.h"

#include "base/utf8.h"
#include "tools/frame/nearest.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

namespace offramp::tools {
namespace {

constexpr std::size_t kWords = 7;  // the alternative of Value that holds words

constexpr std::string_view kTypeNames[] = {
    "nothing", "true or false", "an integer", "a number", "text", "integers", "numbers", "words"};
constexpr std::string_view kHelpNames[] = {"", "", "INT", "NUM", "TEXT", "INT,...", "NUM,...", "TEXT ..."};

std::string default_flag(const std::string& key) {
  std::string name = key.substr(key.rfind('.') + 1);  // npos + 1 is 0: the whole key
  std::replace(name.begin(), name.end(), '_', '-');
  return "--" + name;
}

// "1 to 10", or "at least 1" where the upper end only says that there is none.
std::string range_text(double least, double most) {
  return most >= 1e18 ? fmt::format("at least {}", least) : fmt::format("{} to {}", least, most);
}

std::string section_of(const std::string& key) {
  const std::size_t dot = key.rfind('.');
  return dot == std::string::npos ? "" : key.substr(0, dot);
}

template <class T>
std::optional<T> parse_number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<bool> parse_bool(std::string_view text) {
  for (const std::string_view yes : {"true", "yes", "on", "1"}) {
    if (text == yes) return true;
  }
  for (const std::string_view no : {"false", "no", "off", "0"}) {
    if (text == no) return false;
  }
  return std::nullopt;
}

std::vector<std::string> split_commas(std::string_view text) {
  if (text.size() >= 2 && text.front() == '[' && text.back() == ']') text = text.substr(1, text.size() - 2);
  std::vector<std::string> parts;
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    std::string_view part = text.substr(0, comma);
    while (part.starts_with(' ')) part.remove_prefix(1);
    while (part.ends_with(' ')) part.remove_suffix(1);
    parts.emplace_back(part);
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return parts;
}

// The Value of alternative `type` that `text` spells; nullopt if it spells none. Not for words: they are
// taken as they are (assign_text).
std::optional<Value> parse_value(std::size_t type, std::string_view text) {
  const auto wrap = [](const auto& parsed) { return parsed ? std::optional<Value>(*parsed) : std::nullopt; };
  const auto list = [&]<class T>(std::vector<T> out, auto parse) -> std::optional<Value> {
    for (const std::string& part : split_commas(text)) {
      const auto parsed = parse(part);
      if (!parsed) return std::nullopt;
      out.push_back(*parsed);
    }
    return out;
  };
  switch (type) {
    case 1:
      return wrap(parse_bool(text));
    case 2:
      return wrap(parse_number<std::int64_t>(text));
    case 3:
      return wrap(parse_number<double>(text));
    case 4:
      return Value(std::string(text));
    case 5:
      return list(std::vector<std::int64_t>(), parse_number<std::int64_t>);
    default:
      return list(std::vector<double>(), parse_number<double>);
  }
}

// CLI11 divides a positional "[a,b]" into two; a byte that nobody types, behind each closing bracket, keeps
// it one.
constexpr char kGuard = '\x1f';

void unguard(std::vector<std::string>& words) {
  for (std::string& word : words) {
    if (word.ends_with(kGuard)) word.pop_back();
  }
}

std::string did_you_mean(std::string_view word, const std::vector<std::string>& known) {
  const std::string best = nearest(word, known);
  return best.empty() ? "" : "; nearest known: " + best;
}

}  // namespace

Option& Option::range(double least, double most) {
  least_ = least;
  most_ = most;
  return *this;
}
Option& Option::choices(std::vector<std::string> words) {
  choices_ = std::move(words);
  return *this;
}
Option& Option::flag(std::string name) {
  flag_ = std::move(name);
  return *this;
}
Option& Option::positional() {
  positional_ = true;
  return *this;
}
Option& Option::required() {
  required_ = true;
  return *this;
}
Option& Option::not_in_config() {
  in_config_ = false;
  return *this;
}
Option& Option::free_on_resume() {
  free_on_resume_ = true;
  return *this;
}

Option& Option::distinct() {
  distinct_ = true;
  return *this;
}

Option& Option::written(Written what) {
  written_ = what;
  return *this;
}

Option& Option::alias(std::string key, std::string flag) {
  aliases_.emplace_back(std::move(key), std::move(flag));
  return *this;
}

double option_detail::Codec<float>::shortest(float v) { return *parse_number<double>(fmt::format("{}", v)); }

Option& Options::add_option(
    const std::string& key, std::string help, Value value, std::size_t type, bool optional) {
  if (find_key(key) != nullptr) throw Error("options: " + key + " is declared twice");
  Option& option = options_.emplace_back();
  option.key_ = key;
  option.flag_ = default_flag(key);
  option.help_ = std::move(help);
  option.default_ = option.value_ = std::move(value);
  option.type_ = type;
  option.optional_ = optional;
  return option;
}

const Option* Options::find_key(std::string_view key) const {
  for (const Option& option : options_) {
    if (option.key_ == key) return &option;
    for (const auto& [old_key, flag] : option.aliases_)
      if (old_key == key) return &option;
  }
  return nullptr;
}

Option& Options::known_key(std::string_view key, const std::string& where) {
  std::vector<std::string> known;
  for (Option& option : options_) {
    if (!option.in_config_) continue;
    if (&option == find_key(key)) return option;
    known.push_back(option.key_);
  }
  throw UsageError(where + ": unknown key " + in_quotes(key) + did_you_mean(key, known));
}

void Options::assign(Option& option, Value value, const std::string& where) {
  const auto check_number = [&](double number, const std::string& text) {
    if (option.least_ && !(number >= *option.least_ && number <= *option.most_)) {
      throw UsageError(where + ": " + range_text(*option.least_, *option.most_) + " wanted, got " + text);
    }
    if (std::isnan(number)) throw UsageError(where + ": a number wanted, got nan");
  };
  const auto check_word = [&](const std::string& word) {
    // A run's configuration and every answer repeat it, in formats that know UTF-8 only.
    if (!is_utf8(word)) throw UsageError(where + ": text in UTF-8 wanted, got " + in_quotes(word));
    if (word.find('\0') != std::string::npos)
      throw UsageError(where + ": text without NUL wanted, got " + in_quotes(word));
    if (option.choices_.empty() ||
        std::find(option.choices_.begin(), option.choices_.end(), word) != option.choices_.end())
      return;
    throw UsageError(fmt::format(
        "{}: one of {} wanted, got {}", where, fmt::join(option.choices_, ", "), in_quotes(word)));
  };
  const auto check_distinct = [&](const auto& list) {
    for (auto at = list.begin(); option.distinct_ && at != list.end(); ++at)
      if (std::find(list.begin(), at, *at) != at)
        throw UsageError(fmt::format("{}: {} is given twice", where, *at));
  };
  if (const auto* i = std::get_if<std::int64_t>(&value))
    check_number(static_cast<double>(*i), std::to_string(*i));
  if (const auto* d = std::get_if<double>(&value)) check_number(*d, fmt::format("{}", *d));
  if (const auto* s = std::get_if<std::string>(&value)) check_word(*s);
  if (const auto* list = std::get_if<std::vector<std::int64_t>>(&value)) {
    for (const std::int64_t i : *list) check_number(static_cast<double>(i), std::to_string(i));
    check_distinct(*list);
  }
  if (const auto* list = std::get_if<std::vector<double>>(&value)) {
    for (const double d : *list) check_number(d, fmt::format("{}", d));
    check_distinct(*list);
  }
  if (const auto* list = std::get_if<std::vector<std::string>>(&value)) {
    for (auto s = list->begin(); s != list->end(); ++s) {
      check_word(*s);
      if (!option.choices_.empty() && std::find(list->begin(), s, *s) != s)
        throw UsageError(where + ": " + in_quotes(*s) + " is given twice");
    }
  }
  try {
    option.store_(value);
  } catch (const UsageError& error) {
    throw UsageError(where + ": " + error.what());
  }
  option.value_ = std::move(value);
  option.given_ = true;
}

void Options::assign_text(Option& option, const std::vector<std::string>& words, const std::string& where) {
  const bool list = option.type_ >= 5;
  if (words.size() > 1 && !list)
    throw UsageError(where + ": given twice (" + in_quotes(words[0]) + ", " + in_quotes(words[1]) + ")");
  if (option.type_ == kWords) {  // one argument is one word: a path may hold commas and brackets
    for (const std::string& word : words)
      if (word.empty()) throw UsageError(where + ": a word wanted, got ''");
    assign(option, Value(words), where);
    return;
  }
  std::string text = words.front();
  for (std::size_t i = 1; i < words.size(); ++i) text += "," + words[i];
  if (option.optional_ && text == "none") {
    assign(option, std::monostate(), where);
    return;
  }
  std::optional<Value> value = parse_value(option.type_, text);
  if (!value)
    throw UsageError(where + ": " + std::string(kTypeNames[option.type_]) + " wanted, got " +
                     in_quotes(text));
  assign(option, std::move(*value), where);
}

void Options::apply_set(std::string_view assignment) {
  const std::size_t equals = assignment.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    throw UsageError("--set: key=value wanted, got " + in_quotes(assignment));
  }
  const std::string key(assignment.substr(0, equals));
  Option& option = known_key(key, "--set");
  const std::string text(assignment.substr(equals + 1)), where = "--set " + key;
  // Words are one word, or a list as a file spells it: ["a", "b"].
  if (option.type_ == kWords) {
    if (std::optional<Value> words = words_of_toml(text)) return assign(option, std::move(*words), where);
  }
  assign_text(option, {text}, where);
}

bool Options::parse(const std::string& verb, const std::vector<std::string>& words) {
  for (const std::string& word : words) {
    if (word == "--help" || word == "-h") return false;
    if (word == "--") break;
    if (word.starts_with("--") &&
        word.find('=') == word.size() - 1)  // or the next word would be taken for it
      throw UsageError(verb + ": " + word + ": a value wanted behind the =");
  }
  CLI::App app;
  app.set_help_flag();
  app.allow_extras();
  std::vector<std::string> configs, sets;
  // One value a flag, so that `--log json out/run` leaves out/run to a positional; a flag may come again.
  app.add_option("--config", configs)->expected(1)->allow_extra_args(false);
  app.add_option("--set", sets)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false);
  std::map<const Option*, std::vector<std::string>> texts;
  std::map<const Option*, bool> switches;
  std::vector<std::string> flags{"--help", "--config", "--set"};
  for (const Option& option : options_) {
    flags.push_back(option.flag_);
    try {
      if (option.type_ == 1) {
        app.add_flag(option.flag_ + ",!--no-" + option.flag_.substr(2), switches[&option]);
      } else {
        std::string names = option.flag_ + (option.positional_ ? "," + option.flag_.substr(2) : "");
        for (const auto& [key, flag] : option.aliases_)
          if (!flag.empty()) names += "," + flag;
        auto* const added = app.add_option(names, texts[&option]);
        added->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)->allow_extra_args(false);
        if (option.positional_ && option.type_ >= 5) added->expected(1, 1 << 20)->allow_extra_args(true);
      }
    } catch (const CLI::OptionAlreadyAdded&) {
      throw Error("options: two options of '" + verb + "' have the flag " + option.flag_ +
                  "; name one with flag()");
    }
  }
  try {
    std::vector<std::string> reversed(words.rbegin(), words.rend());  // CLI11 takes them from the back
    for (std::string& word : reversed) {
      if (word.ends_with(']')) word += kGuard;
    }
    app.parse(std::move(reversed));
  } catch (const CLI::ParseError& error) {
    throw UsageError(verb + ": " + error.what());
  }
  for (auto& [option, found] : texts) unguard(found);
  unguard(configs);
  unguard(sets);
  std::vector<std::string> extras = app.remaining();
  unguard(extras);
  for (const std::string& extra : extras) {
    for (const auto& [flag, instead] : gone_)
      if (extra.substr(0, extra.find('=')) == flag) throw UsageError(verb + ": " + flag + ": " + instead);
    if (!extra.starts_with("-")) throw UsageError(verb + ": unexpected argument " + in_quotes(extra));
    throw UsageError(verb + ": unknown option " + in_quotes(extra) +
                     did_you_mean(extra.substr(0, extra.find('=')), flags));
  }
  for (const std::string& path : configs) apply_toml_file(verb, path);
  for (const std::string& assignment : sets) apply_set(assignment);
  for (Option& option : options_) {
    if (option.type_ == 1) {
      if (app.get_option(option.flag_)->count() > 0) assign(option, switches[&option], option.flag_);
    } else if (!texts[&option].empty()) {
      assign_text(option, texts[&option], option.flag_);
    }
    if (option.required_ && !option.given_) {
      throw UsageError(verb + ": " + option.flag_ + " is required (" + option.help_ + ")");
    }
  }
  return true;
}

std::vector<OptionText> Options::described() const {
  constexpr std::size_t kShortChoices = 23;
  std::vector<OptionText> all;
  for (const Option& option : options_) {
    OptionText t{.section = section_of(option.key_),
                 .flag = option.flag_,
                 .value = "",
                 .text = option.help_,
                 .choices = option.choices_,
                 .file = option.path_};
    const std::string choices = fmt::format("{}", fmt::join(option.choices_, "|"));
    const bool short_choices = !choices.empty() && option.flag_.size() + choices.size() <= kShortChoices;
    if (option.type_ != 1)
      t.value = short_choices ? choices : option.path_ ? "PATH" : std::string(kHelpNames[option.type_]);
    if (!choices.empty() && !short_choices) t.text += fmt::format(": {}", fmt::join(option.choices_, ", "));
    if (option.type_ == kWords) t.text += option.positional_ ? " (each argument is one)" : " (once for each)";
    if (option.least_) t.text += " (" + range_text(*option.least_, *option.most_) + ")";
    const bool empty_text = std::holds_alternative<std::string>(option.default_) &&
                            std::get<std::string>(option.default_).empty();
    if (option.required_) {
      t.text += " [required]";
    } else if (std::holds_alternative<bool>(option.default_) && std::get<bool>(option.default_)) {
      t.text += fmt::format(" [default on; --no-{} turns it off]", option.flag_.substr(2));
    } else if (option.type_ != 1 && !empty_text && option.default_.index() != 0) {
      t.text += fmt::format(
          " [default {}]",
          option.type_ == 4 ? std::get<std::string>(option.default_) : toml_text(option.default_));
    }
    all.push_back(std::move(t));
  }
  return all;
}

std::string Options::help_text() const {
  constexpr std::size_t kHelpColumn = 28, kWidth = 100;
  std::string out, section = "-";
  for (const OptionText& option : described()) {
    if (option.section != section) {
      section = option.section;
      out += fmt::format("\n{}\n", section.empty() ? "Options" : "Options [" + section + "]");
    }
    std::string left = "  " + option.flag + (option.value.empty() ? "" : " ") + option.value;
    if (left.size() + 2 > kHelpColumn) {
      out += left + "\n";
      left.clear();
    }
    std::string line = fmt::format("{:<{}}", left, kHelpColumn);
    std::size_t begin = 0;
    while (begin < option.text.size()) {  // wrapped at spaces
      const std::size_t end = std::min(option.text.find(' ', begin), option.text.size());
      const std::string word = option.text.substr(begin, end - begin);
      if (line.size() > kHelpColumn && line.size() + 1 + word.size() > kWidth) {
        out += line + "\n";
        line = std::string(kHelpColumn, ' ');
      }
      if (line.size() > kHelpColumn) line += ' ';
      line += word;
      begin = end + 1;
    }
    out += line + "\n";
  }
  return out;
}

}  // namespace offramp::tools
