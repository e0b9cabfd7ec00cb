// Options of attacks, and the examples they make, on disk.
#include "base/atomic_file.h"
#include "nets/data/npy.h"
#include "tools/verbs/evade/inputs.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <set>

namespace offramp::tools::evade {

using namespace attacks::evasion;

namespace {

double number_of(std::string_view text, const std::string& what) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !std::isfinite(value)) {
    throw UsageError(
        fmt::format("{}: expected a number or a ratio such as 8/255, got {}", what, in_quotes(text)));
  }
  return value;
}

void append(Examples& all, const Examples& next) {
  const auto extend = [](auto& to, const auto& from) { to.insert(to.end(), from.begin(), from.end()); };
  extend(all.images.pixels, next.images.pixels);
  extend(all.images.labels, next.images.labels);
  extend(all.images.numbers, next.images.numbers);
  extend(all.exit, next.exit);
  extend(all.macs, next.macs);
  all.images.n += next.images.n;
}

// "pgd, mi-fgsm": the attacks that read a setting.
std::string readers_of(unsigned read) {
  std::string names;
  for (const Attack& attack : all_attacks()) {
    if ((attack.reads & read) != 0) names += fmt::format("{}{}", names.empty() ? "" : ", ", attack.name);
  }
  return names;
}

// Throws UsageError for an option whose value was chosen, though none of the attacks reads it.
void refuse_unread(const std::vector<AttackRun>& runs, const AttackOptions& o) {
  const AttackOptions own;
  const struct {
    const char* flag;
    bool chosen;
    unsigned read;
  } options[] = {
      {"--eps", o.eps != own.eps, kReadsEps},
      {"--step", o.step != own.step, kReadsStep},
      {"--steps", o.steps != own.steps, kReadsSteps},
      {"--momentum", o.momentum != own.momentum, kReadsMomentum},
      {"--no-random-start", o.no_random_start != own.no_random_start, kReadsRandomStart},
      {"--through", o.through != own.through, kReadsPath},
      {"--alpha", o.alphas != own.alphas, kReadsEarly},
      {"--c", o.c != own.c, kReadsEarly},
      {"--rate", o.learning_rate != own.learning_rate, kReadsEarly},
      {"--early-form", o.early_form != own.early_form, kReadsEarly},
  };
  for (const auto& option : options) {
    const auto reads = [&](const AttackRun& run) { return (run.attack->reads & option.read) != 0; };
    if (!option.chosen || std::any_of(runs.begin(), runs.end(), reads)) continue;
    throw UsageError(
        fmt::format("{}: read by {}; none of these is asked for", option.flag, readers_of(option.read)));
  }
}

}  // namespace

double parse_ratio(const std::string& text, const std::string& what) {
  const auto slash = text.find('/');
  if (slash == std::string::npos) return number_of(text, what);
  const double below = number_of(std::string_view(text).substr(slash + 1), what);
  if (below == 0) throw UsageError(what + ": expected a ratio with a divisor other than 0");
  return number_of(std::string_view(text).substr(0, slash), what) / below;
}

void declare(Options& o, const std::string& section, AttackOptions& a) {
  // Of options that some attacks alone read.
  const auto of = [](unsigned read, const std::string& text) { return readers_of(read) + ": " + text; };
  o.add(
      section + ".eps", a.eps, "radius in the attack's norm, pixels of [0,1]: 8/255 or 0.03; empty: its own");
  o.add(section + ".step", a.step, of(kReadsStep, "of one iteration, likewise"));
  o.add(section + ".steps", a.steps, "iterations; 0: its own; fgsm has one").range(0, 1e6);
  o.add(section + ".momentum", a.momentum, of(kReadsMomentum, "mu")).range(0, 100);
  o.add(section + ".no_random_start", a.no_random_start, of(kReadsRandomStart, "start at the image"));
  o.add(section + ".through",
        a.through,
        of(kReadsPath,
           "the exit whose loss they raise: taken (which answers the image at each step), last, or a number "
           "from 1"));
  o.add(section + ".alpha", a.alphas, "early-attack: weight of the last exit; several make a grid")
      .range(0, 1e6);
  o.add(section + ".c", a.c, "early-attack: weight of the losses beside the distance").range(1e-9, 1e9);
  o.add(section + ".rate", a.learning_rate, "early-attack: Adam's learning rate").range(1e-9, 10);
  o.add(
       section + ".early_form",
       a.early_form,
       "early-attack: default (squared L2 of pixels, from the image, nearest success), paper (plain L2), code (the "
       "authors': from noise, squared L2 of normalised images, first success after 200 iterations, ten classes held)")
      .choices({"default", "paper", "code"});
  o.add(section + ".batch", a.batch, "images at once; examples do not depend on it")
      .range(1, 1e5)
      .not_in_config();
}

