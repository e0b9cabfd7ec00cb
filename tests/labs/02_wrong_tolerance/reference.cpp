#include "docs/labs/labs.h"

double tolerance(int terms, double sum_abs) {
  const double eps = 0x1p-23;
  return 8 * eps * std::sqrt(terms) * sum_abs;
}
