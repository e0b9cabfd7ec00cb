// The verbs of `evade` from the outside: what they write, what they refuse, and going on after a kill.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "nets/data/npy.h"
#include "tests/support/pictures.h"
#include "tests/support/program.h"

namespace offramp {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::Outcome;
using test::read_text;
using test::TempFolder;
using Words = std::vector<std::string>;

// A net with three exits and one without, trained for a moment on the same pictures.
class EvadeVerbs : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    shared_ = std::make_unique<TempFolder>();
    test::write_pictures(*shared_ / "pictures", {.per_class = 24, .bright = 150, .dark = 70, .spread = 90});
    for (const char* exits : {"3", "1"}) {
      const Outcome trained = run({"train",
                                   "--net",
                                   "small-cnn",
                                   "--width-divisor",
                                   "4",
                                   "--exits",
                                   exits,
                                   "--data",
                                   data(),
                                   "--epochs",
                                   "3",
                                   "--batch",
                                   "8",
                                   "--out",
                                   net(exits)});
      ASSERT_EQ(trained.code, 0) << trained.text();
    }
  }
  static void TearDownTestSuite() { shared_.reset(); }

  static Outcome run(Words words) {
    words.insert(words.end(), {"--threads", "1"});
    return test::run_offramp(words);
  }
  static std::string net(const std::string& exits) { return (*shared_ / ("net-" + exits)).string(); }
  static std::string data() { return "folder:" + (*shared_ / "pictures").string(); }
  static std::string at(const std::string& name) { return (*shared_ / name).string(); }
  static json results(const std::string& name) {
    return json::parse(read_text(*shared_ / name / "results.json"));
  }

  static std::unique_ptr<TempFolder> shared_;
};
std::unique_ptr<TempFolder> EvadeVerbs::shared_;

TEST_F(EvadeVerbs, AttackWritesExamplesInsideTheirBound) {
  const Outcome done =
      run({"evade",   "attack",  net("3"),   "--data", data(),     "--split",      "all",
           "--count", "20",      "--attack", "pgd",    "--attack", "early-attack", "--alpha",
           "0.1,1",   "--steps", "12",       "--eps",  "16/255",   "--out",        at("attack")});
  ASSERT_EQ(done.code, 0) << done.text();
  const json found = results("attack");
  ASSERT_EQ(found["attacks"].size(), 3u);
  EXPECT_EQ(found["attacks"][0]["attack"], "pgd");
  EXPECT_EQ(found["attacks"][2]["attack"], "early-attack-1");
  EXPECT_NEAR(found["attacks"][0]["eps"].get<double>(), 16.0 / 255, 1e-12);
  EXPECT_LE(found["attacks"][0]["examples"]["largest_linf"].get<double>(), 16.0 / 255);
  EXPECT_GT(found["attacks"][0]["examples"]["largest_linf"].get<double>(), 15.9 / 255);
  EXPECT_EQ(found["images"], 20);
  const data::NpzFile file = data::read_npz(*shared_ / "attack" / "examples" / "pgd.npz");
  EXPECT_EQ(file.at("x").shape[0], 20);
  EXPECT_EQ(file.at("index").size(), 20u);
  for (const char* name : {"images.csv", "plots/exits.svg", "plots/exit_change.svg", "DONE"}) {
    EXPECT_TRUE(fs::exists(*shared_ / "attack" / name)) << name;
  }
}

// Early Attack keeps the last exit's class, whatever the label: its success is of all images, in the results as in the table.
TEST_F(EvadeVerbs, EarlyAttackIsJudgedWithoutLabels) {
  test::write_pictures(*shared_ / "swapped", {.per_class = 4, .bright = 70, .dark = 150, .spread = 90});
  const Outcome done = run({"evade",
                            "attack",
                            net("3"),
                            "--data",
                            "folder:" + at("swapped"),
                            "--split",
                            "all",
                            "--attack",
                            "early-attack",
                            "--attack",
                            "fgsm",
                            "--steps",
                            "2",
                            "--out",
                            at("early")});
  ASSERT_EQ(done.code, 0) << done.text();
  const json found = results("early");
  const int images = found["images"], wrong = found["clean_error"]["count"];
  ASSERT_GT(wrong, 0);
  EXPECT_EQ(found["attacks"][0]["success"], found["attacks"][0]["early"]["early_success"]);
  EXPECT_EQ(found["attacks"][0]["success"]["of"], images);
  EXPECT_EQ(found["attacks"][1]["success"]["of"], images - wrong);
}

