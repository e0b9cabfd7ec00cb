#include "tools/frame/log.h"

#include <gtest/gtest.h>

#include <sstream>
#include <vector>

namespace offramp::tools {
namespace {

// A log whose output and clock the test holds.
struct Recorder {
  std::string text;
  double now = 100;
  Log log;
  Recorder(LogFormat format, bool terminal, int columns = 80)
      : log({format, terminal, columns, [this](std::string_view t) { text += t; }, [this] { return now; }}) {}

  std::vector<std::string> lines() const {
    std::vector<std::string> out;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) out.push_back(line);
    return out;
  }
};

TEST(Log, TextLinesCarryTheirLevel) {
  Recorder r(LogFormat::kText, false);
  r.log.info("opened", {{"n", 3}});
  r.log.warn("slow");
  r.log.error("gone");
  EXPECT_EQ(r.text, "opened\nwarning: slow\nerror: gone\n");
}

TEST(Log, WhatAMessageQuotesCannotDriveTheTerminal) {
  Recorder r(LogFormat::kText, false);
  r.log.error("a.csv: found '\x1b[2J'\n  help\twas \x9b here");
  EXPECT_EQ(r.text, "error: a.csv: found '\\x1b[2J'\n  help\twas \\x9b here\n");
}

TEST(Log, JsonIsOneObjectALine) {
  Recorder r(LogFormat::kJson, false);
  r.log.info("two\nlines", {{"n", 3}});
  r.log.error("bad byte \xff");
  ASSERT_EQ(r.lines().size(), 2u);
  const auto first = nlohmann::json::parse(r.lines()[0]);
  EXPECT_EQ(first["event"], "info");
  EXPECT_EQ(first["message"], "two\nlines");
  EXPECT_EQ(first["n"], 3);
  EXPECT_EQ(nlohmann::json::parse(r.lines()[1])["event"], "error");
}

TEST(Progress, ElsewhereThanOnATerminalAPlainLineEveryFiveSeconds) {
  Recorder r(LogFormat::kText, false);
  {
    Progress progress(r.log, "train", 100, "img");
    for (int i = 1; i <= 100; ++i) {
      r.now += 0.125;  // 12.5 s in all, shown rounded
      progress.update(static_cast<std::uint64_t>(i), {{"loss", 0.5}});
    }
  }
  EXPECT_EQ(r.lines(),
            (std::vector<std::string>{"train   40%  40/100 img  8 img/s  ETA 7.5 s  loss 0.5",
                                      "train   80%  80/100 img  8 img/s  ETA 2.5 s  loss 0.5",
                                      "train  100%  100/100 img  8 img/s  in 00:13  loss 0.5"}));
  EXPECT_EQ(r.text.find('\r'), std::string::npos);
}

TEST(Progress, OnATerminalTheLineIsRewrittenAndFitsTheWidth) {
  Recorder r(LogFormat::kText, true, 40);
  {
    Progress progress(r.log, "train", 4, "img");
    r.now += 1;
    progress.update(1);
    EXPECT_EQ(r.text, "\r\x1b[Ktrain  [=====               ]  25%  1/4");
    r.text.clear();
    r.log.info("saved");  // the line makes room and comes back
    EXPECT_EQ(r.text, "\r\x1b[Ksaved\ntrain  [=====               ]  25%  1/4");
    r.now += 0.01;
    r.text.clear();
    progress.update(2);
    EXPECT_EQ(r.text, "") << "drawn at most ten times a second";
  }
  EXPECT_TRUE(r.text.starts_with("\r\x1b[Ktrain   50%  2/4 img"));
  EXPECT_TRUE(r.text.ends_with("\n"));
}

TEST(Progress, JsonHasRateAndRemainingTime) {
  Recorder r(LogFormat::kJson, false);
  {
    Progress progress(r.log, "query", 10, "queries");
    r.now += 5;
    progress.update(5);
  }
  ASSERT_EQ(r.lines().size(), 2u);
  const auto event = nlohmann::json::parse(r.lines()[0]);
  EXPECT_EQ(event["event"], "progress");
  EXPECT_EQ(event["done"], 5);
  EXPECT_EQ(event["rate"], 1.0);
  EXPECT_EQ(event["eta_s"], 5.0);
  EXPECT_EQ(nlohmann::json::parse(r.lines()[1])["event"], "progress_end");
}

TEST(Progress, WhatAnEarlierRunDidIsNoPartOfTheRate) {
  Recorder r(LogFormat::kJson, false);
  {
    Progress progress(r.log, "train", 100, "img", 60);
    r.now += 5;
    progress.update(80);
  }
  ASSERT_EQ(r.lines().size(), 2u);
  const auto event = nlohmann::json::parse(r.lines()[0]);
  EXPECT_EQ(event["done"], 80);
  EXPECT_EQ(event["rate"], 4.0);
  EXPECT_EQ(event["eta_s"], 5.0);
}

TEST(Progress, AnUnknownTotalHasNoPercentAndNoEta) {
  Recorder r(LogFormat::kText, false);
  {
    Progress progress(r.log, "search", 0, "nodes");
    r.now += 10;
    progress.update(12345);
  }
  EXPECT_EQ(r.lines()[0], "search  12345 nodes  1234 nodes/s");
}

TEST(Progress, DurationsReadLikeAClock) {
  EXPECT_EQ(format_duration(0.04), "0.0 s");
  EXPECT_EQ(format_duration(9.94), "9.9 s");
  EXPECT_EQ(format_duration(205), "03:25");
  EXPECT_EQ(format_duration(3599.6), "1:00:00");
  EXPECT_EQ(format_duration(3727), "1:02:07");
  EXPECT_EQ(format_duration(-1), "?");
}

}  // namespace
}  // namespace offramp::tools
