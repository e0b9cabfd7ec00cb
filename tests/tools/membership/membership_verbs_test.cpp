// An audit of membership from the outside: train, attack, report on a small table; going on after a stop; wrong use.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/safetensors.h"
#include "nets/graph/state_dict.h"
#include "tests/support/program.h"

namespace offramp {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::Outcome;
using test::read_text;
using test::TempFolder;
using Words = std::vector<std::string>;

Outcome run(Words words) {
  words.insert(words.end(), {"--threads", "1"});
  return test::run_offramp(words);
}

// 160 rows of 24 bits in four classes; each prefers a quarter of the bits.
std::string table() {
  std::string text;
  std::uint32_t state = 7;
  for (int i = 0; i < 160; ++i) {
    text += std::to_string(1 + i % 4);
    for (int j = 0; j < 24; ++j) {
      state = state * 1664525u + 1013904223u;
      text += (state >> 16) % 10 < (j % 4 == i % 4 ? 6u : 4u) ? ",1" : ",0";
    }
    text += "\n";
  }
  return text;
}

class MembershipVerbs : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<TempFolder>();
    test::write_text(*folder_ / "t.csv", table());
    const Outcome trained =
        run({"membership",   "train",    "--data",          "csv:" + (*folder_ / "t.csv").string(),
             "--net",        "fcn-18-1", "--width-divisor", "16",
             "--exits",      "1,3",      "--epochs",        "20",
             "--optimizer",  "adam",     "--batch",         "16",
             "--references", "6",        "--out",           (*folder_ / "nets").string()});
    ASSERT_EQ(trained.code, 0) << trained.err;
    const Outcome attacked = attack("a");
    ASSERT_EQ(attacked.code, 0) << attacked.err;
  }
  static void TearDownTestSuite() { folder_.reset(); }
  static Outcome attack(const std::string& out, const Words& more = {}) {
    Words words = {"membership",
                   "attack",
                   (*folder_ / "nets").string(),
                   "--epochs",
                   "2",
                   "--repetitions",
                   "4",
                   "--attacks",
                   "confidence,score-top3,gradient,noise",
                   "--copies",
                   "20",
                   "--out",
                   (*folder_ / out).string()};
    words.insert(words.end(), more.begin(), more.end());
    return run(words);
  }
  static json results(const std::string& out) {
    return json::parse(read_text(*folder_ / out / "results.json"));
  }

  static std::unique_ptr<TempFolder> folder_;
};
std::unique_ptr<TempFolder> MembershipVerbs::folder_;

TEST_F(MembershipVerbs, EveryAttackAndAdversaryHasItsRow) {
  const json r = results("a");
  EXPECT_TRUE(r.at("controls_passed").get<bool>());
  ASSERT_EQ(r.at("nets").size(), 2u);
  std::vector<std::string> rows;
  for (const json& a : r.at("nets")[1].at("attacks"))
    rows.push_back(a.at("attack").get<std::string>() + " " + a.at("adversary").get<std::string>());
  EXPECT_EQ(rows,
            (std::vector<std::string>{"confidence original",
                                      "confidence told",
                                      "confidence timed",
                                      "score-top3 original",
                                      "score-top3 told",
                                      "score-top3 timed",
                                      "gradient original",
                                      "gradient told",
                                      "noise original",
                                      "noise told",
                                      "noise timed",
                                      "lira-offline 6 references",
                                      "lira-online 6 references",
                                      "exit-ratio 6 references",
                                      "lira-joint 6 references",
                                      "lira-online+exit 6 references",
                                      "rmia 6 references"}));
  const json& plain = r.at("nets")[0];
  EXPECT_EQ(plain.at("net"), "target-plain");
  EXPECT_EQ(plain.at("attacks").size(), 4u);  // no exits, no references
  for (const json& a : plain.at("attacks")) {
    EXPECT_EQ(a.at("members").get<int>(), 40);
    EXPECT_EQ(a.at("non_members").get<int>(), 40);
    // 40 non-members resolve neither 1 % nor 0.1 %, and say so.
    EXPECT_TRUE(a.at("at_fpr")[0].contains("refused"));
    EXPECT_EQ(a.at("at_fpr")[1].at("refused"),
              "a false positive rate of 0.001 needs at least 1000 non-members, got 40");
    EXPECT_TRUE(a.at("at_fpr")[2].contains("tpr"));
  }
  // 20 copies at five numbers of flips, of every record that is classified right.
  EXPECT_EQ(plain.at("attacks")[3].at("queries").get<int>() % 100, 0);
}

