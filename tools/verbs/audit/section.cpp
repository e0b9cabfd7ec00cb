#include "tools/verbs/audit/section.h"

#include "base/json_file.h"

#include <chrono>
#include <stdexcept>

namespace offramp::tools::audit {
namespace {

constexpr Rule kRules[] = {
    {"exit-timing",
     "ExitTiming",
     "Does the running time of an answer tell at which exit it left?",
     "Pad answers in time (offramp defend plan), or answer all of them at one time.",
     "NISTAML.03",
     "AML.T0024",
     ""},
    {"attribute-timing",
     "AttributeTiming",
     "Do exit and running time tell an attribute of the input, such as its class?",
     "Pad against the attribute (offramp defend plan shows both leaks).",
     "NISTAML.03",
     "AML.T0024",
     ""},
    {"membership",
     "MembershipInference",
     "Do answers tell whether a record was trained on?",
     "Train shorter or with more data; give labels instead of scores.",
     "NISTAML.033",
     "AML.T0024.000",
     "11.3.3"},
    {"extraction",
     "ModelExtraction",
     "How faithful a copy do queries buy?",
     "Limit queries per user; give labels instead of scores; pad answers in time.",
     "NISTAML.031",
     "AML.T0024.002",
     "11.5.1"},
    {"slowdown",
     "EnergyLatency",
     "Do small changes of an input keep it from leaving early?",
     "Bound the work per user; watch how many inputs run to the end.",
     "NISTAML.014",
     "AML.T0029",
     "11.2.1"},
    {"defence",
     "TimingDefence",
     "Does padding close the channel, and what does it cost?",
     "Deploy the plan that offramp defend plan --choose writes, measured on the machine that serves.",
     "NISTAML.03",
     "AML.T0024",
     ""}};

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Kind kind_from(const std::string& text, const std::filesystem::path& path) {
  for (const Kind kind : {Kind::kFail, Kind::kPass, Kind::kOpen, Kind::kNotApplicable})
    if (text == to_text(kind)) return kind;
  throw FileError(path.string(), "expected a kind of finding, got " + in_quotes(text));
}

}  // namespace

const char* to_text(Kind kind) {
  switch (kind) {
    case Kind::kFail:
      return "fail";
    case Kind::kPass:
      return "pass";
    case Kind::kOpen:
      return "open";
    case Kind::kNotApplicable:
      return "notApplicable";
  }
  return "";
}

std::span<const Rule> rules() { return kRules; }

const Rule& rule_of(const std::string& id) {
  for (const Rule& rule : kRules)
    if (id == rule.id) return rule;
  throw std::logic_error("audit: no rule " + id);
}

const std::vector<Taxonomy>& taxonomies() {
  static const std::vector<Taxonomy> kTaxonomies = {
      {"NIST AI 100-2",
       "e2025",
       {{"NISTAML.014", "Energy-latency"},
        {"NISTAML.03", "Privacy compromise"},
        {"NISTAML.031", "Model extraction"},
        {"NISTAML.033", "Membership inference"}}},
      {"MITRE ATLAS",
       "2026-05",
       {{"AML.T0024", "Exfiltration via AI Inference API"},
        {"AML.T0024.000", "Infer Training Data Membership"},
        {"AML.T0024.002", "Extract AI Model"},
        {"AML.T0029", "Denial of AI Service"}}},
      {"OWASP AISVS",
       "1.0",
       {{"11.2.1", "Adversarial-example hardening: evaluation against known attacks"},
        {"11.3.3", "Membership-inference mitigation: attack simulations"},
        {"11.5.1", "Model-extraction defence: rate limits sized to the threat"}}}};
  return kTaxonomies;
}

nlohmann::ordered_json to_json(const Section& s) {
  nlohmann::ordered_json json{{"name", s.name},
                              {"title", s.title},
                              {"skipped", s.skipped},
                              {"seconds", s.seconds},
                              {"findings", nlohmann::ordered_json::array()},
                              {"paragraphs", s.paragraphs},
                              {"tables", nlohmann::ordered_json::array()},
                              {"data", s.data},
                              {"figures", nlohmann::ordered_json::array()}};
  for (const Finding& f : s.findings)
    json["findings"].push_back(
        {{"rule", f.rule}, {"kind", to_text(f.kind)}, {"level", f.level}, {"message", f.message}});
  for (const report::Table& t : s.tables) {
    std::vector<std::string> columns;
    std::vector<bool> left;
    for (const auto& column : t.columns) {
      columns.push_back(column.name);
      left.push_back(column.align == report::Align::kLeft);
    }
    json["tables"].push_back({{"caption", t.caption},
                              {"columns", columns},
                              {"left", left},
                              {"strong_rows", t.strong_rows},
                              {"rows", t.rows}});
  }
  for (const Figure& f : s.figures) json["figures"].push_back({{"caption", f.caption}, {"svg", f.svg}});
  return json;
}

Section section_from(const nlohmann::json& json, const std::filesystem::path& path) {
  Section s;
  s.name = json_member<std::string>(json, "name", path);
  s.title = json_member<std::string>(json, "title", path);
  s.skipped = json_member<std::string>(json, "skipped", path);
  s.seconds = json_member<double>(json, "seconds", path);
  s.paragraphs = json_member<std::vector<std::string>>(json, "paragraphs", path);
  try {
    for (const auto& f : json.at("findings")) {
      s.findings.push_back({f.at("rule").get<std::string>(),
                            kind_from(f.at("kind").get<std::string>(), path),
                            f.at("level").get<std::string>(),
                            f.at("message").get<std::string>()});
    }
    for (const auto& t : json.at("tables")) {
      report::Table table;
      const auto left = t.at("left").get<std::vector<bool>>();
      const auto names = t.at("columns").get<std::vector<std::string>>();
      for (std::size_t c = 0; c < names.size(); ++c)
        table.columns.push_back({names[c], left.at(c) ? report::Align::kLeft : report::Align::kRight});
      table.strong_rows = t.at("strong_rows").get<std::vector<std::size_t>>();
      table.rows = t.at("rows").get<std::vector<std::vector<std::string>>>();
      table.caption = t.at("caption").get<std::string>();
      s.tables.push_back(std::move(table));
    }
    for (const auto& f : json.at("figures"))
      s.figures.push_back({f.at("svg").get<std::string>(), f.at("caption").get<std::string>()});
    s.data = nlohmann::ordered_json(json.at("data"));
  } catch (const std::exception& error) {
    if (dynamic_cast<const FileError*>(&error) != nullptr) throw;
    throw FileError(path.string(), "expected a section of an audit; remove the file to do it again");
  }
  return s;
}

Section skipped(const std::string& name,
                const std::string& title,
                const std::string& rule,
                const std::string& why) {
  Section s{.name = name, .title = title, .skipped = why};
  if (!rule.empty())
    s.findings.push_back({.rule = rule, .kind = Kind::kNotApplicable, .message = "not examined: " + why});
  return s;
}

Budget::Budget(double seconds, double used_before)
    : total_(seconds), before_(used_before), start_(seconds_now()) {}
double Budget::used() const { return before_ + seconds_now() - start_; }

}  // namespace offramp::tools::audit
