#include "tools/frame/manual.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <set>

namespace offramp::tools {
namespace {

// As roff shows it: a backslash and a hyphen are commands, so are dots and quotes at the beginning of a line.
std::string roff(const std::string& text) {
  std::string out;
  bool line_begins = true;
  for (const char c : text) {
    if (line_begins && (c == '.' || c == '\'')) out += "\\&";
    if (c == '\\')
      out += "\\e";
    else if (c == '-')
      out += "\\-";
    else
      out += c;
    line_begins = c == '\n';
  }
  return out;
}

std::string page_head(const std::string& name, const std::string& summary, const std::string& version) {
  std::string title = name;
  std::ranges::transform(title, title.begin(), [](unsigned char c) { return std::toupper(c); });
  return fmt::format(".TH {} 1 \"\" \"offramp {}\" \"Offramp\"\n.SH NAME\n{} \\- {}\n",
                     roff(title),
                     version,
                     roff(name),
                     roff(summary));
}

std::string option_items(const std::vector<OptionText>& options) {
  std::string out;
  for (const OptionText& option : options) {
    out += ".TP\n\\fB" + roff(option.flag) + "\\fR";
    if (!option.value.empty()) out += " \\fI" + roff(option.value) + "\\fR";
    out += "\n" + roff(option.text) + "\n";
  }
  return out;
}

// Lines that stand as they are.
std::string verbatim(const std::string& text) { return ".nf\n" + roff(text) + "\n.fi\n"; }

std::vector<OptionText> all_options(const VerbText& verb) {
  std::vector<OptionText> all = verb.own;
  all.insert(all.end(), verb.shared.begin(), verb.shared.end());
  all.push_back({.section = "",
                 .flag = "--config",
                 .value = "PATH",
                 .text = "settings from a file; flags and --set win over it",
                 .choices = {},
                 .file = true});
  all.push_back({.section = "",
                 .flag = "--set",
                 .value = "KEY=VALUE",
                 .text = "one setting by its key in such a file",
                 .choices = {},
                 .file = false});
  all.push_back({.section = "",
                 .flag = "--help",
                 .value = "",
                 .text = "explains the verb",
                 .choices = {},
                 .file = false});
  return all;
}

// First words, each with the second words that may follow.
std::map<std::string, std::vector<std::string>> verb_tree(const std::vector<VerbText>& verbs) {
  std::map<std::string, std::vector<std::string>> tree;
  for (const VerbText& verb : verbs) {
    const auto words = words_of(verb.info.name);
    auto& below = tree[words[0]];
    if (words.size() > 1) below.push_back(words[1]);
  }
  return tree;
}

// In single quotes for any shell.
std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

}  // namespace

std::vector<std::string> words_of(const std::string& verb) {
  std::vector<std::string> out;
  for (std::size_t begin = 0; begin <= verb.size();) {
    const std::size_t end = std::min(verb.find(' ', begin), verb.size());
    out.push_back(verb.substr(begin, end - begin));
    begin = end + 1;
  }
  return out;
}

std::string page_name(const std::string& verb) {
  std::string name = "offramp-" + verb;
  std::ranges::replace(name, ' ', '-');
  return name;
}

std::string man_page(const std::vector<VerbText>& verbs, const std::string& version) {
  std::string out = page_head(
      "offramp", "train networks with early exits, and measure what their exits give away", version);
  out +=
      ".SH SYNOPSIS\n\\fBofframp\\fR \\fIVERB\\fR [\\fIoptions\\fR]\n"
      ".SH DESCRIPTION\nEvery verb has a page of its own, and explains itself with \\fB\\-\\-help\\fR.\n";
  std::vector<std::string> groups;
  for (const VerbText& verb : verbs)
    if (std::ranges::find(groups, verb.info.group) == groups.end()) groups.push_back(verb.info.group);
  for (const std::string& group : groups) {
    out += ".SS " + roff(group) + "\n";
    for (const VerbText& verb : verbs)
      if (verb.info.group == group)
        out +=
            fmt::format(".TP\n\\fB{}\\fR(1)\n{}\n", roff(page_name(verb.info.name)), roff(verb.info.summary));
  }
  out +=
      ".SH EXIT STATUS\n0 done, 1 failed, 2 wrong use.\n"
      ".SH FILES\nA verb that computes something writes a run folder: \\fB\\-\\-out\\fR, default out/VERB. It holds "
      "config.toml, metrics.jsonl, results and, when all is done, DONE.\n";
  std::string steps;
  for (const VerbText& verb : verbs)
    if (verb.info.first_step) steps += verb.info.example + "\n";
  if (!steps.empty()) out += ".SH EXAMPLES\n" + verbatim(steps);
  return out;
}

std::string man_page(const VerbText& verb, const std::string& version) {
  std::string out = page_head(page_name(verb.info.name), verb.info.summary, version);
  out += fmt::format(".SH SYNOPSIS\n\\fBofframp {}\\fR [\\fIoptions\\fR]\n", roff(verb.info.name));
  if (!verb.info.details.empty()) out += ".SH DESCRIPTION\n" + verbatim(verb.info.details);
  out += ".SH OPTIONS\n" + option_items(all_options(verb));
  out += ".SH EXAMPLES\n" + verbatim(verb.info.example);
  return out + ".SH SEE ALSO\n\\fBofframp\\fR(1)\n";
}

std::string bash_completion(const std::vector<VerbText>& verbs) {
  std::string first, second, flags, values;
  for (const auto& [word, below] : verb_tree(verbs)) {
    first += " " + word;
    if (!below.empty())
      second += fmt::format("    {}) below={} ;;\n", word, quoted(fmt::format("{}", fmt::join(below, " "))));
  }
  for (const VerbText& verb : verbs) {
    std::vector<std::string> names;
    for (const OptionText& option : all_options(verb)) {
      names.push_back(option.flag);
      if (!option.choices.empty())
        values += fmt::format("    {}) words={} ;;\n",
                              quoted(verb.info.name + " " + option.flag),
                              quoted(fmt::format("{}", fmt::join(option.choices, " "))));
    }
    flags += fmt::format(
        "    {}) flags={} ;;\n", quoted(verb.info.name), quoted(fmt::format("{}", fmt::join(names, " "))));
  }
  return "# bash completion for offramp, made by offramp help completion bash\n"
         "_offramp() {\n"
         "  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} verb=${COMP_WORDS[1]} below= flags= words=\n"
         "  COMPREPLY=()\n"
         "  if ((COMP_CWORD == 1)); then\n"
         "    COMPREPLY=($(compgen -W '--help --version help" +
         first +
         "' -- \"$word\"))\n"
         "    return\n"
         "  fi\n"
         "  case $verb in\n" +
         second +
         "  esac\n"
         "  if [[ -n $below ]]; then\n"
         "    if ((COMP_CWORD == 2)); then\n"
         "      COMPREPLY=($(compgen -W \"$below\" -- \"$word\"))\n"
         "      return\n"
         "    fi\n"
         "    verb+=\" ${COMP_WORDS[2]}\"\n"
         "  fi\n"
         "  case \"$verb $before\" in\n" +
         values +
         "  esac\n"
         "  case $verb in\n" +
         flags +
         "  esac\n"
         "  if [[ -n $words ]]; then\n"
         "    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
         "  elif [[ $word == -* ]]; then\n"
         "    COMPREPLY=($(compgen -W \"$flags\" -- \"$word\"))\n"
         "  fi\n"
         "}\n"
         "complete -o default -F _offramp offramp\n";
}

std::string zsh_completion(const std::vector<VerbText>& verbs) {
  // Of a description of _arguments: brackets and colons are its own.
  const auto safe = [](const std::string& text) {
    std::string out;
    for (const char c : text) {
      if (c == '[' || c == ']' || c == ':' || c == '\\') out += '\\';
      out += c;
    }
    return out;
  };
  std::string first, second, third;
  for (const auto& [word, below] : verb_tree(verbs)) {
    first += " " + word;
    if (!below.empty()) second += fmt::format("    {}) below=({}) ;;\n", word, fmt::join(below, " "));
  }
  for (const VerbText& verb : verbs) {
    third += fmt::format("    {})\n      _arguments", quoted(verb.info.name));
    for (const OptionText& option : all_options(verb)) {
      std::string spec = option.flag + "[" + safe(option.text) + "]";
      if (!option.choices.empty())
        spec += fmt::format(":value:({})", fmt::join(option.choices, " "));
      else if (option.file)
        spec += ":file:_files";
      else if (!option.value.empty())
        spec += ":" + safe(option.value) + ": ";
      third += " \\\n        " + quoted("*" + spec);
    }
    third += " \\\n        '*:file:_files' ;;\n";
  }
  return "#compdef offramp\n"
         "# zsh completion for offramp, made by offramp help completion zsh\n"
         "_offramp() {\n"
         "  local verb=$words[2]\n"
         "  local -a below\n"
         "  if (( CURRENT == 2 )); then\n"
         "    compadd -- --help --version help" +
         first +
         "\n"
         "    return\n"
         "  fi\n"
         "  case $verb in\n" +
         second +
         "  esac\n"
         "  if (( $#below )); then\n"
         "    if (( CURRENT == 3 )); then\n"
         "      compadd -- $below\n"
         "      return\n"
         "    fi\n"
         "    verb=\"$verb $words[3]\"\n"
         "    shift words; (( CURRENT-- ))\n"
         "  fi\n"
         "  shift words; (( CURRENT-- ))\n"
         "  case $verb in\n" +
         third +
         "  esac\n"
         "}\n"
         "_offramp \"$@\"\n";
}

std::string fish_completion(const std::vector<VerbText>& verbs) {
  std::string out =
      "# fish completion for offramp, made by offramp help completion fish\n"
      "function __offramp_verb_is\n"
      "  set -l words (commandline -opc)\n"
      "  test (count $words) -gt (count $argv); and test \"$words[2..(math 1 + (count $argv))]\" = \"$argv\"\n"
      "end\n"
      "function __offramp_no_verb\n"
      "  test (count (commandline -opc)) -eq 1\n"
      "end\n";
  std::set<std::string> said;
  for (const VerbText& verb : verbs) {
    const auto words = words_of(verb.info.name);
    if (words.size() == 1) {
      out += fmt::format(
          "complete -c offramp -f -n __offramp_no_verb -a {} -d {}\n", words[0], quoted(verb.info.summary));
    } else {
      if (said.insert(words[0]).second)
        out += fmt::format("complete -c offramp -f -n __offramp_no_verb -a {}\n", words[0]);
      out += fmt::format(
          "complete -c offramp -f -n '__offramp_verb_is {}; and test (count (commandline -opc)) -eq 2' -a {} -d {}\n",
          words[0],
          words[1],
          quoted(verb.info.summary));
    }
  }
  for (const VerbText& verb : verbs)
    for (const OptionText& option : all_options(verb)) {
      out += fmt::format(
          "complete -c offramp -n '__offramp_verb_is {}' -l {}", verb.info.name, option.flag.substr(2));
      if (!option.choices.empty())
        out += fmt::format(" -x -a {}", quoted(fmt::format("{}", fmt::join(option.choices, " "))));
      else if (option.file)
        out += " -r -F";
      else if (!option.value.empty())
        out += " -x";
      out += fmt::format(" -d {}\n", quoted(option.text));
    }
  return out;
}

}  // namespace offramp::tools