TEST_F(MembershipVerbs, AttacksWithReferencesAreChosenByName) {
  const auto chosen = [](const std::string& names, const Words& more) {
    Words words = {"membership",
                   "attack",
                   (*folder_ / "nets").string(),
                   "--attacks",
                   names,
                   "--epochs",
                   "2",
                   "--out",
                   (*folder_ / "lira").string()};
    words.insert(words.end(), more.begin(), more.end());
    return run(words);
  };
  const auto refused = [&](const std::string& names, const Words& more, const std::string& why) {
    const Outcome outcome = chosen(names, more);
    EXPECT_EQ(outcome.code, 2) << outcome.text();
    EXPECT_NE(outcome.err.find(why), std::string::npos) << outcome.err;
    EXPECT_FALSE(fs::exists(*folder_ / "lira"));
  };
  refused("lira-online", {"--exits", "1"}, "has no reference nets of 1 exits");
  refused("rmia", {"--exits", "3", "--adversaries", "told"}, "--adversaries original");
  refused("lira", {"--exits", "3"}, "with reference nets: rmia, ");
  ASSERT_EQ(chosen("lira-online,confidence,rmia", {"--exits", "3", "--adversaries", "original"}).code, 0);
  std::vector<std::string> rows;
  const json made = results("lira");
  for (const json& a : made.at("nets")[0].at("attacks")) rows.push_back(a.at("attack").get<std::string>());
  EXPECT_EQ(rows, (std::vector<std::string>{"confidence", "lira-online", "rmia"}));
}

TEST_F(MembershipVerbs, ExitsAskForTheConfidenceThatIsNamed) {
  const auto with = [](const std::string& tau) {
    const std::string out = "tau" + tau;
    const Outcome attacked = run({"membership",
                                  "attack",
                                  (*folder_ / "nets").string(),
                                  "--tau",
                                  tau,
                                  "--adversaries",
                                  "original,told",
                                  "--attacks",
                                  "confidence",
                                  "--out",
                                  (*folder_ / out).string()});
    EXPECT_EQ(attacked.code, 0) << attacked.err;
    return results(out);
  };
  const json all = with("0"), none = with("1"), own = results("a");
  for (const json* r : {&all, &none}) EXPECT_EQ(r->at("nets")[0].at("relative_macs"), 1.0);
  EXPECT_EQ(all.at("nets")[1].at("target").at("exits")[0].at("members"), 40);
  EXPECT_EQ(none.at("nets")[1].at("target").at("exits")[2].at("members"), 40);
  EXPECT_EQ(all.at("nets")[1].at("threshold"), 0.0);
  EXPECT_LT(all.at("nets")[1].at("relative_macs"), 0.9);
  EXPECT_GT(none.at("nets")[1].at("relative_macs"), 1.0);  // the end, and two exits on the way
  const nets::LoadedNet target =
      nets::load_net(*folder_ / "nets/models/target-k3.safetensors", Device::cpu());
  EXPECT_DOUBLE_EQ(own.at("nets")[1].at("relative_macs").get<double>(),
                   std::stod(target.metadata.at("membership.relative_macs")));
}