TEST_F(EvadeVerbs, NoRadiusChangesNothing) {
  const Outcome done = run({"evade",
                            "attack",
                            net("3"),
                            "--data",
                            data(),
                            "--split",
                            "all",
                            "--count",
                            "10",
                            "--eps",
                            "0",
                            "--out",
                            at("zero")});
  ASSERT_EQ(done.code, 0) << done.text();
  const json pgd = results("zero")["attacks"][0];
  EXPECT_EQ(pgd["success"]["count"], 0);
  EXPECT_EQ(pgd["examples"]["largest_linf"], 0);
  EXPECT_TRUE(pgd["examples"]["psnr_db"].is_null());
  EXPECT_EQ(pgd["exit_change"]["exits_clean"], pgd["exit_change"]["exits_attacked"]);
}

TEST_F(EvadeVerbs, TransferHasACellForEveryPairAndGoesOnFromItsExamples) {
  const Words words = {"evade",       "transfer", "--surrogate", net("3"),
                       "--surrogate", net("1"),   "--target",    net("3") + "@last",
                       "--target",    net("3"),   "--data",      data(),
                       "--split",     "all",      "--count",     "16",
                       "--attack",    "fgsm",     "--out",       at("transfer")};
  const Outcome done = run(words);
  ASSERT_EQ(done.code, 0) << done.text();
  const json found = results("transfer");
  ASSERT_EQ(found["cells"].size(), 4u);
  EXPECT_EQ(found["cells"][0]["way"], "D2S");
  EXPECT_EQ(found["cells"][3]["way"], "S2D");
  EXPECT_EQ(found["cells"][0]["box"], "white");  // the last exit of the net that the examples were made on
  EXPECT_EQ(found["cells"][3]["box"], "black");
  EXPECT_TRUE(found["directions"].empty());  // D2S is white box here: nothing to compare
  EXPECT_FALSE(found["cells"][0].contains("exit_change"));
  EXPECT_EQ(found["cells"][3]["exit_change"]["exits_clean"].size(), 3u);
  const std::string report = read_text(*shared_ / "transfer" / "report.html");
  EXPECT_NE(report.find("16 images of " + data()), std::string::npos);

  // Killed before the end: the second set of examples is missing, the first is taken as it is.
  fs::remove(*shared_ / "transfer" / "DONE");
  std::string missing, kept;
  for (const auto& entry : fs::directory_iterator(*shared_ / "transfer" / "examples")) {
    (entry.path().filename().string().find("net-1") != std::string::npos ? missing : kept) =
        entry.path().string();
  }
  fs::remove(missing);
  // Of the first, half was written: the other half is made again, with the same bits.
  data::NpzFile half = data::read_npz(kept);
  const data::NpzFile complete = half;
  for (auto& [name, array] : half) {
    const auto each = array.size() / static_cast<std::size_t>(array.shape[0]);
    std::visit([&](auto& values) { values.resize(8 * each); }, array.values);
    array.shape[0] = 8;
  }
  data::write_npz(kept, half, false);
  const Outcome again = run({"evade", "transfer", "--resume", "--out", at("transfer")});
  ASSERT_EQ(again.code, 0) << again.text();
  const data::NpzFile made_again = data::read_npz(kept);
  for (const auto& [name, array] : complete) EXPECT_TRUE(made_again.at(name).values == array.values) << name;
  const std::string lines = read_text(*shared_ / "transfer" / "metrics.jsonl");
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 4) << "a line a cell, once";
  json now = results("transfer"), before = found;
  for (json* j : {&now, &before}) {
    for (json& cell : (*j)["cells"]) cell["examples"].erase("seconds");
  }
  EXPECT_EQ(now, before);
}

