#include "tools/frame/options.h"

#include "tests/support/temp_folder.h"
#include "tools/frame/nearest.h"

#include <gtest/gtest.h>
#include <array>
#include <optional>
#include <utility>

#include <cmath>

namespace offramp::tools {
namespace {

using test::TempFolder;
using test::write_text;

struct Settings {
  std::int64_t epochs = 10;
  double rate = 0.1;
  std::string net = "vgg16";
  bool augment = true, quiet = false;
  std::vector<int> exits{1, 2};
  std::vector<double> taus;
  std::vector<std::string> names;
  std::optional<double> budget;
  std::filesystem::path out = "out/train";
  std::uint64_t seed = 1;
  int batch = 128;
  Options options;

  Settings() {
    options.add("seed", seed, "seed").range(0, 1e18);
    options.add("train.epochs", epochs, "passes over the data").range(1, 10000).free_on_resume();
    options.add("train.learning_rate", rate, "first rate");
    options.add("train.augment", augment, "crop and mirror");
    options.add("train.batch", batch, "images a step");
    options.add("net.name", net, "which network").choices({"vgg16", "resnet56"}).flag("--net");
    options.add("net.exits", exits, "which exits").range(1, 9);
    options.add("policy.taus", taus, "thresholds");
    options.add("policy.names", names, "words");
    options.add("policy.budget", budget, "cost budget");
    options.add("quiet", quiet, "say less").not_in_config();
    options.add("out", out, "folder").not_in_config();
  }

