// The results of an audit: text, JSON and one HTML page.
#include "tools/frame/table.h"
#include "tools/verbs/audit/sections.h"

#include <fmt/format.h>

#include <algorithm>

namespace offramp::tools::audit {
namespace {

const char* const kSaid[] = {"LEAK", "none found", "open", "not examined"};

std::string said(const Finding& f) {
  std::string text = kSaid[static_cast<int>(f.kind)];
  return f.kind == Kind::kFail ? text + " (" + f.level + ")" : text;
}

std::string terms_text(const Rule& rule) {
  std::string text = fmt::format("NIST AI 100-2 {}, MITRE ATLAS {}", rule.nist, rule.atlas);
  if (*rule.aisvs != 0) text += fmt::format(", OWASP AISVS {}", rule.aisvs);
  return text;
}

std::string table_text(const report::Table& table) {
  std::vector<std::string> header;
  for (const auto& column : table.columns) header.push_back(column.name);
  Table out(header);
  for (const auto& row : table.rows) out.row(row);
  return table.caption + "\n" + out.text();
}

}  // namespace

std::string text_of(const Head& head, const std::vector<Section>& sections) {
  std::string text =
      fmt::format("Audit of {} ({}){}\n", head.target, head.kind, head.data.empty() ? "" : ", " + head.data);
  Table findings({"rule", "result", "finding"});
  for (const Section& s : sections)
    for (const Finding& f : s.findings) findings.row({f.rule, said(f), f.message});
  text += "\n" + findings.text();
  for (const Section& s : sections) {
    text += fmt::format("\n== {} ({:.1f} s)\n", s.title, s.seconds);
    if (!s.skipped.empty()) text += "not examined: " + s.skipped + "\n";
    for (const auto& p : s.paragraphs) text += p + "\n";
    for (const auto& t : s.tables) text += table_text(t);
  }
  return text;
}

nlohmann::ordered_json json_of(const Head& head, const std::vector<Section>& sections) {
  nlohmann::ordered_json json{{"target", head.target},
                              {"kind", head.kind},
                              {"data", head.data},
                              {"settings", head.settings},
                              {"findings", nlohmann::ordered_json::array()},
                              {"sections", nlohmann::ordered_json::object()}};
  for (const Section& s : sections) {
    for (const Finding& f : s.findings) {
      const Rule& rule = rule_of(f.rule);
      json["findings"].push_back({{"rule", f.rule},
                                  {"kind", to_text(f.kind)},
                                  {"level", f.level},
                                  {"message", f.message},
                                  {"nist_ai_100_2", rule.nist},
                                  {"mitre_atlas", rule.atlas},
                                  {"owasp_aisvs", rule.aisvs}});
    }
    json["sections"][s.name] = {
        {"title", s.title}, {"seconds", s.seconds}, {"skipped", s.skipped}, {"data", s.data}};
  }
  return json;
}

std::string html_of(const Head& head,
                    const std::vector<Section>& sections,
                    const std::string& config,
                    const std::string& environment) {
  report::HtmlReport page("Audit of " + head.target,
                          head.data.empty() ? head.kind : head.kind + ", " + head.data);
  page.section("Findings");
  report::Table table{.columns = {{"question", report::Align::kLeft},
                                  {"result", report::Align::kLeft},
                                  {"finding", report::Align::kLeft},
                                  {"terms", report::Align::kLeft}}};
  for (const Section& s : sections) {
    for (const Finding& f : s.findings) {
      const Rule& rule = rule_of(f.rule);
      if (f.kind == Kind::kFail) table.strong_rows.push_back(table.rows.size());
      table.rows.push_back({rule.question, said(f), f.message, terms_text(rule)});
    }
  }
  page.table(table);
  std::vector<std::string> advice;
  for (const Section& s : sections)
    for (const Finding& f : s.findings)
      if (f.kind == Kind::kFail &&
          std::find(advice.begin(), advice.end(), rule_of(f.rule).advice) == advice.end())
        advice.push_back(rule_of(f.rule).advice);
  if (!advice.empty()) {
    page.subsection("What helps");
    page.bullets(advice);
  }
  page.paragraph(
      "'open' is no pass: nothing was shown, and nothing was shown to be absent. An audit tries known attacks for a bounded time; what it does not find may be there.");
  for (const Section& s : sections) {
    page.section(s.title);
    if (!s.skipped.empty()) page.note(report::Note::kWarning, "Not examined: " + s.skipped + ".");
    for (const Finding& f : s.findings)
      if (f.kind != Kind::kNotApplicable)
        page.note(f.kind == Kind::kFail   ? report::Note::kWarning
                  : f.kind == Kind::kPass ? report::Note::kGood
                                          : report::Note::kInfo,
                  f.message);
    for (const auto& p : s.paragraphs) page.paragraph(p);
    for (const auto& t : s.tables) page.table(t);
    for (const auto& f : s.figures) page.figure(f.svg, f.caption);
  }
  page.section("How this was made");
  page.folded("Configuration", config);
  page.folded("Environment", environment);
  return page.html();
}

}  // namespace offramp::tools::audit
