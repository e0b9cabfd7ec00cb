// What the verbs of `evade` share: victims by name, the images under attack, settings of attacks, examples on disk.
#pragma once

#include "attacks/evasion/harness.h"
#include "nets/graph/state_dict.h"
#include "tools/frame/verb.h"

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace offramp::tools::evade {

// --- victims
struct PolicyOptions {
  std::optional<double> threshold;  // one for all exits; else the checkpoint's policy, else kDefaultThreshold
  std::string rule = ">=", fallback = "last";
};
inline constexpr double kDefaultThreshold = 0.9;  // specs: robustness 1
void declare(Options& options, const std::string& section, PolicyOptions& policy);

struct OpenVictim {
  nets::LoadedNet loaded;
  std::unique_ptr<attacks::evasion::LastExitNet> last_only;  // of "PATH@last"
  attacks::evasion::Victim victim;
  std::string network;  // its family
  std::filesystem::path file;
  std::string weights;  // SHA-256 of the values, thresholds and names left out
};
// "PATH" (checkpoint or run folder) or "PATH@last": its last exit alone, the plain net of the same weights.
OpenVictim open_victim(const std::string& given, const Device& device, const PolicyOptions& policy);
nlohmann::ordered_json json_of(const OpenVictim& open);

// --- images
struct ImageOptions {
  std::string data, split = "auto";
  int first = 0, count = 1000;
  bool in_order = false;
};
void declare(Options& options, const std::string& section, ImageOptions& images);
// Positions in a part of n images: `count` of them from `first` on, in a shuffled order that is always the same (sets lie
// sorted by class, and a surrogate's images and those under attack must not meet), or as they lie. Throws UsageError where
// `first` is behind the end.
std::vector<std::int32_t> rows_of(const ImageOptions& wanted, int n);
// Labels mean the classes of `net`. Throws UsageError for a part that the set does not have.
attacks::evasion::Images open_images(Session& session,
                                     const ImageOptions& wanted,
                                     const OpenVictim& net,
                                     const Device& device);
// The data set that these come from: the one named, else that of the net's training.
std::string set_of(const ImageOptions& wanted, const OpenVictim& net);
// Throws UsageError where two nets number the classes differently or take other samples.
void check_alike(const OpenVictim& a, const OpenVictim& b);

// --- attacks
// What was given; everything else is the attack's own default.
struct AttackOptions {
  std::string eps, step;  // "8/255" or "0.03"; empty: the attack's own
  int steps = 0;          // 0: the attack's own
  double momentum = 1;
  bool no_random_start = false;
  std::string through = "taken";  // taken, last, or the number of an exit
  std::vector<double> alphas = {1};
  double c = 50, learning_rate = 0.01;
  std::string early_form = "default";  // default, paper, code
  int batch = 50;
};
void declare(Options& options, const std::string& section, AttackOptions& attack);

// One run of one attack.
struct AttackRun {
  std::string name;  // "pgd", or "early-attack-0.1" of a grid
  const attacks::evasion::Attack* attack;
  attacks::evasion::Settings settings;
};
// The grid: Early Attack once for each alpha. Throws UsageError.
std::vector<AttackRun> attack_runs(const std::vector<std::string>& names,
                                   const AttackOptions& options,
                                   std::uint64_t seed);
// The same with the path of this victim ("last" is another exit for another net).
attacks::evasion::Settings settings_for(const AttackRun& run,
                                        const AttackOptions& options,
                                        const attacks::evasion::Victim& victim);
nlohmann::ordered_json json_of(const AttackRun& run);
std::string attack_list();  // for --help

// "8/255" or "0.03". Throws UsageError that names `what`.
double parse_ratio(const std::string& text, const std::string& what);

// --- examples
struct MadeExamples {
  attacks::evasion::Examples examples;
  double seconds = 0;       // that making them took; 0: read back
  double psnr_db = 0;       // mean over images that changed
  double l2 = 0, linf = 0;  // mean, largest
  double mean_macs = 0;
};
// What `file` has from an interrupted run, the rest made, with a progress line, and written there every few seconds: x [n,h,w,c] float32,
// y, index (number in the set), exit (of the last gradient, from 1), macs.
MadeExamples make_examples(Session& session,
                           const std::filesystem::path& file,
                           const std::string& label,
                           const attacks::evasion::Victim& victim,
                           const attacks::evasion::Attack& attack,
                           const attacks::evasion::Images& images,
                           const attacks::evasion::Settings& settings,
                           int batch);
void write_examples(const std::filesystem::path& file, const attacks::evasion::Examples& examples);
// Of the first images. Throws FileError for a file that holds something else.
attacks::evasion::Examples read_examples(const std::filesystem::path& file,
                                         const attacks::evasion::Images& images);
// The numbers of MadeExamples about distances.
void measure(MadeExamples& made, const attacks::evasion::Images& images);

// A name as a part of a file name: letters, digits, dots and dashes.
std::string file_word(const std::string& name);
// Of several: no two names have the same one.
std::map<std::string, std::string> file_words(const std::vector<std::string>& names);

}  // namespace offramp::tools::evade
