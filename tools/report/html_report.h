#pragma once
// A report as one HTML file: no script, no network, light and dark, printable. Every text given is escaped;
// charts come from render() of the chart headers.
#include <string>
#include <vector>

namespace offramp::report {

enum class Align { kLeft, kRight, kCenter };

struct Column {
  std::string name;
  Align align = Align::kRight;
};

struct Table {
  std::vector<Column> columns = {};
  std::vector<std::vector<std::string>> rows = {};
  std::string caption = {};
  std::vector<std::size_t> strong_rows = {};  // set in bold: the rows that the reader came for
};

struct Fact {
  std::string label, value, note = {};
};

enum class Note { kInfo, kGood, kWarning };

class HtmlReport {
 public:
  HtmlReport(std::string title, std::string subtitle);

  void section(const std::string& title);  // a heading, also in the contents at the top
  void subsection(const std::string& title);
  void paragraph(const std::string& text);  // line feeds become spaces
  void bullets(const std::vector<std::string>& items);
  void facts(const std::vector<Fact>& facts);  // large numbers side by side
  void note(Note kind, const std::string& text);
  // Throws ReportError when a row has not one cell per column. No rows: "no rows" in the body.
  void table(const Table& table);
  void figure(const std::string& inline_svg, const std::string& caption);
  void figures(const std::vector<std::string>& inline_svgs, const std::string& caption);  // side by side
  // Preformatted text, folded away until asked for: configuration, environment.
  void folded(const std::string& title, const std::string& text);

  std::string html() const;

 private:
  struct Heading {
    std::string id, title;
  };
  std::string title_, subtitle_, body_;
  std::vector<Heading> headings_;
};

}  // namespace offramp::report
