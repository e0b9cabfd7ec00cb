// audit from the outside: a small net and recorded times, what is written, and going on after a kill.
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <thread>

#include "base/safetensors.h"
#include "tests/support/pictures.h"
#include "tests/support/program.h"

namespace offramp {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::Outcome;
using test::read_text;
using test::TempFolder;
using test::write_text;
using Words = std::vector<std::string>;

class AuditVerb : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    shared_ = std::make_unique<TempFolder>();
    test::write_pictures(*shared_ / "pictures", {.per_class = 300, .bright = 150, .dark = 70, .spread = 90});
    const Outcome trained = run({"train",
                                 "--net",
                                 "small-cnn",
                                 "--width-divisor",
                                 "4",
                                 "--exits",
                                 "3",
                                 "--data",
                                 data(),
                                 "--epochs",
                                 "2",
                                 "--batch",
                                 "16",
                                 "--held-out",
                                 "200",
                                 "--out",
                                 model(),
                                 "--seed",
                                 "3"});
    ASSERT_EQ(trained.code, 0) << trained.err;
  }
  static void TearDownTestSuite() { shared_.reset(); }
  static Outcome run(Words words) {
    words.insert(words.end(), {"--threads", "1"});
    return test::run_offramp(words);
  }
  static std::string data() { return "folder:" + (*shared_ / "pictures").string() + "?side=16"; }
  static std::string model() { return (*shared_ / "model").string(); }
  static std::string at(const std::string& name) { return (*shared_ / name).string(); }
  static Words audit(const std::string& out) {
    return {"audit", model(), "--split", "all", "--threshold", "0.6", "--budget", "0.2", "--out", at(out)};
  }

  static std::unique_ptr<TempFolder> shared_;
};
std::unique_ptr<TempFolder> AuditVerb::shared_;

// Times of two exits `gap` apart, the deeper one for half of the inputs; an attribute that the exit follows three times in four.
std::string times_csv(double gap, int n) {
  std::mt19937_64 rng(7);
  std::normal_distribution<double> normal(0, 200);
  std::string text = "exit,colour,nanoseconds\n";
  for (int i = 0; i < n; ++i) {
    const bool deep = (rng() & 1) != 0, red = rng() % 4 == 0 ? !deep : deep;
    text += std::to_string(deep ? 2 : 1) + (red ? ",red," : ",blue,") +
            std::to_string(50000 + (deep ? gap : 0) + normal(rng)) + "\n";
  }
  return text;
}

// What SARIF 2.1.0 asks of the parts that are used (OASIS standard, sections 3.13 to 3.50).
void expect_sarif(const json& log) {
  EXPECT_EQ(log.at("version"), "2.1.0");
  ASSERT_EQ(log.at("runs").size(), 1u);
  const json& run = log.at("runs")[0];
  const json& driver = run.at("tool").at("driver");
  EXPECT_TRUE(driver.at("name").is_string());
  std::map<std::string, std::set<std::string>> known;
  for (const json& taxonomy : run.at("taxonomies")) {
    EXPECT_TRUE(taxonomy.at("name").is_string());
    for (const json& taxon : taxonomy.at("taxa"))
      known[taxonomy.at("name")].insert(taxon.at("id").get<std::string>());
  }
  std::set<std::string> ids;
  for (const json& rule : driver.at("rules")) {
    EXPECT_TRUE(ids.insert(rule.at("id").get<std::string>()).second);
    EXPECT_TRUE(rule.at("shortDescription").at("text").is_string());
    for (const json& relation : rule.at("relationships")) {
      const json& target = relation.at("target");
      EXPECT_EQ(known[target.at("toolComponent").at("name")].count(target.at("id").get<std::string>()), 1u)
          << target;
    }
  }
  ASSERT_FALSE(run.at("results").empty());
  for (const json& result : run.at("results")) {
    EXPECT_EQ(driver.at("rules")[result.at("ruleIndex").get<std::size_t>()].at("id"), result.at("ruleId"));
    EXPECT_FALSE(result.at("message").at("text").get<std::string>().empty());
    const std::string kind = result.at("kind"), level = result.at("level");
    EXPECT_TRUE(kind == "fail" || kind == "pass" || kind == "open" || kind == "notApplicable") << kind;
    // 3.27.10: a level is only there where something failed.
    EXPECT_EQ(kind == "fail", level != "none") << kind << " " << level;
    for (const json& location : result.at("locations")) {
      const std::string uri = location.at("physicalLocation").at("artifactLocation").at("uri");
      EXPECT_EQ(uri.find_first_of(" <>\"{}|\\^`"), std::string::npos) << uri;
    }
  }
  EXPECT_EQ(run.at("invocations")[0].at("executionSuccessful"), true);
}

