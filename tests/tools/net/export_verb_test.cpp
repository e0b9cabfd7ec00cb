// offramp export from the outside. What the models compute: tests/nets/onnx/onnx_export_test.cpp.
#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "base/safetensors.h"
#include "tests/nets/onnx/onnx_reader.h"
#include "tests/tools/net/deployed.h"

namespace offramp {
namespace {

using nlohmann::json;
using test::Outcome;
using test::read_text;
using test::run_offramp;
using Words = std::vector<std::string>;

class ExportVerb : public ::testing::Test {
 protected:
  void SetUp() override { test::write_checkpoint(net_, 1, 0.5); }
  Outcome run(const std::filesystem::path& to, const Words& more = {}) const {
    Words words{"export", net_.string(), "--to", to.string(), "--log", "json", "--threads", "1"};
    words.insert(words.end(), more.begin(), more.end());
    return run_offramp(words);
  }

  const test::TempFolder folder_;
  const std::filesystem::path net_ = folder_ / "net.safetensors", onnx_ = folder_ / "net.onnx";
};

TEST_F(ExportVerb, OnnxHasEveryExitAndTheMetadata) {
  const Outcome outcome = run(onnx_);
  ASSERT_EQ(outcome.code, 0) << outcome.text();
  const json said = json::parse(outcome.out);
  const std::string bytes = read_text(onnx_);
  EXPECT_EQ(said["bytes"], bytes.size());
  const auto model = test::onnx::read_model(bytes);
  EXPECT_EQ(model.graph.outputs.size(), said["exits"].get<std::size_t>());
  EXPECT_GT(model.graph.outputs.size(), 1u);
  EXPECT_EQ(model.graph.inputs[0].shape, (std::vector<std::string>{"batch", "3", "16", "16"}));
  EXPECT_EQ(model.graph.outputs[0].shape, (std::vector<std::string>{"batch", "2"}));
  EXPECT_EQ(model.metadata.at("data.classes"), "left\nright");
  EXPECT_TRUE(model.metadata.contains("policy.thresholds"));
  EXPECT_EQ(run(onnx_).code, 0);
  EXPECT_EQ(read_text(onnx_), bytes) << "the same net gives the same bytes";
}

TEST_F(ExportVerb, WithIfWarnsAndNests) {
  const Outcome outcome = run(onnx_, {"--with-if", "--threshold", "0.75"});
  ASSERT_EQ(outcome.code, 0) << outcome.text();
  EXPECT_NE(outcome.err.find("one image at a time, because a condition decides for a whole batch"),
            std::string::npos)
      << outcome.err;
  const auto model = test::onnx::read_model(read_text(onnx_));
  const test::onnx::Graph* graph = &model.graph;
  int depth = 0;
  for (; graph->nodes.back().op == "If"; ++depth) {
    EXPECT_EQ(graph->outputs.size(), 2u);
    graph = graph->nodes.back().attributes.at("else_branch").graph.get();
  }
  EXPECT_EQ(depth + 1, json::parse(outcome.out)["exits"]);
  EXPECT_TRUE(model.metadata.at("policy.thresholds").starts_with("0.75"))
      << model.metadata.at("policy.thresholds");
}

TEST_F(ExportVerb, TheStateDictIsReadBackAsTheSameNet) {
  const auto to = folder_ / "state.safetensors";
  ASSERT_EQ(run(to).code, 0);
  const safetensors::Reader state(to), checkpoint(net_);
  EXPECT_EQ(state.metadata().at("format"), "pt");
  EXPECT_EQ(state.metadata().at("normalize.mean").substr(0, 4), "0.40");
  std::size_t counters = 0;
  for (const auto& entry : state.entries()) {
    EXPECT_FALSE(entry.name.starts_with("normalize.")) << entry.name;
    if (entry.name.ends_with(".num_batches_tracked")) {
      ++counters;
      EXPECT_EQ(entry.dtype, safetensors::Dtype::kI64);
      EXPECT_TRUE(entry.shape.empty());
      EXPECT_NE(state.find(entry.name.substr(0, entry.name.rfind('.')) + ".running_mean"), nullptr);
      continue;
    }
    const auto own = checkpoint.bytes(entry.name), theirs = state.bytes(entry);
    EXPECT_TRUE(std::equal(own.begin(), own.end(), theirs.begin(), theirs.end())) << entry.name;
  }
  EXPECT_GT(counters, 0u);
  // The normalisation is given, or is the file's own; half of it is none.
  const auto back = folder_ / "back.safetensors";
  const auto import = [&](const std::vector<std::string>& more) {
    std::vector<std::string> words = {"import",
                                      to.string(),
                                      "--net",
                                      "small-cnn",
                                      "--width-divisor",
                                      "8",
                                      "--classes",
                                      "2",
                                      "--side",
                                      "16",
                                      "--to",
                                      back.string()};
    words.insert(words.end(), more.begin(), more.end());
    return run_offramp(words);
  };
  const std::vector<std::vector<std::string>> given = {{"--mean", "0.4,0.5,0.6", "--std", "0.2,0.25,0.5"},
                                                       {}};
  for (const auto& normalisation : given) {
    std::filesystem::remove(back);
    const Outcome outcome = import(normalisation);
    ASSERT_EQ(outcome.code, 0) << outcome.text();
    const auto a = nets::load_net(net_, Device::make_cpu({.threads = 1})),
               b = nets::load_net(back, Device::make_cpu({.threads = 1}));
    EXPECT_EQ(a.net->parameters().values().to_host<float>(), b.net->parameters().values().to_host<float>());
    EXPECT_EQ(a.net->parameters().buffers().to_host<float>(), b.net->parameters().buffers().to_host<float>());
  }
  EXPECT_EQ(import({"--mean", "0.5"}).code, 2);
}

TEST_F(ExportVerb, WrongUseIsSaidAndNothingIsWritten) {
  const auto refuses =
      [&](const std::filesystem::path& to, const Words& more, int code, const std::string& why) {
        const Outcome outcome = run(to, more);
        EXPECT_EQ(outcome.code, code) << outcome.text();
        EXPECT_NE(outcome.err.find(why), std::string::npos) << outcome.err;
        EXPECT_FALSE(std::filesystem::exists(to));
      };
  refuses(folder_ / "net.pt", {}, 2, "expected --to FILE.onnx or FILE.safetensors, got");
  refuses(folder_ / "s.safetensors", {"--with-if"}, 2, "--with-if is for FILE.onnx");
  refuses(onnx_, {"--threshold", "0.5"}, 2, "--threshold is for --with-if");
  refuses(onnx_, {"--with-if", "--threshold", "2"}, 2, "--threshold: 0 to 1 wanted, got 2");
  nets::Network net(test::deployed_options(), Device::make_cpu({.threads = 1}));
  nets::initialize(net, 1);
  nets::save_checkpoint(net_, net, {});
  refuses(onnx_, {"--with-if"}, 2, "the checkpoint has no thresholds; offramp tune chooses them");
  nets::NetOptions plain = test::deployed_options();
  plain.num_exits = 1;
  nets::Network one(plain, Device::make_cpu({.threads = 1}));
  nets::initialize(one, 1);
  nets::save_checkpoint(net_, one, {});
  refuses(onnx_, {"--with-if"}, 2, "the net has one exit, nothing can leave before it");
  EXPECT_EQ(run(onnx_).code, 0);  // without it such a net has one output
  test::write_text(net_, "damaged");
  refuses(folder_ / "other.onnx", {}, 1, "net.safetensors");
}

}  // namespace
}  // namespace offramp
