#include "docs/labs/labs.h"

void winograd_matrices(int m, int r, const double* points, double* bt, double* g, double* at) {
  const int n = m + r - 1;
  for (int j = 0; j < n; ++j) {
    const bool finite = j < n - 1;
    double norm = 1;
    for (int l = 0; l < n - 1; ++l)
      if (finite && l != j) norm *= points[j] - points[l];
    for (int k = 0; k < r; ++k) g[j * r + k] = finite ? std::pow(points[j], k) / norm : k == r - 1;
    for (int i = 0; i < m; ++i) at[i * n + j] = finite ? std::pow(points[j], i) : i == m - 1;
    // Row j of bt: the coefficients of the product of (x - p_l), l != j, lowest first.
    for (int l = 0; l < n; ++l) bt[j * n + l] = l == 0;
    int degree = 0;
    for (int l = 0; l < n - 1; ++l) {
      if (l == j) continue;
      ++degree;
      for (int k = degree; k > 0; --k) bt[j * n + k] = bt[j * n + k - 1] - points[l] * bt[j * n + k];
      bt[j * n] *= -points[l];
    }
  }
}