json finding(const json& results, const std::string& rule) {
  for (const json& f : results.at("findings"))
    if (f.at("rule") == rule) return f;
  return {};
}

TEST_F(AuditVerb, AModelFromTheModelToTheReport) {
  const Outcome done = run(audit("whole"));
  ASSERT_EQ(done.code, 0) << done.err;
  const fs::path folder = *shared_ / "whole";
  const json results = json::parse(read_text(folder / "results.json"));
  // Every question gets an answer, whatever it is: times of this machine decide.
  for (const char* rule :
       {"exit-timing", "attribute-timing", "membership", "slowdown", "defence", "extraction"})
    EXPECT_FALSE(finding(results, rule).is_null()) << rule;
  EXPECT_EQ(finding(results, "membership").at("nist_ai_100_2"), "NISTAML.033");
  EXPECT_EQ(finding(results, "membership").at("owasp_aisvs"), "11.3.3");
  EXPECT_EQ(finding(results, "extraction").at("mitre_atlas"), "AML.T0024.002");
  // The members are known, so the attacks ran: four, with and without the exit.
  const json& membership = results.at("sections").at("membership").at("data");
  EXPECT_EQ(membership.at("attacks").size(), 8u);
  // Alpha of .01 over all of them; 100 judged non-members just resolve one in a hundred.
  EXPECT_DOUBLE_EQ(membership.at("auc_level").get<double>(), 1 - 2 * .01 / 8);
  for (const json& attack : membership.at("attacks"))
    EXPECT_TRUE(attack.at("tpr_at_1_percent").is_number()) << attack.dump();
  EXPECT_EQ(results.at("sections").at("model").at("data").at("exits").size(), 3u);
  EXPECT_EQ(results.at("sections").at("model").at("data").at("thresholds").size(), 8u);
  EXPECT_GT(results.at("sections").at("slowdown").at("data").at("images"), 0);
  expect_sarif(json::parse(read_text(folder / "audit.sarif")));
  const std::string page = read_text(folder / "report.html"), card = read_text(folder / "README.md");
  for (const char* title :
       {"The model", "The exit in the time", "Membership", "Slowdown", "What defences cost", "Extraction"})
    EXPECT_NE(page.find(title), std::string::npos) << title;
  EXPECT_EQ(page.find("<script"), std::string::npos);
  EXPECT_EQ(card.rfind("---\n", 0), 0u);
  EXPECT_NE(card.find("\n---\n", 4), std::string::npos);
  EXPECT_NE(card.find("model-index:"), std::string::npos);
  EXPECT_TRUE(fs::exists(folder / "trace" / "times.csv"));  // the raw data stay
  EXPECT_TRUE(fs::exists(folder / "DONE"));
}

