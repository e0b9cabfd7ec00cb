#include "nets/graph/state_dict.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>

#include "base/zip_archive.h"
#include "tests/nets/nets.h"

namespace offramp::nets {
namespace {

using test::drawn;
using test::message_of;
using test::small_options;

class StateDict : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(::testing::TempDir()) /
              ("offramp_" + std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path file(const char* name = "net.safetensors") const { return folder_ / name; }
  std::filesystem::path folder_;
};

struct Tensors {
  std::vector<std::vector<float>> values;
  std::vector<safetensors::Source> sources;
  void add(const std::string& name, std::vector<std::int64_t> shape, std::vector<float> data) {
    values.push_back(std::move(data));
    sources.push_back({name,
                       safetensors::Dtype::kF32,
                       std::move(shape),
                       std::as_bytes(std::span<const float>(values.back()))});
  }
};

TEST_F(StateDict, ACheckpointRebuildsItsNet) {
  for (const char* name : test::kFamilies) {
    NetOptions o = small_options(name);
    if (o.features == 0) o.mean = {.1f, .2f, .3f}, o.std = {.4f, .5f, .6f};
    const auto net = drawn(o, 3);
    ExitPolicy policy = ExitPolicy::uniform(net->num_exits(), 0.1);
    policy.rule = ExitRule::kAbove;
    save_checkpoint(file(), *net, policy, {{"note", "hello"}});
    const LoadedNet loaded = load_net(file(), Device::cpu());
    EXPECT_EQ(loaded.net->options(), o);
    EXPECT_EQ(loaded.policy, policy);
    EXPECT_EQ(loaded.metadata.at("note"), "hello");
    EXPECT_EQ(loaded.net->parameters().values().to_host<float>(),
              net->parameters().values().to_host<float>());
    EXPECT_EQ(loaded.net->parameters().buffers().to_host<float>(),
              net->parameters().buffers().to_host<float>());
  }
}

TEST_F(StateDict, ValuesLieOnDiskInTheOrderOfPyTorch) {
  NetOptions o = small_options("vgg-16");
  o.num_exits = 2;
  const auto net = drawn(o, 3);
  // Memory K,R,S,C: mark each weight with its printed index.
  const ParameterSet::Entry& conv = *net->parameters().find("layers.0.layers.0.weight");
  Tensor w = conv.value;
  const Shape& s = w.shape();
  float* p = w.data();
  for (std::int64_t k = 0; k < s[0]; ++k)
    for (std::int64_t r = 0; r < 3; ++r)
      for (std::int64_t q = 0; q < 3; ++q)
        for (std::int64_t c = 0; c < 3; ++c) *p++ = static_cast<float>(1000 * k + 100 * c + 10 * r + q);
  save_checkpoint(file(), *net, {});
  const safetensors::Reader reader(file());
  const auto bytes = reader.bytes("layers.0.layers.0.weight");
  std::vector<float> disk(bytes.size() / sizeof(float));
  std::memcpy(disk.data(), bytes.data(), bytes.size());
  EXPECT_EQ(disk[((2 * 3 + 1) * 3 + 0) * 3 + 2], 2102.f);  // k 2, c 1, r 0, s 2
}

TEST_F(StateDict, ImportReportsWhatItMatchedMissedAndPermuted) {
  const auto net = drawn(small_options("resnet-8"), 3);
  Tensors t;
  t.add("module.init_conv.0.weight", {8, 3, 3, 3}, std::vector<float>(216, 0.5f));
  t.add("module.end_layers.2.bias", {5}, {1, 2, 3, 4, 5});
  t.add("module.extra.weight", {2}, {1, 2});
  t.add("module.init_conv.1.num_batches_tracked", {1}, {7});
  safetensors::write(file(), t.sources);
  const safetensors::Reader reader(file());
  EXPECT_EQ(message_of([&] { load_state_dict(*net, reader, Strictness::kComplete); })
                .substr(0, 200)
                .find("missing for this net"),
            file().string().size() + 2);
  const ImportReport report = load_state_dict(*net, reader, Strictness::kPartial);
  EXPECT_EQ(report.prefix, "module.");
  EXPECT_EQ(report.matched, (std::vector<std::string>{"init_conv.0.weight", "end_layers.2.bias"}));
  EXPECT_EQ(report.permuted, (std::vector<std::string>{"init_conv.0.weight"}));
  EXPECT_EQ(report.unused, (std::vector<std::string>{"extra.weight"}));
  EXPECT_EQ(report.ignored, (std::vector<std::string>{"init_conv.1.num_batches_tracked"}));
  EXPECT_EQ(net->parameters().find("end_layers.2.bias")->value.to_host<float>(),
            (std::vector<float>{1, 2, 3, 4, 5}));
}

TEST_F(StateDict, WeightsAreTakenWithoutTheNormalisationOfOtherPixels) {
  auto options = small_options("resnet-8");
  options.mean = {0.9f, 0.8f, 0.7f};
  options.std = {0.1f, 0.2f, 0.3f};
  const auto other = drawn(options, 5), net = drawn(small_options("resnet-8"), 3);
  save_checkpoint(file(), *other, {});
  const auto value = [](const Network& of, const char* name) {
    return of.parameters().find(name)->value.to_host<float>();
  };
  const auto own = value(*net, "normalize.mean");
  load_state_dict(*net, safetensors::Reader(file()), Strictness::kWeights);
  EXPECT_EQ(value(*net, "normalize.mean"), own);
  EXPECT_EQ(value(*net, "init_conv.0.weight"), value(*other, "init_conv.0.weight"));
  load_state_dict(*net, safetensors::Reader(file()), Strictness::kPartial);
  EXPECT_EQ(value(*net, "normalize.mean"), value(*other, "normalize.mean"));
}

TEST_F(StateDict, HalfTypesAreRead) {
  const auto net = drawn(small_options("resnet-8"), 3);
  const std::uint16_t bf16_bits[5] = {0x3f80, 0xc000, 0x3eaa, 0x0000, 0x7f00};
  const std::uint16_t half_bits[64] = {0x3c00, 0xc000, 0x0001, 0x8000, 0x7bff};
  safetensors::Source bias{
      "end_layers.2.bias", safetensors::Dtype::kBF16, {5}, std::as_bytes(std::span(bf16_bits))};
  safetensors::Source norm{
      "init_conv.1.bias", safetensors::Dtype::kF16, {8}, std::as_bytes(std::span(half_bits).first(8))};
  const safetensors::Source sources[] = {bias, norm};
  safetensors::write(file(), sources);
  load_state_dict(*net, safetensors::Reader(file()), Strictness::kPartial);
  const auto b = net->parameters().find("end_layers.2.bias")->value.to_host<float>();
  EXPECT_EQ(b[0], 1.f);
  EXPECT_EQ(b[1], -2.f);
  EXPECT_EQ(b[2], 0x1.54p-2f);
  EXPECT_EQ(b[4], 0x1p127f);
  const auto h = net->parameters().find("init_conv.1.bias")->value.to_host<float>();
  EXPECT_EQ(h[0], 1.f);
  EXPECT_EQ(h[1], -2.f);
  EXPECT_EQ(h[2], 0x1p-24f);
  EXPECT_TRUE(std::signbit(h[3]));
  EXPECT_EQ(h[4], 65504.f);
}

TEST_F(StateDict, WrongFilesAreNamedAndChangeNothing) {
  const auto net = drawn(small_options("resnet-8"), 3);
  const auto before = net->parameters().values().to_host<float>();
  Tensors t;
  t.add("end_layers.2.bias", {5}, {1, 2, 3, 4, 5});
  t.add("init_conv.0.weight", {8, 3, 3, 1}, std::vector<float>(72));
  safetensors::write(file(), t.sources);
  EXPECT_EQ(message_of([&] { load_state_dict(*net, safetensors::Reader(file()), Strictness::kPartial); }),
            file().string() + ": tensor 'init_conv.0.weight': expected shape [8,3,3,3], got [8,3,3,1]");
  EXPECT_EQ(net->parameters().values().to_host<float>(), before);
  EXPECT_EQ(message_of([&] { load_net(file(), Device::cpu()); }),
            file().string() +
                ": expected a checkpoint of this program (metadata format offramp-checkpoint-1, got "
                "none); a state dict from elsewhere goes through import");
  save_checkpoint(file(), *net, {}, {{"cost.macs", "1,2,3"}});
  EXPECT_NE(message_of([&] { load_net(file(), Device::cpu()); }).find("metadata cost.macs: expected "),
            std::string::npos);
  save_checkpoint(file(), *net, {}, {{"net.classes", "ten"}});
  EXPECT_EQ(message_of([&] { load_net(file(), Device::cpu()); }),
            file().string() + ": metadata net.classes: expected a number, got 'ten'");
}

// What DataParallel, torch.compile, Lightning and averaged models put into names, alone, stacked and mixed.
TEST_F(StateDict, PrefixesOfWrappersAreTakenOffEachName) {
  const NetOptions o = small_options("resnet-8");
  const auto from = drawn(o, 3);
  const auto load = [&](auto rename) {
    Tensors t;
    for (const ParameterSet::Entry& entry : from->parameters().entries()) {
      const Shape& shape = entry.value.shape();
      std::vector<std::int64_t> dims;
      for (int i = 0; i < shape.rank(); ++i) dims.push_back(shape[i]);
      t.add(rename(entry.info.name, t.values.size()),
            dims,
            to_disk_order(entry.info, shape, entry.value.to_host<float>()));
    }
    t.add("n_averaged", {}, {7});
    safetensors::write(file(), t.sources);
    const auto net = drawn(o, 4);
    const ImportReport report = load_state_dict(*net, *open_state(file()), Strictness::kComplete);
    EXPECT_EQ(net->parameters().values().to_host<float>(), from->parameters().values().to_host<float>());
    EXPECT_EQ(net->parameters().buffers().to_host<float>(), from->parameters().buffers().to_host<float>());
    EXPECT_EQ(report.ignored, (std::vector<std::string>{"n_averaged"}));
    EXPECT_TRUE(report.unused.empty());
    return report.prefix;
  };
  const auto with = [](const std::string& prefix) {
    return [prefix](const std::string& name, std::size_t) { return prefix + name; };
  };
  EXPECT_EQ(load(with("")), "");
  EXPECT_EQ(load(with("module.")), "module.");
  EXPECT_EQ(load(with("_orig_mod.")), "_orig_mod.");
  EXPECT_EQ(load(with("model.")), "model.");
  EXPECT_EQ(load(with("net.")), "net.");
  EXPECT_EQ(load(with("model._orig_mod.module.")), "model._orig_mod.module.");
  EXPECT_EQ(load([](const std::string& name, std::size_t i) { return (i % 2 == 0 ? "module." : "") + name; }),
            "module.");
  // DataParallel or torch.compile around one member.
  EXPECT_EQ(load([](const std::string& name, std::size_t) {
              return name.starts_with("layers.0.") ? "layers.0._orig_mod.module." + name.substr(9) : name;
            }),
            "");
}

TEST_F(StateDict, TwoTensorsOfOneNameAreRefused) {
  const auto net = drawn(small_options("resnet-8"), 3);
  Tensors t;
  t.add("end_layers.2.bias", {5}, {1, 2, 3, 4, 5});
  t.add("module.end_layers.2.bias", {5}, {1, 2, 3, 4, 5});
  safetensors::write(file(), t.sources);
  EXPECT_EQ(message_of([&] { load_state_dict(*net, *open_state(file()), Strictness::kPartial); }),
            file().string() +
                ": tensors 'end_layers.2.bias' and 'module.end_layers.2.bias' are both "
                "'end_layers.2.bias' of this net");
}

TEST_F(StateDict, TheErrorSaysWhatTheFileHolds) {
  const auto net = drawn(small_options("resnet-8"), 3);
  Tensors t;
  t.add("backbone.conv1.weight", {8, 3, 3, 3}, std::vector<float>(216));
  t.add("fc.bias", {5}, std::vector<float>(5));
  safetensors::write(file(), t.sources);
  const std::string message =
      message_of([&] { load_state_dict(*net, *open_state(file()), Strictness::kComplete); });
  EXPECT_NE(message.find("missing for this net: 'init_conv.0.weight', "), std::string::npos) << message;
  EXPECT_TRUE(message.ends_with("; the file holds 'backbone.conv1.weight' [8,3,3,3], 'fc.bias' [5]"))
      << message;
}

TEST_F(StateDict, ValuesThatAreNotFiniteAndNegativeVariancesAreRefused) {
  const auto net = drawn(small_options("resnet-8"), 3);
  const auto before = net->parameters().values().to_host<float>();
  const auto refusal = [&](const std::string& name, std::int64_t n, std::size_t at, float value) {
    Tensors t;
    std::vector<float> values(static_cast<std::size_t>(n), 1.f);
    values[at] = value;
    t.add(name, {n}, values);
    safetensors::write(file(), t.sources);
    return message_of([&] { load_state_dict(*net, *open_state(file()), Strictness::kPartial); });
  };
  const std::string front = file().string() + ": tensor ";
  EXPECT_EQ(refusal("end_layers.2.bias", 5, 3, NAN),
            front + "'end_layers.2.bias': expected finite float32 values, got nan at index 3 of 5");
  EXPECT_EQ(
      refusal("module.init_conv.1.running_mean", 8, 7, -INFINITY),
      front + "'module.init_conv.1.running_mean': expected finite float32 values, got -inf at index 7 of 8");
  EXPECT_EQ(
      refusal("init_conv.1.running_var", 8, 0, -0.5f),
      front + "'init_conv.1.running_var': expected variances of at least 0, got -0.500000 at index 0 of 8");
  EXPECT_EQ(net->parameters().values().to_host<float>(), before);
  EXPECT_EQ(refusal("init_conv.1.running_var", 8, 0, 0.f), "nothing was thrown");
  EXPECT_EQ(refusal("init_conv.1.running_mean", 8, 0, -0.5f), "nothing was thrown");

  const double large[5] = {0, 0, 1e39, 0, 0};  // finite, but no float32
  const safetensors::Source source{
      "end_layers.2.bias", safetensors::Dtype::kF64, {5}, std::as_bytes(std::span(large))};
  safetensors::write(file(), std::span(&source, 1));
  EXPECT_EQ(message_of([&] { load_state_dict(*net, *open_state(file()), Strictness::kPartial); }),
            front + "'end_layers.2.bias': expected finite float32 values, got inf at index 2 of 5");
}

// A net that went wrong in memory: its own checkpoint must not come back as if it were sound.
TEST_F(StateDict, ACheckpointWithNaNDoesNotOpen) {
  const auto net = drawn(small_options("resnet-8"), 3);
  Tensor bias = net->parameters().find("init_conv.1.bias")->value;
  bias.data()[2] = NAN;
  save_checkpoint(file(), *net, {});
  EXPECT_EQ(message_of([&] { load_net(file(), Device::cpu()); }),
            file().string() +
                ": tensor 'init_conv.1.bias': expected finite float32 values, got nan at index 2 of 8");
}

// Newer types are known by their size and refused only where the net wants the tensor.
TEST_F(StateDict, AnUnusedTensorOfANewerTypeDoesNotMatter) {
  const auto net = drawn(small_options("resnet-8"), 3);
  const std::vector<std::byte> bytes(64);
  const float bias[5] = {1, 2, 3, 4, 5};
  const auto load = [&](const char* name) {
    const safetensors::Source sources[] = {
        {"end_layers.2.bias", safetensors::Dtype::kF32, {5}, std::as_bytes(std::span(bias))},
        {name, safetensors::Dtype::kF8E8M0, {8}, std::span(bytes).first(8)},
        {"packed", safetensors::Dtype::kF4, {16}, std::span(bytes).first(8)},
        {"complex", safetensors::Dtype::kC64, {8}, bytes}};
    safetensors::write(file(), sources);
    return message_of([&] { load_state_dict(*net, *open_state(file()), Strictness::kPartial); });
  };
  EXPECT_EQ(load("scales"), "nothing was thrown");
  EXPECT_EQ(net->parameters().find("end_layers.2.bias")->value.to_host<float>(),
            (std::vector<float>{1, 2, 3, 4, 5}));
  EXPECT_EQ(load("init_conv.1.bias"),
            file().string() + ": tensor 'init_conv.1.bias': expected F32, F64, F16 or BF16, got F8_E8M0");
}

// tests/fixtures/make_pth.py: the values of the safetensors file, with the prefix of DataParallel, beside a
// Namespace, in channels-last and transposed memory, BF16 where that file has BF16.
TEST_F(StateDict, APthFileGivesTheBitsOfTheSafetensorsFile) {
  if (!ZipArchive::available()) GTEST_SKIP() << "built without libzip";
  const std::filesystem::path fixtures = std::filesystem::path(OFFRAMP_SOURCE_DIR) / "tests/fixtures";
  const auto load = [&](const std::filesystem::path& path, ImportReport& report) {
    NetOptions o;
    o.name = "resnet-8";
    o.classes = 5;
    o.num_exits = 3;
    o.placement = Placement::kExplicit;
    o.exits_after = {0, 1};
    o.width_divisor = 4;
    auto net = drawn(o, 3);
    report = load_state_dict(*net, *open_state(path), Strictness::kPartial);
    return net;
  };
  ImportReport one, other;
  const auto a = load(fixtures / "pytorch_resnet-8.safetensors", one);
  const auto b = load(fixtures / "pth/resnet-8.pth", other);
  EXPECT_EQ(one.matched, other.matched);
  EXPECT_EQ(one.permuted, other.permuted);
  EXPECT_GT(one.matched.size(), 50u);
  EXPECT_EQ(other.prefix, "module.");
  EXPECT_EQ(a->parameters().values().to_host<float>(), b->parameters().values().to_host<float>());
  EXPECT_EQ(a->parameters().buffers().to_host<float>(), b->parameters().buffers().to_host<float>());
}

TEST_F(StateDict, APthFileIsNoCheckpointAndSaysSo) {
  const std::string path = std::string(OFFRAMP_SOURCE_DIR) + "/tests/fixtures/pth/resnet-8.pth";
  EXPECT_EQ(message_of([&] { load_net(path, Device::cpu()); }),
            path +
                ": a PyTorch file does not say which net its values belong to; make a checkpoint of it: "
                "offramp import " +
                path + " --net NAME ... --to FILE.safetensors");
}

}  // namespace
}  // namespace offramp::nets