// Whose examples a file holds is told by its name: no two nets share one.
TEST_F(EvadeVerbs, EverySurrogateHasFilesOfItsOwn) {
  const fs::path last = fs::path("checkpoints") / "last.safetensors";
  fs::copy_file(net("3") / last, at("p-q.safetensors"));
  fs::copy_file(net("1") / last, at("p_q.safetensors"));
  const Outcome done = run({"evade",
                            "transfer",
                            "--surrogate",
                            at("p-q.safetensors"),
                            "--surrogate",
                            at("p_q.safetensors"),
                            "--target",
                            net("3"),
                            "--data",
                            data(),
                            "--split",
                            "all",
                            "--count",
                            "8",
                            "--attack",
                            "fgsm",
                            "--out",
                            at("names")});
  ASSERT_EQ(done.code, 0) << done.text();
  const auto files = fs::directory_iterator(*shared_ / "names" / "examples");
  EXPECT_EQ(std::distance(fs::begin(files), fs::end(files)), 2);
}

// By its weights, not its name, a net is known; and a resumed run wants the net that it began with.
TEST_F(EvadeVerbs, ACopyOfANetIsTheSameNet) {
  fs::copy_file(fs::path(net("3")) / "checkpoints" / "last.safetensors", at("copy.safetensors"));
  const Outcome done = run({"evade",
                            "transfer",
                            "--surrogate",
                            at("copy.safetensors"),
                            "--target",
                            net("3"),
                            "--data",
                            data(),
                            "--split",
                            "all",
                            "--count",
                            "8",
                            "--attack",
                            "fgsm",
                            "--out",
                            at("same")});
  ASSERT_EQ(done.code, 0) << done.text();
  EXPECT_EQ(results("same")["cells"][0]["box"], "white");
  fs::remove(*shared_ / "same" / "DONE");
  fs::copy_file(fs::path(net("1")) / "checkpoints" / "last.safetensors",
                at("copy.safetensors"),
                fs::copy_options::overwrite_existing);
  const Outcome again = run({"evade", "transfer", "--resume", "--out", at("same")});
  EXPECT_EQ(again.code, 2) << again.text();
  EXPECT_NE(again.err.find("has changed since the run in"), std::string::npos) << again.err;
}

TEST_F(EvadeVerbs, SlowdownJudgesAttacksAndDetectors) {
  const Outcome done = run({"evade",   "slowdown",
                            net("3"),  "--data",
                            data(),    "--split",
                            "all",     "--count",
                            "40",      "--window",
                            "5",       "--steps",
                            "6",       "--norm",
                            "linf",    "--norm",
                            "l1",      "--baseline",
                            "pgd-max", "--baseline",
                            "uap",     "--training-images",
                            "20",      "--threshold",
                            "0.6",     "--out",
                            at("slow")});
  ASSERT_EQ(done.code, 0) << done.text();
  const json found = results("slow");
  ASSERT_EQ(found["attacks"].size(), 9u);  // clean, 2 norms x 3 forms, 2 baselines
  for (const json& attack : found["attacks"]) {
    EXPECT_GE(attack["efficacy"].get<double>(), 0);
    EXPECT_LE(attack["efficacy"].get<double>(), 1);
  }
  EXPECT_FALSE(found["attacks"][0].contains("detector"));
  for (std::size_t a = 1; a < 9; ++a) {  // an AUC near 0 or 1 has an interval too
    const json& auc = found["attacks"][a]["detector"]["image_auc"];
    EXPECT_LT(auc["low"].get<double>(), auc["high"].get<double>()) << found["attacks"][a]["attack"];
  }
  EXPECT_TRUE(fs::exists(*shared_ / "slow" / "plots" / "roc-uap.svg"));
}

