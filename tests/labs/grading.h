// What the graders of docs/labs share. A grader is a program: it opens the solution (a shared object that tools/lab made of
// one file), calls it on generated data and says what is wrong, and why. Every number follows from the seed; no clock.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace offramp::labs {

// A wrong answer: what was seen, and what it points to.
struct Wrong {
  std::string what, why;
};
template <class... Args>
[[noreturn]] void wrong(std::string why, fmt::format_string<Args...> what, Args&&... args) {
  throw Wrong{fmt::format(what, std::forward<Args>(args)...), std::move(why)};
}

// splitmix64 (Steele, Lea and Flood 2014): the same numbers on every machine.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 0x632be59bd9b4e019u) {}
  std::uint64_t bits() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  double uniform() { return static_cast<double>(bits() >> 11) * 0x1p-53; }  // [0,1)
  double between(double low, double high) { return low + (high - low) * uniform(); }
  double normal() {
    return std::sqrt(-2 * std::log(1 - uniform())) * std::cos(6.283185307179586 * uniform());
  }
  int from(int low, int high) {  // both ends included
    return low + static_cast<int>(bits() % static_cast<std::uint64_t>(high - low + 1));
  }
  std::vector<double> normals(std::size_t n) {
    std::vector<double> out(n);
    for (double& v : out) v = normal();
    return out;
  }

 private:
  std::uint64_t state_;
};

// Memory that a solution writes: begins as `fill`, with guard words on both sides.
template <class T>
class Output {
 public:
  explicit Output(std::size_t n, T fill) : values_(n + 2 * kGuard, T(kWord)), n_(n) {
    for (std::size_t i = 0; i < n; ++i) data()[i] = fill;
  }
  T* data() { return values_.data() + kGuard; }
  const T* data() const { return values_.data() + kGuard; }
  const T& operator[](std::size_t i) const { return data()[i]; }
  std::size_t size() const { return n_; }
  // Wrong where something was written outside.
  void check_guards(const char* name) const {
    for (std::size_t i = 0; i < kGuard; ++i)
      if (values_[i] != T(kWord) || values_[kGuard + n_ + i] != T(kWord))
        wrong(
            "An index runs beyond the array, or before its begin.", "memory outside of {} was written", name);
  }

 private:
  static constexpr std::size_t kGuard = 16;
  static constexpr int kWord = 97;
  std::vector<T> values_;
  std::size_t n_;
};

// |a - b| within `relative` of the larger one, or of `scale` where that is larger.
inline bool close(double a, double b, double relative, double scale = 0) {
  return std::fabs(a - b) <= relative * std::fmax(scale, std::fmax(std::fabs(a), std::fabs(b)));
}
bool all_close(const double* a, const double* b, std::size_t n, double relative, double scale);
// The first place where they differ; n where there is none.
std::size_t first_difference(const double* a, const double* b, std::size_t n, double relative, double scale);

// The symbol of the opened solution. Throws Wrong where the file does not define it.
void* symbol(const char* name);

// Each grader defines these. Throws Wrong.
extern const char* const kLab;  // "lab 1, a missing gradient"
void grade(std::uint64_t seed);

}  // namespace offramp::labs
