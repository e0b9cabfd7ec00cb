// offramp membership report: what an audit of membership found, for people.
#include "attacks/membership/evaluation.h"
#include "base/atomic_file.h"
#include "base/json_file.h"
#include "nets/data/text.h"
#include "tools/report/figures.h"
#include "tools/report/html_report.h"
#include "tools/verbs/verbs.h"

#include <fmt/format.h>

#include <algorithm>

namespace offramp::tools {
namespace {

using Json = nlohmann::json;
using report::HtmlReport;

double estimate_of(const Json& interval) { return interval.at("estimate").get<double>(); }
std::string percent(const Json& interval) {
  return fmt::format("{:.2f} [{:.2f}, {:.2f}]",
                     100 * estimate_of(interval),
                     100 * interval.at("low").get<double>(),
                     100 * interval.at("high").get<double>());
}
bool failed(const Json& attack) { return attack.contains("failed"); }
std::string name_of_attack(const Json& attack) {
  return fmt::format(
      "{}, {}", attack.at("attack").get<std::string>(), attack.at("adversary").get<std::string>());
}

bool asked(const Json& attack, double rate) {
  for (const Json& p : attack.at("at_fpr"))
    if (p.at("wanted_fpr").get<double>() == rate) return true;
  return false;
}

// The rate of members found at a wanted false positive rate; nothing where it was refused or not asked.
const Json* point_at(const Json& attack, double rate) {
  for (const Json& p : attack.at("at_fpr"))
    if (p.at("wanted_fpr").get<double>() == rate && !p.contains("refused")) return &p;
  return nullptr;
}

// The attacks of a net by members found at 1 %, then by AUC; those that failed left out.
std::vector<Json> ranked(const Json& net) {
  std::vector<Json> out;
  for (const Json& a : net.at("attacks"))
    if (!failed(a)) out.push_back(a);
  const auto key = [](const Json& a) {
    const Json* p = point_at(a, .01);
    return std::pair(p ? estimate_of(p->at("tpr")) : -1, estimate_of(a.at("auc")));
  };
  std::ranges::stable_sort(out, [&](const Json& a, const Json& b) { return key(a) > key(b); });
  return out;
}

std::string figure_of(const Json& net, const std::vector<Json>& attacks) {
  std::vector<report::RocCurve> curves;
  for (const Json& a : attacks) {
    if (curves.size() == 6) break;
    curves.push_back({fmt::format("{} (AUC {:.3f})", name_of_attack(a), estimate_of(a.at("auc"))),
                      a.at("roc").at("fpr").get<std::vector<double>>(),
                      a.at("roc").at("tpr").get<std::vector<double>>()});
  }
  return report::roc("ROC of " + net.at("net").get<std::string>(),
                     "the six attacks that find most members at 1 % false alarms",
                     curves);
}

void add_attacks(HtmlReport& html, const std::vector<Json>& attacks) {
  report::Table table{
      .columns = {{"attack", report::Align::kLeft},
                  {"exits", report::Align::kLeft},
                  {"accuracy %"},
                  {"AUC"},
                  {"found at 1 %"},
                  {"at 0.1 %"},
                  {"at 0"},
                  {"p beside original"}},
      .caption =
          "Accuracy is balanced; intervals are 95 %. Found: share of the members in per cent, and in "
          "brackets the false alarms that were realised."};
  for (const Json& a : attacks) {
    const auto at = [&](double rate) -> std::string {
      const Json* p = point_at(a, rate);
      return p == nullptr
                 ? std::string(asked(a, rate) ? "refused" : "-")
                 : fmt::format(
                       "{:.2f} ({})", 100 * estimate_of(p->at("tpr")), p->at("false_alarms").get<int>());
    };
    table.rows.push_back({a.at("attack").get<std::string>(),
                          a.at("adversary").get<std::string>(),
                          percent(a.at("accuracy")),
                          fmt::format("{:.4f}", estimate_of(a.at("auc"))),
                          at(.01),
                          at(.001),
                          at(0),
                          a.contains("beside_original")
                              ? fmt::format("{:.2g}", a.at("beside_original").at("p_value").get<double>())
                              : "-"});
  }
  table.strong_rows = {0};
  html.table(table);
}

std::string number(const Json& of, const char* name, const char* format) {
  const auto at = of.find(name);  // results of earlier versions have no chance
  return at == of.end() || at->is_null() ? "-" : fmt::format(fmt::runtime(format), at->get<double>());
}

void add_exits(HtmlReport& html, const Json& net) {
  report::Table table{
      .columns =
          {{"exit"}, {"members"}, {"others"}, {"others %"}, {"JS of losses, bit"}, {"by chance"}, {"p"}},
      .caption =
          "Who leaves where, and how far the losses of both sides are apart there; by chance: how "
          "far as many losses of one kind are, p by dealing them out anew 200 times."};
  for (const Json& e : net.at("target").at("exits")) {
    const double m = e.at("members").get<double>(), o = e.at("non_members").get<double>();
    table.rows.push_back({std::to_string(e.at("exit").get<int>()),
                          fmt::format("{:.0f}", m),
                          fmt::format("{:.0f}", o),
                          m + o > 0 ? fmt::format("{:.1f}", 100 * o / (m + o)) : "-",
                          number(e, "js_bits", "{:.4f}"),
                          number(e, "js_bits_by_chance", "{:.4f}"),
                          number(e, "js_p_value", "{:.3f}")});
  }
  html.table(table);
}

// The attack whose members above every non-member chance explains least. It is the luckiest of all that were tried, and
// each of them had its chance: their number times its own.
void add_named(HtmlReport& html, const std::vector<Json>& attacks) {
  const auto chance_of = [](const Json& a) {
    return attacks::membership::members_first_by_chance(a.at("identified").at("count").get<std::size_t>(),
                                                        a.at("members").get<std::size_t>(),
                                                        a.at("non_members").get<std::size_t>());
  };
  const auto least = std::ranges::min_element(attacks, {}, chance_of);
  const int count = least->at("identified").at("count").get<int>();
  const double chance = std::min(1., static_cast<double>(attacks.size()) * chance_of(*least));
  if (count == 0) {
    html.paragraph("No attack names a member: each of them gives some non-member its highest score.");
    return;
  }
  const std::string what = fmt::format("{} {} that {} puts above every non-member",
                                       count,
                                       count == 1 ? "member" : "members",
                                       name_of_attack(*least));
  if (chance >= .05) {
    html.paragraph(fmt::format(
        "No attack names a member: there {} {}, but scores that know nothing do as well in {:.0f} of 100 such "
        "comparisons ({} attacks).",
        count == 1 ? "is" : "are",
        what,
        100 * chance,
        attacks.size()));
    return;
  }
  std::string rows;
  for (const Json& row : least->at("identified").at("rows")) rows += (rows.empty() ? "" : ", ") + row.dump();
  html.folded(fmt::format("{} (by chance, of {} attacks: p {:.2g}): their rows in the data set, from 0",
                          what,
                          attacks.size(),
                          chance),
              rows);
}

class MembershipReportVerb final : public Verb {
 public:
  VerbInfo info() const override {
    return {
        .name = "membership report",
        .group = "Attack",
        .summary = "write what an audit of membership found as one HTML page",
        .example = "offramp membership report out/membership-attack --html out/membership.html",
        .details =
            "Per net: every attack with its intervals, ROC on logarithmic axes, who leaves at which exit, and the rows of\n"
            "members above every non-member, where chance does not explain them. A control that failed comes first."};
  }
  void declare(Options& o) override {
    o.add("report.attack", attack_, "folder of membership attack").positional().required();
    o.add("report.html", html_, "file to write; default: report.html in that folder")
        .not_in_config()
        .written();
  }
  int run(Session& session) override {
    const auto path = attack_ / "results.json";
    if (!std::filesystem::exists(path))
      throw UsageError(attack_.string() +
                       ": expected a finished run of membership attack, found no results.json");
    const Json results = read_json_file(path);
    const auto to = html_.empty() ? attack_ / "report.html" : html_;
    try {
      const std::string text = verdict(results);
      write_file_atomically(to, page(results, text));
      session.answer(text + "report: " + to.string() + "\n", summary(results, to));
    } catch (const Json::exception&) {
      throw FileError(path.string(),
                      "expected the results of membership attack, found something else" + made_by(attack_));
    }
    return kDone;
  }