  std::string usage_error(const std::vector<std::string>& words) {
    try {
      options.parse("train", words);
    } catch (const UsageError& error) {
      return error.what();
    }
    return "accepted";
  }
};

TEST(Options, DefaultsAreTheInitialValues) {
  Settings s;
  EXPECT_TRUE(s.options.parse("train", {}));
  EXPECT_EQ(s.epochs, 10);
  EXPECT_EQ(s.exits, (std::vector<int>{1, 2}));
  EXPECT_FALSE(s.budget.has_value());
}

TEST(Options, EveryTypeComesFromFlags) {
  Settings s;
  EXPECT_TRUE(s.options.parse("train",
                              {"--epochs",
                               "3",
                               "--learning-rate=-1.5e-3",
                               "--net",
                               "resnet56",
                               "--no-augment",
                               "--quiet",
                               "--exits",
                               "4,5",
                               "--exits",
                               "6",
                               "--taus",
                               "0.5,0.25",
                               "--names",
                               "a,b c",
                               "--names=[d]",
                               "--budget",
                               "0.75",
                               "--out",
                               "x y",
                               "--seed",
                               "7"}));
  EXPECT_EQ(s.epochs, 3);
  EXPECT_EQ(s.rate, -1.5e-3);
  EXPECT_EQ(s.net, "resnet56");
  EXPECT_FALSE(s.augment);
  EXPECT_TRUE(s.quiet);
  EXPECT_EQ(s.exits, (std::vector<int>{4, 5, 6}));
  EXPECT_EQ(s.taus, (std::vector<double>{0.5, 0.25}));
  EXPECT_EQ(s.names, (std::vector<std::string>{"a,b c", "[d]"}));
  EXPECT_EQ(s.budget, 0.75);
  EXPECT_EQ(s.out, "x y");
  EXPECT_EQ(s.seed, 7u);
}

TEST(Options, LaterSourcesWin) {
  const TempFolder folder;
  write_text(folder / "run.toml",
             "[train]\nepochs = 20\nbatch = 64\nlearning_rate = 1\n[net]\nexits = [3]\n");
  Settings s;
  const std::string file = (folder / "run.toml").string();
  EXPECT_TRUE(s.options.parse(
      "train", {"--epochs", "40", "--set", "train.epochs=30", "--config", file, "--set", "train.batch=32"}));
  EXPECT_EQ(s.epochs, 40);  // flag over --set over file
  EXPECT_EQ(s.batch, 32);   // --set over file
  EXPECT_EQ(s.rate, 1.0);   // an integer is a number
  EXPECT_EQ(s.exits, (std::vector<int>{3}));
}

TEST(Options, WrongFlagsNameTheNearestAndTheExpected) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases{
      {{"--epoch", "3"}, "train: unknown option '--epoch'; nearest known: --epochs"},
      {{"--epohcs=3"}, "train: unknown option '--epohcs=3'; nearest known: --epochs"},
      {{"--epochs", "three"}, "--epochs: an integer wanted, got 'three'"},
      {{"--epochs", "3.5"}, "--epochs: an integer wanted, got '3.5'"},
      {{"--epochs", ""}, "--epochs: an integer wanted, got ''"},
      {{"--epochs", "99999999999999999999"}, "--epochs: an integer wanted, got '99999999999999999999'"},
      {{"--epochs", "0"}, "--epochs: 1 to 10000 wanted, got 0"},
      {{"--epochs", "1", "--epochs", "2"}, "--epochs: given twice ('1', '2')"},
      {{"--batch", "3000000000"}, "--batch: 3000000000 is out of range"},
      {{"--seed", "-1"}, "--seed: at least 0 wanted, got -1"},
      {{"--learning-rate", "fast"}, "--learning-rate: a number wanted, got 'fast'"},
      {{"--learning-rate", "nan"}, "--learning-rate: a number wanted, got nan"},
      {{"--net", "vgg"}, "--net: one of vgg16, resnet56 wanted, got 'vgg'"},
      {{"--exits", "1,x"}, "--exits: integers wanted, got '1,x'"},
      {{"--exits", "1,10"}, "--exits: 1 to 9 wanted, got 10"},
      {{"stray"}, "train: unexpected argument 'stray'"},
      {{"--set", "train.epochs"}, "--set: key=value wanted, got 'train.epochs'"},
      {{"--set", "train.epoch=3"}, "--set: unknown key 'train.epoch'; nearest known: train.epochs"},
      {{"--set", "quiet=true"},
       "--set: unknown key 'quiet'; nearest known: seed"},  // not part of a configuration
      {{"--set", "train.epochs=x"}, "--set train.epochs: an integer wanted, got 'x'"},
      {{"--set", "train.augment=maybe"}, "--set train.augment: true or false wanted, got 'maybe'"},
  };
  for (const auto& [words, message] : cases) EXPECT_EQ(Settings().usage_error(words), message);
  EXPECT_TRUE(Settings().usage_error({"--epochs"}).starts_with("train: --epochs"))
      << "a flag without its value";
}

TEST(Options, WrongFilesNameFileLineAndKey) {
  const TempFolder folder;
  const std::string path = (folder / "run.toml").string();
  const auto error_of = [&](const std::string& text) {
    write_text(path, text);
    return Settings().usage_error({"--config", path});
  };
  EXPECT_EQ(error_of("[train]\nepohcs = 3\n"),
            path + ":2: unknown key 'train.epohcs'; nearest known: train.epochs");
  EXPECT_EQ(error_of("[trian]\n\nepochs = 3\n"),
            path + ":3: unknown key 'trian.epochs'; nearest known: train.epochs");
  EXPECT_EQ(error_of("[train]\nepochs = '3'\n"), path + ":2: train.epochs: an integer wanted");
  EXPECT_EQ(error_of("[train]\nepochs = 3.0\n"), path + ":2: train.epochs: an integer wanted");
  EXPECT_EQ(error_of("[train]\nepochs = 0\n"), path + ":2: train.epochs: 1 to 10000 wanted, got 0");
  EXPECT_EQ(error_of("[net]\nexits = [1, 'a']\n"), path + ":2: net.exits: a list of integers wanted");
  EXPECT_EQ(error_of("[net]\nname = 3\n"), path + ":2: net.name: text wanted");
  EXPECT_EQ(error_of("verb = 'eval'\n"), path + ":1: this configuration is for another verb than 'train'");
  // What the parser would fail on without a word: characters outside of quotes, lists of tables.
  EXPECT_EQ(error_of("seed = 1\nG\xef\xbb\x9f = 1\n"), path + ": line 2: expected ASCII outside of quotes");
  for (const char* quotes : {"\"\"\"", "'''"}) {
    EXPECT_EQ(error_of("seed = 1\nname = " + std::string(quotes) + "a\\\n\xef\xbb\xbb" + quotes + "\n"),
              path + ": line 2: expected text on one line; \\n in quotes stands for a line break");
  }
  EXPECT_EQ(error_of("seed = 17['4\xef\xbb\xbb"),
            path + ": line 1: expected no bracket in the middle of a word");
  EXPECT_EQ(error_of("seed = 17.'\xef\xbb\xbb'"),
            path + ": line 1: expected no quote in the middle of a word");
  EXPECT_EQ(error_of("seed = '\xef\xbb\xbb\n"), path + ": line 1: expected the quote to end on its line");
  EXPECT_EQ(error_of("\n [[train]]\n"),
            path + ": line 2: expected [section], lists of tables are not used here");
  EXPECT_EQ(error_of("seed = '\xff'\n"), path + ": line 1: expected UTF-8");
  EXPECT_TRUE(error_of("[train\nepochs = 3\n").starts_with(path + ":1: ")) << error_of("[train\n");
  EXPECT_TRUE(error_of("[train]\nepochs = 3\nepochs = 4\n").starts_with(path + ":3: "));
  EXPECT_TRUE(Settings()
                  .usage_error({"--config", (folder / "none.toml").string()})
                  .starts_with((folder / "none.toml").string() + ": "));
}

TEST(Options, TheResolvedConfigurationReadsBackEqual) {
  const TempFolder folder;
  Settings s;
  s.options.parse("train",
                  {"--learning-rate",
                   "0.1",
                   "--taus",
                   "1e-20,0.30000000000000004,3",
                   "--names",
                   "a\"b,c\\d",
                   "--exits",
                   "5",
                   "--budget",
                   "1e300",
                   "--no-augment",
                   "--quiet"});
  const std::string text = s.options.resolved_toml("train");
  write_text(folder / "config.toml", text);
  Settings t;
  EXPECT_TRUE(t.options.parse("train", {"--config", (folder / "config.toml").string()}));
  EXPECT_EQ(t.options.resolved_toml("train"), text);
  EXPECT_EQ(t.taus, (std::vector<double>{1e-20, 0.30000000000000004, 3}));
  EXPECT_EQ(t.names, (std::vector<std::string>{"a\"b,c\\d"}));
  EXPECT_FALSE(t.augment);
  EXPECT_FALSE(t.quiet);  // about the call, not in the file
  EXPECT_EQ(text.find("quiet"), std::string::npos);
}

TEST(Options, AnOptionalIsUnsetByNone) {
  Settings s;
  s.options.parse("train", {"--set", "policy.budget=0.5", "--budget", "none"});
  EXPECT_FALSE(s.budget.has_value());
  EXPECT_EQ(s.options.resolved_toml("train").find("budget"), std::string::npos);
}

TEST(Options, HelpIsNotParsing) {
  Settings s;
  EXPECT_FALSE(s.options.parse("train", {"--epochs", "nonsense", "--help"}));
  EXPECT_EQ(s.epochs, 10);
}

TEST(Options, HelpShowsEveryFlagWithItsDefault) {
  const std::string help = Settings().options.help_text();
  for (const char* expected : {"--epochs INT",
                               "[default 10]",
                               "--learning-rate NUM",
                               "[default 0.1]",
                               "--no-augment turns it off",
                               "--net vgg16|resnet56",
                               "(1 to 10000)",
                               "--exits INT,...",
                               "[default [1, 2]]",
                               "--out PATH",
                               "[default out/train]",
                               "Options [train]",
                               "--quiet "}) {
    EXPECT_NE(help.find(expected), std::string::npos) << expected << " in\n" << help;
  }
}

TEST(Options, HelpSaysThatAListOfWordsIsNotDividedAtCommas) {
  EXPECT_NE(Settings().options.help_text().find("--names TEXT ...          words (once for each)"),
            std::string::npos)
      << Settings().options.help_text();
}

TEST(Options, TwoOptionsWithOneFlagAreOurMistake) {
  int a = 0, b = 0;
  Options options;
  options.add("x.rate", a, "");
  options.add("y.rate", b, "");
  EXPECT_THROW(options.parse("v", {}), Error);
  EXPECT_THROW(options.add("x.rate", b, ""), Error);
}

TEST(Options, PositionalsAndRequired) {
  std::string data;
  Options options;
  options.add("data", data, "which data").positional().required();
  EXPECT_TRUE(options.parse("v", {"cifar10:/x"}));
  EXPECT_EQ(data, "cifar10:/x");
  Options again;
  again.add("data", data, "which data").positional().required();
  EXPECT_THROW(again.parse("v", {}), UsageError);
}

TEST(Options, AFlagTakesOneValueAndLeavesTheRestToThePositional) {
  const std::vector<std::vector<std::string>> orders{{"--log", "json", "out/run"},
                                                     {"out/run", "--log", "json"},
                                                     {"--set", "log=json", "out/run"},
                                                     {"--log=json", "--model", "out/run"}};
  for (const auto& words : orders) {
    std::string model, log = "text";
    Options options;
    options.add("model", model, "run folder").positional().required();
    options.add("log", log, "format");
    EXPECT_TRUE(options.parse("eval", words));
    EXPECT_EQ(model, "out/run");
    EXPECT_EQ(log, "json");
  }
  std::vector<std::string> pictures;
  std::string model;
  Options options;
  options.add("pictures", pictures, "files").positional();
  options.add("model", model, "run folder");
  EXPECT_TRUE(options.parse("infer", {"--model", "out/run", "a.png", "b.png", "c.png"}));
  EXPECT_EQ(model, "out/run");
  EXPECT_EQ(pictures, (std::vector<std::string>{"a.png", "b.png", "c.png"}));
}

enum class Fruit { kApple, kPear };
constexpr std::array<std::pair<Fruit, const char*>, 2> kFruits{
    {{Fruit::kApple, "apple"}, {Fruit::kPear, "pear"}}};

TEST(Options, AChoiceIsOneWordOfItsTable) {
  Fruit fruit = Fruit::kPear;
  Options options;
  options.add_choice("basket.fruit", fruit, kFruits, "what to eat");
  EXPECT_EQ(options.resolved_toml("v"), "verb = \"v\"\n\n[basket]\nfruit = \"pear\"\n");
  EXPECT_TRUE(options.parse("v", {"--fruit", "apple"}));
  EXPECT_EQ(fruit, Fruit::kApple);
  try {
    options.parse("v", {"--fruit", "plum"});
    FAIL() << "plum was taken";
  } catch (const UsageError& error) {
    EXPECT_STREQ(error.what(), "--fruit: one of apple, pear wanted, got 'plum'");
  }
  EXPECT_EQ(fruit, Fruit::kApple);
}

TEST(Options, AnEmptyValueDoesNotTakeTheNextWord) {
  EXPECT_EQ(Settings().usage_error({"--net=", "--quiet"}), "train: --net=: a value wanted behind the =");
  EXPECT_EQ(Settings().usage_error({"--taus=0.5", "--net=vgg16"}), "accepted");
}

TEST(Options, AChoiceIsGivenOnce) {
  std::vector<std::string> norms;
  Options options;
  options.add("evade.norms", norms, "").choices({"linf", "l2"}).flag("--norm");
  EXPECT_THROW(options.parse("evade", {"--norm", "l2", "--norm", "linf", "--norm", "l2"}), UsageError);
}

TEST(Options, ADistinctListHasNothingTwice) {
  std::vector<int> exits;
  std::vector<double> sigmas;
  Options options;
  options.add("channel.exits", exits, "").distinct();
  options.add("channel.sigmas", sigmas, "").distinct();
  EXPECT_TRUE(options.parse("channel", {"--exits", "1,2", "--sigmas", ".5,.25"}));
  EXPECT_THROW(options.parse("channel", {"--exits", "1,2,1"}), UsageError);
  EXPECT_THROW(options.parse("channel", {"--sigmas", ".5,0.5"}), UsageError);
}

TEST(Options, AFloatIsShownAsItWasWritten) {
  float phi = 0.95f;
  Options options;
  options.add("phi", phi, "a share");
  EXPECT_EQ(options.resolved_toml("v"), "verb = \"v\"\nphi = 0.95\n");
  EXPECT_TRUE(options.parse("v", {"--set", "phi=0.9"}));
  EXPECT_EQ(phi, 0.9f);
}

TEST(Options, AnotherTypeMayStandForTheVariable) {
  std::optional<std::size_t> known;
  Options options;
  options.add_as<std::int64_t>(
      "known",
      known,
      [](const auto& k) { return static_cast<std::int64_t>(k.value_or(0)); },
      [](std::int64_t n) { return n > 0 ? std::optional<std::size_t>(n) : std::nullopt; },
      "0: not");
  EXPECT_EQ(options.resolved_toml("v"), "verb = \"v\"\nknown = 0\n");
  EXPECT_TRUE(options.parse("v", {"--known", "3"}));
  EXPECT_EQ(known, 3u);
  EXPECT_TRUE(options.parse("v", {"--known", "0"}));
  EXPECT_EQ(known, std::nullopt);
}

TEST(Options, EarlierNamesAreTakenEverywhereAndWrittenNowhere) {
  test::TempFolder folder;
  test::write_text(folder / "old.toml", "[search]\nsearch_first = 7\n");
  const std::vector<std::vector<std::string>> ways{{"--search-first", "7"},
                                                   {"--first", "7"},
                                                   {"--set", "search.search_first=7"},
                                                   {"--config", (folder / "old.toml").string()}};
  for (const auto& words : ways) {
    int first = 0;
    Options options;
    options.add("search.first", first, "how many").alias("search.search_first", "--search-first");
    EXPECT_TRUE(options.parse("v", words));
    EXPECT_EQ(first, 7) << words[0];
    EXPECT_EQ(options.resolved_toml("v"), "verb = \"v\"\n\n[search]\nfirst = 7\n");
    EXPECT_EQ(options.find_key("search.search_first"), options.find_key("search.first"));
  }
}

// Paths as people have them: in a flag, behind '=', as positionals, through config.toml and by --set.
TEST(Options, OneArgumentIsOneWordWhateverItHolds) {
  const std::vector<std::string> paths = {"cat, sleeping.png",
                                          "[tt]",
                                          "folder:my data, 2024",
                                          "a=b@home.png",
                                          "x[1,2]",
                                          "'q'",
                                          "\"r\"",
                                          "donn\xc3\xa9\x65s?side=3",
                                          "a\\b",
                                          "{c}",
                                          "# not a comment"};
  struct Pictures {
    std::vector<std::string> pictures;
    std::filesystem::path out;
    Options options;
    Pictures() {
      options.add("pictures", pictures, "files").positional();
      options.add("out", out, "folder");
    }
  };
  Pictures positional;
  EXPECT_TRUE(positional.options.parse("infer", paths));
  EXPECT_EQ(positional.pictures, paths);
  Pictures flags;
  std::vector<std::string> words;
  for (const std::string& path : paths) words.push_back("--pictures=" + path);
  EXPECT_TRUE(flags.options.parse("infer", words));
  EXPECT_EQ(flags.pictures, paths);
  const TempFolder folder;
  write_text(folder / "config.toml", flags.options.resolved_toml("infer"));
  Pictures file;
  EXPECT_TRUE(file.options.parse("infer", {"--config", (folder / "config.toml").string()}));
  EXPECT_EQ(file.pictures, paths);
  for (const std::string& path : paths) {
    Pictures set, single;
    EXPECT_TRUE(set.options.parse("infer", {"--set", "pictures=" + path}));
    EXPECT_EQ(set.pictures, std::vector<std::string>{path});
    EXPECT_TRUE(single.options.parse("infer", {"--out", path}));
    EXPECT_EQ(single.out, path);
  }
  Pictures array;
  EXPECT_TRUE(array.options.parse("infer", {"--set", R"(pictures=["a, b", 'c'])"}));
  EXPECT_EQ(array.pictures, (std::vector<std::string>{"a, b", "c"}));
  EXPECT_THROW(Pictures().options.parse("infer", {""}), UsageError);
}

TEST(Options, TextThatCannotBeWrittenAgainIsRefusedBeforeAnyWork) {
  EXPECT_EQ(Settings().usage_error({"--out", "donn\xe9\x65s"}),
            "--out: text in UTF-8 wanted, got 'donn\\xe9es'");
  EXPECT_EQ(Settings().usage_error({"--names", "ok", "--names", "\xff"}),
            "--names: text in UTF-8 wanted, got '\\xff'");
  EXPECT_EQ(Settings().usage_error({"--set", "policy.names=\xff"}),
            "--set policy.names: text in UTF-8 wanted, got '\\xff'");
  const TempFolder folder;
  write_text(folder / "nul.toml", "[policy]\nnames = [\"a\\u0000b\"]\n");
  const std::string path = (folder / "nul.toml").string();
  EXPECT_EQ(Settings().usage_error({"--config", path}),
            path + ":2: policy.names: text without NUL wanted, got 'a\\x00b'");
  Settings s;
  EXPECT_TRUE(s.options.parse("train", {"--out", "donn\xc3\xa9\x65s"}));
  EXPECT_EQ(s.out, "donn\xc3\xa9\x65s");
}

TEST(Nearest, EditDistanceCountsSwapsOnce) {
  EXPECT_EQ(edit_distance("epochs", "epochs"), 0u);
  EXPECT_EQ(edit_distance("epohcs", "epochs"), 1u);
  EXPECT_EQ(edit_distance("", "abc"), 3u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
}

}  // namespace
}  // namespace offramp::tools
