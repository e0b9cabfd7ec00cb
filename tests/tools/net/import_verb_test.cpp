// offramp import on a state dict that PyTorch wrote (tests/fixtures): what it says, and that the checkpoint
// answers as PyTorch did.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/safetensors.h"
#include "base/zip_archive.h"
#include "nets/graph/state_dict.h"
#include "tests/support/program.h"

namespace offramp {
namespace {

using nlohmann::json;
using test::Outcome;
using test::run_offramp;
using test::TempFolder;
using Words = std::vector<std::string>;

// The fixture's tensors for which `wanted` is true, as a file of their own.
template <class Wanted>
std::string part_of(const safetensors::Reader& fixture, const TempFolder& folder, Wanted wanted) {
  std::vector<safetensors::Source> sources;
  for (const auto& entry : fixture.entries())
    if (wanted(entry.name)) sources.push_back({entry.name, entry.dtype, entry.shape, fixture.bytes(entry)});
  const auto path = folder / "state_dict.safetensors";
  safetensors::write(path, sources, {});
  return path.string();
}

bool is_weight(const std::string& name) { return name.rfind("fixture.", 0) != 0; }

std::vector<float> floats(const safetensors::Reader& file, const std::string& name) {
  const auto bytes = file.bytes(name);
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

class ImportVerb : public ::testing::Test {
 protected:
  Words words(const std::string& file, const Words& more = {}) const {
    Words all = {"import",
                 file,
                 "--net",
                 "resnet-8",
                 "--exits",
                 "3",
                 "--width-divisor",
                 "4",
                 "--placement",
                 "explicit",
                 "--exits-after",
                 "0,1",
                 "--mean",
                 "0.48,0.45,0.41",
                 "--std",
                 "0.23,0.22,0.25",
                 "--to",
                 to_.string(),
                 "--log",
                 "json",
                 "--threads",
                 "1"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }

  const safetensors::Reader fixture_{std::string(OFFRAMP_SOURCE_DIR) +
                                     "/tests/fixtures/pytorch_resnet-8.safetensors"};
  const TempFolder folder_;
  const std::filesystem::path to_ = folder_ / "net.safetensors";
};

// The same checkpoint, but that its exits are named by their blocks, without being told which net it is.
TEST_F(ImportVerb, TheNetIsReadFromNamesAndShapes) {
  const std::string file = part_of(fixture_, folder_, is_weight);
  const Outcome told = run_offramp(words(file, {"--classes", "5"}));
  ASSERT_EQ(told.code, 0) << told.err;
  const auto guessed = folder_ / "guessed.safetensors";
  const Outcome outcome = run_offramp({"import",
                                       file,
                                       "--to",
                                       guessed.string(),
                                       "--mean",
                                       "0.48,0.45,0.41",
                                       "--std",
                                       "0.23,0.22,0.25",
                                       "--threads",
                                       "1"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_NE(outcome.err.find("resnet-8, exits after blocks 0, 1, widths divided by 4"), std::string::npos)
      << outcome.err;
  // Of these --classes 10 is what a net has when nobody says otherwise, and the file's have 5.
  for (const std::vector<std::string>& half :
       {std::vector<std::string>{"--exits", "3"}, {"--classes", "10"}}) {
    const Outcome refused = run_offramp({"import", file, "--to", guessed.string(), half[0], half[1]});
    EXPECT_EQ(refused.code, 2) << half[0];
    EXPECT_NE(refused.err.find("describe the net that --net names"), std::string::npos) << refused.err;
  }
  const safetensors::Reader a(to_), b(guessed);
  ASSERT_EQ(a.entries().size(), b.entries().size());
  for (const auto& entry : a.entries()) EXPECT_EQ(floats(a, entry.name), floats(b, entry.name)) << entry.name;
}

TEST_F(ImportVerb, SaysWhatItMatchedAndTheCheckpointAnswersAsPyTorchDid) {
  const Outcome outcome = run_offramp(words(part_of(fixture_, folder_, is_weight), {"--classes", "5"}));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const json said = json::parse(outcome.out);
  EXPECT_TRUE(said["missing"].empty()) << "--mean and --std give the normalisation: " << said["missing"];
  EXPECT_TRUE(said["unused"].empty());
  std::size_t weights = 0;
  for (const auto& entry : fixture_.entries()) weights += is_weight(entry.name) ? 1 : 0;
  EXPECT_EQ(said["matched"].size() + said["ignored"].size(), weights);
  EXPECT_GT(said["permuted"].size(), 0u);

  const auto loaded = nets::load_net(to_, Device::make_cpu({.threads = 1}));
  const auto& pixels = *fixture_.find("fixture.pixels");
  const Shape shape{pixels.shape[0], pixels.shape[1], pixels.shape[2], pixels.shape[3]};
  std::vector<float> values;
  for (const auto byte : fixture_.bytes(pixels))
    values.push_back(std::to_integer<std::uint8_t>(byte) / 255.0f);
  const auto logits = loaded.net->forward(Tensor::from_nchw(shape, values, loaded.net->device()));
  for (std::size_t e = 0; e < logits.size(); ++e) {
    const auto got = logits[e].to_host<float>();
    const auto want = floats(fixture_, "fixture.logits." + std::to_string(e + 1));
    ASSERT_EQ(got.size(), want.size());
    double difference = 0, size = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
      difference += std::pow(static_cast<double>(got[i]) - static_cast<double>(want[i]), 2);
      size += std::pow(static_cast<double>(want[i]), 2);
    }
    EXPECT_LT(std::sqrt(difference / size), 1e-5) << "exit " << e + 1;
  }
}

TEST_F(ImportVerb, RefusesWhatDoesNotFitAndLeavesNothingBehind) {
  const auto refuses = [&](const Words& with, const std::string& why) {
    const Outcome outcome = run_offramp(with);
    EXPECT_EQ(outcome.code, 1) << outcome.err;
    EXPECT_NE(outcome.err.find(why), std::string::npos) << outcome.err;
    EXPECT_FALSE(std::filesystem::exists(to_));
  };
  refuses(words(part_of(fixture_, folder_, is_weight), {"--classes", "7"}), "expected shape [7,");
  refuses(words(part_of(fixture_, folder_, [](const std::string&) { return true; }), {"--classes", "5"}),
          "not part of this net: 'fixture.");
  const auto all_but_one = [](const std::string& name) {
    return is_weight(name) && name != "init_conv.0.weight";
  };
  refuses(words(part_of(fixture_, folder_, all_but_one), {"--classes", "5"}), "init_conv.0.weight");
  test::write_text(folder_ / "torn", "PK");
  refuses(words((folder_ / "torn").string(), {"--classes", "5"}), "torn");
  const Outcome mean = run_offramp(
      {"import", (folder_ / "torn").string(), "--to", to_.string(), "--mean", "123.7,116.3,103.5"});
  EXPECT_EQ(mean.code, 2);
  EXPECT_NE(mean.err.find("--mean: 0 to 1 wanted, got 123.7"), std::string::npos) << mean.err;
}

TEST_F(ImportVerb, PartialTakesWhatFitsByNameAndSaysWhatIsMissing) {
  const auto all_but_one = [](const std::string& name) {
    return is_weight(name) && name != "init_conv.0.weight";
  };
  const Outcome outcome =
      run_offramp(words(part_of(fixture_, folder_, all_but_one), {"--classes", "5", "--partial"}));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const json missing = json::parse(outcome.out)["missing"];
  EXPECT_NE(std::find(missing.begin(), missing.end(), "init_conv.0.weight"), missing.end());
  EXPECT_TRUE(std::filesystem::exists(to_));
}

TEST_F(ImportVerb, ReadsAPthFileOfATrainingScript) {
  if (!ZipArchive::available()) GTEST_SKIP() << "built without libzip";
  const std::string fixtures = std::string(OFFRAMP_SOURCE_DIR) + "/tests/fixtures/pth/";
  Outcome outcome = run_offramp(words(fixtures + "resnet-8.pth", {"--classes", "5"}));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const json said = json::parse(outcome.out);
  EXPECT_EQ(said["entry"], "state_dict");
  EXPECT_EQ(said["prefix"], "module.");
  EXPECT_TRUE(said["missing"].empty()) << "--mean and --std give the normalisation: " << said["missing"];
  EXPECT_TRUE(said["unused"].empty());
  const auto from_pth = nets::load_net(to_, Device::make_cpu({.threads = 1}));
  std::filesystem::remove(to_);
  outcome = run_offramp(words(part_of(fixture_, folder_, is_weight), {"--classes", "5"}));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto from_safetensors = nets::load_net(to_, Device::make_cpu({.threads = 1}));
  EXPECT_EQ(from_pth.net->parameters().values().to_host<float>(),
            from_safetensors.net->parameters().values().to_host<float>());
  EXPECT_EQ(from_pth.net->parameters().buffers().to_host<float>(),
            from_safetensors.net->parameters().buffers().to_host<float>());
  std::filesystem::remove(to_);

  outcome = run_offramp(words(fixtures + "whole_model.pth", {"--classes", "5"}));
  EXPECT_EQ(outcome.code, 1) << outcome.err;
  EXPECT_NE(outcome.err.find("torch.save(model.state_dict(), FILE)"), std::string::npos) << outcome.err;
  outcome = run_offramp(words(fixtures + "two.pth", {"--classes", "5", "--entry", "generator"}));
  EXPECT_EQ(outcome.code, 1) << outcome.err;
  EXPECT_NE(outcome.err.find("the file holds 'weight' [2,3], 'bias' [2]"), std::string::npos) << outcome.err;
  EXPECT_FALSE(std::filesystem::exists(to_));
}

}  // namespace
}  // namespace offramp
