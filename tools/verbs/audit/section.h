// A part of an audit as it stands on disk: what was found, in the terms of auditors, with its tables and figures. Everything
// that is written at the end (text, page, SARIF, model card) is made of these alone, so that an audit that was interrupted
// goes on with the sections that it has.
#pragma once

#include "tools/report/html_report.h"

#include <nlohmann/json.hpp>

#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace offramp::tools::audit {

// The names of SARIF 2.1.0 (3.27.9): a finding, nothing found, not decided, not for this target.
enum class Kind { kFail, kPass, kOpen, kNotApplicable };
const char* to_text(Kind kind);

// What an audit looks for.
struct Rule {
  const char* id;        // "exit-timing"
  const char* name;      // of SARIF: "ExitTiming"
  const char* question;  // one sentence
  const char* advice;    // what helps
  const char* nist;      // attack id of NIST AI 100-2e2025; empty: none fits
  const char* atlas;     // technique of MITRE ATLAS
  const char* aisvs;     // control of OWASP AISVS
};
std::span<const Rule> rules();
const Rule& rule_of(const std::string& id);  // std::logic_error for another one
// The taxonomies that the ids are of: name, version, and what each id that is used is called.
struct Term {
  const char* id;
  const char* name;
};
struct Taxonomy {
  const char* name;
  const char* version;
  std::vector<Term> terms;
};
const std::vector<Taxonomy>& taxonomies();

struct Finding {
  std::string rule;
  Kind kind = Kind::kOpen;
  std::string level = "none";  // of kFail: error, warning or note; none of the others
  std::string message = {};    // a sentence with the numbers
};

struct Figure {
  std::string svg, caption;
};

struct Section {
  std::string name, title;
  std::string skipped = {};  // why nothing was done; empty: it was
  double seconds = 0;
  std::vector<std::string> paragraphs = {};
  std::vector<report::Table> tables = {};
  std::vector<Figure> figures = {};
  std::vector<Finding> findings = {};
  nlohmann::ordered_json data = nlohmann::ordered_json::object();
};
nlohmann::ordered_json to_json(const Section& section);
Section section_from(const nlohmann::json& json, const std::filesystem::path& path);  // FileError

// A section that cannot be done, with its findings marked so.
Section skipped(const std::string& name,
                const std::string& title,
                const std::string& rule,
                const std::string& why);

// How much of the audit's time is gone, over all of its runs.
class Budget {
 public:
  Budget(double seconds, double used_before);
  double used() const;
  double left() const { return total_ - used(); }
  double total() const { return total_; }

 private:
  double total_, before_, start_;
};

}  // namespace offramp::tools::audit