// One training image is of one class: the other class's images stay as they are, which is said.
TEST_F(EvadeVerbs, ClassesWithoutTrainingImagesAreNamed) {
  const Outcome done = run({"evade",   "slowdown", net("3"),     "--data",  data(),
                            "--split", "all",      "--count",    "20",      "--window",
                            "5",       "--steps",  "1",          "--norm",  "linf",
                            "--form",  "class",    "--baseline", "pgd-avg", "--training-images",
                            "1",       "--out",    at("classes")});
  ASSERT_EQ(done.code, 0) << done.text();
  const json found = results("classes");
  ASSERT_EQ(found["attacks"][1]["attack"], "sloth-linf-class");
  const int without = found["attacks"][1]["images_without_perturbation"];
  EXPECT_GT(without, 0);
  EXPECT_LT(without, 20);
  EXPECT_EQ(found["attacks"][2]["images_without_perturbation"], 0);
  EXPECT_NE(done.err.find("sloth-linf-class: " + std::to_string(without) +
                          " of 20 images are of classes that the 1 training images lack"),
            std::string::npos)
      << done.err;
}

TEST_F(EvadeVerbs, SurrogateSetTrainsANet) {
  const Outcome done = run({"evade",
                            "surrogate",
                            net("3"),
                            "--data",
                            data(),
                            "--split",
                            "train",
                            "--count",
                            "10",
                            "--severities",
                            "1,5",
                            "--out",
                            at("surrogate")});
  ASSERT_EQ(done.code, 0) << done.text();
  EXPECT_EQ(results("surrogate")["images"], 50);
  const Outcome trained = run({"train",
                               "--net",
                               "small-cnn",
                               "--width-divisor",
                               "4",
                               "--exits",
                               "1",
                               "--data",
                               at("surrogate") + "/surrogate.npz",
                               "--held-out",
                               "5",
                               "--epochs",
                               "1",
                               "--batch",
                               "8",
                               "--out",
                               at("copy")});
  ASSERT_EQ(trained.code, 0) << trained.text();
  const Outcome used = run({"evade",
                            "transfer",
                            "--surrogate",
                            at("copy"),
                            "--target",
                            net("3"),
                            "--data",
                            data(),
                            "--split",
                            "all",
                            "--count",
                            "8",
                            "--attack",
                            "fgsm",
                            "--out",
                            at("black-box")});
  EXPECT_EQ(used.code, 0) << used.text();
}

TEST_F(EvadeVerbs, GreyPicturesHaveSurrogatesToo) {
  std::vector<std::uint8_t> pixels;
  std::vector<std::int32_t> labels;
  constexpr int kImages = 40, kPixels = 16 * 16;
  for (int i = 0; i < kImages; ++i) {
    labels.push_back(i % 2);
    for (int p = 0; p < kPixels; ++p)
      pixels.push_back(static_cast<std::uint8_t>((p % 16 < 8) == (i % 2 == 0) ? 150 + i : 60 + i));
  }
  data::write_npz(
      at("grey.npz"), {{"images", {{kImages, 16, 16}, pixels}}, {"labels", {{kImages}, labels}}}, false);
  const Outcome trained = run({"train",
                               "--net",
                               "small-cnn",
                               "--width-divisor",
                               "4",
                               "--data",
                               at("grey.npz"),
                               "--epochs",
                               "1",
                               "--batch",
                               "8",
                               "--out",
                               at("grey-net")});
  ASSERT_EQ(trained.code, 0) << trained.text();
  const Outcome done = run({"evade",
                            "surrogate",
                            at("grey-net"),
                            "--data",
                            at("grey.npz"),
                            "--split",
                            "all",
                            "--count",
                            "10",
                            "--severities",
                            "1,5",
                            "--out",
                            at("grey-set")});
  ASSERT_EQ(done.code, 0) << done.text();
  EXPECT_EQ(results("grey-set")["images"], 50);
  EXPECT_EQ(data::read_npz(at("grey-set") + "/surrogate.npz").at("images").shape,
            (std::vector<std::int64_t>{50, 16, 16, 1}));
}

