// offramp profile and --profile-steps from the outside.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/support/pictures.h"
#include "tests/support/program.h"

namespace {

using offramp::test::Outcome;
using offramp::test::run_offramp_line;

constexpr const char* kSmall = " --net small-cnn --width-divisor 8 --side 16 --exits 2 --batch 4 --steps 2";

TEST(ProfileVerb, TheOpTableAddsUpToTheStep) {
  const auto path = std::filesystem::path(::testing::TempDir()) / "offramp_profile.json";
  const Outcome outcome = run_offramp_line("profile" + std::string(kSmall) + " --json " + path.string());
  ASSERT_EQ(outcome.code, 0) << outcome.text();
  EXPECT_NE(outcome.text().find("conv2d backward"), std::string::npos) << outcome.text();
  EXPECT_NE(outcome.text().find("between ops"), std::string::npos);
  std::ifstream file(path);
  const nlohmann::json profile = nlohmann::json::parse(file);
  EXPECT_EQ(profile["device"], "cpu");
  double shares = 0;
  int convolutions = 0;
  for (const auto& row : profile["ops"]) {
    shares += row["share"].get<double>();
    if (row["op"] == "conv2d") convolutions = row["calls"];
  }
  EXPECT_EQ(convolutions, 6);
  EXPECT_GT(shares, 0);
  EXPECT_LE(shares, 1.0);
  std::filesystem::remove(path);
}

TEST(ProfileVerb, BatchesOfADataSetAreARowOfTheirOwn) {
  const offramp::test::TempFolder folder;
  offramp::test::write_pictures(folder / "data");
  const std::string line =
      "profile" + std::string(kSmall) + " --log json --data folder:" + (folder / "data").string();
  const Outcome outcome = run_offramp_line(line + "?side=16");
  ASSERT_EQ(outcome.code, 0) << outcome.text();
  const nlohmann::json profile = nlohmann::json::parse(outcome.out);
  const nlohmann::json& data = profile["data"];
  EXPECT_GT(data["fetch_ms"].get<double>(), 0);
  EXPECT_GE(data["fetch_ms"].get<double>(), data["waited_ms"].get<double>());
  EXPECT_LE(data["waits"].get<int>(), 2);
  EXPECT_LT(data["fetch_ms"].get<double>(), profile["step_ms"].get<double>());
  const Outcome missing = run_offramp_line("profile --data folder:" + (folder / "nothing").string());
  EXPECT_EQ(missing.code, 1) << missing.text();
  EXPECT_NE(missing.err.find("nothing"), std::string::npos) << missing.err;
}

TEST(ProfileVerb, StepsForNsightWantANumberedRangeAndADevice) {
  const Outcome wrong = run_offramp_line("bench step --steps 1 --profile-steps 5:3");
  EXPECT_EQ(wrong.code, 2);
  EXPECT_NE(wrong.text().find("--profile-steps: expected A:B with 0 <= A <= B, got '5:3'"), std::string::npos)
      << wrong.text();
  const Outcome cpu = run_offramp_line("bench step --steps 1 --profile-steps 1:2");
  EXPECT_EQ(cpu.code, 2);
  EXPECT_NE(cpu.text().find("wants --device cuda"), std::string::npos) << cpu.text();
}

TEST(BenchImageVerb, TimesEveryExitInOrder) {
  const Outcome o =
      run_offramp_line("bench image --net small-cnn --exits 3 --images 3 --threads 1 --log json");
  ASSERT_EQ(o.code, 0) << o.err;
  const auto json = nlohmann::json::parse(o.out);
  ASSERT_EQ(json["exit_ms"].size(), 3u);
  for (const auto& ms : json["exit_ms"]) EXPECT_GT(ms.get<double>(), 0);
  EXPECT_EQ(run_offramp_line("bench image --net small-cnn --exits 7").code, 2);
}

}  // namespace
