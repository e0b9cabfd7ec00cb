#include "kernels/cuda/plan_table.h"

#include <unistd.h>

#include <cstdio>
#include <fstream>

#include "base/errors.h"

namespace offramp::cuda {
namespace {

constexpr const char* kFormat = "offramp convolution plans 1";

const char* name_of(ConvPass pass) {
  switch (pass) {
    case ConvPass::kForward:
      return "forward";
    case ConvPass::kBackwardInput:
      return "backward_input";
    case ConvPass::kBackwardWeight:
      return "backward_weight";
  }
  return "";
}

const char* name_of(NumberType type) { return type == NumberType::kFloat ? "f32" : "bf16"; }

}  // namespace

PlanTable::PlanTable(std::string path, const std::string& device, const std::string& library)
    : path_(std::move(path)), header_(std::string(kFormat) + ", " + device + ", cuDNN " + library) {
  std::ifstream file(path_);
  if (!file) return;
  std::string line;
  std::getline(file, line);
  if (line != header_) {
    warning_ = path_ + ": measured again, because it is for '" + line.substr(0, 100) + "', expected '" +
               header_ + "'";
    return;
  }
  for (int number = 2; std::getline(file, line); ++number) {
    const std::size_t middle = line.find(" = ");
    if (middle == 0 || middle == std::string::npos || middle + 3 == line.size()) {
      entries_.clear();
      warning_ = path_ + ": measured again, because line " + std::to_string(number) +
                 " is no 'convolution = plan': '" + line.substr(0, 100) + "'";
      return;
    }
    entries_[line.substr(0, middle)] = line.substr(middle + 3);
  }
}

std::optional<std::string> PlanTable::find(const ConvProblem& problem) const {
  const auto found = entries_.find(key(problem));
  if (found == entries_.end()) return std::nullopt;
  return found->second;
}

void PlanTable::add(const ConvProblem& problem, const std::string& plan) {
  entries_[key(problem)] = plan;
  const std::string temporary = path_ + "." + std::to_string(getpid()) + ".tmp";
  std::ofstream file(temporary);
  file << header_ << '\n';
  for (const auto& [convolution, name] : entries_) file << convolution << " = " << name << '\n';
  file.close();
  if (!file || std::rename(temporary.c_str(), path_.c_str()) != 0) {
    std::remove(temporary.c_str());
    throw DeviceError("convolution plans: cannot write " + path_);
  }
}

std::string PlanTable::key(const ConvProblem& p) {
  const auto number = [](int value) { return std::to_string(value); };
  const Conv2dGeom& g = p.g;
  std::string text = std::string(name_of(p.pass)) + " " + name_of(p.in) + "->" + name_of(p.out) + " n" +
                     number(g.n) + " " + number(g.h) + "x" + number(g.w) + "x" + number(g.c) + " k" +
                     number(g.k) + " " + number(g.r) + "x" + number(g.s) + " stride " + number(g.stride) +
                     " pad " + number(g.pad) + " groups " + number(g.groups);
  if (p.adds) text += " adds";
  if (p.tf32) text += " tf32";
  if (p.bias) text += " bias";
  if (p.residual) text += " residual";
  if (p.relu) text += " relu";
  return text;
}

}  // namespace offramp::cuda
