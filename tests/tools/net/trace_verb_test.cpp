// `offramp trace` from the outside: it says what `infer` answers, its numbers hold together, and wrong use is named.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/pictures.h"
#include "tests/support/program.h"
#include "tests/tools/report/xml_check.h"

namespace offramp {
namespace {

namespace fs = std::filesystem;

class TraceVerb : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new test::TempFolder;
    test::write_pictures(*folder_ / "data");
    const test::Outcome outcome = test::run_offramp({"train",
                                                     "--net",
                                                     "small-cnn",
                                                     "--width-divisor",
                                                     "4",
                                                     "--exits",
                                                     "3",
                                                     "--data",
                                                     set(),
                                                     "--epochs",
                                                     "2",
                                                     "--batch",
                                                     "4",
                                                     "--out",
                                                     path("run"),
                                                     "--seed",
                                                     "3",
                                                     "--threads",
                                                     "1"});
    ASSERT_EQ(outcome.code, 0) << outcome.text();
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }

  static std::string path(const std::string& name) { return (*folder_ / name).string(); }
  static std::string set() { return "folder:" + path("data") + "?side=16"; }
  static std::string picture() { return path("data/test/left/0.ppm"); }

  int run(std::vector<std::string> words) {
    words.insert(words.end(), {"--threads", "1"});
    outcome_ = test::run_offramp(words);
    return outcome_.code;
  }
  nlohmann::json trace(const std::string& image, std::vector<std::string> more) {
    std::vector<std::string> words = {
        "trace", image, "--model", path("run"), "--json", path("trace.json"), "--repetitions", "0"};
    words.insert(words.end(), more.begin(), more.end());
    EXPECT_EQ(run(words), 0) << outcome_.text();
    return nlohmann::json::parse(test::read_text(path("trace.json")));
  }
  bool says(const std::string& text) const { return outcome_.text().find(text) != std::string::npos; }

  static test::TempFolder* folder_;
  test::Outcome outcome_;
};
test::TempFolder* TraceVerb::folder_ = nullptr;

// Thresholds below, between and above the confidences of the exits: the picture leaves at every exit once.
TEST_F(TraceVerb, AnswersAsInferDoesAtEveryExit) {
  std::vector<double> confidences;
  const nlohmann::json through = trace(picture(), {"--threshold", "1"});
  for (const auto& exit : through["exits"]) confidences.push_back(exit["confidence"]);
  ASSERT_EQ(confidences.size(), 3u);
  std::vector<int> exits_taken;
  for (const double threshold : {0.0, confidences[0], confidences[0] + 1e-6, confidences[1] + 1e-6, 1.0}) {
    const std::string text = nlohmann::json(threshold).dump();
    const nlohmann::json said = trace(picture(), {"--threshold", text});
    ASSERT_EQ(run({"infer",
                   picture(),
                   "--checkpoint",
                   path("run"),
                   "--threshold",
                   text,
                   "--json",
                   path("infer.json")}),
              0)
        << outcome_.text();
    const nlohmann::json infer = nlohmann::json::parse(test::read_text(path("infer.json")))["answers"][0];
    for (const char* key : {"label", "class", "exit", "answered", "confidence"})
      EXPECT_EQ(said["answer"][key], infer[key]) << key << " at threshold " << text;
    exits_taken.push_back(said["answer"]["exit"]);
    const std::size_t exit = said["answer"]["exit"];
    for (std::size_t e = 0; e < 3; ++e)
      EXPECT_EQ(said["exits"][e]["decision"],
                e + 1 < exit    ? "goes on"
                : e + 1 == exit ? "leaves"
                                : "not reached");
  }
  EXPECT_EQ(exits_taken[0], 1);
  EXPECT_EQ(exits_taken[1], 1);  // a confidence that equals the threshold is sure enough
  EXPECT_GT(exits_taken[2], 1);
  EXPECT_EQ(exits_taken[4], 3);
}

TEST_F(TraceVerb, NumbersHoldTogether) {
  const nlohmann::json said = trace(picture(), {"--threshold", "1"});
  std::int64_t before = 0;
  for (const auto& exit : said["exits"]) {
    const std::vector<double> p = exit["probabilities"];
    ASSERT_EQ(p.size(), said["classes"].size());
    double sum = 0;
    for (const double v : p) sum += v;
    EXPECT_NEAR(sum, 1, 1e-6);
    const auto largest = std::max_element(p.begin(), p.end());
    EXPECT_EQ(exit["label"], largest - p.begin());
    EXPECT_EQ(exit["confidence"], *largest);
    EXPECT_GT(exit["macs"], before);
    before = exit["macs"];
    EXPECT_TRUE(exit["milliseconds"].is_null());
  }
  for (const auto& exit : said["exits"])
    EXPECT_DOUBLE_EQ(exit["share"], static_cast<double>(exit["macs"]) / static_cast<double>(before));
}

