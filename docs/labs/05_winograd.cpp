// Lab 5: Winograd's matrices. Page: docs/labs/05_winograd.md; tools/lab 5 grades it.
#include "docs/labs/labs.h"

void winograd_matrices(int m, int r, const double* points, double* bt, double* g, double* at) {
  const int n = m + r - 1;
  // The values of a polynomial at the points: row j of g is 1, p, p^2, ..; column j of at as well. The last point is infinity.
  for (int j = 0; j < n; ++j) {
    for (int k = 0; k < r; ++k) g[j * r + k] = j < n - 1 ? std::pow(points[j], k) : k == r - 1;
    for (int i = 0; i < m; ++i) at[i * n + j] = j < n - 1 ? std::pow(points[j], i) : i == m - 1;
    // HOLE: what goes from the values back to the outputs? Lagrange, transposed.
    for (int l = 0; l < n; ++l) bt[j * n + l] = j == l;
  }
}