// Too few for LiRA: a row that says so, and all else is there.
TEST_F(MembershipVerbs, TwoReferencesAreEnoughForSomeAttacks) {
  const std::string nets = (*folder_ / "two").string(), out = (*folder_ / "two-a").string();
  ASSERT_EQ(run({"membership",
                 "train",
                 "--data",
                 "csv:" + (*folder_ / "t.csv").string(),
                 "--net",
                 "fcn-18-1",
                 "--width-divisor",
                 "16",
                 "--exits",
                 "1",
                 "--epochs",
                 "1",
                 "--references",
                 "2",
                 "--out",
                 nets})
                .code,
            0);
  const Outcome attacked =
      run({"membership", "attack", nets, "--attacks", "confidence,lira-offline,rmia", "--out", out});
  ASSERT_EQ(attacked.code, 0) << attacked.err;
  std::map<std::string, bool> failed;
  const json attacked_net = json::parse(read_text(*folder_ / "two-a/results.json")).at("nets")[0];
  for (const json& row : attacked_net.at("attacks"))
    failed[row.at("attack").get<std::string>()] = row.contains("failed");
  EXPECT_EQ(failed,
            (std::map<std::string, bool>{{"confidence", false}, {"lira-offline", true}, {"rmia", false}}));
}

TEST_F(MembershipVerbs, TimesJoinTheRecords) {
  const safetensors::Reader records(*folder_ / "a" / "records" / "target-k3.safetensors");
  EXPECT_EQ(records.metadata().at("repetitions"), "4");
  EXPECT_EQ(records.expect("times_ns", safetensors::Dtype::kI64, std::vector<std::int64_t>{80, 4}).bytes(),
            80u * 4 * 8);
}

TEST_F(MembershipVerbs, TheSameSeedGivesTheSameAnswer) {
  ASSERT_EQ(attack("b", {"--adversaries", "original,told"}).code, 0);
  json a = results("a").at("nets")[1].at("attacks"), b = results("b").at("nets")[1].at("attacks");
  ASSERT_EQ(b.size(), a.size() - 3);
  std::size_t at = 0;
  for (const json& row : a) {
    if (row.at("adversary") == "timed") continue;
    EXPECT_EQ(row, b[at++]) << row.at("attack");
  }
}

TEST_F(MembershipVerbs, ShadowsOfAnotherRun) {
  const Outcome trained = run({"membership",
                               "train",
                               "--data",
                               "csv:" + (*folder_ / "t.csv").string(),
                               "--net",
                               "fcn-18-2",
                               "--width-divisor",
                               "32",
                               "--exits",
                               "3",
                               "--epochs",
                               "5",
                               "--optimizer",
                               "adam",
                               "--seed",
                               "9",
                               "--out",
                               (*folder_ / "other").string()});
  ASSERT_EQ(trained.code, 0) << trained.err;
  ASSERT_EQ(
      attack("c", {"--exits", "3", "--adversaries", "told", "--shadow", (*folder_ / "other").string()}).code,
      0);
  EXPECT_EQ(results("c").at("shadow_plan").at("net"), "fcn-18-2");
  EXPECT_NE(results("c").at("nets")[0].at("shadow"), results("a").at("nets")[1].at("shadow"));
  const Outcome lacking = attack("d", {"--shadow", (*folder_ / "other").string()});
  EXPECT_EQ(lacking.code, 2);
  EXPECT_NE(lacking.err.find("its plan has no shadow of 1 exits"), std::string::npos) << lacking.err;
}

TEST_F(MembershipVerbs, AChannelHasARowForEverySettingAndOneWithoutIt) {
  const auto channel = [&](const Words& more) {
    Words words = {
        "membership", "channel", (*folder_ / "a").string(), "--out", (*folder_ / "ch").string(), "--force"};
    words.insert(words.end(), more.begin(), more.end());
    return run(words);
  };
  const Outcome made = channel({"--sigma-ms", "0,50", "--mean-ms", "100", "--queries", "4,1000"});
  ASSERT_EQ(made.code, 0) << made.err;
  const json r = results("ch");
  ASSERT_EQ(r.at("nets").size(), 1u);
  const json& net = r.at("nets")[0];
  EXPECT_EQ(net.at("net"), "target-k3");
  const json& rows = net.at("settings");
  ASSERT_EQ(rows.size(), 5u);
  EXPECT_EQ(rows[0].at("queries"), 4);
  EXPECT_EQ(rows[4].at("channel"), "none");
  EXPECT_EQ(rows[4].at("exits_right"), results("a").at("nets")[1].at("exit_times").at("accuracy"));
  for (const json& row : rows) EXPECT_EQ(row.at("attacks")[0].at("attack"), "modified-entropy");
  EXPECT_NE(read_text(*folder_ / "ch" / "channel.csv").find("target-k3,50,1000,"), std::string::npos);

  EXPECT_NE(channel({"--attacks", "gradient"}).err.find("gradient has no part in this"), std::string::npos);
  EXPECT_NE(channel({"--exits", "1"}).err.find("--exits: 2 to 16 wanted, got 1"), std::string::npos);
  ASSERT_EQ(attack("untimed", {"--exits", "3", "--adversaries", "told"}).code, 0);
  const Outcome none =
      run({"membership", "channel", (*folder_ / "untimed").string(), "--out", (*folder_ / "no").string()});
  EXPECT_EQ(none.code, 2);
  EXPECT_NE(none.err.find("nothing was timed there"), std::string::npos) << none.err;
  EXPECT_FALSE(fs::exists(*folder_ / "no"));
}

