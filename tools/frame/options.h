// The options of one verb, each declared once: from the declaration come the command-line flag, the key in
// --config files, --set, the line in --help and the line in the run folder's config.toml.
//
//   options.add("train.epochs", epochs_, "passes over the training set").range(1, 10000);
//
// binds the member `epochs_`, whose present value is the default, to the flag --epochs, to `epochs` in
// section [train] of a TOML file and to --set train.epochs=20. Later sources win: default, --config, --set,
// flag. Numbers of a list stand with commas in one argument or in several; of a list of words each argument
// is one word as it is, whatever commas and brackets it holds. Text is UTF-8, or refused before any work.
#pragma once

#include "base/errors.h"

#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace offramp::tools {

// Wrong use of the program: exit code 2.
class UsageError : public ValueError {
 public:
  using ValueError::ValueError;
};

using Value = std::variant<std::monostate,  // an optional without a value
                           bool,
                           std::int64_t,
                           double,
                           std::string,
                           std::vector<std::int64_t>,
                           std::vector<double>,
                           std::vector<std::string>>;

// As TOML spells it: true, 3, 0.1, "text", [1, 2]. Doubles have 17 digits at most and read back equal.
std::string toml_text(const Value& value);
// The words of a TOML array of strings (["a", "b, c"]); nullopt if `text` is none.
std::optional<Value> words_of_toml(const std::string& text);

// What an option names that its verb writes: a file, or an executable, which may replace another executable.
enum class Written { kFile, kProgram };

class Option {
 public:
  Option& range(double least, double most);         // both ends included; of a list: each number
  Option& choices(std::vector<std::string> words);  // of a string, or of each string of a list
  Option& distinct();                               // of a list: a value twice is wrong use
  Option& flag(std::string name);                   // instead of the last part of the key: "--batch"
  Option& positional();                             // may also stand without its flag
  Option& required();                               // no default: wrong use if nobody gives it
  Option& not_in_config();                          // about this call, not about the result (--threads)
  Option& free_on_resume();                         // --resume may continue with another value (epochs)
  Option& written(Written what = Written::kFile);   // a path that the verb writes (tools/frame/outputs.h)
  // What an earlier version called it: still taken, as key and (where not empty) as flag.
  Option& alias(std::string key, std::string flag = "");

  const std::string& key() const { return key_; }
  const std::string& flag_name() const { return flag_; }
  const std::string& help() const { return help_; }
  const Value& value() const { return value_; }
  const Value& default_value() const { return default_; }
  bool given() const { return given_; }
  bool is_free_on_resume() const { return free_on_resume_; }
  const std::optional<Written>& is_written() const { return written_; }
  bool has_choices() const { return !choices_.empty(); }

 private:
  friend class Options;
  std::string key_, flag_, help_;
  Value value_, default_;
  std::size_t type_ = 0;  // index into Value of what it holds when it has a value
  bool path_ = false, optional_ = false, positional_ = false, required_ = false, in_config_ = true,
       free_on_resume_ = false, distinct_ = false;
  bool given_ = false;
  std::optional<Written> written_;
  std::optional<double> least_, most_;
  std::vector<std::string> choices_;
  std::vector<std::pair<std::string, std::string>> aliases_;  // key, flag
  std::function<void(const Value&)> store_;
};

// An option for those who read about it: --help, the manual page, a shell that completes.
struct OptionText {
  std::string section;               // "train" of "train.epochs"
  std::string flag;                  // "--epochs"
  std::string value;                 // "INT", "PATH", "f32|bf16"; empty: a switch
  std::string text;                  // what it does, its choices, range and default
  std::vector<std::string> choices;  // the words that it takes; empty: others too
  bool file = false;                 // its value is a path
};

class Options {
 public:
  // T: bool, int, std::int64_t, std::uint64_t, double, std::string, std::filesystem::path, a vector of int,
  // std::int64_t, double or std::string, or std::optional of one of the scalar ones. `variable` must outlive
  // the Options.
  template <class T>
  Option& add(const std::string& key, T& variable, std::string help);

  // A variable of any type, shown as a T: `to` makes one of it, `from` what is assigned.
  template <class T, class V, class To, class From>
  Option& add_as(const std::string& key, V& variable, To to, From from, std::string help);
  // One of the values of a table of {value, word}, by its word.
  template <class E, class Names>
  Option& add_choice(const std::string& key, E& variable, const Names& names, std::string help);

  // A flag that is none any more: who gives it is told `instead`.
  void gone(std::string flag, std::string instead) {
    gone_.emplace_back(std::move(flag), std::move(instead));
  }

  // The command line behind the verb. Throws UsageError naming the nearest known flag. `--config` and `--set`
  // are applied here, before the other flags. Returns false if --help was among the words: nothing is
  // assigned then.
  bool parse(const std::string& verb, const std::vector<std::string>& words);

  // One TOML file. Throws UsageError with file, line and the nearest known key.
  void apply_toml_file(const std::string& verb, const std::filesystem::path& path);
  // "a.b=c". Throws UsageError.
  void apply_set(std::string_view assignment);

  std::vector<OptionText> described() const;
  std::string help_text() const;
  // The configuration that this run uses, as a TOML file that --config reads.
  std::string resolved_toml(const std::string& verb) const;

