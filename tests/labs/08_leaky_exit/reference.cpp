#include <vector>

#include "docs/labs/labs.h"

double leaked_bits(int exits, int classes, const long* counts, double* bits) {
  double all = 0, sum = 0;
  std::vector<double> of_exit(exits), of_class(classes);
  for (int e = 0; e < exits; ++e)
    for (int c = 0; c < classes; ++c) {
      const double n = counts[e * classes + c];
      all += n;
      of_exit[e] += n;
      of_class[c] += n;
    }
  for (int e = 0; e < exits; ++e) {
    bits[e] = 0;
    for (int c = 0; c < classes; ++c) {
      const double n = counts[e * classes + c];
      if (n > 0) bits[e] += n / all * std::log2(n * all / (of_exit[e] * of_class[c]));
    }
    sum += bits[e];
  }
  return sum;
}
