#include "attacks/membership/models.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "attacks/membership/records.h"
#include "engine/recording.h"
#include "nets/exits/early_exit.h"
#include "tests/attacks/membership/tables.h"
#include "tests/attacks/message.h"
#include "tests/support/close.h"
#include "tests/support/temp_folder.h"

namespace offramp::attacks::membership {
namespace {

class StopsAfter final : public Listener {
 public:
  explicit StopsAfter(int asked) : left_(asked) {}
  bool stop_requested() override { return left_-- <= 0; }

 private:
  int left_;
};

struct Audit {
  Samples samples{test::bits(240, 30, 1)};
  data::FourParts parts = data::four_parts(samples.labels(), samples.class_names(), 4);
};

TEST(MembershipModels, TargetsAndShadowsFirstReferencesInComplementaryPairs) {
  const Audit a;
  ModelPlan plan = test::small_plan();
  plan.exits = {3, 1};
  plan.references = 4;
  const auto specs = models_of(plan, a.parts, a.samples.labels());
  std::vector<std::string> names;
  std::set<std::uint64_t> seeds;
  for (const auto& s : specs) {
    names.push_back(s.name);
    seeds.insert(s.seed);
  }
  EXPECT_EQ(names,
            (std::vector<std::string>{"target-plain",
                                      "shadow-plain",
                                      "target-k3",
                                      "shadow-k3",
                                      "reference-k3-00",
                                      "reference-k3-01",
                                      "reference-k3-02",
                                      "reference-k3-03"}));
  EXPECT_EQ(seeds.size(), specs.size());
  std::map<std::int32_t, int> trained_on;
  for (std::size_t i = 4; i < 8; ++i) {
    EXPECT_EQ(specs[i].members.size(), 60u);
    for (const auto row : specs[i].members) ++trained_on[row];
  }
  EXPECT_EQ(trained_on.size(), 120u);  // the target's members and non-members, and nobody else
  for (const auto& [row, times] : trained_on) EXPECT_EQ(times, 2) << row;
  for (const auto row : a.parts.of(data::Part::kShadowTrain)) EXPECT_EQ(trained_on.count(row), 0u);
  EXPECT_NE(specs[4].members, specs[6].members);
}

TEST(MembershipModels, PlansThatCannotBe) {
  const Audit a;
  const auto said = [&](auto change) {
    ModelPlan plan = test::small_plan();
    change(plan);
    return test::message_of([&] { models_of(plan, a.parts, a.samples.labels()); });
  };
  EXPECT_EQ(said([](ModelPlan& p) { p.exits = {}; }),
            "membership: the plan has no net: name numbers of exits");
  EXPECT_EQ(said([](ModelPlan& p) { p.exits = {2, 2}; }), "membership: 2 exits are planned twice");
  EXPECT_EQ(said([](ModelPlan& p) {
              p.exits = {2, 3};
              p.references = 2;
              p.reference_exits = {3, 2, 3};
            }),
            "membership: references of 3 exits are planned twice");
  EXPECT_EQ(said([](ModelPlan& p) { p.exits = {0}; }), "membership: a net has at least 1 exit, got 0");
  EXPECT_EQ(said([](ModelPlan& p) { p.references = 3; }),
            "membership: reference nets come in pairs that share the data between them, got 3");
  EXPECT_EQ(said([](ModelPlan& p) {
              p.references = 2;
              p.reference_exits = {2};
            }),
            "membership: references of 2 exits need a target of as many");
}

TEST(MembershipModels, ANetThatCannotBeBuiltIsSaidBeforeAnyIsTrained) {
  const Audit a;
  const test::TempFolder folder;
  ModelPlan plan = test::small_plan();
  plan.exits = {1, 16};
  plan.references = 0;
  plan.reference_exits = {};
  Listener nobody;
  EXPECT_THROW(train_models(plan, a.samples, a.parts, test::one_cpu(), folder.path(), nobody), ValueError);
  EXPECT_FALSE(std::filesystem::exists(folder / "models"));
}

TEST(MembershipModels, AStoppedPlanGoesOnWithTheSameBits) {
  const Audit a;
  const test::TempFolder whole, parted;
  const ModelPlan plan = test::small_plan();
  Listener nobody;
  const auto want = train_models(plan, a.samples, a.parts, test::one_cpu(), whole.path(), nobody);
  int stops = 0;
  for (const int after : {10, 70, 0, 151}) {
    StopsAfter listener(after);
    EXPECT_THROW(train_models(plan, a.samples, a.parts, test::one_cpu(), parted.path(), listener), Stopped);
    ++stops;
  }
  EXPECT_EQ(stops, 4);
  const auto got = train_models(plan, a.samples, a.parts, test::one_cpu(), parted.path(), nobody);
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    const auto values = [&](const test::TempFolder& folder) {
      return open_model(want[i].spec, folder.path(), test::one_cpu())
          .loaded.net->parameters()
          .values()
          .to_host<float>();
    };
    EXPECT_EQ(values(whole), values(parted)) << want[i].spec.name;
    EXPECT_EQ(got[i].histogram, want[i].histogram);
    EXPECT_EQ(got[i].policy_train_accuracy, want[i].policy_train_accuracy);
  }
  // The same thresholds for target and shadow, and overfitting to be measured.
  EXPECT_EQ(got[2].threshold, got[3].threshold);
  EXPECT_GT(got[0].policy_train_accuracy, got[0].policy_test_accuracy + .1);

