// Attacks on records that are made up: what each must find, must not find, and says of bad evidence.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "attacks/membership/attack.h"
#include "attacks/membership/attack_net.h"
#include "attacks/membership/evaluation.h"
#include "attacks/membership/label_only.h"
#include "nets/graph/network.h"
#include "tests/attacks/membership/tables.h"
#include "tests/attacks/message.h"

namespace offramp::attacks::membership {
namespace {

constexpr int kClasses = 4, kFeature = 12, kExits = 3;

struct World {
  double signal = 2;       // how much larger the margin of members is
  double exit_signal = 0;  // share of members that leave first, of non-members that leave last
  std::uint64_t seed = 1;
};

// Records whose margin is normal, members' larger by the signal; everything else follows from the margin.
Records made_up(int n, const World& w) {
  std::mt19937_64 rng(w.seed);
  std::normal_distribution<double> normal;
  std::uniform_real_distribution<double> uniform;
  Records r{.model = "made up", .classes = kClasses, .num_exits = kExits, .feature_size = kFeature};
  for (int i = 0; i < n; ++i) {
    const auto member = static_cast<std::uint8_t>(i % 2);
    const int label = static_cast<int>(rng() % kClasses);
    const double margin = normal(rng) + w.signal * member;
    const double p = 1 / (1 + std::exp(-margin));
    r.row.push_back(i);
    r.member.push_back(member);
    r.label.push_back(label);
    float largest = 0;
    int predicted = 0;
    for (int c = 0; c < kClasses; ++c) {
      const double share = (1 - p) * (c == (label + 1) % kClasses ? .6 : .2);
      const auto q = static_cast<float>(c == label ? p : share);
      r.scores.push_back(q);
      if (q > largest) {
        largest = q;
        predicted = c;
      }
    }
    r.predicted.push_back(predicted);
    r.margin.push_back(margin);
    r.loss.push_back(std::log1p(std::exp(-margin)));
    const bool told = uniform(rng) < w.exit_signal;
    r.exit.push_back(told ? (member ? 1 : kExits) : 1 + static_cast<int>(rng() % kExits));
    for (int k = 0; k < kFeature; ++k) r.feature.push_back(static_cast<float>(normal(rng)));
  }
  check(r, "test");
  return r;
}

double accuracy(const AttackOutcome& o, const Records& r) {
  double right[2] = {}, all[2] = {};
  for (std::size_t i = 0; i < o.record.size(); ++i) {
    const auto m = r.member[o.record[i]];
    all[m] += 1;
    right[m] += o.decision[i] == m;
  }
  return (right[0] / all[0] + right[1] / all[1]) / 2;
}

const char* const kRecordAttacks[] = {
    "correctness", "confidence", "entropy", "modified-entropy", "score-top3", "score-all", "gradient"};
constexpr AttackSettings kShort{.epochs = 30};

TEST(MembershipAttacks, FindMembersWhereTheyDifferAndNobodyWhereTheyDoNot) {
  const Records shadow = made_up(1200, {.seed = 1}), target = made_up(1200, {.seed = 2});
  const Records blind_shadow = made_up(1200, {.signal = 0, .seed = 3}),
                blind_target = made_up(1200, {.signal = 0, .seed = 4});
  for (const char* name : kRecordAttacks) {
    const Attack& attack = attack_of(name);
    // The best possible is Phi(1) = .841; who sees correctness alone gets less, and a net with dropout learns slowly.
    const double found = accuracy(attack.run({.shadow = shadow, .target = target}, kShort), target);
    EXPECT_GT(found, attack.needs == Needs::kLabels || attack.needs == Needs::kWhiteBox ? .6 : .75) << name;
    EXPECT_LT(found, .87) << name;
    const double blind =
        accuracy(attack.run({.shadow = blind_shadow, .target = blind_target}, kShort), blind_target);
    EXPECT_NEAR(blind, .5, 3.3 * .5 / std::sqrt(1200.0)) << name;  // a fair coin's, 99.9 %
  }
}

TEST(MembershipAttacks, ExitsHelpWhereTheyTell) {
  const World told{.signal = 0, .exit_signal = .6, .seed = 5};
  World other = told;
  other.seed = 6;
  const Records shadow = made_up(1500, told), target = made_up(1500, other);
  for (const char* name : {"score-top3", "gradient"}) {
    const Attack& attack = attack_of(name);
    EXPECT_LT(accuracy(attack.run({.shadow = shadow, .target = target}, kShort), target), .56) << name;
    // Best by exit alone: .6 + .4 * (2/3 of those who are not told look like nothing, 1/3 each way) = .6 + .4 / 2 = .8
    EXPECT_GT(accuracy(attack.run({.shadow = shadow, .target = target, .target_exits = target.exit}, kShort),
                       target),
              .75)
        << name;
    // Wrong exits (an estimate that is noise) must not help.
    std::vector<std::int32_t> noise = target.exit;
    std::shuffle(noise.begin(), noise.end(), std::mt19937_64(3));
    EXPECT_LT(
        accuracy(attack.run({.shadow = shadow, .target = target, .target_exits = noise}, kShort), target),
        .56)
        << name;
  }
}

TEST(MembershipAttacks, HybridThresholdsAreThoseOfTheExits) {
  Records shadow = made_up(900, {.seed = 7}), target = made_up(900, {.seed = 8});
  const auto out =
      attack_of("confidence").run({.shadow = shadow, .target = target, .target_exits = target.exit}, {});
  ASSERT_TRUE(out.by_exit);
  EXPECT_EQ(out.by_exit->groups.size(), static_cast<std::size_t>(kExits));
  std::size_t members = 0;
  for (const auto& g : out.by_exit->groups) {
    EXPECT_TRUE(g.counted);
    members += g.members;
  }
  EXPECT_EQ(members, 450u);
  // One exit never taken by the target: it is no group that counts, and no error.
  for (auto& e : target.exit) e = e == 2 ? 1 : e;
  const auto without =
      attack_of("confidence").run({.shadow = shadow, .target = target, .target_exits = target.exit}, {});
  EXPECT_FALSE(without.by_exit->groups[1].counted);
  EXPECT_EQ(without.by_exit->flagged, 0u);
  EXPECT_GT(without.by_exit->average, .75);
}

TEST(MembershipAttacks, OrderAndNamesOfClassesDoNotMatter) {
  const Records shadow = made_up(300, {.seed = 9}), target = made_up(300, {.seed = 10});
  std::vector<std::size_t> order(300);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::shuffle(order.begin(), order.end(), std::mt19937_64(1));
  const Records mixed_shadow = subset(shadow, order), mixed_target = subset(target, order);
  const auto renamed = [](Records r) {
    const int names[] = {2, 0, 3, 1};
    const auto scores = r.scores;
    for (std::size_t i = 0; i < r.size(); ++i) {
      for (std::size_t c = 0; c < kClasses; ++c)
        r.scores[i * kClasses + static_cast<std::size_t>(names[c])] = scores[i * kClasses + c];
      r.label[i] = names[r.label[i]];
      r.predicted[i] = names[r.predicted[i]];
    }
    return r;
  };
  const Records renamed_shadow = renamed(shadow), renamed_target = renamed(target);
  for (const char* name : {"correctness", "confidence", "entropy", "modified-entropy"}) {
    const auto a = attack_of(name).run({.shadow = shadow, .target = target}, {});
    const auto b = attack_of(name).run({.shadow = mixed_shadow, .target = mixed_target}, {});
    const auto c = attack_of(name).run({.shadow = renamed_shadow, .target = renamed_target}, {});
    for (std::size_t i = 0; i < 300; ++i) {
      EXPECT_EQ(b.decision[i], a.decision[order[i]]) << name;
      EXPECT_NEAR(c.score[i], a.score[i], 1e-12) << name;
    }
  }
  // Attack nets see sorted scores: names of classes are nothing to them, bit for bit.
  const auto a = attack_of("score-all").run({.shadow = shadow, .target = target}, kShort);
  EXPECT_EQ(attack_of("score-all").run({.shadow = renamed_shadow, .target = renamed_target}, kShort).score,
            a.score);
  EXPECT_EQ(attack_of("score-all").run({.shadow = shadow, .target = target}, kShort).score, a.score);
  EXPECT_GE(*a.best_epoch, accuracy(a, target));
}

TEST(MembershipAttacks, ModifiedEntropyByTheFormula) {
  Records shadow = made_up(40, {.seed = 1});
  const auto out = attack_of("modified-entropy")
                       .run({.shadow = shadow, .target = shadow}, {.groups = ThresholdGroups::kOne});
  for (std::size_t i = 1; i < 40; ++i) {
    const auto by_hand = [&](std::size_t k) {
      double m = 0;
      for (std::size_t c = 0; c < kClasses; ++c) {
        const double p = static_cast<double>(shadow.scores_of(k)[c]);
        m += static_cast<int>(c) == shadow.label[k] ? -(1 - p) * std::log(p) : -p * std::log(1 - p);
      }
      return m;
    };
    EXPECT_NEAR(out.score[i] - out.score[0], by_hand(0) - by_hand(i), 1e-9);
  }
}

TEST(MembershipAttacks, BadEvidenceIsNamed) {
  const Records good = made_up(60, {.seed = 1});
  const auto said = [&](const char* name, auto change) {
    Records bad = good;
    std::vector<std::int32_t> exits;
    change(bad, exits);
    return test::message_of(
        [&] { attack_of(name).run({.shadow = bad, .target = good, .target_exits = exits}, kShort); });
  };
  EXPECT_EQ(
      said("confidence", [](Records& r, auto&) { r.member.assign(60, 1); }),
      "membership attack: the records of the shadow must hold members and non-members, got 60 members of 60");
  EXPECT_EQ(said("score-all", [](Records& r, auto&) { r.scores[7] = std::nanf(""); }),
            "membership attack: shadow: scores must be finite, record 1 has one that is not");
  EXPECT_EQ(
      said("gradient",
           [](Records& r, auto&) {
             r.feature_size = 0;
             r.feature.clear();
           }),
      "gradient attack: the exits of made up have features of different sizes; train with --form two-layer");
  EXPECT_EQ(said("confidence",
                 [](Records&, auto& exits) {
                   exits = {1, 2};
                 }),
            "membership attack: expected an exit for each of 60 target records, got 2");
  EXPECT_EQ(said("noise", [](Records&, auto&) {}),
            "noise attack: it needs what the queries of both nets said");
  const auto fewer_classes = [](Records& r, auto&) {
    r.classes = 3;
    r.scores.clear();
    for (std::size_t i = 0; i < r.size(); ++i) {
      r.label[i] %= 3;
      r.predicted[i] %= 3;
      r.scores.insert(r.scores.end(), {.5f, .3f, .2f});
    }
  };
  EXPECT_EQ(said("score-all", fewer_classes),
            "membership attack: the shadow tells 3 classes apart, the target 4; score-top3, correctness and "
            "label-only attacks take that");
  EXPECT_EQ(said("score-top3", fewer_classes), "");  // constant scores: a defined, useless answer
  EXPECT_EQ(said("confidence", [](Records& r, auto&) { std::ranges::fill(r.loss, 1.0); }), "");
  EXPECT_EQ(test::message_of([] { attack_of("magic"); }).substr(0, 62),
            "membership: unknown attack 'magic'; known: correctness, confid");
}

TEST(AttackNets, HaveThePublishedSizes) {  // specs/networks.md 7
  const Device device = test::one_cpu();
  EXPECT_EQ(nets::Network(score_net(3, 0), device).parameters().count(), 41922);
  EXPECT_EQ(nets::Network(score_net(3, 6), device).parameters().count(), 59202);
  const auto branch = [](int in) { return in * 128 + 128 + 128 * 64 + 64; };
  const auto gradient = 50 + 125 * 256 + 256 + 256 * 128 + 128 + 128 * 64 + 64;
  const auto encoder = [](int in) { return in * 256 + 256 + 256 * 128 + 128 + 128 * 64 + 64 + 64 * 2 + 2; };
  EXPECT_EQ(nets::Network(gradient_net(30, 2, 512, 0), device).parameters().count(),
            branch(30) + branch(1) + branch(2) + branch(512) + gradient + encoder(320));
  EXPECT_EQ(nets::Network(gradient_net(30, 30, 512, 6), device).parameters().count(),
            branch(30) + branch(1) + branch(30) + branch(512) + branch(6) + gradient + encoder(384));
}

// The convolution over the whole gradient and PyTorch's adaptive mean, in double, against the windows and a 1x1 convolution.
TEST(AttackNets, WindowsOfTheGradientAreTheConvolutionAndItsMean) {
  std::mt19937_64 rng(2);
  std::normal_distribution<double> normal;
  for (const auto& [rows, columns] : {std::pair{30, 47}, {3, 3}, {4, 9}, {7, 512}}) {
    std::vector<double> error(static_cast<std::size_t>(rows));
    std::vector<float> feature(static_cast<std::size_t>(columns));
    for (double& v : error) v = normal(rng);
    for (float& v : feature) v = static_cast<float>(normal(rng));
    double filter[3][3], bias = normal(rng);
    for (auto& row : filter)
      for (double& v : row) v = normal(rng);
    const auto windows = gradient_windows(error, feature);
    ASSERT_EQ(windows.size(), 225u);
    const int h = rows - 2, w = columns - 2;
    for (int i = 0; i < 5; ++i) {
      for (int j = 0; j < 5; ++j) {
        double mean = 0;
        int count = 0;
        for (int y = i * h / 5; y < (i * h + h + 4) / 5; ++y) {
          for (int x = j * w / 5; x < (j * w + w + 4) / 5; ++x, ++count) {
            mean += bias;
            for (int r = 0; r < 3; ++r)
              for (int s = 0; s < 3; ++s)
                mean += filter[r][s] * error[static_cast<std::size_t>(y + r)] *
                        static_cast<double>(feature[static_cast<std::size_t>(x + s)]);
          }
        }
        double got = bias, size = std::abs(bias);
        for (std::size_t r = 0; r < 3; ++r)
          for (std::size_t s = 0; s < 3; ++s) {
            const double term =
                filter[r][s] *
                static_cast<double>(windows[(r * 3 + s) * 25 + static_cast<std::size_t>(i * 5 + j)]);
            got += term;
            size += std::abs(term);
          }
        EXPECT_NEAR(got, mean / count, 0x1p-23 * size)
            << rows << "x" << columns << " window " << i << "," << j;
      }
    }
  }
  EXPECT_EQ(test::message_of([] {
              gradient_windows(std::vector<double>{1, 2}, std::vector<float>(9));
            }),
            "gradient attack: a 3x3 filter needs a gradient of at least 3x3, got 2x9");
}

// Two records, one of them classified wrongly.
TEST(AttackNets, SeeScoresLossStatusFeatureAndGradient) {
  Records r{.classes = 4, .num_exits = 2, .feature_size = 3};
  r.row = {0, 1};
  r.member = {1, 0};
  r.label = {2, 0};
  r.predicted = {2, 3};
  r.exit = {1, 2};
  r.scores = {.125f, .0625f, .75f, .0625f, .25f, .125f, .125f, .5f};
  r.loss = {.3, 1.4};
  r.margin = {1, -1};
  r.feature = {1, 2, 3, -1, 0, 2};
  EXPECT_EQ(largest_scores(r, 3).values, (std::vector<float>{.75f, .125f, .0625f, .5f, .25f, .125f}));
  const std::vector<NetInput> inputs = white_box_inputs(r, StatusInput::kCorrect);
  ASSERT_EQ(inputs.size(), 5u);
  EXPECT_EQ(inputs[0].values, (std::vector<float>{.75f, .125f, .0625f, .0625f, .5f, .25f, .125f, .125f}));
  EXPECT_EQ(inputs[1].values, (std::vector<float>{.3f, 1.4f}));
  EXPECT_EQ(inputs[2].values, (std::vector<float>{0, 1, 1, 0}));
  EXPECT_EQ(inputs[3].values, r.feature);
  std::vector<float> gradient =
      gradient_windows(std::vector<double>{.125, .0625, -.25, .0625}, r.feature_of(0));
  const auto second = gradient_windows(std::vector<double>{-.75, .125, .125, .5}, r.feature_of(1));
  gradient.insert(gradient.end(), second.begin(), second.end());
  EXPECT_EQ(inputs[4].values, gradient);
  EXPECT_EQ(white_box_inputs(r, StatusInput::kLabel)[2].values, (std::vector<float>{0, 0, 1, 0, 1, 0, 0, 0}));
}

// One step an epoch, so small that the scores move by the rate times a constant: in the second of two epochs half as far as in
// the first.
TEST(AttackNets, TheLearningRateFallsAsACosine) {
  const std::vector<NetInput> inputs = {{.width = 3, .values = {3, 1, 0, -2, 1, 1, 0, 3, -1, 1, -3, 2}}};
  const std::vector<std::uint8_t> member = {0, 1, 0, 1};
  const auto score = [&](int epochs, double rate) {
    return train_attack_net(
               score_net(3, 0),
               inputs,
               member,
               inputs,
               member,
               {.epochs = epochs, .batch = 4, .learning_rate = rate, .momentum = 0, .weight_decay = 0})
        .score;
  };
  const auto one = score(1, 1e-3), twice = score(1, 2e-3), two = score(2, 1e-3);
  for (std::size_t i = 0; i < 4; ++i) {
    const double step = twice[i] - one[i];
    ASSERT_GT(std::abs(step), 1e-5);
    EXPECT_NEAR((two[i] - one[i]) / step, .5, .1) << i;
  }
}

TEST(AttackNets, DivergingTrainingIsAnError) {
  const NetInput huge{.width = 3, .values = std::vector<float>(30, 3e38f)};
  const std::vector<NetInput> inputs = {huge};
  const std::vector<std::uint8_t> member = {0, 1, 0, 1, 0, 1, 0, 1, 0, 1};
  EXPECT_EQ(test::message_of([&] {
              train_attack_net(score_net(3, 0), inputs, member, inputs, member, {.epochs = 3});
            }).substr(0, 49),
            "attack net: the loss is not finite in epoch 1; th");
}

// A victim that counts ones in a window of a sample: class 1 from `least` on.
class CountsOnes final : public BlackBox {
 public:
  int classes() const override { return 2; }
  Answer query(const Tensor& rows, Timing) override {
    const auto v = rows.to_host<float>();
    const auto d = static_cast<std::size_t>(rows.shape()[1]);
    Answer a;
    for (std::size_t i = 0; i < v.size() / d; ++i) {
      float sum = 0;
      for (std::size_t j = 0; j < d; ++j) sum += v[i * d + j];
      a.labels.push_back(sum >= 4 ? 1 : 0);
      ++asked;
    }
    return a;
  }
  std::int64_t asked = 0;
};

// Six ones of six features, class 1 from four on: kept with the probability that at most two of six flip.
TEST(Evaluation, ScoresThatKnowNothingHaveMembersFirstByHalves) {
  EXPECT_EQ(members_first_by_chance(0, 10, 10), 1);
  EXPECT_EQ(members_first_by_chance(1, 10, 30), .25);
  EXPECT_NEAR(members_first_by_chance(3, 5, 5), 1. / 12, 1e-15);  // 10 of the 120 sets of three
}

TEST(LabelOnly, NoiseIsTheBinomialOfTheFlips) {
  data::TableSet set;
  set.n = 2;
  set.d = 6;
  set.features.assign(12, 1);
  set.labels = {1, 0};
  set.class_names = {"0", "1"};
  const Samples samples{set};
  Records r{.classes = 2, .num_exits = 1};
  r.row = {0, 1};
  r.member = {1, 0};
  r.label = {1, 0};
  r.predicted = {1, 1};
  r.exit = {1, 1};
  CountsOnes victim;
  Listener nobody;
  const std::vector<std::size_t> both = {0, 1};
  const NoiseOptions options{.flips = {0, 1.5, 6}, .copies = 20000};
  const Signal s = noise_robustness(victim, samples, r, both, options, nobody);
  EXPECT_EQ(s.at(0, 0), 1);
  const double p = .25, q = .75;
  const double kept = std::pow(q, 6) + 6 * p * std::pow(q, 5) + 15 * p * p * std::pow(q, 4);
  EXPECT_NEAR(s.at(0, 1), kept, 4 * std::sqrt(kept * (1 - kept) / 20000));
  EXPECT_EQ(s.at(0, 2), 0);  // every feature flips
  for (int c = 0; c < 3; ++c) EXPECT_EQ(s.at(1, c), 0) << "classified wrongly: 0 without a query";
  EXPECT_EQ(s.queries, 60000);
  EXPECT_EQ(victim.asked, 60000);
  // A record's result does not depend on who else is asked about.
  const std::vector<std::size_t> first = {0};
  EXPECT_EQ(noise_robustness(victim, samples, r, first, options, nobody).value,
            std::vector<double>(s.value.begin(), s.value.begin() + 3));
  set.features[3] = .5f;
  const Samples half{set};
  EXPECT_EQ(test::message_of([&] { noise_robustness(victim, half, r, both, options, nobody); }).substr(0, 54),
            "noise attack: features must be 0 or 1, row 0 has 0.500");
  EXPECT_EQ(test::message_of([&] { noise_robustness(victim, samples, r, both, {.flips = {7}}, nobody); }),
            "noise attack: flips lie from 0 to the number of features, 6");
}

TEST(LabelOnly, TheShadowChoosesSettingAndThreshold) {
  const Records shadow = made_up(400, {.seed = 1}), target = made_up(400, {.seed = 2});
  // Column 1 is the margin. Column 0 says nothing of the shadow and everything of the target, which the attacker cannot know.
  const auto signal_of = [](const Records& r, bool tells) {
    Signal s{.columns = 2, .queries = 7};
    for (std::size_t i = 0; i < r.size(); i += 3) {
      s.record.push_back(i);
      s.value.insert(s.value.end(), {static_cast<double>(tells ? 10 * r.member[i] : i % 5), r.margin[i]});
    }
    return s;
  };
  const Signal a = signal_of(shadow, false), b = signal_of(target, true);
  for (const bool hybrid : {false, true}) {
    const Evidence e{
        .shadow = shadow,
        .target = target,
        .target_exits = hybrid ? std::span<const std::int32_t>(target.exit) : std::span<const std::int32_t>(),
        .shadow_signal = &a,
        .target_signal = &b};
    const auto out = attack_of("noise").run(e, {});
    EXPECT_EQ(out.note, "setting 2 of 2");
    EXPECT_EQ(out.record, b.record);
    EXPECT_EQ(out.queries, 7);
    EXPECT_GT(accuracy(out, target), .76);
    EXPECT_LT(accuracy(out, target), .9);
    EXPECT_EQ(*out.upper_bound, 1);
  }
}

TEST(LabelOnly, AsksEachSideOfEachExitAlike) {
  const Records r = made_up(600, {.seed = 3});
  const auto asked = records_to_ask(r, 40, 5);
  EXPECT_EQ(asked.size(), 6u * 40);
  EXPECT_TRUE(std::ranges::is_sorted(asked));
  int of[kExits][2] = {};
  for (const auto i : asked) ++of[r.exit[i] - 1][r.member[i]];
  for (const auto& e : of) EXPECT_EQ(e[0] + e[1], 80);
  EXPECT_EQ(records_to_ask(r, 40, 5), asked);
  EXPECT_NE(records_to_ask(r, 40, 6), asked);
  EXPECT_EQ(records_to_ask(r, 100000, 5).size(), 600u);
}

}  // namespace
}  // namespace offramp::attacks::membership