 private:
  // Whose results they are, where the folder says so.
  static std::string made_by(const std::filesystem::path& folder) {
    if (!std::filesystem::exists(folder / "config.toml")) return "";
    const auto settings = run_settings(folder);
    const auto verb = settings.find("verb");
    return verb == settings.end() ? "" : "; the folder is of the verb " + verb->second;
  }

  static std::string line_of(const Json& net, const Json& attack) {
    const Json* p = point_at(attack, .01);
    return fmt::format("{}: {}{}, accuracy {} %, AUC {:.4f}",
                       net.at("net").get<std::string>(),
                       name_of_attack(attack),
                       !asked(attack, .01) ? std::string(" (1 % false alarms were not asked for)")
                       : p == nullptr
                           ? std::string(" finds too few non-members to say at 1 % false alarms")
                           : " finds " + percent(p->at("tpr")) + " % of the members at 1 % false alarms",
                       percent(attack.at("accuracy")),
                       estimate_of(attack.at("auc")));
  }

  static std::string verdict(const Json& results) {
    std::string text;
    if (!results.at("controls_passed").get<bool>())
      text += "CONTROL FAILED: members against members are told apart, so the figures below mean nothing\n";
    for (const Json& net : results.at("nets")) {
      const auto attacks = ranked(net);
      if (!attacks.empty()) text += line_of(net, attacks.front()) + "\n";
    }
    return text;
  }

