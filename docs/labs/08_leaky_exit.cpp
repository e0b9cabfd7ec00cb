// Lab 8: a leaky exit. Page: docs/labs/08_leaky_exit.md; tools/lab 8 grades it.
#include "docs/labs/labs.h"

double leaked_bits(int exits, int classes, const long* counts, double* bits) {
  // HOLE: this is how unsure one is of the exit itself. What does the exit say about the class?
  double all = 0, sum = 0;
  for (int i = 0; i < exits * classes; ++i) all += static_cast<double>(counts[i]);
  for (int e = 0; e < exits; ++e) {
    double here = 0;
    for (int c = 0; c < classes; ++c) here += static_cast<double>(counts[e * classes + c]);
    bits[e] = here > 0 ? -here / all * std::log2(here / all) : 0;
    sum += bits[e];
  }
  return sum;
}