  ModelSpec other = want[0].spec;
  std::swap(other.members, other.non_members);
  EXPECT_NE(test::message_of([&] {
              open_model(other, whole.path(), test::one_cpu());
            }).find("was trained on other rows than this split gives target-plain"),
            std::string::npos);
  other.name = "target-k9";
  EXPECT_NE(test::message_of([&] {
              open_model(other, whole.path(), test::one_cpu());
            }).find("there is no such model"),
            std::string::npos);
}

class MembershipRecords : public ::testing::Test {
 protected:
  MembershipRecords() {
    nets::NetOptions options = test::small_plan().net;
    options.num_exits = 3;
    audit_.samples.describe(options, false);
    net_ = std::make_unique<nets::Network>(options, test::one_cpu());
    nets::initialize(*net_, 3);
    // Larger weights: fresh nets of this family say nearly the same of every class.
    auto& values = net_->parameters().values();
    for (std::int64_t i = 0; i < values.size(); ++i) values.data()[i] *= 8;
    const auto all =
        nets::infer(*net_, nets::ExitPolicy::uniform(3, 0), audit_.samples.load(rows(), test::one_cpu()));
    std::vector<float> confidence = all.confidence;
    std::ranges::sort(confidence);
    policy_ = nets::ExitPolicy::uniform(3, static_cast<double>(confidence[confidence.size() / 2]));
  }
  std::vector<std::int32_t> rows() const { return audit_.parts.of(data::Part::kTargetTrain); }
  Records collect() const {
    Listener nobody;
    return collect_records(*net_,
                           policy_,
                           audit_.samples,
                           audit_.parts.of(data::Part::kTargetTrain),
                           audit_.parts.of(data::Part::kTargetTest),
                           nobody);
  }

