// `offramp curves` over written run folders: which runs make a curve, its numbers, and bad input.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/support/program.h"

namespace offramp {
namespace {

using nlohmann::json;
using test::Outcome;
using test::read_text;
using test::TempFolder;
using test::write_text;

void write_run(const std::filesystem::path& folder,
               const std::string& precision,
               int seed,
               const std::vector<std::vector<double>>& test_accuracy) {
  std::filesystem::create_directories(folder);
  write_text(folder / "config.toml",
             "# offramp run: run again with: offramp train --config config.toml\nverb = \"train\"\nseed = " +
                 std::to_string(seed) + "\n\n[net]\nname = \"small-cnn\"\n\n[train]\nprecision = \"" +
                 precision + "\"\n");
  std::string lines;
  for (std::size_t e = 0; e < test_accuracy.size(); ++e)
    lines += json{{"epoch", e + 1},
                  {"loss", 2.0 / static_cast<double>(e + 1)},
                  {"test_accuracy", test_accuracy[e]},
                  {"images_per_second", 100 * static_cast<double>(e + 1)}}
                 .dump() +
             "\n";
  write_text(folder / "metrics.jsonl", lines);
}

TEST(CurvesVerb, RunsOfOtherSeedsMakeOneCurve) {
  const TempFolder folder;
  write_run(folder / "a", "f32", 1, {{0.5, 0.6}, {0.7, 0.8}, {0.71, 0.9}});
  write_run(folder / "b", "f32", 2, {{0.4, 0.6}, {0.6, 0.9}});  // still going on: two epochs count
  write_run(folder / "c", "bf16", 1, {{0.3, 0.2}, {0.5, 0.6}});
  const std::string runs =
      "curves " + (folder / "a").string() + " " + (folder / "b").string() + " " + (folder / "c").string();
  const Outcome text = test::run_offramp_line(runs + " --plot " + (folder / "c.svg").string() + " --csv " +
                                              (folder / "c.csv").string());
  ASSERT_EQ(text.code, 0) << text.err;
  EXPECT_NE(text.out.find("f32       2      2  65.00 (60.00-70.00)  85.00 (80.00-90.00)       200"),
            std::string::npos)
      << text.out;
  EXPECT_NE(text.out.find("bf16      1      2  50.00                60.00                     200"),
            std::string::npos)
      << text.out;
  const std::string csv = read_text(folder / "c.csv");
  EXPECT_TRUE(csv.starts_with("curve,epoch,exit,mean,least,greatest\nf32,1,1,45,40,50\n")) << csv;
  const std::string svg = read_text(folder / "c.svg");
  for (const char* wanted :
       {"<svg", "test accuracy, %", "last exit", ">f32<", ">bf16<", "band from the least"})
    EXPECT_NE(svg.find(wanted), std::string::npos) << wanted;
  const Outcome as_json = test::run_offramp_line(runs + " --log json");
  const json answer = json::parse(as_json.out);
  EXPECT_EQ(answer["value"], "test_accuracy");
  EXPECT_EQ(answer["curves"][0]["epochs"].size(), 2u);
  EXPECT_DOUBLE_EQ(answer["curves"][0]["epochs"][1][1]["greatest"], 90);
  EXPECT_EQ(answer["curves"][1]["runs"], 1);
}

TEST(CurvesVerb, ASingleCurveShowsItsExitsAndALossIsNoPercentage) {
  const TempFolder folder;
  write_run(folder / "a", "f32", 1, {{0.5, 0.6}, {0.7, 0.8}});
  const std::string run = "curves " + (folder / "a").string();
  ASSERT_EQ(test::run_offramp_line(run + " --plot " + (folder / "a.svg").string()).code, 0);
  const std::string svg = read_text(folder / "a.svg");
  for (const char* wanted : {">small-cnn<", ">exit 1<", ">exit 2<"})
    EXPECT_NE(svg.find(wanted), std::string::npos) << wanted;
  const Outcome loss = test::run_offramp_line(run + " --value loss");
  EXPECT_NE(loss.out.find("small-cnn     1      2  1.0000"), std::string::npos) << loss.out;
}

TEST(CurvesVerb, BadInputIsNamed) {
  const TempFolder folder;
  write_run(folder / "a", "f32", 1, {{0.5, 0.6}});
  write_run(folder / "empty", "f32", 1, {});
  write_run(folder / "odd", "f32", 1, {{0.5, 0.6}});
  write_text(folder / "odd" / "metrics.jsonl", "{\"epoch\":1,\"test_accuracy\":\"high\"}\n");
  const auto error = [&](const std::string& line, int code) {
    const Outcome o = test::run_offramp_line("curves " + line);
    EXPECT_EQ(o.code, code) << line << o.err;
    return o.err;
  };
  const auto says = [](const std::string& text, const std::string& wanted) {
    EXPECT_NE(text.find(wanted), std::string::npos) << text;
  };
  says(error("", 2), "runs");
  says(error((folder / "none").string(), 1), "none/config.toml");
  says(error((folder / "empty").string(), 1), "holds no epoch");
  says(error((folder / "odd").string(), 1), "line 1: expected numbers under 'test_accuracy'");
  says(error((folder / "a").string() + " --exit 3", 2), "--exit 3: the runs of 'small-cnn' have 2");
  says(error((folder / "a").string() + " --value speed", 2), "speed");
}

}  // namespace
}  // namespace offramp
