// Lab 2: right sums in several orders must be taken, wrong ones refused, at every length and magnitude.
#include "tests/labs/grading.h"

#include "docs/labs/labs.h"

#include <bit>

namespace offramp::labs {

const char* const kLab = "lab 2, a wrong tolerance";

namespace {

using Floats = std::vector<float>;

float forwards(const Floats& a, const Floats& b) {
  float sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}
float backwards(const Floats& a, const Floats& b) {
  float sum = 0;
  for (std::size_t i = a.size(); i-- > 0;) sum += a[i] * b[i];
  return sum;
}
float fused(const Floats& a, const Floats& b) {
  float sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum = std::fma(a[i], b[i], sum);
  return sum;
}
float eight_lanes(const Floats& a, const Floats& b) {
  float lane[8] = {}, sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) lane[i % 8] += a[i] * b[i];
  for (const float v : lane) sum += v;
  return sum;
}
// The value with so many bits of its mantissa, as a format with fewer digits would round it.
float rounded_to(float v, int bits) {
  const auto drop = static_cast<unsigned>(23 - bits);
  const auto word = std::bit_cast<std::uint32_t>(v);
  return std::bit_cast<float>((word + (1u << (drop - 1))) & ~((1u << drop) - 1));
}
float few_bits(Floats a, const Floats& b, int bits) {
  for (float& v : a) v = rounded_to(v, bits);
  return forwards(a, b);
}

struct Sum {
  Floats a, b;
  double exact = 0, sum_abs = 0;
};
Sum draw(Random& random, int terms, double magnitude, bool positive) {
  Sum s;
  for (int i = 0; i < terms; ++i) {
    const double x = random.normal(), y = random.normal();
    s.a.push_back(static_cast<float>(magnitude * (positive ? std::fabs(x) : x)));
    s.b.push_back(static_cast<float>(positive ? std::fabs(y) : y));
    const double product = static_cast<double>(s.a.back()) * static_cast<double>(s.b.back());
    s.exact += product;
    s.sum_abs += std::fabs(product);
  }
  return s;
}

struct Way {
  const char* name;
  float (*sum)(const Floats&, const Floats&);
};

}  // namespace

void grade(std::uint64_t seed) {
  const auto bound_of = reinterpret_cast<decltype(&tolerance)>(symbol("tolerance"));
  Random random(seed);
  const auto taken = [&](const Sum& s, float got) {
    return std::fabs(static_cast<double>(got) - s.exact) <= bound_of(static_cast<int>(s.a.size()), s.sum_abs);
  };
  // Wrong sums: 20 draws; a few may come out right by chance.
  struct Fault {
    const char* name;
    int terms;
    float (*sum)(const Floats&, const Floats&);
  };
  const Fault faults[] = {{"the last term forgotten",
                           1000,
                           [](const Floats& a, const Floats& b) {
                             return forwards({a.begin(), a.end() - 1}, {b.begin(), b.end() - 1});
                           }},
                          {"the last term forgotten",
                           2000,
                           [](const Floats& a, const Floats& b) {
                             return forwards({a.begin(), a.end() - 1}, {b.begin(), b.end() - 1});
                           }},
                          {"the first term counted twice",
                           200,
                           [](const Floats& a, const Floats& b) { return forwards(a, b) + a[0] * b[0]; }},
                          {"inputs of 7 bits of mantissa (bfloat16)",
                           64,
                           [](const Floats& a, const Floats& b) { return few_bits(a, b, 7); }},
                          {"inputs of 10 bits of mantissa (TF32)",
                           7,
                           [](const Floats& a, const Floats& b) { return few_bits(a, b, 10); }},
                          {"a product of 17 bits", 1, [](const Floats& a, const Floats& b) {
                             return a[0] * b[0] * (1 + 0x1p-17f);
                           }}};
  for (const double magnitude : {1.0, 1e-9, 1e7})
    for (const Fault& fault : faults) {
      if (magnitude != 1.0 && fault.terms > 100) continue;
      int refused = 0;
      for (int draws = 0; draws < 20; ++draws) {
        const Sum s = draw(random, fault.terms, magnitude, false);
        if (!taken(s, fault.sum(s.a, s.b))) ++refused;
      }
      if (refused < 11)
        wrong(
            magnitude < 1
                ? "Too wide where numbers are small: an error grows with the size of the terms, so must the bound."
            : fault.terms > 100
                ? "Too wide for long sums: roundings are as often up as down, so their sum grows with the root of their number."
                : "Too wide: a float has 24 bits, eps = 2^-23 is what one rounding costs at most.",
            "{} ({} terms of magnitude {:g}) was taken for right in {} of 20 sums",
            fault.name,
            fault.terms,
            magnitude,
            20 - refused);
    }
  const Way ways[] = {{"from the first to the last", forwards},
                      {"from the last to the first", backwards},
                      {"with fused multiply-add", fused},
                      {"in eight lanes", eight_lanes}};
  for (const double magnitude : {1.0, 1e-9, 1e7})
    for (const int terms : {1, 2, 7, 33, 128, 1000, 16384})
      for (const bool positive : {false, true}) {
        if (terms > 1000 && (magnitude != 1.0 || !positive)) continue;
        const Sum s = draw(random, terms, magnitude, positive);
        for (const Way& way : ways) {
          const float got = way.sum(s.a, s.b);
          if (taken(s, got)) continue;
          const double error = std::fabs(static_cast<double>(got) - s.exact),
                       bound = bound_of(terms, s.sum_abs);
          wrong(
              !(bound >= 0) ? "A bound is a number, and not negative."
              : magnitude > 1
                  ? "Too narrow where numbers are large: an error grows with the size of the terms, so must the bound."
              : terms > 1000
                  ? "Too narrow for long sums: every addition rounds once more."
                  : "Too narrow: every product and every sum is rounded by as much as half an eps = 2^-23 of its size.",
              "a right sum of {} terms, {}, was refused: off by {:.3g}, the bound was {:.3g}, sum |a b| is {:.3g}",
              terms,
              way.name,
              error,
              bound,
              s.sum_abs);
        }
      }
}

}  // namespace offramp::labs
