// A folder of one's own pictures from train to extract, as docs/guide/your_own_pictures.md has it: what the checkpoint keeps
// is what later verbs use.
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/safetensors.h"
#include "base/utf8.h"
#include "tests/support/mixed_pictures.h"
#include "tests/support/program.h"

namespace offramp {
namespace {

namespace fs = std::filesystem;

class OwnPictures : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new test::TempFolder;
    test::write_mixed_pictures(*folder_ / "pets", 21);
    fs::create_directories(*folder_ / "other");
    fs::copy(*folder_ / "pets/top/0.png", *folder_ / "other/0.png");
    fs::copy(*folder_ / "pets/left/3.jpg", *folder_ / "other/grey.jpg");
    test::write_text(*folder_ / "other/notes.txt", "x");
    const test::Outcome outcome = test::run_offramp(train_words(path("pets"), "run", {"--side", "32"}));
    ASSERT_EQ(outcome.code, 0) << outcome.text();
    trained_ = outcome.text();
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }

  static std::string path(const std::string& name) { return (*folder_ / name).string(); }
  static std::vector<std::string> train_words(const std::string& data,
                                              const std::string& out,
                                              const std::vector<std::string>& more) {
    std::vector<std::string> words = {"train",
                                      "--net",
                                      "small-cnn",
                                      "--width-divisor",
                                      "4",
                                      "--data",
                                      data,
                                      "--epochs",
                                      "6",
                                      "--batch",
                                      "8",
                                      "--exits",
                                      "2",
                                      "--out",
                                      path(out),
                                      "--threads",
                                      "1"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  int run(const std::vector<std::string>& words) {
    const test::Outcome outcome = test::run_offramp(words);
    said_ = outcome.text();
    return outcome.code;
  }
  bool says(const std::string& text) const { return said_.find(text) != std::string::npos; }
  static nlohmann::json json_of(const std::string& name) {
    return nlohmann::json::parse(test::read_text(*folder_ / name));
  }

  static test::TempFolder* folder_;
  static std::string trained_;  // what train said
  std::string said_;            // by the last run
};
test::TempFolder* OwnPictures::folder_ = nullptr;
std::string OwnPictures::trained_;

TEST_F(OwnPictures, TrainSaysWhatItFoundAndWhatItDoes) {
  for (const std::string text : {"class folders without parts train/ and test/",
                                 "12 of the 63 samples, drawn with seed 1, are held out and tested on",
                                 "3 classes: left, middle, top",
                                 "pictures are not square: they are squashed to 32x32, not cropped",
                                 "51 training and 12 held-out samples",
                                 "held-out accuracy %",
                                 "next: offramp tune "})
    EXPECT_NE(trained_.find(text), std::string::npos) << text << " in\n" << trained_;
}

TEST_F(OwnPictures, TheCheckpointKeepsWhatTheNetSaw) {
  const safetensors::Reader file(*folder_ / "run/checkpoints/last.safetensors");
  const auto& kept = file.metadata();
  EXPECT_EQ(kept.at("data.set"), path("pets"));
  EXPECT_EQ(kept.at("data.side"), "32");
  EXPECT_EQ(kept.at("data.held_out"), "12");
  EXPECT_EQ(kept.at("data.seed"), "1");
  EXPECT_EQ(kept.at("data.padding"), "0");
  EXPECT_EQ(kept.at("data.grey"), "0");
  EXPECT_EQ(kept.at("data.classes"), "left\nmiddle\ntop");
}

TEST_F(OwnPictures, CurvesAndInfoSayWhatTheyAreOf) {
  EXPECT_EQ(run({"curves", path("run")}), 0);
  EXPECT_TRUE(says("held-out accuracy, % after the last epoch")) << said_;
  EXPECT_EQ(run({"dataset", "info", path("pets"), "--side", "32"}), 0) << said_;
  EXPECT_TRUE(says(path("pets") + ": class folders without parts train/ and test/")) << said_;
}

TEST_F(OwnPictures, SeveralSizesAreRefusedWithTheWordToType) {
  EXPECT_EQ(run(train_words(path("pets"), "no", {})), 1);
  EXPECT_TRUE(says("give it as '" + path("pets") + "?side=32', with the quotes")) << said_;
  EXPECT_FALSE(fs::exists(*folder_ / "no"));
  EXPECT_EQ(run(train_words("pets", "no", {})), 2);  // not from here
  fs::copy(*folder_ / "pets", *folder_ / "hurt", fs::copy_options::recursive);
  fs::resize_file(*folder_ / "hurt/top/4.jpg", 200);
  EXPECT_EQ(run(train_words(path("hurt"), "no", {"--side", "32"})), 1);
  EXPECT_TRUE(says("top/4.jpg")) << said_;
  EXPECT_TRUE(says("offramp dataset verify " + path("hurt") + " names every picture that is in the way"))
      << said_;
}

TEST_F(OwnPictures, AVictimWithoutThresholdsNamesTune) {
  fs::copy(*folder_ / "run", *folder_ / "untuned", fs::copy_options::recursive);
  EXPECT_EQ(run({"infer", path("other"), "--checkpoint", path("untuned")}), 2);
  EXPECT_TRUE(says("offramp tune " + path("untuned") + " --drop 0.5")) << said_;
  EXPECT_EQ(run({"extract", "query", path("untuned"), "--images", path("pets"), "--out", path("q")}), 2);
  EXPECT_TRUE(says("offramp tune chooses them")) << said_;
  EXPECT_FALSE(fs::exists(*folder_ / "q"));
}

// One walk, for each stage reads what the one before wrote.
TEST_F(OwnPictures, FromTuneToScoreWithoutNamingTheDataAgain) {
  const std::string run_folder = path("run");
  ASSERT_EQ(run({"tune", run_folder, "--drop", "5"}), 0) << said_;
  EXPECT_TRUE(says("data from the checkpoint: " + path("pets") +
                   ", pictures resized to 32x32, 12 held-out samples (seed 1), 3 class names"))
      << said_;
  ASSERT_EQ(run({"eval", run_folder, "--latency-images", "0", "--json", path("eval.json")}), 0) << said_;
  EXPECT_EQ(json_of("eval.json")["split"], "held-out");
  EXPECT_EQ(json_of("eval.json")["samples"], 12);

  ASSERT_EQ(run({"extract",
                 "query",
                 run_folder,
                 "--images",
                 path("pets"),
                 "--repetitions",
                 "2",
                 "--out",
                 path("query")}),
            0)
      << said_;
  ASSERT_EQ(run({"extract",
                 "estimate",
                 path("query/trace"),
                 "--exits",
                 "2",
                 "--statistic",
                 "median",
                 "--json",
                 path("estimate.json")}),
            0)
      << said_;
  ASSERT_EQ(run({"extract",
                 "fit",
                 "--trace",
                 path("query/trace"),
                 "--assignment",
                 path("assignment.csv"),
                 "--net",
                 "small-cnn",
                 "--width-divisor",
                 "4",
                 "--epochs",
                 "1",
                 "--out",
                 path("fit")}),
            0)
      << said_;
  EXPECT_TRUE(says("images: 63 of " + path("pets") + ", part train")) << said_;  // as the trace names them
  ASSERT_EQ(run({"extract",
                 "search",
                 "--confidences",
                 path("fit/confidences.csv"),
                 "--json",
                 path("strategy.json")}),
            0)
      << said_;
  ASSERT_EQ(run({"extract",
                 "score",
                 "--victim",
                 run_folder,
                 "--copy",
                 path("fit"),
                 "--thresholds",
                 path("strategy.json"),
                 "--timed-images",
                 "0",
                 "--out",
                 path("score")}),
            0)
      << said_;
  EXPECT_TRUE(says("scored on the 12 held-out samples of " + path("pets"))) << said_;
  // What was not measured is not given as a number.
  const auto results = json_of("score/results.json");
  for (const nlohmann::json& net : results.at("nets"))
    for (const char* name : {"ns_per_image", "ratio_time", "clo_queries"})
      EXPECT_TRUE(net.at(name).is_null()) << name;
}

TEST_F(OwnPictures, InferTakesFoldersAndGoesOnBehindABadPicture) {
  const auto whole = test::read_text(*folder_ / "pets/top/4.jpg");
  test::write_text(*folder_ / "other/broken.jpg", whole.substr(0, whole.size() / 3));
  EXPECT_EQ(run({"infer",
                 path("other"),
                 path("nothing.png"),
                 path("pets/left/0.png"),
                 "--checkpoint",
                 path("run"),
                 "--threshold",
                 "0.5",
                 "--json",
                 path("infer.json")}),
            1)
      << said_;
  EXPECT_TRUE(says("2 of 5 pictures could not be read")) << said_;
  EXPECT_TRUE(says("1 other files in the folders were passed over")) << said_;
  const nlohmann::json said = json_of("infer.json");
  ASSERT_EQ(said["answers"].size(), 3u);
  EXPECT_EQ(said["answers"][0]["picture"], path("other/0.png"));
  EXPECT_EQ(said["answers"][1]["picture"], path("other/grey.jpg"));
  EXPECT_EQ(said["answers"][2]["picture"], path("pets/left/0.png"));
  EXPECT_EQ(said["answers"][2]["class"], "left");
  ASSERT_EQ(said["failed"].size(), 2u);
  EXPECT_EQ(said["failed"][0]["picture"], path("other/broken.jpg"));
  EXPECT_EQ(said["failed"][1]["picture"], path("nothing.png"));
}

TEST_F(OwnPictures, ValIsTheTestPartAndThisIsSaid) {
  for (const char* name : {"left", "top"}) {
    fs::create_directories(*folder_ / "parts/train");
    fs::create_directories(*folder_ / "parts/val");
    fs::copy(*folder_ / "pets" / name, *folder_ / "parts/train" / name);
    fs::copy(*folder_ / "pets" / name, *folder_ / "parts/val" / name);
  }
  ASSERT_EQ(run(train_words(path("parts") + "?side=16", "val", {})), 0) << said_;
  EXPECT_TRUE(says("(there is no test/, val/ is the test part)")) << said_;
  EXPECT_TRUE(says("42 training and 42 test samples")) << said_;
  // A set that was not trained on is tested on as a whole; its pictures become those that the net takes.
  ASSERT_EQ(run({"eval", path("val"), "--data", path("parts/val"), "--json", path("eval.json")}), 0) << said_;
  EXPECT_EQ(json_of("eval.json")["samples"], 42);
  EXPECT_TRUE(says("all of it is the test part")) << said_;
}

// A net trained on grey 28x28 pictures with a border of two zeros meets the same pictures in use, whatever the file.
TEST_F(OwnPictures, InferPadsAndGreysAsTheTrainingSetDid) {
  const auto grey_ppm = [](int label, int variant, int factor, int border, bool colour) {
    const int inner = 28 * factor, side = inner + 2 * border;
    const auto rgb = test::drawn(label, 28, 28, variant);
    std::string text =
        (colour ? "P6\n" : "P5\n") + std::to_string(side) + " " + std::to_string(side) + "\n255\n";
    for (int y = -border; y < inner + border; ++y)
      for (int x = -border; x < inner + border; ++x) {
        const bool inside = x >= 0 && y >= 0 && x < inner && y < inner;
        const char value =
            inside ? static_cast<char>(rgb[static_cast<std::size_t>(3 * (y / factor * 28 + x / factor))])
                   : '\0';
        text.append(colour ? 3 : 1, value);
      }
    return text;
  };
  for (int i = 0; i < 20; ++i)
    for (int label = 0; label < 2; ++label) {
      const auto place = *folder_ / "digits" / (label == 0 ? "a" : "b");
      fs::create_directories(place);
      test::write_text(place / (std::to_string(i) + ".pgm"), grey_ppm(label, i, 1, 0, false));
    }
  ASSERT_EQ(run(train_words(path("digits"), "digits_run", {"--side", "32"})), 0) << said_;
  const safetensors::Reader file(*folder_ / "digits_run/checkpoints/last.safetensors");
  EXPECT_EQ(file.metadata().at("data.padding"), "2");
  EXPECT_EQ(file.metadata().at("data.grey"), "1");

  fs::create_directories(*folder_ / "use");
  test::write_text(*folder_ / "use/1_as_trained.pgm", grey_ppm(1, 30, 1, 0, false));
  test::write_text(*folder_ / "use/2_three_channels.ppm", grey_ppm(1, 30, 1, 0, true));
  test::write_text(*folder_ / "use/3_padded_by_hand.pgm", grey_ppm(1, 30, 1, 2, false));
  test::write_text(*folder_ / "use/4_twice_the_size.pgm", grey_ppm(1, 30, 2, 0, false));
  ASSERT_EQ(run({"infer",
                 path("use"),
                 "--checkpoint",
                 path("digits_run"),
                 "--threshold",
                 "1",
                 "--json",
                 path("a.json")}),
            0)
      << said_;
  EXPECT_TRUE(says("32x32 grey with a border of 2 zeros around 28x28")) << said_;
  const nlohmann::json answers = json_of("a.json")["answers"];
  ASSERT_EQ(answers.size(), 4u);
  for (const auto& answer : answers) {
    EXPECT_EQ(answer["confidence"], answers[0]["confidence"]) << answer["picture"];
    EXPECT_EQ(answer["class"], "b");
  }
}

// File names of another encoding, all the way into the report: nothing may fail on them after the work is done.
TEST_F(OwnPictures, NamesThatAreNotUtf8AreShownAsTheirBytes) {
  for (const char* name : {"chats \xe9t\xe9", "chiens"}) {
    const auto place = *folder_ / "latin" / name;
    fs::create_directories(place);
    for (int i = 0; i < 10; ++i)
      test::write_png(place / ("\xe9" + std::to_string(i) + ".png"),
                      test::drawn(name[2] == 'a' ? 0 : 1, 16, 16, i),
                      16,
                      16,
                      test::PngKind::kColour);
  }
  ASSERT_EQ(run(train_words(path("latin"), "latin_run", {})), 0) << said_;
  ASSERT_EQ(run({"tune", path("latin_run"), "--threshold", "0.9"}), 0) << said_;
  ASSERT_EQ(run({"infer", path("latin"), "--checkpoint", path("latin_run"), "--json", path("latin.json")}), 0)
      << said_;
  const nlohmann::json answers = json_of("latin.json")["answers"];
  ASSERT_EQ(answers.size(), 20u);
  EXPECT_EQ(answers[0]["picture"], path("latin") + "/chats \\xe9t\\xe9/\\xe90.png");
  EXPECT_EQ(answers[0]["class"], "chats \\xe9t\\xe9");
  ASSERT_EQ(run({"extract",
                 "run",
                 path("latin_run"),
                 "--images",
                 path("latin"),
                 "--repetitions",
                 "2",
                 "--exits",
                 "2",
                 "--net",
                 "small-cnn",
                 "--width-divisor",
                 "4",
                 "--epochs",
                 "1",
                 "--no-knockoff",
                 "--threads",
                 "1",
                 "--timed-images",
                 "0",
                 "--out",
                 path("latin_stolen")}),
            0)
      << said_;
  EXPECT_TRUE(is_utf8(test::read_text(*folder_ / "latin_stolen/report.html")));
  EXPECT_TRUE(is_utf8(test::read_text(*folder_ / "latin_stolen/results.json")));
}

TEST_F(OwnPictures, HeldOutSamplesAreThoseOfTraining) {
  ASSERT_EQ(run(train_words(path("pets"), "seven", {"--side", "16", "--held-out", "20", "--seed", "7"})), 0)
      << said_;
  ASSERT_EQ(run({"tune", path("seven"), "--drop", "90"}), 0) << said_;
  EXPECT_TRUE(says("20 held-out samples (seed 7)")) << said_;
  EXPECT_FALSE(says("warning")) << said_;
  ASSERT_EQ(run({"tune", path("seven"), "--drop", "90", "--seed", "8"}), 0) << said_;
  EXPECT_TRUE(says("it saw all but 20 held out with --seed 7")) << said_;

  // A picture more, and the same seed draws others.
  fs::copy(*folder_ / "pets", *folder_ / "grown", fs::copy_options::recursive);
  ASSERT_EQ(run({"tune", path("seven"), "--drop", "90", "--data", path("grown")}), 0) << said_;
  EXPECT_FALSE(says("warning")) << said_;  // the same pictures elsewhere
  fs::copy(*folder_ / "pets/top/0.png", *folder_ / "grown/top/zz.png");
  ASSERT_EQ(run({"tune", path("seven"), "--drop", "90", "--data", path("grown")}), 0) << said_;
  EXPECT_TRUE(says("is not what the net was trained on")) << said_;
}

}  // namespace
}  // namespace offramp