TEST_F(EvadeVerbs, WrongUseIsNamed) {
  const auto refused = [&](Words words, const std::string& what) {
    words.insert(words.begin(), "evade");
    words.insert(words.end(), {"--data", data(), "--split", "all", "--out", at("refused")});
    const Outcome outcome = run(words);
    EXPECT_EQ(outcome.code, 2) << outcome.text();
    EXPECT_NE(outcome.err.find(what), std::string::npos) << outcome.text();
    EXPECT_FALSE(fs::exists(at("refused")));
  };
  refused({"attack", net("3"), "--attack", "deepfool"},
          "no attack is called 'deepfool'; there are fgsm, pgd");
  refused({"attack", net("3"), "--eps", "-1"}, "expected eps in [0,1], got -1");
  refused({"attack", net("3"), "--eps", "8/0"}, "--eps: expected a ratio with a divisor other than 0");
  refused({"attack", net("3"), "--eps", "eight"},
          "--eps: expected a number or a ratio such as 8/255, got 'eight'");
  refused({"attack", net("3"), "--step", "0"}, "expected a step above 0, got 0");
  refused({"attack", net("3"), "--attack", "fgsm", "--attack", "apgd-ce", "--step", "1/255"},
          "--step: read by pgd, mi-fgsm, pgd-avg, max-average, sloth-linf, sloth-l2, sloth-l1; none of these "
          "is asked for");
  for (const Words& unread : std::initializer_list<Words>{{"early-attack", "--eps", "8/255"},
                                                          {"early-attack", "--step", "1/255"},
                                                          {"fgsm", "--steps", "500"},
                                                          {"pgd-avg", "--momentum", "5"},
                                                          {"mi-fgsm", "--no-random-start"},
                                                          {"sloth-l2", "--no-random-start"},
                                                          {"pgd-avg", "--through", "1"},
                                                          {"pgd", "--alpha", "3"},
                                                          {"pgd", "--c", "7"},
                                                          {"pgd", "--rate", "1"},
                                                          {"pgd", "--early-form", "code"}}) {
    Words words{"attack", net("3"), "--attack"};
    words.insert(words.end(), unread.begin(), unread.end());
    refused(words, unread[1] + ": read by ");
    words = {"transfer", "--surrogate", net("3"), "--target", net("3"), "--attack"};
    words.insert(words.end(), unread.begin(), unread.end());
    refused(words, unread[1] + ": read by ");
  }
  refused({"attack", net("3"), "--through", "4"}, "has exits 1 to 3, asked for exit 4");
  refused({"attack", net("3"), "--through", "first"},
          "--through: expected taken, last or the number of an exit, got 'first'");
  refused({"attack", net("3"), "--threshold", "70"}, "--threshold: 0 to 1 wanted, got 70");
  refused({"attack", net("1"), "--attack", "sloth-linf"}, "needs a net with internal classifiers");
  refused({"attack", net("3"), "--first", "100000"}, "images, --first 100000 is behind them");
  refused({"attack", net("3"), "--attack", "fgsm", "--attack", "fgsm"}, "fgsm is asked for twice");
  refused({"slowdown", net("3"), "--rad", ".05", "--threshold", ".5"}, "one of the two");
  refused({"slowdown", net("3"), "--rad", ".05", "--rule", ">"},
          "--rule and --fallback are those of --threshold");
  refused({"slowdown", net("3"), "--norm", "l2", "--norm", "l2"}, "'l2' is given twice");
  refused({"transfer", "--surrogate", net("1"), "--surrogate", net("1"), "--target", net("3")},
          "is given twice");
  refused({"slowdown", net("1")}, "has one exit; nothing can be slowed down");
  refused({"slowdown", net("3"), "--count", "10"}, "the detectors want at least four windows of 20");
  refused({"transfer", "--surrogate", net("1"), "--target", net("3"), "--attack", "early-attack"},
          "needs a surrogate with internal classifiers");
}

}  // namespace
}  // namespace offramp
