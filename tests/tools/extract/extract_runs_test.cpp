// The extraction attack from the outside: queries, going on after a kill, the report, and what bad input is answered with.
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "base/safetensors.h"
#include "tests/tools/extract/extract_verbs.h"

namespace offramp {
namespace {

using namespace extract_verbs;
using nlohmann::json;

TEST_F(ExtractVerbs, QueryWritesTheTraceThatTheDocumentationDescribes) {
  EXPECT_EQ(lines_of(trace() / "times.csv"), 1u + 2 * kPerClass);
  EXPECT_EQ(read_text(trace() / "times.csv").substr(0, 12), "index,t1,t2,");
  EXPECT_EQ(read_text(trace() / "outputs.npy").substr(1, 5), "NUMPY");
  const json about = json::parse(read_text(trace() / "trace.json"));
  EXPECT_EQ(about["samples"], 2 * kPerClass);
  EXPECT_EQ(about["classes"], 2);
  EXPECT_EQ(about["repetitions"], 10);
}

TEST_F(ExtractVerbs, QueryImagesMayBeMovedInTraining) {
  const TempFolder folder;
  const std::string exits = assignment(folder, 2 * kPerClass, 3);
  const auto learnt = [&](const std::string& how) {
    const std::string out = (folder / how).string();
    const Outcome fit = run(copy_of(exits, out) + Words{"--augment", how});
    EXPECT_EQ(fit.code, 0) << fit.err;
    return read_text(out + "/confidences.csv");  // of the images as they are
  };
  const std::string as_they_are = learnt("none"), moved = learnt("crops"), mirrored = learnt("flips-crops");
  EXPECT_EQ(std::count(moved.begin(), moved.end(), '\n'), 1 + 2 * kPerClass);
  EXPECT_NE(moved, as_they_are);
  EXPECT_NE(mirrored, moved);
}

TEST_F(ExtractVerbs, AKilledRunGoesOnAndItsReportIsWhole) {
  const TempFolder folder;
  const std::string out = (folder / "run").string();
  const Words words = {"extract",        "run",  "--victim", victim(),    "--images",        images(),
                       "--data",         data(), "--net",    "small-cnn", "--width-divisor", "4",
                       "--epochs",       "60",   "--batch",  "8",         "--repetitions",   "10",
                       "--timed-images", "5",    "--out",    out,         "--knockoff-rate", "0.05"};
  const test::Program first(words + kOneThread);
  const fs::path checkpoint = fs::path(out) / "checkpoints" / "knockoff.safetensors";
  for (int i = 0; i < 12000 && !fs::exists(checkpoint); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  first.send(SIGKILL);
  first.wait();
  ASSERT_TRUE(fs::exists(checkpoint));
  EXPECT_FALSE(fs::exists(fs::path(out) / "DONE"));
  const std::string times = read_text(fs::path(out) / "trace" / "times.csv");

  const Outcome refused = run(words);
  EXPECT_EQ(refused.code, 2);
  EXPECT_NE(refused.err.find("--resume"), std::string::npos) << refused.err;
  const Outcome resumed = run(words + Words{"--resume"});
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_TRUE(fs::exists(fs::path(out) / "DONE"));
  EXPECT_EQ(read_text(fs::path(out) / "trace" / "times.csv"), times) << "the victim was not asked again";
  const json results = json::parse(read_text(fs::path(out) / "results.json"));
  ASSERT_EQ(results["nets"].size(), 3u);
  EXPECT_EQ(results["nets"][2]["name"], "ours");

  const auto first_rate = [&](const std::string& name) {
    const safetensors::Reader kept(fs::path(out) / "checkpoints" / (name + ".safetensors"));
    return json::parse(kept.metadata().at("fit.history")).at(0).at(1).get<double>();
  };
  EXPECT_EQ(first_rate("knockoff"), 0.05);
  EXPECT_EQ(first_rate("substitute"), 0.1);

  // One file, nothing from elsewhere, every figure.
  const std::string report = read_text(fs::path(out) / "report.html");
  for (const char* outside : {"src=\"//", "src=\"http", "href=\"//", "href=\"http"})
    EXPECT_EQ(report.find(outside), std::string::npos) << outside;
  for (const char* text : {"Running time of each query image",
                           "Exit taken against exit estimated",
                           "Accuracy and cost on the test set",
                           "Training of the copies",
                           "Where test images leave",
                           "Test images and the exit they took",
                           "knockoff",
                           "</html>"})
    EXPECT_NE(report.find(text), std::string::npos) << text;
}

// At a rate of 0 (1e-9 rounds to it) the copy stays what it started from.
TEST_F(ExtractVerbs, TheCopyCanGoOnFromTheBaseline) {
  const TempFolder folder;
  const std::string out = (folder / "run").string();
  const Words words = {"extract",         "run",  "--victim", victim(),    "--images",        images(),
                       "--data",          data(), "--net",    "small-cnn", "--width-divisor", "4",
                       "--epochs",        "2",    "--batch",  "8",         "--repetitions",   "10",
                       "--timed-images",  "0",    "--out",    out,         "--knockoff-rate", "0.05",
                       "--learning-rate", "1e-9"};  // weights move by some bits at most
  const auto weights = [&](const std::string& name) {
    const safetensors::Reader file(fs::path(out) / name);
    std::vector<float> all;
    for (const auto& entry : file.entries()) {
      if (!entry.name.ends_with("weight")) continue;
      const auto bytes = file.bytes(entry);
      const std::size_t before = all.size();
      all.resize(before + bytes.size() / sizeof(float));
      std::memcpy(all.data() + before, bytes.data(), bytes.size());
    }
    return all;
  };
  const auto farthest_from_the_baseline = [&] {
    const std::vector<float> ours = weights("substitute.safetensors");
    const std::vector<float> baseline = weights("knockoff.safetensors");
    EXPECT_EQ(ours.size(), baseline.size());
    float most = 0;
    for (std::size_t i = 0; i < ours.size(); ++i)
      most = std::max(most, std::abs(ours.at(i) - baseline.at(i)));
    return most;
  };
  ASSERT_EQ(run(words + Words{"--from-knockoff"}).code, 0);
  const float continued = farthest_from_the_baseline();
  EXPECT_EQ(run(words + Words{"--from-knockoff", "--no-knockoff", "--force"}).code, 2);
  ASSERT_EQ(run(words + Words{"--force"}).code, 0);
  EXPECT_LT(continued, 0.01F * farthest_from_the_baseline());
}

TEST_F(ExtractVerbs, TheReportOpensInABrowserWithoutAMessage) {
  if (std::system("command -v chromium >/dev/null") != 0) GTEST_SKIP() << "chromium is not installed";
  const TempFolder folder;
  const std::string out = (folder / "run").string();
  const Outcome ran =
      run({"extract",       "run",       "--victim",        victim(), "--images", images(), "--data",  data(),
           "--net",         "small-cnn", "--width-divisor", "4",      "--epochs", "2",      "--batch", "8",
           "--repetitions", "10",        "--timed-images",  "5",      "--out",    out});
  ASSERT_EQ(ran.code, 0) << ran.err;
  const std::string command =
      "timeout 60 chromium --headless --no-sandbox --disable-gpu --no-first-run "
      "--user-data-dir=" +
      (folder / "profile").string() + " --enable-logging=stderr --v=0 --dump-dom file://" + out +
      "/report.html >" + (folder / "dom").string() + " 2>" + (folder / "log").string();
  ASSERT_EQ(std::system(command.c_str()), 0) << read_text(folder / "log");
  EXPECT_EQ(read_text(folder / "log").find("CONSOLE"), std::string::npos) << read_text(folder / "log");
  const std::string dom = read_text(folder / "dom");
  for (const char* text : {"Running time of each query image", "Accuracy and cost on the test set", "</svg>"})
    EXPECT_NE(dom.find(text), std::string::npos) << text;
  EXPECT_EQ(dom.find("NaN"), std::string::npos);
}

TEST_F(ExtractVerbs, BadInputIsNamedAndNothingIsWritten) {
  const TempFolder folder;
  const std::string out = (folder / "out").string();
  const auto refuses = [&](const Words& words, int code, const std::string& why) {
    const Outcome outcome = run(words);
    EXPECT_EQ(outcome.code, code) << outcome.err;
    EXPECT_NE(outcome.err.find(why), std::string::npos) << outcome.err;
    EXPECT_FALSE(fs::exists(fs::path(out) / "copy.safetensors"));
    fs::remove_all(out);
  };
  const int n = 2 * kPerClass;
  refuses(copy_of(assignment(folder, n - 1, 3), out), 2, "47");
  refuses(copy_of((folder / "none.csv").string(), out), 1, "none.csv");
  write_text(folder / "zero.csv", "index,exit,confidence\n0,0,1\n");
  refuses(copy_of((folder / "zero.csv").string(), out), 1, "exit");
  refuses({"extract",
           "run",
           "--victim",
           victim(),
           "--images",
           images(),
           "--data",
           data(),
           "--search-first",
           "49",
           "--out",
           out},
          2,
          "there are 48");
  refuses({"extract",
           "run",
           "--victim",
           victim(),
           "--images",
           images(),
           "--data",
           data(),
           "--net",
           "resnet-57",
           "--out",
           out},
          2,
          "resnet-57");
  // Nobody is asked for a copy that cannot be made.
  const Outcome many = run({"extract",
                            "run",
                            "--victim",
                            victim(),
                            "--images",
                            images(),
                            "--data",
                            data(),
                            "--net",
                            "small-cnn",
                            "--exits",
                            "9",
                            "--out",
                            out});
  EXPECT_EQ(many.code, 2) << many.err;
  EXPECT_NE(many.err.find("9 exits do not fit"), std::string::npos) << many.err;
  EXPECT_FALSE(fs::exists(out));
  const Words table_net = {"--images", images(), "--data", data(), "--net", "fcn-18-1", "--out", out};
  for (const Words& words :
       {Words{"extract", "run", "--victim", victim()}, Words{"extract", "baseline", victim()}}) {
    const Outcome outcome = run(words + table_net);
    EXPECT_EQ(outcome.code, 2) << outcome.err;
    EXPECT_NE(outcome.err.find("fcn-18-1 takes rows of features"), std::string::npos) << outcome.err;
    EXPECT_FALSE(fs::exists(out));
  }
  refuses({"extract", "query", "--victim", (folder / "nobody").string(), "--images", images(), "--out", out},
          1,
          "nobody");
  refuses({"extract", "query", "--victim", victim(), "--images", data() + "@train[40:20]", "--out", out},
          2,
          "40");
  write_text(folder / "c.csv", "exit,c1,c2\n1,.9,.1\n2,.8,.1\n");
  refuses(
      {"extract", "search", "--confidences", (folder / "c.csv").string(), "--first", "3"}, 2, "there are 2");
  write_text(folder / "torn.safetensors", "torn");
  refuses({"extract",
           "score",
           "--victim",
           victim(),
           "--copy",
           (folder / "torn.safetensors").string(),
           "--data",
           data(),
           "--out",
           out},
          1,
          "torn.safetensors");
}

}  // namespace
}  // namespace offramp
