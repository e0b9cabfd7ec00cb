// An audit as SARIF 2.1.0 (OASIS), what code scanners and dashboards read, and as a model card.
#include "attacks/query/remote.h"
#include "tools/frame/build_info.h"
#include "tools/verbs/audit/sections.h"

#include <fmt/format.h>

#include <cctype>

namespace offramp::tools::audit {
namespace {

using nlohmann::ordered_json;

ordered_json relationship(const char* taxonomy, const char* id) {
  return {{"target", {{"id", id}, {"toolComponent", {{"name", taxonomy}}}}}, {"kinds", {"relevant"}}};
}

ordered_json rule_json(const Rule& rule) {
  ordered_json relations = ordered_json::array();
  const char* ids[] = {rule.nist, rule.atlas, rule.aisvs};
  ordered_json tags = {"security", "timing", "early-exit"};
  for (std::size_t t = 0; t < taxonomies().size(); ++t) {
    if (*ids[t] == 0) continue;
    relations.push_back(relationship(taxonomies()[t].name, ids[t]));
    tags.push_back(std::string(taxonomies()[t].name) + "/" + ids[t]);
  }
  return {{"id", rule.id},
          {"name", rule.name},
          {"shortDescription", {{"text", rule.question}}},
          {"help", {{"text", rule.advice}}},
          {"relationships", relations},
          {"properties", {{"tags", tags}}}};
}

// A path as a URI reference: RFC 3986's unreserved characters and '/', the rest in per cent.
std::string uri_of(const std::string& path) {
  const std::string_view also = attacks::is_remote(path) ? "-._~/:[]" : "-._~/";  // a URL is one
  std::string out;
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = byte < 128 && (std::isalnum(byte) || also.find(c) != std::string_view::npos);
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", byte);
  }
  return out;
}

// Text in double quotes is YAML as well as JSON.
std::string quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

ordered_json sarif_of(const Head& head, const std::vector<Section>& sections) {
  ordered_json rule_list = ordered_json::array(), results = ordered_json::array(),
               taxa = ordered_json::array(), supported = ordered_json::array();
  for (const Rule& rule : rules()) rule_list.push_back(rule_json(rule));
  for (const Taxonomy& t : taxonomies()) {
    ordered_json terms = ordered_json::array();
    for (const Term& term : t.terms) terms.push_back({{"id", term.id}, {"name", term.name}});
    taxa.push_back({{"name", t.name}, {"version", t.version}, {"taxa", terms}});
    supported.push_back({{"name", t.name}});
  }
  for (const Section& s : sections) {
    for (const Finding& f : s.findings) {
      std::size_t index = 0;
      while (std::string_view(rules()[index].id) != f.rule) ++index;
      results.push_back(
          {{"ruleId", f.rule},
           {"ruleIndex", index},
           {"kind", to_text(f.kind)},
           {"level", f.level},
           {"message", {{"text", f.message}}},
           {"locations", {{{"physicalLocation", {{"artifactLocation", {{"uri", uri_of(head.target)}}}}}}}},
           {"properties", {{"section", s.name}}}});
    }
  }
  return {{"$schema", "https://json.schemastore.org/sarif-2.1.0.json"},
          {"version", "2.1.0"},
          {"runs",
           {{{"tool",
              {{"driver",
                {{"name", "offramp audit"},
                 {"version", std::string(build_info().version)},
                 {"rules", rule_list},
                 {"supportedTaxonomies", supported}}}}},
             {"taxonomies", taxa},
             {"invocations", {{{"executionSuccessful", true}}}},
             {"results", results},
             {"columnKind", "unicodeCodePoints"}}}}};
}

std::string card_of(const Head& head, const std::vector<Section>& sections) {
  const Section* model = nullptr;
  for (const Section& s : sections)
    if (s.name == "model" && s.skipped.empty()) model = &s;
  const bool owned = model && model->data.contains("net");  // not seen through its answers alone
  const bool has_policy = model && model->data.contains("policy");
  std::string text =
      "---\nlibrary_name: offramp\npipeline_tag: image-classification\ntags:\n- early-exit\n- security-audit\n";
  if (!head.data.empty()) text += "datasets:\n- " + quoted(head.settings.value("data", head.data)) + "\n";
  if (model) {
    const std::string name = model->data.value("net", head.target);
    text += fmt::format(
        "model-index:\n- name: {}\n  results:\n  - task:\n      type: image-classification\n    dataset:\n      name: {}\n      type: {}\n    metrics:\n",
        quoted(name),
        quoted(head.data),
        quoted(head.settings.value("data", head.data)));
    text += fmt::format("    - type: accuracy\n      name: {}\n      value: {:.6f}\n",
                        quoted(owned ? "accuracy of the last exit" : "accuracy as it is served"),
                        model->data.at("accuracy").get<double>());
    if (has_policy)
      text += fmt::format("    - type: accuracy\n      name: {}\n      value: {:.6f}\n",
                          quoted("accuracy with early exits"),
                          model->data.at("policy").at("accuracy").get<double>());
  }
  text += "---\n\n# " + head.target + "\n\n";
  if (owned) {
    text += fmt::format("A {} with {} exits for images; {} MACs without them.\n",
                        model->data.at("net").get<std::string>(),
                        model->data.at("num_exits").get<int>(),
                        model->data.at("plain_macs").get<std::int64_t>());
    if (has_policy)
      text +=
          fmt::format("With its thresholds it is right on {:.2f} % of {} and needs {:.1f} % of the work.\n",
                      100 * model->data.at("policy").at("accuracy").get<double>(),
                      head.data,
                      100 * model->data.at("policy").at("relative_macs").get<double>());
  }
  if (model && !owned)
    text += fmt::format("{}. It is right on {:.2f} % of {}; an answer takes {:.3f} ms in the median.\n",
                        model->data.at("served").get<std::string>(),
                        100 * model->data.at("accuracy").get<double>(),
                        head.data,
                        model->data.at("milliseconds").get<double>());
  text +=
      "\n## What an audit found\n\n| question | result | finding | NIST AI 100-2 | MITRE ATLAS | OWASP AISVS |\n|---|---|---|---|---|---|\n";
  for (const Section& s : sections) {
    for (const Finding& f : s.findings) {
      const Rule& rule = rule_of(f.rule);
      text += fmt::format("| {} | {} | {} | {} | {} | {} |\n",
                          rule.question,
                          f.kind == Kind::kFail ? "leak, " + f.level : std::string(to_text(f.kind)),
                          f.message,
                          rule.nist,
                          rule.atlas,
                          *rule.aisvs ? rule.aisvs : "-");
    }
  }
  text +=
      "\n'open' is no pass: nothing was shown, and nothing was shown to be absent.\n\n## Limits\n\nKnown attacks, for a bounded time, on the machine of `env.json`; times of another machine differ.\n";
  for (const Section& s : sections)
    if (!s.skipped.empty()) text += fmt::format("\n{}: not examined, {}.\n", s.title, s.skipped);
  return text;
}

}  // namespace offramp::tools::audit
