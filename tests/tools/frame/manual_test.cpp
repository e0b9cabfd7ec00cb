// Manual pages and completion, from the outside: what shells and man make of them.
#include "tools/frame/manual.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "tests/support/program.h"

namespace offramp::tools {
namespace {

namespace fs = std::filesystem;
using test::Outcome;

std::vector<std::string> verbs_of_help() {
  std::vector<std::string> verbs;
  std::istringstream help(test::run_offramp({"--help"}).out);
  // "  extract run        the whole attack: ..": two spaces, the verb, at least two spaces.
  for (std::string line; std::getline(help, line);) {
    if (line == "Every verb takes") break;
    if (line.size() < 3 || line.substr(0, 2) != "  " || line[2] == ' ') continue;
    verbs.push_back(line.substr(2, line.find("  ", 2) - 2));
  }
  return verbs;
}

// What bash offers for the last of `words`.
std::set<std::string> bash_offers(const fs::path& script, const std::vector<std::string>& words) {
  const fs::path ask = script.parent_path() / "ask.sh", out = script.parent_path() / "offers";
  test::write_text(ask,
                   "source \"$1\"; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _offramp\n"
                   "printf '%s\\n' \"${COMPREPLY[@]}\"\n");
  std::string command = "bash " + ask.string() + " " + script.string();
  for (const std::string& word : words) command += " '" + word + "'";
  EXPECT_EQ(std::system((command + " > " + out.string()).c_str()), 0) << command;
  std::set<std::string> offers;
  std::ifstream lines(out);
  for (std::string word; std::getline(lines, word);)
    if (!word.empty()) offers.insert(word);
  return offers;
}

TEST(Manual, BashCompletesVerbsOptionsAndTheirWords) {
  test::TempFolder folder;
  const fs::path script = folder / "offramp.bash";
  const Outcome printed = test::run_offramp({"help", "completion", "bash"});
  ASSERT_EQ(printed.code, 0) << printed.err;
  test::write_text(script, printed.out);
  const auto first = bash_offers(script, {"offramp", ""});
  for (const std::string& verb : verbs_of_help())
    EXPECT_TRUE(first.contains(verb.substr(0, verb.find(' ')))) << verb;
  EXPECT_TRUE(bash_offers(script, {"offramp", "extract", ""}).contains("query"));
  EXPECT_EQ(bash_offers(script, {"offramp", "extract", "est"}), std::set<std::string>{"estimate"});
  EXPECT_EQ(bash_offers(script, {"offramp", "train", "--precision", ""}),
            (std::set<std::string>{"f32", "bf16"}));
  EXPECT_EQ(bash_offers(script, {"offramp", "train", "--epo"}), std::set<std::string>{"--epochs"});
  EXPECT_TRUE(bash_offers(script, {"offramp", "extract", "query", "--"}).contains("--repetitions"));
  EXPECT_EQ(bash_offers(script, {"offramp", "train", "--data", ""}),
            std::set<std::string>{});  // bash offers files
}

TEST(Manual, EveryVerbHasAPageOfItsOptions) {
  test::TempFolder folder;
  const Outcome written = test::run_offramp({"help", "files", folder.path().string()});
  ASSERT_EQ(written.code, 0) << written.err;
  const fs::path man = folder / "share" / "man" / "man1";
  const std::string all = test::read_text(man / "offramp.1");
  const auto verbs = verbs_of_help();
  EXPECT_GT(verbs.size(), 30u);
  for (const std::string& verb : verbs) {
    std::string name = "offramp-" + verb;
    for (char& c : name) c = c == ' ' ? '-' : c;
    ASSERT_TRUE(fs::exists(man / (name + ".1"))) << verb;
    std::string escaped;
    for (const char c : name) escaped += c == '-' ? std::string("\\-") : std::string(1, c);
    EXPECT_NE(all.find("\\fB" + escaped + "\\fR(1)"), std::string::npos) << verb;
  }
  // Nothing that roff would take for a command stands at the beginning of a line of text.
  for (const auto& file : fs::directory_iterator(man)) {
    std::istringstream page(test::read_text(file.path()));
    const std::set<std::string> macros{".TH", ".SH", ".SS", ".TP", ".PP", ".nf", ".fi"};
    for (std::string line; std::getline(page, line);) {
      if (line.empty() || (line[0] != '.' && line[0] != '\'')) continue;
      EXPECT_TRUE(macros.contains(line.substr(0, 3))) << file.path() << ": " << line;
    }
  }
  const std::string train = test::read_text(man / "offramp-train.1");
  EXPECT_NE(train.find(".TP\n\\fB\\-\\-epochs\\fR \\fIINT\\fR\npasses over the training set"),
            std::string::npos)
      << train;
  EXPECT_NE(train.find("\\fB\\-\\-set\\fR"), std::string::npos);
  EXPECT_EQ(test::run_offramp({"help", "man", "train"}).out, train);
  for (const char* file : {"bash-completion/completions/offramp",
                           "zsh/vendor-completions/_offramp",
                           "fish/vendor_completions.d/offramp.fish"})
    EXPECT_TRUE(fs::exists(folder / "share" / file)) << file;
}

TEST(Manual, OtherShellsReadTheirScripts) {
  test::TempFolder folder;
  int tried = 0;
  for (const char* shell : {"zsh", "fish"}) {
    if (std::system((std::string("command -v ") + shell + " >/dev/null").c_str()) != 0) continue;
    const fs::path script = folder / shell;
    test::write_text(script, test::run_offramp({"help", "completion", shell}).out);
    EXPECT_EQ(std::system((std::string(shell) + " -n " + script.string()).c_str()), 0) << shell;
    ++tried;
  }
  if (tried == 0) GTEST_SKIP() << "neither zsh nor fish is on this machine";
}

TEST(Manual, WrongUseIsSaidSo) {
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{"help", "completion"},
                                             {"help", "completion", "tcsh"},
                                             {"help", "files"},
                                             {"help", "man", "trian"}}) {
    const Outcome o = test::run_offramp(words);
    EXPECT_EQ(o.code, 2) << words.back();
    EXPECT_FALSE(o.err.empty());
  }
  EXPECT_NE(test::run_offramp({"help", "man", "trian"}).err.find("nearest known: train"), std::string::npos);
  EXPECT_EQ(test::run_offramp({"help", "files", "/proc/none"}).code, 1);
  EXPECT_EQ(test::run_offramp({"help", "train"}).out, test::run_offramp({"train", "--help"}).out);
}

}  // namespace
}  // namespace offramp::tools