TEST_F(AuditVerb, GoesOnAfterAKill) {
  const test::Program first(audit("killed"));
  const fs::path sections = *shared_ / "killed" / "sections";
  for (int i = 0; i < 6000 && !fs::exists(sections / "timing.json"); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  ASSERT_TRUE(fs::exists(sections / "timing.json"));
  first.send(SIGKILL);
  first.wait();
  ASSERT_FALSE(fs::exists(*shared_ / "killed" / "DONE"));
  const std::string before = read_text(sections / "timing.json");
  // What the first run chose by its clock is kept: the second would choose another number.
  const fs::path chosen = *shared_ / "killed" / "timed_inputs.json";
  const std::size_t inputs = json::parse(read_text(chosen)).at("inputs");
  EXPECT_GE(inputs, 200u);
  Words again = audit("killed");
  again.push_back("--resume");
  const Outcome done = run(again);
  ASSERT_EQ(done.code, 0) << done.err;
  EXPECT_EQ(read_text(sections / "timing.json"), before);
  EXPECT_NE(done.err.find("of work are kept"), std::string::npos) << done.err;
  const std::string html = read_text(*shared_ / "killed" / "report.html");
  EXPECT_NE(html.find("The threshold that was given, 0.6 at every exit, stands for"), std::string::npos);
  EXPECT_NE(html.find("class=\"strong\""), std::string::npos) << "a kept section keeps its rows in bold";
  EXPECT_EQ(json::parse(read_text(*shared_ / "killed" / "trace" / "trace.json")).at("samples"), inputs);
}

TEST_F(AuditVerb, RecordedTimesAlone) {
  const std::string csv = at("times.csv");
  write_text(csv, times_csv(4000, 1500));
  const Outcome told = run({"audit", csv, "--exit", "exit", "--attribute", "colour", "--out", at("told")});
  ASSERT_EQ(told.code, 0) << told.err;
  const json a = json::parse(read_text(*shared_ / "told" / "results.json"));
  EXPECT_EQ(finding(a, "exit-timing").at("kind"), "fail");
  EXPECT_EQ(finding(a, "exit-timing").at("level"),
            "warning");  // 4 us: beyond the LAN's 100 ns, within the internet's 50 us
  EXPECT_EQ(finding(a, "attribute-timing").at("kind"), "fail");
  for (const char* rule : {"membership", "slowdown", "extraction"})
    EXPECT_EQ(finding(a, rule).at("kind"), "notApplicable") << rule;
  const json& verdicts = a.at("sections").at("timing").at("data").at("verdicts");
  ASSERT_EQ(verdicts.size(), 3u);
  EXPECT_EQ(verdicts[0].at("verdict"), "leaks");
  EXPECT_EQ(verdicts[1].at("verdict"), "leaks");
  EXPECT_EQ(verdicts[2].at("verdict"), "smaller");
  EXPECT_LE(verdicts[1].at("effect_ns").at("low"), 4000);
  EXPECT_GE(verdicts[1].at("effect_ns").at("high"), 4000);
  expect_sarif(json::parse(read_text(*shared_ / "told" / "audit.sarif")));

  // Nobody tells the exits: the times show them. Whatever the file is called.
  const std::string other_name = at("times");
  fs::copy_file(csv, other_name);
  const Outcome seen = run({"audit", "--from-csv", other_name, "--out", at("seen")});
  ASSERT_EQ(seen.code, 0) << seen.err;
  const json b = json::parse(read_text(*shared_ / "seen" / "results.json"));
  EXPECT_EQ(b.at("sections").at("timing").at("data").at("estimated_exits"), 2);
  EXPECT_EQ(finding(b, "attribute-timing").at("kind"), "notApplicable");
  // From one time of each input: whether it is the input that decides cannot be said.
  EXPECT_EQ(finding(b, "exit-timing").at("kind"), "open");

  // Without a difference there is no leak, and the limit of the internet is far away.
  write_text(csv, times_csv(0, 1500));
  const Outcome none = run({"audit", csv, "--exit", "exit", "--out", at("none")});
  ASSERT_EQ(none.code, 0) << none.err;
  const json c = json::parse(read_text(*shared_ / "none" / "results.json"));
  EXPECT_NE(finding(c, "exit-timing").at("kind"), "fail");
  EXPECT_EQ(c.at("sections").at("timing").at("data").at("verdicts")[2].at("verdict"), "smaller");
}

// Two groups of inputs are a leak where other times of the same inputs differ too; a machine of two speeds has no groups.
TEST_F(AuditVerb, GroupsThatTimesShowAreTestedOnOtherTimes) {
  const auto csv = [&](const std::string& name, bool of_the_input) {
    std::mt19937_64 rng(5);
    std::normal_distribution<double> noise(0, 5000);
    std::string text = "index";
    for (int r = 0; r < 10; ++r) text += ",t" + std::to_string(r + 1);
    for (int i = 0; i < 600; ++i) {
      text += "\n" + std::to_string(i);
      for (int r = 0; r < 10; ++r) {
        const bool fast = of_the_input ? i % 5 == 0 : rng() % 5 == 0;
        text += "," + std::to_string(std::lround((fast ? 1e6 : 1.2e6) + noise(rng)));
      }
    }
    write_text(at(name), text + "\n");
    const Outcome o = run({"audit", "--from-csv", at(name), "--out", at(name + "-audit")});
    EXPECT_EQ(o.code, 0) << o.err;
    return finding(json::parse(read_text(*shared_ / (name + "-audit") / "results.json")), "exit-timing");
  };
  const json leak = csv("groups", true), noise = csv("noise", false);
  EXPECT_EQ(leak.at("kind"), "fail") << leak.dump();
  EXPECT_NE(noise.at("kind"), "fail") << noise.dump();
}

// A state dict of somebody else's is audited as the checkpoint that import makes of it is.
TEST_F(AuditVerb, AStateDictFromElsewhere) {
  const std::string file = at("theirs.safetensors");
  {  // the net's tensors without what our checkpoints say of them
    const safetensors::Reader ours(*shared_ / "model" / "checkpoints" / "last.safetensors");
    std::vector<safetensors::Source> sources;
    for (const auto& entry : ours.entries())
      if (entry.name.rfind("optimizer.", 0) != 0 && entry.name.rfind("normalize.", 0) != 0)
        sources.push_back({entry.name, entry.dtype, entry.shape, ours.bytes(entry)});
    safetensors::write(file, sources, {});
  }
  const Words net = {"--net",
                     "small-cnn",
                     "--width-divisor",
                     "4",
                     "--exits",
                     "3",
                     "--classes",
                     "2",
                     "--side",
                     "16",
                     "--mean",
                     "0.5,0.5,0.5",
                     "--std",
                     "0.25,0.25,0.25"};
  Words import = {"import", file, "--to", at("imported.safetensors")},
        audit = {"audit",
                 file,
                 "--data",
                 data(),
                 "--threshold",
                 "0.6",
                 "--budget",
                 "0.05",
                 "--out",
                 at("theirs")},
        other = {"audit",
                 at("imported.safetensors"),
                 "--data",
                 data(),
                 "--threshold",
                 "0.6",
                 "--budget",
                 "0.05",
                 "--out",
                 at("imported")};
  import.insert(import.end(), net.begin(), net.end());
  audit.insert(audit.end(), net.begin(), net.end());
  for (const Words& words : {import, audit, other}) {
    const Outcome done = run(words);
    ASSERT_EQ(done.code, 0) << done.err;
  }
  const auto model_of = [&](const char* out) {
    json data = json::parse(read_text(*shared_ / out / "results.json")).at("sections").at("model").at("data");
    for (const char* part : {"exits", "thresholds"})
      for (json& row : data.at(part)) row.erase("milliseconds");
    return data;
  };
  EXPECT_EQ(model_of("theirs"), model_of("imported"));
  EXPECT_EQ(model_of("theirs").at("net"), "small-cnn");
  EXPECT_GT(model_of("theirs").at("plain_macs"), 0);
}

TEST_F(AuditVerb, SaysWhatItCannotTake) {
  const auto refused = [&](const Words& words, const char* why, int code = 2) {
    const Outcome o = run(words);
    EXPECT_EQ(o.code, code) << o.text();
    EXPECT_NE(o.err.find(why), std::string::npos) << o.err;
  };
  refused({"audit", model(), "--max-queries", "9", "--out", at("x")}, "are about a served model");
  refused({"audit", "net.pth", "--out", at("x")}, "net.pth", 1);
  for (const Words& of_a_state_dict :
       {Words{"--mean", "0.5,0.5,0.5"}, {"--entry", "weights"}, {"--classes", "10"}})
    refused({"audit", model(), of_a_state_dict[0], of_a_state_dict[1], "--out", at("x")},
            "is a checkpoint, which says its net");
  const std::vector<float> value(3);
  const std::vector<safetensors::Source> foreign{
      {"conv.weight", safetensors::Dtype::kF32, {3}, std::as_bytes(std::span(value))}};
  safetensors::write(at("foreign.safetensors"), foreign, {});
  refused({"audit", at("foreign.safetensors"), "--out", at("x")},
          "its tensors are those of none of the nets known here: --net NET");
  refused({"audit", at("foreign.safetensors"), "--out", at("x")}, "resnet-<6n+2>");
  refused({"audit", model(), "--net", "resnet-8", "--out", at("x")}, "is a checkpoint, which says its net");
  refused({"audit", "--out", at("x")}, "expected one target");
  for (const Words& about_times :
       {Words{"--exit", "e"}, {"--time", "t"}, {"--attribute", "a"}, {"--unit-ns", "2"}}) {
    Words words{"audit", model(), "--out", at("x")};
    words.insert(words.end(), about_times.begin(), about_times.end());
    refused(words, "columns of a CSV file of times");
  }
  refused({"audit", model(), "--copy-net", "resnet-8", "--out", at("x")}, "is about a served model");
  refused({"audit", at("nowhere.csv"), "--threshold", ".5", "--out", at("x")}, "are about a model");
  refused({"audit", model(), "--from-csv", at("times"), "--out", at("x")}, "expected one target");
  refused({"audit", at("nowhere.csv"), "--out", at("x")}, "nowhere.csv", 1);
  refused({"audit", at("nowhere.csv"), "--threshold", "70", "--out", at("x")},
          "--threshold: 0 to 1 wanted, got 70");
  write_text(at("bad.csv"), "exit,nanoseconds\n1,100\n1,-3\n");
  refused({"audit", at("bad.csv"), "--out", at("x")}, "bad.csv", 1);
  EXPECT_FALSE(fs::exists(*shared_ / "x"));
}

}  // namespace
}  // namespace offramp
