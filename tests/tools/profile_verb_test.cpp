// offramp profile and --profile-steps from the outside.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

namespace {

struct Outcome {
  int code;
  std::string text;
};

Outcome offramp(const std::string& words) {
  const std::string command = std::string(OFFRAMP_BINARY) + " " + words + " 2>&1";
  std::FILE* pipe = popen(command.c_str(), "r");
  std::string text;
  char part[4096];
  while (const std::size_t n = std::fread(part, 1, sizeof part, pipe)) text.append(part, n);
  const int status = pclose(pipe);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, text};
}

constexpr const char* kSmall = " --net small-cnn --width-divisor 8 --side 16 --exits 2 --batch 4 --steps 2";

TEST(ProfileVerb, TheOpTableAddsUpToTheStep) {
  const auto path = std::filesystem::path(::testing::TempDir()) / "offramp_profile.json";
  const Outcome outcome = offramp("profile" + std::string(kSmall) + " --json " + path.string());
  ASSERT_EQ(outcome.code, 0) << outcome.text;
  EXPECT_NE(outcome.text.find("conv2d backward"), std::string::npos) << outcome.text;
  EXPECT_NE(outcome.text.find("between ops"), std::string::npos);
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

TEST(ProfileVerb, StepsForNsightWantANumberedRangeAndADevice) {
  const Outcome wrong = offramp("bench step --steps 1 --profile-steps 5:3");
  EXPECT_EQ(wrong.code, 2);
  EXPECT_NE(wrong.text.find("--profile-steps: expected A:B with 0 <= A <= B, got '5:3'"), std::string::npos)
      << wrong.text;
  const Outcome cpu = offramp("bench step --steps 1 --profile-steps 1:2");
  EXPECT_EQ(cpu.code, 2);
  EXPECT_NE(cpu.text.find("wants --device cuda"), std::string::npos) << cpu.text;
}

}  // namespace
