#include "tools/report/text.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/tools/report/xml_check.h"
#include "tools/report/base64.h"

namespace offramp::report {
namespace {

const std::string kReplaced = "\xEF\xBF\xBD";

TEST(Escape, MarkupAndQuotes) {
  EXPECT_EQ(escape("<a href=\"x\">'&'</a>"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;&lt;/a&gt;");
}

TEST(Escape, ValidUtf8StaysAndTheRestIsReplaced) {
  EXPECT_EQ(escape("\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80"), "\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80");
  EXPECT_EQ(escape("\xC3("), kReplaced + "(");                // a lead byte without its tail
  EXPECT_EQ(escape("\xC0\xAF"), kReplaced + kReplaced);       // an overlong '/'
  EXPECT_EQ(escape("\xED\xA0\x80").substr(0, 3), kReplaced);  // a surrogate
  EXPECT_EQ(escape("\xF5\x80\x80\x80").substr(0, 3), kReplaced);
  EXPECT_EQ(escape(std::string("a\0b\x1b", 4)), "a" + kReplaced + "b" + kReplaced);
  EXPECT_EQ(escape("a\tb\n"), "a\tb\n");
  EXPECT_EQ(escape("\xE2\x82"), kReplaced + kReplaced);  // cut off at the end
}

TEST(Numbers, FixedNeverWritesMinusZero) {
  EXPECT_EQ(fixed(-.001, 2), "0.00");
  EXPECT_EQ(fixed(-.006, 2), "-0.01");
  EXPECT_EQ(fixed(1e6, 0), "1000000");
  EXPECT_EQ(fixed(NAN, 2), "n/a");
  EXPECT_EQ(fixed(-std::numeric_limits<double>::infinity(), 2), "-inf");
}

TEST(Numbers, PrettyIsForPeople) {
  EXPECT_EQ(pretty(0), "0");
  EXPECT_EQ(pretty(1234567), "1,234,567");
  EXPECT_EQ(pretty(-1234.5678), "-1,235");
  EXPECT_EQ(pretty(.123456), "0.1235");
  EXPECT_EQ(pretty(.5), "0.5");
  EXPECT_EQ(pretty(1.5e-7), "1.5e-7");
  EXPECT_EQ(pretty(2e12), "2e12");
  EXPECT_EQ(pretty(NAN), "n/a");
  EXPECT_EQ(with_commas(-1000), "-1,000");
  EXPECT_EQ(with_commas(999), "999");
  EXPECT_EQ(coordinate(3.10), "3.1");
  EXPECT_EQ(coordinate(-0.0001), "0");
}

TEST(Base64, VectorsOfRfc4648) {
  const auto of = [](const std::string& s) {
    return base64({reinterpret_cast<const std::uint8_t*>(s.data()), s.size()});
  };
  EXPECT_EQ(of(""), "");
  EXPECT_EQ(of("f"), "Zg==");
  EXPECT_EQ(of("fo"), "Zm8=");
  EXPECT_EQ(of("foo"), "Zm9v");
  EXPECT_EQ(of("foobar"), "Zm9vYmFy");
}

TEST(XmlCheck, FindsEachKindOfFault) {
  EXPECT_EQ(check_xml("<a b=\"1\">x &amp; y<c/></a>").error, "");
  EXPECT_EQ(check_xml("<a>x &amp; y</a>").text, "x & y");
  for (const char* bad : {"<a>",
                          "<a></b>",
                          "<a b=1></a>",
                          "<a b=\"1\" b=\"2\"/>",
                          "<a>&nbsp;</a>",
                          "<a>1 < 2</a>",
                          "<a b=\"<\"/>",
                          "<a>&</a>"})
    EXPECT_NE(check_xml(bad).error, "") << bad;
}

}  // namespace
}  // namespace offramp::report
