#include "tools/report/html_report.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "tools/report/text.h"
#include "tools/report/theme.h"

namespace offramp::report {
namespace {

constexpr std::string_view kPageCss = R"css(*{box-sizing:border-box}
html{background:var(--ground);color:var(--text);-webkit-text-size-adjust:100%}
body{font:16px/1.6 "Inter","Segoe UI",system-ui,-apple-system,"Helvetica Neue","Liberation Sans",Arial,sans-serif;
max-width:60rem;margin:0 auto;padding:3rem 1.5rem 5rem}
h1{font-size:2.1rem;line-height:1.2;letter-spacing:-.02em;margin:0 0 .4rem;font-weight:700}
.lead{color:var(--muted);font-size:1.1rem;margin:0 0 1.4rem}
h2{font-size:1.4rem;letter-spacing:-.01em;margin:3.2rem 0 .8rem;padding-top:1.2rem;border-top:1px solid var(--grid)}
h3{font-size:1.08rem;margin:2rem 0 .5rem}p{margin:.7rem 0;max-width:44rem}ul{margin:.7rem 0;padding-left:1.3rem;max-width:44rem}
nav{display:flex;flex-wrap:wrap;gap:.35rem .9rem;font-size:.92rem;margin:0 0 1rem}
nav a{color:var(--accent);text-decoration:none}nav a:hover{text-decoration:underline}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.8rem;margin:1.4rem 0}
.fact{background:var(--panel);border:1px solid var(--grid);border-radius:10px;padding:.9rem 1.1rem}
.fact .k{color:var(--muted);font-size:.85rem}.fact .v{font-size:1.65rem;font-weight:650;letter-spacing:-.02em;line-height:1.3;
font-variant-numeric:tabular-nums}.fact .n{color:var(--muted);font-size:.82rem;line-height:1.4}
.scroll{overflow-x:auto;margin:1.2rem 0}table{border-collapse:collapse;font-size:.93rem;font-variant-numeric:tabular-nums;min-width:60%}
caption{text-align:left;color:var(--muted);font-size:.9rem;padding:0 0 .5rem}
th{font-weight:600;color:var(--muted);border-bottom:1.5px solid var(--axis);padding:.35rem .55rem;vertical-align:bottom;line-height:1.3}
td{padding:.38rem .55rem;border-bottom:1px solid var(--grid)}tr.strong td{font-weight:650}
th:first-child,td:first-child{padding-left:.2rem}.a-l{text-align:left}.a-r{text-align:right}td.a-r{white-space:nowrap}.a-c{text-align:center}
figure{margin:1.6rem 0}.card{border:1px solid var(--grid);border-radius:12px;padding:.5rem .6rem}
figure .row{display:flex;flex-wrap:wrap;gap:1rem;align-items:flex-start}figure .row .card{flex:1 1 20rem;min-width:0}
figcaption{color:var(--muted);font-size:.9rem;max-width:44rem;margin-top:.5rem}
.note{border-left:4px solid var(--accent);background:var(--panel);padding:.7rem 1.1rem;border-radius:0 8px 8px 0;margin:1.2rem 0;max-width:46rem}
.note.good{border-color:var(--good)}.note.warning{border-color:var(--warn)}
details{margin:1rem 0;border:1px solid var(--grid);border-radius:8px;background:var(--panel)}
summary{cursor:pointer;padding:.6rem 1rem;font-weight:600}
pre{margin:0;padding:.2rem 1rem 1rem;overflow-x:auto;font:13px/1.5 ui-monospace,"SFMono-Regular",Menlo,Consolas,"Liberation Mono",monospace}
svg.chart{display:block}
@media print{body{max-width:none;padding:0}nav{display:none}h2{break-after:avoid}figure,table,.facts{break-inside:avoid}}
)css";

std::string_view align_class(Align align) {
  constexpr std::array<std::string_view, 3> kNames = {"a-l", "a-r", "a-c"};
  return kNames[static_cast<std::size_t>(align)];
}

std::string element(std::string_view name, std::string_view text) {
  return std::string("<")
      .append(name)
      .append(">")
      .append(escape(text))
      .append("</")
      .append(name)
      .append(">\n");
}

void cell(std::string& out, std::string_view name, Align align, std::string_view text) {
  out.append("<").append(name).append(" class=\"").append(align_class(align)).append("\">");
  out.append(escape(text)).append("</").append(name).append(">");
}

}  // namespace

HtmlReport::HtmlReport(std::string title, std::string subtitle)
    : title_(std::move(title)), subtitle_(std::move(subtitle)) {}

