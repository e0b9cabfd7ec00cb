#include "tools/report/html_report.h"

#include <gtest/gtest.h>

#include "tests/tools/report/example_report.h"
#include "tests/tools/report/xml_check.h"
#include "tools/report/text.h"

namespace offramp::report {
namespace {

bool page_has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(HtmlReport, TheExampleIsWellFormedAndComplete) {
  const std::string html = example_report();
  const XmlFacts facts = check_xml(html);
  EXPECT_EQ(facts.error, "");
  EXPECT_EQ(facts.count("h1"), 1);
  EXPECT_EQ(facts.count("h2"), 6);
  EXPECT_EQ(facts.count("svg"), 9);
  EXPECT_EQ(facts.count("table"), 1);
  EXPECT_EQ(facts.count("script"), 0);
  EXPECT_EQ(facts.count("image"), 12);
  for (const char* part :
       {"escaping of <tags>", "88.6 %", "Exit confusion", "config.toml", "net = \"resnet56\"", "no data"})
    EXPECT_TRUE(page_has(facts.text, part)) << part;
  EXPECT_EQ(example_report(), html);
}

TEST(HtmlReport, NothingIsFetchedFromANetwork) {
  const std::string html = example_report();
  EXPECT_FALSE(page_has(html, "http://"));
  EXPECT_FALSE(page_has(html, "https://"));
  EXPECT_FALSE(page_has(html, "url(//"));
  EXPECT_FALSE(page_has(html, "@import"));
  EXPECT_TRUE(page_has(html, "default-src 'none'"));
}

TEST(HtmlReport, EveryTextIsEscaped) {
  const std::string evil = "<script>alert('&\"')</script>";
  HtmlReport report(evil, evil);
  report.section(evil);
  report.section(evil);
  report.subsection(evil);
  report.paragraph(evil);
  report.bullets({evil});
  report.facts({{evil, evil, evil}});
  report.note(Note::kInfo, evil);
  report.table({.columns = {{evil}}, .rows = {{evil}}, .caption = evil});
  report.figure("", evil);
  report.folded(evil, evil);
  const XmlFacts facts = check_xml(report.html());
  EXPECT_EQ(facts.error, "");
  EXPECT_EQ(facts.count("script"), 0);
  std::size_t seen = 0;
  for (std::size_t at = facts.text.find(evil); at != std::string::npos; at = facts.text.find(evil, at + 1))
    ++seen;
  // title, h1, lead; twice in the contents; 2 h2, h3, p, li, 3 in the fact, note, th, td, caption,
  // figcaption, 2 folded
  EXPECT_EQ(seen, 20u);
}

TEST(HtmlReport, TablesAlignAndRefuseRaggedRows) {
  HtmlReport report("t", "");
  report.table(
      {.columns = {{"name", Align::kLeft}, {"n"}}, .rows = {{"a", "1"}, {"b", "2"}}, .strong_rows = {1}});
  report.table({.columns = {{"x"}, {"y"}}});
  const std::string html = report.html();
  EXPECT_TRUE(page_has(html, "<td class=\"a-l\">a</td><td class=\"a-r\">1</td>"));
  EXPECT_TRUE(page_has(html, "<tr class=\"strong\"><td class=\"a-l\">b</td>"));
  EXPECT_TRUE(page_has(html, "colspan=\"2\">no rows"));
  try {
    report.table({.columns = {{"x"}, {"y"}}, .rows = {{"1"}}});
    FAIL() << "a ragged row was taken";
  } catch (const ReportError& error) {
    EXPECT_STREQ(error.what(), "table: expected 2 cells, row 1 has 1");
  }
}

}  // namespace
}  // namespace offramp::report