TEST_F(MembershipVerbs, NeighboursAnswerWhileTheTargetIsTimed) {
  ASSERT_EQ(attack("n", {"--exits", "3", "--adversaries", "original,timed", "--tenants", "2"}).code, 0);
  EXPECT_EQ(results("n").at("nets")[0].at("exit_times").at("tenants"), 2);
  // Times that others disturb are no part of the records.
  EXPECT_EQ(
      safetensors::Reader(*folder_ / "n" / "records" / "target-k3.safetensors").metadata().at("repetitions"),
      "0");
}

TEST_F(MembershipVerbs, NetsTrainInMixedPrecision) {
  const Outcome trained = run({"membership",
                               "train",
                               "--data",
                               "csv:" + (*folder_ / "t.csv").string(),
                               "--width-divisor",
                               "16",
                               "--exits",
                               "1,2",
                               "--epochs",
                               "3",
                               "--batch",
                               "16",
                               "--precision",
                               "bf16",
                               "--schedule",
                               "cosine",
                               "--out",
                               (*folder_ / "bf16").string()});
  ASSERT_EQ(trained.code, 0) << trained.err;
  const json plan = json::parse(read_text(*folder_ / "bf16" / "plan.json"));
  EXPECT_EQ(plan.at("precision"), "bf16");
  EXPECT_EQ(plan.at("schedule"), "cosine");
  const Outcome attacked = run({"membership",
                                "attack",
                                (*folder_ / "bf16").string(),
                                "--epochs",
                                "2",
                                "--repetitions",
                                "2",
                                "--out",
                                (*folder_ / "of-bf16").string()});
  ASSERT_EQ(attacked.code, 0) << attacked.err;
  EXPECT_EQ(results("of-bf16").at("nets").size(), 2u);
}

TEST_F(MembershipVerbs, TheReportSaysWhatWasFound) {
  const Outcome reported = run({"membership", "report", (*folder_ / "a").string(), "--log", "json"});
  ASSERT_EQ(reported.code, 0) << reported.err;
  const json answer = json::parse(reported.out);
  EXPECT_EQ(answer.at("nets").size(), 2u);
  const std::string html = read_text(*folder_ / "a" / "report.html");
  for (const char* part :
       {"target-plain", "target-k3", "<svg", "ROC of target-k3", "lira-online", "Provenance"})
    EXPECT_NE(html.find(part), std::string::npos) << part;
  // Rates that nobody asked for are not refused.
  json others = results("a");
  for (json& net : others["nets"])
    for (json& tried : net["attacks"])
      for (json& point : tried["at_fpr"])
        if (point["wanted_fpr"] == .01) point["wanted_fpr"] = .05;
  fs::create_directories(*folder_ / "g");
  test::write_text(*folder_ / "g" / "results.json", others.dump());
  EXPECT_NE(run({"membership", "report", (*folder_ / "g").string()})
                .out.find("(1 % false alarms were not asked for)"),
            std::string::npos);
  // Members whom chance puts above every non-member are not named: of many attacks some luck is expected.
  const auto report_with = [&](int count) {
    json named = results("a");
    for (json& net : named["nets"])
      for (json& tried : net["attacks"])
        if (tried.contains("identified")) tried["identified"] = {{"count", count}, {"rows", {4711}}};
    test::write_text(*folder_ / "g" / "results.json", named.dump());
    EXPECT_EQ(run({"membership", "report", (*folder_ / "g").string()}).code, 0);
    return read_text(*folder_ / "g" / "report.html");
  };
  EXPECT_EQ(report_with(1).find("4711"), std::string::npos);
  EXPECT_NE(report_with(1).find("No attack names a member: there is 1 member that"), std::string::npos);
  EXPECT_NE(report_with(30).find("4711"), std::string::npos);
  // A failed control comes first.
  json failed = results("a");
  failed["controls_passed"] = false;
  fs::create_directories(*folder_ / "f");
  test::write_text(*folder_ / "f" / "results.json", failed.dump());
  EXPECT_EQ(run({"membership", "report", (*folder_ / "f").string()}).out.rfind("CONTROL FAILED", 0), 0u);
  test::write_text(*folder_ / "f" / "results.json", "{\"nets\": 3}");
  EXPECT_NE(run({"membership", "report", (*folder_ / "f").string()})
                .err.find("expected the results of membership attack, found something else"),
            std::string::npos);
}

