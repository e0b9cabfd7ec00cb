// The verbs on CSV files, as the real binary in a subprocess.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/noise_models.h"
#include "tests/support/program.h"
#include "tests/support/temp_folder.h"
#include "tests/support/threshold_data.h"

namespace offramp {
namespace {

using nlohmann::json;
using test::Outcome;
using test::read_text;
using test::TempFolder;

Outcome offramp_program(const std::string& arguments) { return test::run_offramp_line(arguments); }

std::string write(const TempFolder& folder, const std::string& name, const std::string& text) {
  std::ofstream(folder / name, std::ios::binary) << text;
  return (folder / name).string();
}

// A file that a browser shows by itself: namespace and style sheet inside, not the fragment of a report's
// page.
void expect_svg_file(const std::string& path, const std::string& holds) {
  const std::string text = read_text(path);
  EXPECT_EQ(text.rfind("<?xml", 0), 0u) << path;
  EXPECT_NE(text.find("xmlns=\"http://www.w3.org/2000/svg\""), std::string::npos) << path;
  EXPECT_NE(text.find("<style"), std::string::npos) << path;
  EXPECT_NE(text.find(holds), std::string::npos) << path;
}

// specs/extraction.md 4.3
const char* const kExample =
    "exit,c1,c2,c3\n1,.99,.92,.96\n2,.80,.97,.99\n1,.95,.60,.90\n2,.70,.98,.99\n"
    "3,.55,.65,.97\n3,.90,.93,.95\n1,.85,.50,.88\n2,.97,.85,.70\n";

TEST(ExtractSearchVerb, WorkedExampleToStandardOutputAndToAFile) {
  const TempFolder folder;
  const std::string csv = write(folder, "c.csv", kExample);
  const Outcome printed = offramp_program("extract search --confidences " + csv);
  ASSERT_EQ(printed.code, 0) << printed.err;
  const json a = json::parse(printed.out);
  EXPECT_EQ(a["value"], 6);
  EXPECT_EQ(a["upper_bound"], 6);
  EXPECT_EQ(a["optimal"], true);
  EXPECT_EQ(a["objective"], "joint");
  ASSERT_EQ(a["thresholds"].size(), 2u);
  EXPECT_GE(a["seconds"], 0);
  const std::string out = (folder / "s.json").string();
  ASSERT_EQ(
      offramp_program("extract search --confidences " + csv + " --objective separable --json " + out).code,
      0);
  const json b = json::parse(read_text(out));
  EXPECT_EQ(b["objective"], "separable");
  EXPECT_EQ(b["value"], 10);
  EXPECT_EQ(b["joint_value"], 6);
  const std::string svg = (folder / "s.svg").string();
  ASSERT_EQ(offramp_program("extract search --confidences " + csv + " --plot " + svg).code, 0);
  expect_svg_file(svg, "Joint objective: 6 of 8 samples");
}

TEST(ExtractSearchVerb, WeightsCountAndATimeLimitIsReported) {
  const TempFolder folder;
  std::string weighted = "exit,c1,c2,weight\n1,.9,.1,0\n2,.8,.1,1\n1,.7,.1,0\n";
  const Outcome zero = offramp_program("extract search --confidences " + write(folder, "w.csv", weighted));
  ASSERT_EQ(zero.code, 0) << zero.err;
  EXPECT_EQ(json::parse(zero.out)["value"], 1);
  std::ostringstream hard;
  hard << "exit,c1,c2,c3,c4,c5,c6\n";
  const test::ThresholdData d = test::draw_network(4000, 6, 1, 3);
  for (std::size_t i = 0; i < d.exits.size(); ++i) {
    hard << d.exits[i];
    for (std::size_t k = 0; k < 6; ++k) hard << ',' << d.confidences[6 * i + k];
    hard << '\n';
  }
  const Outcome limited = offramp_program("extract search --time-limit 0.001 --confidences " +
                                          write(folder, "h.csv", hard.str()));
  ASSERT_EQ(limited.code, 0) << limited.err;
  const json j = json::parse(limited.out);
  EXPECT_EQ(j["optimal"], false);
  EXPECT_EQ(j["time_limit_reached"], true);
  EXPECT_GT(j["upper_bound"], j["value"]);
}

TEST(ExtractSearchVerb, BadFilesAreNamedWithLineAndColumn) {
  const TempFolder folder;
  const auto fails = [&](const std::string& text, const std::string& message) {
    const Outcome o = offramp_program("extract search --confidences " + write(folder, "bad.csv", text));
    EXPECT_EQ(o.code, 1) << text;
    EXPECT_NE(o.err.find(message), std::string::npos) << o.err;
    EXPECT_EQ(o.out, "");
  };
  fails("", "expected a header line, the file is empty");
  fails("exit,c1,c2\n", "expected at least one row below the header");
  fails("exit,c1,c2\n1,.5\n", "bad.csv: line 2: expected 3 fields as in the header, found 2");
  fails("exit,c1,c2\n1,.5,x\n", "bad.csv: line 2: expected a number in column 'c2', found 'x'");
  fails("exit,c1,c2\n1,nan,.3\n", "bad.csv: row 1: expected a confidence from 0 to 1 as c1, found nan");
  fails("exit,c1,c2\n1,.5,.3\n1,.5,1.5\n",
        "bad.csv: row 2: expected a confidence from 0 to 1 as c2, found 1.5");
  fails("exit,c1,c2,weight\n1,.5,.3,0\n2,.5,.3,0\n", "bad.csv: expected a weight above 0 in some row");
  fails("exit,c1,c2\n3,.5,.3\n", "line 2: expected an exit from 1 to 2 in column 'exit', found '3'");
  fails("exit,c1\n1,.5\n", "at least two exits");
  fails("c1,c2\n.5,.5\n", "expected a column 'exit', found 'c1', 'c2'");
  fails("exit,c1,c1\n1,.5,.5\n", "column 'c1' occurs twice");
  fails("exit,c1,c2,weight\n1,.5,.5,-1\n", "weights must be finite and not negative, got -1 at sample 0");
  EXPECT_EQ(offramp_program("extract search --confidences /nowhere.csv").code, 1);
  EXPECT_EQ(offramp_program("extract search").code, 2);
  const Outcome unknown = offramp_program("extract search --confidences x --objective best");
  EXPECT_EQ(unknown.code, 2);
  EXPECT_NE(unknown.err.find("--objective: one of joint, separable wanted, got 'best'"), std::string::npos)
      << unknown.err;
}

// Files of tables as other programs write them, and options as earlier versions of this one called them.
TEST(StatsVerbs, EarlierSpellingsAreTakenAndOutIsAFolderOnly) {
  const TempFolder folder;
  const std::string csv = write(folder, "c.csv", kExample);
  const auto value = [&](const std::string& more) {
    const Outcome o = offramp_program("extract search --confidences " + csv + more);
    EXPECT_EQ(o.code, 0) << o.err;
    return json::parse(o.out)["samples"];
  };
  EXPECT_EQ(value(" --first 4"), 4);
  EXPECT_EQ(value(" --search-first 4"), 4);
  EXPECT_EQ(value(" --set search.search_first=4"), 4);
  EXPECT_EQ(value(" --config " + write(folder, "old.toml", "[search]\nsearch_first = 4\ntime_limit = 0\n")),
            4);
  const std::string times = write(folder, "t.csv", "t0,t1,host\n10,11,a\n10,12,b\n90,91,c\n90,92,\"d, e\"\n");
  const Outcome known = offramp_program("extract estimate --times " + times + " --known-exits 2");
  ASSERT_EQ(known.code, 0) << known.err;
  EXPECT_EQ(json::parse(known.out)["exits"], 2);
  EXPECT_EQ(json::parse(known.out)["repetitions"], 2) << "t0 counts";
  for (const std::string& verb : std::vector<std::string>{"extract search --confidences " + csv,
                                                          "extract estimate --times " + times,
                                                          "stats queries --sigma 5 --gap 3"}) {
    const Outcome o = offramp_program(verb + " --out " + (folder / "x.json").string());
    EXPECT_EQ(o.code, 2) << verb;
    EXPECT_NE(o.err.find("--json FILE"), std::string::npos) << o.err;
    EXPECT_FALSE(std::filesystem::exists(folder / "x.json"));
    const std::string file = (folder / "answer.json").string();
    const Outcome to_file = offramp_program(verb + " --json " + file);
    EXPECT_EQ(to_file.code, 0) << to_file.err;
    EXPECT_NE(to_file.out.find(file), std::string::npos) << "a line that names it, not the JSON again";
    EXPECT_TRUE(json::parse(read_text(file)).is_object());
    std::filesystem::remove(file);
  }
}

std::string times_csv(const test::Times& t, std::size_t repetitions, bool single_column) {
  std::ostringstream csv;
  csv.precision(17);
  csv << (single_column ? "nanoseconds" : "index");
  for (std::size_t r = 0; !single_column && r < repetitions; ++r) csv << ",t" << r + 1;
  csv << '\n';
  for (std::size_t i = 0; i < t.true_exit.size(); ++i) {
    if (!single_column) csv << i << ',';
    for (std::size_t r = 0; r < repetitions; ++r) csv << (r ? "," : "") << t.ns[i * repetitions + r];
    csv << '\n';
  }
  return csv.str();
}

TEST(ExtractEstimateVerb, RepetitionsGiveExitsAssignmentAndPlot) {
  const TempFolder folder;
  const test::Times t = test::draw_times({}, 600, 10, 5);
  const std::string csv = write(folder, "times.csv", times_csv(t, 10, false));
  const std::string out = (folder / "estimate.json").string(), svg = (folder / "plot.svg").string();
  // A folder stands for the times.csv in it.
  const Outcome o = offramp_program("extract estimate --times " + folder.path().string() + " --json " + out +
                                    " --plot " + svg);
  ASSERT_EQ(o.code, 0) << o.err;
  const json j = json::parse(read_text(out));
  EXPECT_EQ(j["exits"], 4);
  EXPECT_EQ(j["thresholds_ns"].size(), 3u);
  EXPECT_EQ(j["counts"].size(), 4u);
  EXPECT_GT(j["sigma_ns"], 0);
  EXPECT_NE(std::string(j["advice"]).find("sigma apart"), std::string::npos);
  std::istringstream rows(read_text(folder / "assignment.csv"));
  std::string line;
  ASSERT_TRUE(std::getline(rows, line));
  EXPECT_EQ(line, "index,exit,confidence");
  std::size_t i = 0, same = 0;
  for (; std::getline(rows, line); ++i) {
    std::size_t index = 0, exit = 0;
    double confidence = -1;
    ASSERT_EQ(std::sscanf(line.c_str(), "%zu,%zu,%lf", &index, &exit, &confidence), 3) << line;
    EXPECT_EQ(index, i);
    EXPECT_TRUE(confidence >= 0 && confidence <= 1);
    same += exit == t.true_exit[i] ? 1 : 0;
  }
  EXPECT_EQ(i, 600u);
  EXPECT_GE(same, 599u);
  expect_svg_file(svg, "exit 4 (");
}

TEST(ExtractEstimateVerb, OneColumnAndStandardOutput) {
  const TempFolder folder;
  const test::Times t = test::draw_times({}, 500, 1, 6);
  const std::string csv = write(folder, "foreign.csv", times_csv(t, 1, true));
  for (const char* method : {"kde", "changepoints"}) {
    const Outcome o = offramp_program("extract estimate --times " + csv + " --method " + method);
    ASSERT_EQ(o.code, 0) << o.err;
    const json j = json::parse(o.out);
    EXPECT_EQ(j["exits"], 4) << method;
    EXPECT_EQ(j["repetitions"], 1);
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "assignment.csv"));
  const Outcome known = offramp_program("extract estimate --exits 2 --times " + csv);
  EXPECT_EQ(json::parse(known.out)["exits"], 2);
}

TEST(ExtractEstimateVerb, FewSamplesAndTooManyExitsAreSaidInTheAnswer) {
  const TempFolder folder;
  for (const char* times : {"7\n", "7\n900\n", "7\n900\n2000\n"}) {
    const Outcome o = offramp_program("extract estimate --times " +
                                      write(folder, "few.csv", std::string("nanoseconds\n") + times));
    ASSERT_EQ(o.code, 0) << o.err;
    const json j = json::parse(o.out);
    double sum = 0;
    for (const json& p : j["posterior"]) sum += p.is_null() ? NAN : p.get<double>();
    EXPECT_NEAR(sum, 1, 1e-9) << o.out;
    EXPECT_EQ(j["sigma_from"], std::string(times) == "7\n" ? "none" : "spread within clusters");
  }
  const Outcome known = offramp_program("extract estimate --exits 2 --times " +
                                        write(folder, "four.csv", "nanoseconds\n10\n10\n90\n90\n"));
  const json j = json::parse(known.out);
  EXPECT_EQ(j["exits"], 2);
  EXPECT_EQ(j["method"], "kde");
  EXPECT_FALSE(j.contains("posterior"));
}

TEST(ExtractEstimateVerb, BadFilesAreNamed) {
  const TempFolder folder;
  const auto fails = [&](const std::string& text, const std::string& message, const std::string& more = "") {
    const Outcome o = offramp_program("extract estimate --times " + write(folder, "bad.csv", text) + more);
    EXPECT_EQ(o.code, 1) << text;
    EXPECT_NE(o.err.find(message), std::string::npos) << o.err;
  };
  fails("", "the file is empty");
  fails("ms\n1\n", "expected a column 'nanoseconds', or 't1', 't2', ..");
  fails("nanoseconds\n1\n-2\n", "times must not be negative, got -2 ns at index 1");
  fails("nanoseconds\n1\ninf\n", "times must be finite, got inf at index 1");
  fails("nanoseconds\n1\n1e16\n", "times must not exceed 1e+15 ns (eleven days), got 1e+16 at index 1");
  fails("t1,t3\n1,2\n", "bad.csv: expected a column 't2' before 't3', found none");
  const std::string good = write(folder, "good.csv", "nanoseconds\n1\n2\n");
  for (const auto& [option, message] :
       {std::pair("--exits 3", "known_exits must lie in 1..2 (the samples), got 3"),
        std::pair("--sigma-ns -1", "sigma_ns must be positive and finite, got -1")}) {
    const Outcome o = offramp_program("extract estimate --times " + good + " " + option);
    EXPECT_EQ(o.code, 2) << "wrong use, not a bad file: " << option;
    EXPECT_NE(o.err.find(message), std::string::npos) << o.err;
  }
}

TEST(StatsVerbs, AnswerInJson) {
  const TempFolder folder;
  const std::string scores = write(folder, "s.csv", "score,member\n3,1\n4,1\n1,0\n3,0\n");
  const json roc = json::parse(offramp_program("stats roc --scores " + scores + " --resamples 50").out);
  EXPECT_EQ(roc["auc"]["estimate"], 0.875);
  for (const json& at : roc["tpr_at_fpr"]) EXPECT_TRUE(at.contains("refused")) << at;
  const Outcome half = offramp_program("stats roc --scores " + scores + " --resamples 50 --fpr 0,0.5");
  EXPECT_EQ(json::parse(half.out)["tpr_at_fpr"][0]["estimate"], 0.5);
  EXPECT_EQ(json::parse(half.out)["tpr_at_fpr"][1]["estimate"], 1);
  const std::string pairs = write(folder, "p.csv", "a,b\n1,2\n2,3\n3,5\n");
  const json compare = json::parse(offramp_program("stats compare --pairs " + pairs).out);
  EXPECT_EQ(compare["sign"]["p_value"], 0.25);
  EXPECT_EQ(compare["wilcoxon"]["statistic"], 0);
  const std::string losses = write(folder, "l.csv", "loss,member\n0,1\n0,1\n2,0\n2,0\n");
  EXPECT_EQ(json::parse(offramp_program("stats divergence --losses " + losses).out)["js_bits_100_bins"], 1);
  const std::string curve = (folder / "roc.svg").string(), bars = (folder / "losses.svg").string();
  ASSERT_EQ(offramp_program("stats roc --scores " + scores + " --resamples 50 --plot " + curve).code, 0);
  expect_svg_file(curve, "ROC, AUC 0.8750");
  ASSERT_EQ(offramp_program("stats divergence --losses " + losses + " --plot " + bars).code, 0);
  expect_svg_file(bars, "JS divergence 1.0000 bit");
  const json queries = json::parse(offramp_program("stats queries --sigma 5 --gap 3").out);
  EXPECT_EQ(queries["to_distinguish_means"], 22);
  EXPECT_EQ(queries["to_cluster_samples"], 100);
  EXPECT_EQ(offramp_program("stats queries --sigma 5 --gap 0").code, 2);
}

TEST(StatsVerbs, BadGroupsAreNamedWithFileAndRow) {
  const TempFolder folder;
  const auto fails = [&](const std::string& text, const std::string& message) {
    const Outcome o = offramp_program("stats roc --scores " + write(folder, "b.csv", text));
    EXPECT_EQ(o.code, 1) << text;
    EXPECT_NE(o.err.find((folder / "b.csv").string() + ": " + message), std::string::npos) << o.err;
  };
  fails("score,member\n3,2\n", "row 1: expected member 0 or 1, found 2");
  fails("score,member\n3,1\n4,1\n",
        "expected rows of members (member 1) and of non-members (member 0), found 2 and 0");
  fails("score,member\n3,0\n",
        "expected rows of members (member 1) and of non-members (member 0), found 0 and 1");
  fails("score,member\n3,0\nnan,1\n", "row 2: expected a number as score, found nan");
}

// One score of each kind: every resample is the sample, and no interval says anything.
TEST(StatsVerbs, ASampleThatResolvesNothingIsNotCalledCertain) {
  const TempFolder folder;
  const Outcome o =
      offramp_program("stats roc --scores " + write(folder, "s.csv", "score,member\n2,1\n1,0\n"));
  ASSERT_EQ(o.code, 0) << o.err;
  const json at = json::parse(o.out)["tpr_at_fpr"][0];
  EXPECT_EQ(at["refused"], "a false positive rate of 0.001 needs at least 1000 non-members, got 1");
  EXPECT_FALSE(at.contains("estimate"));
  EXPECT_NE(o.err.find("1 members and 1 non-members: below 30 of each"), std::string::npos) << o.err;
  std::string many = "score,member\n";
  for (int i = 0; i < 60; ++i) many += std::to_string(i % 7) + (i % 2 == 0 ? ",0\n" : ",1\n");
  const std::string scores = write(folder, "m.csv", many);
  EXPECT_EQ(offramp_program("stats roc --resamples 20 --fpr 0.5 --scores " + scores).err, "");
  const std::string few = offramp_program("stats roc --resamples 20 --fpr 0.1 --scores " + scores).err;
  EXPECT_NE(few.find("at 0.1 false positives the 30 non-members give 3"), std::string::npos) << few;
  EXPECT_NE(few.find("100 non-members would do"), std::string::npos) << few;
}

TEST(StatsVerbs, NumbersThatAreNoneAreNamedWithFileAndRow) {
  const TempFolder folder;
  const std::string path = (folder / "b.csv").string();
  const auto fails = [&](const std::string& verb, const std::string& text, const std::string& message) {
    write(folder, "b.csv", text);
    const Outcome o = offramp_program("stats " + verb + " " + path);
    EXPECT_EQ(o.code, 1) << text;
    EXPECT_NE(o.err.find(path + ": " + message), std::string::npos) << o.err;
  };
  fails("compare", "a,b\n1,2\n3,nan\n", "row 2: expected a finite number as b, found nan");
  fails("compare", "a,b\ninf,2\n3,4\n", "row 1: expected a finite number as a, found inf");
  fails(
      "compare", "a,b\n1,2\n1,1e308\n", "row 2: expected a number of size 1e+150 at most as b, found 1e+308");
  fails("compare", "a,b\n1,2\n", "expected at least two rows, a pair of measurements each, found 1");
  fails("divergence", "loss,member\n1,1\ninf,0\n", "row 2: expected a finite number as loss, found inf");
  fails("divergence", "loss,member\n-1,1\n1,0\n", "row 1: expected a loss of at least 0, found -1");
}

TEST(StatsVerbs, BytesOfAFileCannotDriveTheTerminal) {
  const TempFolder folder;
  using namespace std::string_literals;
  const std::string path = write(folder, "b.csv", "score,member,\x1b[2J\n\x1b]0;x\x07\0y,1,0\n"s);
  const Outcome o = offramp_program("stats roc --scores " + path);
  EXPECT_EQ(o.code, 1);
  EXPECT_NE(o.err.find("found '\\x1b]0;x\\x07\\x00y'"), std::string::npos) << o.err;
  const Outcome name = offramp_program("stats roc --scores " + (folder / "no\x1b[2J.csv").string());
  EXPECT_EQ((o.err + name.err).find('\x1b'), std::string::npos);
}

// The exit is the attribute in three of four rows; the time is the exit's.
TEST(StatsLeakageVerb, SaysWhatExitsAndTimesTell) {
  const TempFolder folder;
  std::string text = "exit,age,seconds\n";
  for (int i = 0; i < 400; ++i) {
    const bool young = i % 2 == 0;
    const int exit = (i / 2) % 4 == 0 ? (young ? 2 : 1) : (young ? 1 : 2);
    text += std::to_string(exit) + (young ? ",0-19," : ",more than 50,") +
            std::to_string(exit == 1 ? .0101 + 1e-6 * (i % 7) : .0202 + 1e-6 * (i % 7)) + "\n";
  }
  const std::string csv = write(folder, "t.csv", text);
  const Outcome outcome = offramp_program("stats leakage " + csv +
                                          " --attribute age --exit exit --time seconds --unit-ns 1e9 "
                                          "--permutations 200 --resamples 200 --threads 1");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const json a = json::parse(outcome.out);
  EXPECT_EQ(a["values"], (json{"0-19", "more than 50"}));
  const double truth = 1 + .75 * std::log2(.75) + .25 * std::log2(.25);
  EXPECT_NEAR(a["from_exit"]["uncorrected_bits"], truth, 1e-9);
  EXPECT_LE(a["from_exit"]["information_bits"]["low"], truth);
  EXPECT_NEAR(a["from_exit"]["accuracy"]["estimate"], .75, 1e-12);
  EXPECT_NEAR(a["from_exit"]["gain"]["estimate"], 1.5, 1e-12);
  EXPECT_EQ(a["from_time"]["exits_found"], 2);
  EXPECT_EQ(a["from_time"]["accuracy"], a["from_exit"]["accuracy"]);
  EXPECT_LT(a["from_time"]["p_value"], .01);

  EXPECT_EQ(offramp_program("stats leakage " + csv + " --attribute age").code, 2);
  EXPECT_NE(offramp_program("stats leakage " + csv + " --attribute sex --exit exit")
                .err.find("expected a column 'sex'"),
            std::string::npos);
}

TEST(StatsLeakageVerb, NoMoreBitsThanTheAttributeHolds) {
  const TempFolder folder;
  std::string text = "exit,kind\n";
  for (int i = 0; i < 20; ++i) text += std::to_string(i % 2) + (i % 2 == 0 ? ",even\n" : ",odd\n");
  const Outcome o = offramp_program("stats leakage " + write(folder, "t.csv", text) +
                                    " --attribute kind --exit exit --permutations 99 --resamples 99");
  ASSERT_EQ(o.code, 0) << o.err;
  const json a = json::parse(o.out)["from_exit"];
  EXPECT_EQ(a["attribute_bits"], 1);
  EXPECT_LE(a["information_bits"]["high"], 1);
  EXPECT_LT(a["information_bits"]["low"], a["information_bits"]["estimate"]);
}

TEST(StatsTimingVerb, WhatWasNotMeasuredIsNoNumber) {
  const TempFolder folder;
  std::string constant = "kind,nanoseconds\n";
  for (int i = 0; i < 200; ++i) constant += i % 3 == 0 ? "a,50000\n" : "b,50000\n";
  const std::string out = (folder / "v.json").string();
  for (const std::string& text : {std::string("kind,nanoseconds\na,100\nb,4000\n"), constant}) {
    const Outcome o =
        offramp_program("stats timing " + write(folder, "t.csv", text) + " --class kind --json " + out);
    ASSERT_EQ(o.code, 0) << o.err;
    EXPECT_EQ(o.out.rfind("could not be measured: ", 0), 0u) << o.out;
    EXPECT_EQ(o.out.find("differences at deciles"), std::string::npos) << o.out;
    EXPECT_EQ(o.out.find("b - a, ns"), std::string::npos) << o.out;
    const json v = json::parse(read_text(out));
    EXPECT_TRUE(v["effect_ns"]["estimate"].is_null()) << v;
    EXPECT_TRUE(v["p_value"].is_null()) << v;
    for (const json& d : v["deciles"]) EXPECT_TRUE(d["difference_ns"].is_null() && d["low"].is_null()) << d;
  }
}

TEST(StatsTimingVerb, VerdictsPlansAndMessages) {
  const TempFolder folder;
  std::mt19937_64 rng(3);
  std::normal_distribution<double> normal(50, .2);  // microseconds
  std::ostringstream rows;
  rows << "kind,us\n";
  for (int i = 0; i < 2000; ++i) {
    const bool b = (rng() & 1) != 0;
    rows << (b ? "long," : "short,") << normal(rng) + (b ? 1 : 0) << '\n';
  }
  const std::string csv = write(folder, "t.csv", rows.str());
  const std::string base = "stats timing " + csv + " --class kind --time us --unit-ns 1000";
  const Outcome lan = offramp_program(base + " --a short --json " + (folder / "v.json").string());
  ASSERT_EQ(lan.code, 0) << lan.err;
  const json v = json::parse(read_text((folder / "v.json").string()));
  EXPECT_EQ(v["verdict"], "leaks");
  EXPECT_EQ(v["attacker"], "lan");
  EXPECT_EQ(v["b"], "long");
  EXPECT_LE(v["effect_ns"]["low"], 1000);
  EXPECT_GE(v["effect_ns"]["high"], 1000);
  EXPECT_EQ(v["deciles"].size(), 9u);
  EXPECT_EQ(v["rtlf"]["leaks"], true);
  EXPECT_EQ(lan.out.rfind("leaks: decile", 0), 0u) << lan.out;
  const std::string svg = (folder / "v.svg").string();
  const Outcome far = offramp_program(base + " --attacker internet --plot " + svg);
  EXPECT_EQ(far.out.rfind("smaller:", 0), 0u) << far.out;
  expect_svg_file(svg, "decile");
  const Outcome plan = offramp_program(base + " --plan 150");
  EXPECT_NE(plan.out.find("measurements of each class find a difference of 150 ns"), std::string::npos)
      << plan.text();
  const Outcome never = offramp_program(base + " --plan 50");
  EXPECT_NE(never.out.find("no number of measurements"), std::string::npos) << never.text();
  EXPECT_EQ(offramp_program("stats timing " + csv + " --time us").code, 2);
  const Outcome unknown = offramp_program(base + " --a wide");
  EXPECT_EQ(unknown.code, 2);
  EXPECT_NE(unknown.err.find("there are 'long', 'short'"), std::string::npos) << unknown.err;
  EXPECT_EQ(offramp_program(base + " --alpha 0.001 --resamples 99").code, 2);
}

}  // namespace
}  // namespace offramp