  static nlohmann::ordered_json summary(const Json& results, const std::filesystem::path& to) {
    nlohmann::ordered_json out{{"report", to.string()},
                               {"controls_passed", results.at("controls_passed")},
                               {"nets", nlohmann::ordered_json::array()}};
    for (const Json& net : results.at("nets")) {
      const auto attacks = ranked(net);
      if (attacks.empty()) continue;
      const Json& best = attacks.front();
      const Json* p = point_at(best, .01);
      out["nets"].push_back({{"net", net.at("net")},
                             {"strongest", name_of_attack(best)},
                             {"accuracy", best.at("accuracy")},
                             {"auc", best.at("auc")},
                             {"tpr_at_1_percent", p == nullptr ? Json(nullptr) : p->at("tpr")}});
    }
    return out;
  }

  std::string page(const Json& results, const std::string& text) const {
    const Json& plan = results.at("plan");
    HtmlReport html("Membership leakage of " + plan.at("net").get<std::string>(),
                    fmt::format("{}, {} epochs, seed {}",
                                results.at("data").get<std::string>(),
                                plan.at("epochs").get<int>(),
                                plan.at("seed").get<std::uint64_t>()));
    html.section("Verdict");
    if (!results.at("controls_passed").get<bool>())
      html.note(
          report::Note::kWarning,
          "The control failed: members against members are told apart. Do not trust the figures below.");
    std::vector<std::string> lines;
    for (const auto line : data::split_lines(text)) lines.emplace_back(line);
    html.bullets(lines);
    html.paragraph(
        "The strongest attack of each net is the one that finds most members at 1 % false alarms. Accuracy near "
        "50 % does not mean that nobody is at risk: read it beside the members found at few false alarms.");
    for (const Json& net : results.at("nets")) add_net(html, net);
    html.section("Provenance");
    for (const char* name : {"config.toml", "env.json"})
      if (std::filesystem::exists(attack_ / name)) html.folded(name, data::read_text(attack_ / name));
    html.folded("plan of the nets", plan.dump(2));
    return html.html();
  }

  static void add_net(HtmlReport& html, const Json& net) {
    html.section(net.at("net").get<std::string>());
    const Json& target = net.at("target");
    html.facts(
        {{"accuracy on members", fmt::format("{:.2f} %", 100 * target.at("accuracy_members").get<double>())},
         {"on others", fmt::format("{:.2f} %", 100 * target.at("accuracy_others").get<double>())},
         {"JS of losses",
          fmt::format("{:.3f} bit", target.at("js_bits").get<double>()),
          number(target, "js_bits_by_chance", "{:.3f}") + " by chance"},
         {"cost of a query",
          fmt::format("{:.2f}", net.at("relative_macs").get<double>()),
          "of the plain net"}});
    if (net.contains("exit_times"))
      html.paragraph(fmt::format("Exits from running times: right on {:.2f} % of the queries.",
                                 100 * net.at("exit_times").at("accuracy").get<double>()));
    const auto attacks = ranked(net);
    if (attacks.empty()) return;
    html.figure(figure_of(net, attacks), "Members found against false alarms; both axes are logarithmic.");
    add_attacks(html, attacks);
    for (const Json& a : net.at("attacks"))
      if (failed(a))
        html.note(report::Note::kWarning, name_of_attack(a) + ": " + a.at("failed").get<std::string>());
    if (net.at("exits").get<int>() > 1) add_exits(html, net);
    html.subsection("Named members");
    add_named(html, attacks);
  }

  std::filesystem::path attack_, html_;
};

}  // namespace

std::unique_ptr<Verb> make_membership_report_verb() { return std::make_unique<MembershipReportVerb>(); }

}  // namespace offramp::tools
