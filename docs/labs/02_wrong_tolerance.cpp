// Lab 2: a wrong tolerance. Page: docs/labs/02_wrong_tolerance.md; tools/lab 2 grades it.
#include "docs/labs/labs.h"

// A test compares a sum of `terms` products in float with the exact one. This bound takes wrong sums for right where
// the numbers are small, and right ones for wrong where they are large.
double tolerance(int terms, double sum_abs) {
  static_cast<void>(terms);
  static_cast<void>(sum_abs);
  return 1e-4;  // HOLE
}