  const std::deque<Option>& all() const { return options_; }
  // By its key or that of an earlier version; nullptr if there is none.
  const Option* find_key(std::string_view key) const;

 private:
  Option& add_option(const std::string& key, std::string help, Value value, std::size_t type, bool optional);
  void assign(Option& option, Value value, const std::string& where);
  void assign_text(Option& option, const std::vector<std::string>& words, const std::string& where);
  Option& known_key(std::string_view key, const std::string& where);

  std::vector<std::pair<std::string, std::string>> gone_;
  std::deque<Option> options_;  // in order of declaration; addresses stay
};

namespace option_detail {

template <class T>
struct Codec;  // to and from Value; kIndex: the alternative

template <class T, std::size_t Index, class Stored>
struct Number {
  static constexpr std::size_t kIndex = Index;
  static Value to(const T& v) { return static_cast<Stored>(v); }
  static T from(const Value& v) {
    const Stored stored = std::get<Stored>(v);
    if constexpr (std::is_integral_v<T>) {
      if (!std::in_range<T>(stored)) throw UsageError(std::to_string(stored) + " is out of range");
    }
    return static_cast<T>(stored);
  }
};
template <class T, std::size_t Index>
struct Same {
  static constexpr std::size_t kIndex = Index;
  static Value to(const T& v) { return v; }
  static T from(const Value& v) { return std::get<T>(v); }
};

template <>
struct Codec<bool> : Same<bool, 1> {};
template <>
struct Codec<std::int64_t> : Same<std::int64_t, 2> {};
template <>
struct Codec<int> : Number<int, 2, std::int64_t> {};
template <>
struct Codec<std::uint64_t> : Number<std::uint64_t, 2, std::int64_t> {};
template <>
struct Codec<double> : Same<double, 3> {};
template <>
struct Codec<float> {  // through the shortest text that reads back: 0.9f is 0.9
  static constexpr std::size_t kIndex = 3;
  static Value to(float v) { return shortest(v); }
  static float from(const Value& v) { return static_cast<float>(std::get<double>(v)); }
  static double shortest(float v);
};
template <>
struct Codec<std::string> : Same<std::string, 4> {};
template <>
struct Codec<std::filesystem::path> {
  static constexpr std::size_t kIndex = 4;
  static Value to(const std::filesystem::path& v) { return v.string(); }
  static std::filesystem::path from(const Value& v) { return std::get<std::string>(v); }
};
template <>
struct Codec<std::vector<std::int64_t>> : Same<std::vector<std::int64_t>, 5> {};
template <>
struct Codec<std::vector<int>> {
  static constexpr std::size_t kIndex = 5;
  static Value to(const std::vector<int>& v) { return std::vector<std::int64_t>(v.begin(), v.end()); }
  static std::vector<int> from(const Value& v) {
    std::vector<int> out;
    for (const std::int64_t x : std::get<std::vector<std::int64_t>>(v))
      out.push_back(Codec<int>::from(Value(x)));
    return out;
  }
};
template <>
struct Codec<std::vector<double>> : Same<std::vector<double>, 6> {};
template <>
struct Codec<std::vector<std::string>> : Same<std::vector<std::string>, 7> {};

template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {
  using Inner = T;
};

}  // namespace option_detail

template <class T>
Option& Options::add(const std::string& key, T& variable, std::string help) {
  using option_detail::Codec;
  if constexpr (option_detail::IsOptional<T>::value) {
    using Inner = typename option_detail::IsOptional<T>::Inner;
    Option& option = add_option(
        key, std::move(help), variable ? Codec<Inner>::to(*variable) : Value(), Codec<Inner>::kIndex, true);
    option.store_ = [&variable](const Value& v) {
      if (std::holds_alternative<std::monostate>(v)) {
        variable.reset();
      } else {
        variable = Codec<Inner>::from(v);
      }
    };
    return option;
  } else {
    Option& option = add_option(key, std::move(help), Codec<T>::to(variable), Codec<T>::kIndex, false);
    option.path_ = std::is_same_v<T, std::filesystem::path>;
    option.store_ = [&variable](const Value& v) { variable = Codec<T>::from(v); };
    return option;
  }
}

template <class T, class V, class To, class From>
Option& Options::add_as(const std::string& key, V& variable, To to, From from, std::string help) {
  using option_detail::Codec;
  Option& option = add_option(key, std::move(help), Codec<T>::to(T(to(variable))), Codec<T>::kIndex, false);
  option.store_ = [&variable, from](const Value& v) { variable = from(Codec<T>::from(v)); };
  return option;
}

template <class E, class Names>
Option& Options::add_choice(const std::string& key, E& variable, const Names& names, std::string help) {
  std::vector<std::string> words;
  for (const auto& [value, word] : names) words.emplace_back(word);
  const auto to = [&names](const E& wanted) -> std::string {
    for (const auto& [value, word] : names)
      if (value == wanted) return word;
    throw Error("options: the default is none of the choices");
  };
  const auto from = [&names](const std::string& text) {
    for (const auto& [value, word] : names)
      if (text == word) return value;
    throw UsageError("unknown word " + in_quotes(text));  // not reached: the choices are checked before
  };
  return add_as<std::string>(key, variable, to, from, std::move(help)).choices(std::move(words));
}

}  // namespace offramp::tools
