// Lab 11: padding a server. Page: docs/labs/11_padding.md; tools/lab 11 grades it.
#include "docs/labs/labs.h"

void plan_groups(int exits, const double* time, const double* share, double max_bits, int* group) {
  static_cast<void>(time), static_cast<void>(share), static_cast<void>(max_bits);
  for (int k = 0; k < exits; ++k)
    group[k] = 0;  // HOLE: constant time tells nothing, and nothing is left of the early exit
}