std::string attack_list() {
  std::string text = "Attacks, with their defaults:";
  for (const Attack& attack : all_attacks()) {
    const Settings& s = attack.defaults;
    text += fmt::format("\n  {:<13} {} ({})", attack.name, attack.summary, attack.source);
    if (attack.norm == Norm::kLinf) text += fmt::format("; eps {:.4g}/255", 255 * s.eps);
    if (attack.norm == Norm::kL2 || attack.norm == Norm::kL1) text += fmt::format("; eps {:.4g}", s.eps);
    if (std::string_view(attack.name).starts_with("apgd"))
      text += ", first step 2 eps";
    else if (attack.norm == Norm::kLinf && s.steps > 1)
      text += fmt::format(", step {:.4g}/255", 255 * s.step);
    else if (attack.norm != Norm::kNone && s.steps > 1)
      text += fmt::format(", step {:.4g}", s.step);
    if (s.steps > 1) text += fmt::format(", {} iterations", s.steps);
  }
  return text;
}

std::vector<AttackRun> attack_runs(const std::vector<std::string>& names,
                                   const AttackOptions& o,
                                   std::uint64_t seed) {
  if (names.empty()) throw UsageError("evade: expected at least one attack");
  std::vector<AttackRun> runs;
  for (const std::string& name : names) {
    const Attack* attack = nullptr;
    try {
      attack = &attack_named(name);
    } catch (const ValueError& error) {
      throw UsageError(error.what());
    }
    Settings s = attack->defaults;
    if (!o.eps.empty()) s.eps = parse_ratio(o.eps, "--eps");
    if (!o.step.empty()) s.step = parse_ratio(o.step, "--step");
    const std::string_view kind = attack->name;
    if (kind == "fgsm")
      s.step = s.eps;
    else if (kind.starts_with("apgd"))
      s.step = 2 * s.eps;  // its first
    if (o.steps > 0 && kind != "fgsm") s.steps = o.steps;
    s.momentum = o.momentum;
    s.random_start = !o.no_random_start;
    s.seed = seed;
    s.early.c = o.c;
    s.early.learning_rate = o.learning_rate;
    if (o.early_form == "paper") s.early.distance = EarlyDistance::kL2;
    if (o.early_form == "code") {
      s.early.start = EarlyStart::kRandom;
      s.early.distance = EarlyDistance::kSquaredL2Normalised;
      s.early.returns = EarlyReturn::kAfter200;
      s.early.held_classes = 10;
    }
    const bool is_grid = kind == "early-attack";
    for (const double alpha : is_grid ? o.alphas : std::vector<double>{1}) {
      s.early.alpha = alpha;
      runs.push_back({is_grid ? fmt::format("{}-{}", attack->name, alpha) : attack->name, attack, s});
    }
    if (is_grid && o.alphas.empty()) throw UsageError("evade: --alpha: expected at least one value");
    for (auto run = runs.begin(); run != runs.end(); ++run) {
      const auto same = [&](const AttackRun& other) { return other.name == run->name; };
      if (std::any_of(runs.begin(), run, same))
        throw UsageError("evade: " + run->name + " is asked for twice");
    }
    try {
      check(*attack, s);
    } catch (const ValueError& error) {
      throw UsageError(fmt::format("{}: {}", name, error.what()));
    }
  }
  refuse_unread(runs, o);
  return runs;
}

Settings settings_for(const AttackRun& run, const AttackOptions& o, const Victim& victim) {
  Settings s = run.settings;
  if (o.through == "taken") return s;
  s.path.through = Through::kOneExit;
  if (o.through == "last") {
    s.path.exit = victim.num_exits() - 1;
    return s;
  }
  int exit = 0;
  const auto [end, error] = std::from_chars(o.through.data(), o.through.data() + o.through.size(), exit);
  if (error != std::errc{} || end != o.through.data() + o.through.size()) {
    throw UsageError("--through: expected taken, last or the number of an exit, got " + in_quotes(o.through));
  }
  s.path.exit = exit - 1;
  try {
    check(s.path, victim);
  } catch (const ValueError& wrong) {
    throw UsageError(wrong.what());
  }
  return s;
}

nlohmann::ordered_json json_of(const AttackRun& run) {
  const Settings& s = run.settings;
  nlohmann::ordered_json json{{"attack", run.name}, {"norm", to_text(run.attack->norm)}};
  if (run.attack->norm != Norm::kNone) {
    json["eps"] = s.eps;
    json["step"] = s.step;
  } else {
    json["alpha"] = s.early.alpha;
    json["c"] = s.early.c;
    json["rate"] = s.early.learning_rate;
  }
  json["steps"] = s.steps;
  return json;
}