void HtmlReport::section(const std::string& title) {
  headings_.push_back({"s" + std::to_string(headings_.size() + 1), title});
  body_.append("<h2 id=\"").append(headings_.back().id).append("\">").append(escape(title)).append("</h2>\n");
}

void HtmlReport::subsection(const std::string& title) { body_ += element("h3", title); }
void HtmlReport::paragraph(const std::string& text) { body_ += element("p", text); }

void HtmlReport::bullets(const std::vector<std::string>& items) {
  body_ += "<ul>\n";
  for (const auto& item : items) body_ += element("li", item);
  body_ += "</ul>\n";
}

void HtmlReport::facts(const std::vector<Fact>& facts) {
  body_ += "<div class=\"facts\">\n";
  for (const Fact& fact : facts) {
    body_.append("<div class=\"fact\"><div class=\"k\">")
        .append(escape(fact.label))
        .append("</div><div class=\"v\">");
    body_.append(escape(fact.value)).append("</div>");
    if (!fact.note.empty()) body_.append("<div class=\"n\">").append(escape(fact.note)).append("</div>");
    body_ += "</div>\n";
  }
  body_ += "</div>\n";
}

void HtmlReport::note(Note kind, const std::string& text) {
  constexpr std::array<std::string_view, 3> kClass = {"note", "note good", "note warning"};
  body_.append("<div class=\"").append(kClass[static_cast<std::size_t>(kind)]).append("\">");
  body_.append(escape(text)).append("</div>\n");
}

void HtmlReport::table(const Table& table) {
  std::string out = "<div class=\"scroll\"><table>\n";
  if (!table.caption.empty()) out += element("caption", table.caption);
  out += "<thead><tr>";
  for (const Column& column : table.columns) cell(out, "th", column.align, column.name);
  out += "</tr></thead>\n<tbody>\n";
  for (std::size_t r = 0; r < table.rows.size(); ++r) {
    const auto& row = table.rows[r];
    if (row.size() != table.columns.size())
      throw ReportError("table: expected " + std::to_string(table.columns.size()) + " cells, row " +
                        std::to_string(r + 1) + " has " + std::to_string(row.size()));
    out +=
        std::ranges::find(table.strong_rows, r) != table.strong_rows.end() ? "<tr class=\"strong\">" : "<tr>";
    for (std::size_t c = 0; c < row.size(); ++c) cell(out, "td", table.columns[c].align, row[c]);
    out += "</tr>\n";
  }
  if (table.rows.empty())
    out.append("<tr><td class=\"a-c\" colspan=\"")
        .append(std::to_string(std::max<std::size_t>(table.columns.size(), 1)))
        .append("\">no rows</td></tr>\n");
  body_ += out.append("</tbody></table></div>\n");
}

void HtmlReport::figure(const std::string& inline_svg, const std::string& caption) {
  figures({inline_svg}, caption);
}

void HtmlReport::figures(const std::vector<std::string>& inline_svgs, const std::string& caption) {
  body_ += inline_svgs.size() > 1 ? "<figure><div class=\"row\">\n" : "<figure><div>\n";
  for (const auto& svg : inline_svgs) body_.append("<div class=\"card\">\n").append(svg).append("</div>\n");
  body_ += "</div>";
  if (!caption.empty()) body_ += element("figcaption", caption);
  body_ += "</figure>\n";
}

void HtmlReport::folded(const std::string& title, const std::string& text) {
  body_.append("<details><summary>").append(escape(title)).append("</summary><pre>").append(escape(text));
  body_ += "</pre></details>\n";
}

std::string HtmlReport::html() const {
  std::string out = "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\n";
  out += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n";
  // Nothing may be fetched and no script may run, whatever a text in the report contains.
  out +=
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src "
      "'unsafe-inline'\"/>\n";
  out += element("title", title_);
  out.append("<style>")
      .append(colour_css())
      .append(chart_css())
      .append(kPageCss)
      .append("</style></head>\n<body>\n");
  out += element("h1", title_);
  if (!subtitle_.empty()) out.append("<p class=\"lead\">").append(escape(subtitle_)).append("</p>\n");
  if (headings_.size() > 1) {
    out += "<nav>";
    for (const Heading& h : headings_)
      out.append("<a href=\"#").append(h.id).append("\">").append(escape(h.title)).append("</a>\n");
    out += "</nav>\n";
  }
  return out.append(body_).append("</body></html>\n");
}

}  // namespace offramp::report
