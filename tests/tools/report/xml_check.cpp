#include "tests/tools/report/xml_check.h"

#include <algorithm>
#include <cctype>
#include <set>

namespace offramp::report {
namespace {

bool is_name(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == ':' || c == '.';
}

// Resolves references; false on an unknown one or a bare '<'.
bool resolve(std::string_view raw, std::string& out) {
  for (std::size_t i = 0; i < raw.size(); ++i) {
    if (raw[i] == '<') return false;
    if (raw[i] != '&') {
      out += raw[i];
      continue;
    }
    const std::size_t end = raw.find(';', i);
    const std::string_view name = end == std::string_view::npos ? "" : raw.substr(i + 1, end - i - 1);
    if (name == "amp")
      out += '&';
    else if (name == "lt")
      out += '<';
    else if (name == "gt")
      out += '>';
    else if (name == "quot")
      out += '"';
    else if (name == "#39")
      out += '\'';
    else
      return false;
    i = end;
  }
  return true;
}

}  // namespace

int XmlFacts::count(std::string_view name) const { return static_cast<int>(std::ranges::count(names, name)); }

XmlFacts check_xml(std::string_view doc) {
  XmlFacts facts;
  std::vector<std::string> open;
  std::size_t at = 0;
  const auto fail = [&](const std::string& what) {
    facts.error = what + " near: " + std::string(doc.substr(at, 80));
    return facts;
  };
  while (at < doc.size()) {
    if (doc[at] != '<') {
      const std::size_t end = std::min(doc.find('<', at), doc.size());
      if (!resolve(doc.substr(at, end - at), facts.text)) return fail("bad reference in text");
      at = end;
      continue;
    }
    if (doc.substr(at).starts_with("<?") || doc.substr(at).starts_with("<!DOCTYPE")) {
      at = std::min(doc.find('>', at), doc.size() - 1) + 1;
      continue;
    }
    if (doc.substr(at).starts_with("</")) {
      const std::size_t end = doc.find('>', at);
      if (end == std::string_view::npos) return fail("unfinished end tag");
      const std::string name(doc.substr(at + 2, end - at - 2));
      if (open.empty() || open.back() != name) return fail("end tag without start: " + name);
      open.pop_back();
      at = end + 1;
      continue;
    }
    std::size_t i = at + 1;
    std::string name;
    while (i < doc.size() && is_name(doc[i])) name += doc[i++];
    if (name.empty()) return fail("bare <");
    std::set<std::string> attributes;
    bool closed = false;
    for (;;) {
      while (i < doc.size() && std::isspace(static_cast<unsigned char>(doc[i])) != 0) ++i;
      if (i >= doc.size()) return fail("unfinished tag");
      if (doc[i] == '>') break;
      if (doc.substr(i).starts_with("/>")) {
        closed = true;
        ++i;
        break;
      }
      std::string key;
      while (i < doc.size() && is_name(doc[i])) key += doc[i++];
      if (key.empty() || !doc.substr(i).starts_with("=\"")) return fail("attribute without quoted value");
      if (!attributes.insert(key).second) return fail("attribute twice: " + key);
      const std::size_t end = doc.find('"', i + 2);
      std::string value;
      if (end == std::string_view::npos || !resolve(doc.substr(i + 2, end - i - 2), value))
        return fail("bad attribute value");
      i = end + 1;
    }
    facts.names.push_back(name);
    if (!closed) open.push_back(name);
    at = i + 1;
  }
  if (!open.empty()) return fail("never closed: " + open.back());
  return facts;
}

}  // namespace offramp::report