  Audit audit_;
  std::unique_ptr<nets::Network> net_;
  nets::ExitPolicy policy_;
};

TEST_F(MembershipRecords, AreWhatEarlyExitAnswersAndNothingIsChanged) {
  const auto before = net_->parameters().values().to_host<float>();
  const auto buffers = net_->parameters().buffers().to_host<float>();
  for (const auto fallback : {nets::Fallback::kLast, nets::Fallback::kMostConfident}) {
    policy_.fallback = fallback;
    const Records r = collect();
    check(r, "test");
    std::set<std::int32_t> exits(r.exit.begin(), r.exit.end());
    EXPECT_GE(exits.size(), 2u);
    std::vector<std::int32_t> all = audit_.parts.of(data::Part::kTargetTrain);
    const auto& others = audit_.parts.of(data::Part::kTargetTest);
    all.insert(all.end(), others.begin(), others.end());
    const auto want = nets::infer(*net_, policy_, audit_.samples.load(all, test::one_cpu()));
    EXPECT_EQ(r.row, all);
    EXPECT_EQ(r.exit, want.exit);
    EXPECT_EQ(r.predicted, want.label);
    EXPECT_EQ(r.scores, want.probabilities);
    for (std::size_t i = 0; i < r.size(); ++i) {
      EXPECT_EQ(r.member[i], i < 60);
      const auto p = static_cast<double>(r.scores_of(i)[static_cast<std::size_t>(r.label[i])]);
      EXPECT_NEAR(r.loss[i], -std::log(p), 1e-5 * (1 + r.loss[i]));
      EXPECT_NEAR(r.margin[i], std::log(p / (1 - p)), 1e-4 * (1 + std::abs(r.margin[i])));
    }
  }
  EXPECT_EQ(net_->parameters().values().to_host<float>(), before);
  EXPECT_EQ(net_->parameters().buffers().to_host<float>(), buffers);
}

// The two factors in the records against the engine's own gradient of the loss at the exit taken.
TEST_F(MembershipRecords, TheLastLayersGradientIsTheEnginesOwn) {
  const Records r = collect();
  for (std::size_t i = 0; i < r.size(); i += 7) {
    const std::vector<std::int32_t> one = {r.row[i]};
    const std::vector<std::int32_t> label = {r.label[i]};
    const nets::Network& net = *net_;
    const std::string layer = r.exit[i] == 3
                                  ? "end_layers.4.weight"
                                  : "layers." + std::to_string(r.exit[i] - 1) + ".output.layer_2.weight";
    const auto* entry = net.parameters().find(layer);
    ASSERT_NE(entry, nullptr) << layer;
    Recording recording({entry->value});
    const auto logits = net.forward(audit_.samples.load(one, test::one_cpu()));
    const Tensor loss =
        cross_entropy(logits[static_cast<std::size_t>(r.exit[i]) - 1],
                      Tensor::from<std::int32_t>({1}, std::span<const std::int32_t>(label), test::one_cpu()));
    const auto want = recording.grad(loss)[entry->value].to_host<float>();
    const auto got = last_layer_gradient(r, i);
    ASSERT_EQ(got.size(), want.size());
    double largest = 0;
    for (const float g : want) largest = std::max(largest, std::abs(static_cast<double>(g)));
    EXPECT_GT(largest, 0);
    for (std::size_t j = 0; j < got.size(); ++j)
      EXPECT_NEAR(got[j], static_cast<double>(want[j]), 1e-5 * largest);
  }
}

TEST_F(MembershipRecords, TheFileGivesThemBackAndChecksThem) {
  const test::TempFolder folder;
  Records r = collect();
  r.model = "target-k3";
  r.repetitions = 2;
  r.times_ns.assign(2 * r.size(), 5000);
  const auto path = folder.path() / "r.safetensors";
  write_records(path, r);
  EXPECT_TRUE(read_records(path) == r);
  const auto said = [&](auto change) {
    Records bad = r;
    change(bad);
    return test::message_of([&] { check(bad, "records"); });
  };
  EXPECT_EQ(said([](Records& b) { b.scores[4] = std::nanf(""); }),
            "records: scores must be finite, record 1 has one that is not");
  EXPECT_EQ(said([](Records& b) { b.scores[0] += 1; }).substr(0, 34), "records: scores add up to 1, those");
  EXPECT_EQ(said([](Records& b) { b.label[2] = 3; }),
            "records: expected a label from 0 to 2, record 2 has 3");
  EXPECT_EQ(said([](Records& b) { b.exit[5] = 0; }), "records: expected an exit from 1 to 3, record 5 has 0");
  EXPECT_EQ(said([](Records& b) { b.member[5] = 7; }),
            "records: expected a membership from 0 to 1, record 5 has 7");
  EXPECT_EQ(said([](Records& b) { b.loss.pop_back(); }), "records: expected 120 x 1 values of loss, got 119");
  EXPECT_EQ(said([](Records& b) { b.times_ns[3] = 0; }), "records: times are at least 1 ns, got 0");
  EXPECT_EQ(said([](Records& b) { b = Records{}; }), "records: there are no records");
  // The file of a net is none of records.
  nets::save_checkpoint(path, *net_, policy_);
  EXPECT_NE(
      test::message_of([&] { read_records(path); }).find("expected format 'offramp membership records 1'"),
      std::string::npos);
}

TEST(MembershipMargin, CheckValueOfTheSpec) {  // specs/audit.md 1
  const std::vector<float> z = {5, 1, -2};
  EXPECT_NEAR(margin_of(z, 0), 3.951412648, 5e-10);
  // Where a float softmax says 1: finite, and exact.
  const std::vector<float> sure = {60, 0, 0};
  EXPECT_NEAR(margin_of(sure, 0), 60 - std::log(2.0), 1e-12);
  EXPECT_NEAR(loss_of(sure, 0), 2 * std::exp(-60.0), 1e-38);
  EXPECT_NEAR(loss_of(sure, 1), 60, 1e-12);
}

}  // namespace
}  // namespace offramp::attacks::membership