TEST_F(MembershipVerbs, WrongUseIsNamed) {
  const auto said = [](const Outcome& o) {
    EXPECT_EQ(o.code, 2);
    return o.err;
  };
  const std::string data = "csv:" + (*folder_ / "t.csv").string(), out = (*folder_ / "w").string();
  EXPECT_NE(said(run({"membership", "train", "--data", data, "--net", "vgg-16", "--out", out}))
                .find("takes fcn-18-"),
            std::string::npos);
  EXPECT_NE(said(run({"membership", "train", "--data", data, "--references", "3", "--out", out}))
                .find("come in pairs"),
            std::string::npos);
  EXPECT_NE(
      said(run({"membership", "attack", (*folder_ / "nets").string(), "--attacks", "magic", "--out", out}))
          .find("unknown attack 'magic'"),
      std::string::npos);
  EXPECT_NE(said(attack("w", {"--adversaries", "told,all"})).find("got 'all'"), std::string::npos);
  EXPECT_NE(said(attack("w", {"--adversaries", ""})).find("--adversaries"), std::string::npos);
  EXPECT_NE(said(attack("w", {"--flips", ""})).find("--flips"), std::string::npos);
  EXPECT_NE(said(run({"membership",
                      "train",
                      "--data",
                      data,
                      "--references",
                      "2",
                      "--reference-exits",
                      "3,3",
                      "--out",
                      out}))
                .find("given twice"),
            std::string::npos);
  // A padding of two exits before a net of three.
  const Outcome planned = run({"defend",
                               "plan",
                               "--times",
                               "1,2",
                               "--shares",
                               ".5,.5",
                               "--choose",
                               "constant",
                               "--out",
                               (*folder_ / "plan").string()});
  ASSERT_EQ(planned.code, 0) << planned.err;
  EXPECT_NE(said(attack("w", {"--defence", (*folder_ / "plan" / "defence.json").string()}))
                .find("is for 2 exits, the net has 3"),
            std::string::npos);
  EXPECT_NE(
      said(run({"membership", "attack", (*folder_ / "a").string(), "--out", out})).find("found no plan.json"),
      std::string::npos);
  EXPECT_NE(said(run({"membership", "report", (*folder_ / "nets" / "models").string()}))
                .find("found no results.json"),
            std::string::npos);
  EXPECT_FALSE(fs::exists(out));
  // The data behind the nets are no longer those.
  test::write_text(*folder_ / "u.csv", table() + "1" + table().substr(1, 48) + "\n");
  const Outcome moved = attack("w", {"--data", "csv:" + (*folder_ / "u.csv").string()});
  EXPECT_EQ(moved.code, 1);
  EXPECT_NE(moved.err.find("is of a set of 160 samples, this one has 161"), std::string::npos) << moved.err;
}

}  // namespace
}  // namespace offramp