TEST_F(TraceVerb, TextHasBarsWithoutColour) {
  const nlohmann::json said = trace(picture(), {"--threshold", "1", "--top", "2"});
  EXPECT_EQ(outcome_.out.find('\x1b'), std::string::npos);
  std::size_t marks = 0;
  for (std::size_t at = 0; (at = outcome_.out.find("  0.", at)) != std::string::npos; ++at) {
    const std::string line = outcome_.out.substr(at + 2, outcome_.out.find('\n', at) - at - 2);
    const double value = std::stod(line);
    const std::string bar = line.size() > 8 ? line.substr(8) : "";
    const auto filled = static_cast<double>(std::count(bar.begin(), bar.end(), '#'));
    const auto mark = static_cast<double>(std::count(bar.begin(), bar.end(), '|'));
    EXPECT_NEAR(filled + (mark > 0 && value > 0.99 ? 1 : 0), 40 * value, 0.51) << line;
    marks += mark > 0 ? 1 : 0;
  }
  EXPECT_EQ(marks, 2u);  // the end has no threshold
  EXPECT_TRUE(says("exit 3: ")) << outcome_.out;
  EXPECT_TRUE(says("the end of the net")) << outcome_.out;
  EXPECT_TRUE(says("left at exit 3 of 3 after 100.0 % of the MACs")) << outcome_.out;
}

TEST_F(TraceVerb, AnImageOfADataSetBringsItsLabel) {
  const nlohmann::json file = trace(picture(), {"--threshold", "1"});
  EXPECT_TRUE(file["truth"].is_null());
  const nlohmann::json said = trace(set() + "@test[0:1]", {"--threshold", "1"});
  EXPECT_EQ(said["truth"], "left");
  EXPECT_EQ(said["exits"], file["exits"]);  // the first picture of the test part is that file
  EXPECT_TRUE(says("the label is left")) << outcome_.out;
}

TEST_F(TraceVerb, ThePageIsWellFormedAndHasEveryExit) {
  const std::string odd = path("<b>&\"x.ppm");
  fs::copy_file(picture(), odd);
  ASSERT_EQ(run({"trace",
                 odd,
                 "--model",
                 path("run"),
                 "--threshold",
                 "0.5",
                 "--html",
                 path("t.html"),
                 "--repetitions",
                 "3"}),
            0)
      << outcome_.text();
  EXPECT_TRUE(says(" ms\n")) << outcome_.out;
  const std::string page = test::read_text(path("t.html"));
  const report::XmlFacts facts = report::check_xml(page.substr(page.find("<html")));
  EXPECT_EQ(facts.error, "");
  EXPECT_NE(facts.text.find("<b>&\"x.ppm"), std::string::npos);
  for (const char* text : {"exit 1", "exit 2", "exit 3", "How sure, after how much work", "left at exit"})
    EXPECT_NE(facts.text.find(text), std::string::npos) << text;
  EXPECT_EQ(facts.count("svg"), 5);                                 // the picture, its course, three exits
  EXPECT_EQ(page.find("http://"), page.find("http://www.w3.org"));  // nothing is loaded
}

TEST_F(TraceVerb, WrongUseIsNamed) {
  const auto refused = [&](const std::string& image,
                           const std::string& model,
                           std::vector<std::string> more,
                           int code,
                           const std::string& message) {
    std::vector<std::string> words = {"trace", image, "--model", model, "--html", path("no.html")};
    words.insert(words.end(), more.begin(), more.end());
    EXPECT_EQ(run(words), code) << outcome_.text();
    EXPECT_TRUE(says(message)) << message << "\nin\n" << outcome_.text();
    EXPECT_FALSE(fs::exists(path("no.html")));
  };
  test::write_text(path("broken.png"), "\x89PNG\r\n\x1a\n and no more");
  refused(picture(),
          path("run"),
          {},
          2,
          "trace: the checkpoint has no thresholds, so no exit is sure; offramp tune ");
  refused(path("data"), path("run"), {"--threshold", "1"}, 2, "is a folder; offramp infer takes folders");
  refused(path("none.png"), path("run"), {"--threshold", "1"}, 1, "none.png");
  refused(path("broken.png"), path("run"), {"--threshold", "1"}, 1, "broken.png");
  refused(picture(), path("none"), {"--threshold", "1"}, 1, "none");
  refused(picture(), path("run"), {"--threshold", "70"}, 2, "--threshold: 0 to 1 wanted, got 70");
  refused(set() + "@test[0:2]", path("run"), {"--threshold", "1"}, 2, "expected one image, ");
  refused(set() + "@test[999:1]", path("run"), {"--threshold", "1"}, 2, "wants images 999 to 999");
  refused("nothing-known[0:1]", path("run"), {"--threshold", "1"}, 2, "nothing-known");
  refused(picture(), path("run"), {"--threshold", "1", "--top", "0"}, 2, "--top");
}

}  // namespace
}  // namespace offramp