std::string file_word(const std::string& name) {
  std::string word;
  for (const char ch : name) {
    const bool plain =
        (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') || ch == '.';
    if (plain || (!word.empty() && word.back() != '-')) word += plain ? ch : '-';
  }
  while (!word.empty() && (word.front() == '.' || word.front() == '-')) word.erase(word.begin());
  return word.empty() ? "net" : word;
}

std::map<std::string, std::string> file_words(const std::vector<std::string>& names) {
  std::map<std::string, std::string> words;
  std::set<std::string> taken;
  for (const std::string& name : names) {
    if (words.contains(name)) continue;
    const std::string plain = file_word(name);
    std::string word = plain;
    for (int next = 2; !taken.insert(word).second; ++next) word = fmt::format("{}-{}", plain, next);
    words[name] = word;
  }
  return words;
}

void write_examples(const std::filesystem::path& file, const Examples& examples) {
  const Images& images = examples.images;
  const std::int64_t n = images.n;
  std::vector<std::int32_t> exit;
  for (const std::int32_t e : examples.exit) exit.push_back(e + 1);
  const nets::Extent& e = images.extent;
  const std::vector<std::uint8_t> bytes = data::encode_npz({{"x", {{n, e.h, e.w, e.c}, images.pixels}},
                                                            {"y", {{n}, images.labels}},
                                                            {"index", {{n}, images.numbers}},
                                                            {"exit", {{n}, exit}},
                                                            {"macs", {{n}, examples.macs}}},
                                                           false);
  write_file_atomically(file, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

Examples read_examples(const std::filesystem::path& file, const Images& images) {
  data::NpzFile arrays = data::read_npz(file);
  const auto refuse = [&](const std::string& why) { throw FileError(file.string(), why); };
  const auto take = [&]<class T>(const char* name, std::vector<T>& into) {
    const auto found = arrays.find(name);
    if (found == arrays.end() || !std::holds_alternative<std::vector<T>>(found->second.values)) {
      refuse(fmt::format("expected the array {}", name));
    }
    into = std::get<std::vector<T>>(found->second.values);
  };
  Examples examples{.images = {}, .exit = {}, .macs = {}};
  std::vector<std::int64_t> numbers;
  take("index", numbers);
  if (numbers.size() > images.numbers.size() ||
      !std::equal(numbers.begin(), numbers.end(), images.numbers.begin())) {
    refuse("holds examples of other images");
  }
  examples.images = part(images, 0, static_cast<int>(numbers.size()));
  const std::size_t values = examples.images.pixels.size();
  take("x", examples.images.pixels);
  take("exit", examples.exit);
  take("macs", examples.macs);
  if (examples.images.pixels.size() != values || examples.exit.size() != numbers.size() ||
      examples.macs.size() != numbers.size()) {
    refuse("its arrays disagree about the number of examples");
  }
  for (std::int32_t& e : examples.exit) --e;
  return examples;
}

void measure(MadeExamples& made, const Images& images) {
  double psnr = 0;
  int changed = 0;
  made.l2 = made.linf = made.mean_macs = 0;
  for (int i = 0; i < images.n; ++i) {
    const auto before = images.image(i), after = std::as_const(made.examples.images).image(i);
    const double db = psnr_db(before, after);
    if (std::isfinite(db)) {
      psnr += db;
      ++changed;
    }
    made.l2 += distance(Norm::kL2, before, after) / images.n;
    made.linf = std::max(made.linf, distance(Norm::kLinf, before, after));
    made.mean_macs += made.examples.macs[static_cast<std::size_t>(i)] / images.n;
  }
  made.psnr_db = changed > 0 ? psnr / changed : std::numeric_limits<double>::infinity();
}

MadeExamples make_examples(Session& session,
                           const std::filesystem::path& file,
                           const std::string& label,
                           const Victim& victim,
                           const Attack& attack,
                           const Images& images,
                           const Settings& settings,
                           int batch) {
  using Clock = std::chrono::steady_clock;
  constexpr double kSecondsBetweenWrites = 10;
  const auto since = [](Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  MadeExamples made;
  Examples& all = made.examples;
  all.images = part(images, 0, 0);
  if (session.resume() && std::filesystem::exists(file)) {
    all = read_examples(file, images);
    if (all.images.n > 0) check_bounds(attack.norm, settings.eps, part(images, 0, all.images.n), all.images);
  }
  const bool whole = all.images.n == 0;
  if (all.images.n < images.n) {
    Progress progress(session.log,
                      label,
                      static_cast<std::uint64_t>(images.n),
                      "img",
                      static_cast<std::uint64_t>(all.images.n));
    const auto start = Clock::now();
    auto written = start;
    while (all.images.n < images.n) {
      const Examples next =
          craft(victim, attack, part(images, all.images.n, batch), settings, {.batch = batch});
      append(all, next);
      progress.update(static_cast<std::uint64_t>(all.images.n));
      if (all.images.n == images.n || since(written) > kSecondsBetweenWrites) {
        write_examples(file, all);
        written = Clock::now();
      }
    }
    if (whole) made.seconds = since(start);
  }
  measure(made, images);
  return made;
}

}  // namespace offramp::tools::evade
