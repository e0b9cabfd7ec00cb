#include "docs/labs/labs.h"

void im2col(int h, int w, int c, int r, int s, int stride, int pad, const float* x, float* columns) {
  const int out_h = (h + 2 * pad - r) / stride + 1, out_w = (w + 2 * pad - s) / stride + 1;
  for (int i = 0; i < out_h; ++i)
    for (int j = 0; j < out_w; ++j)
      for (int a = 0; a < r; ++a)
        for (int b = 0; b < s; ++b) {
          const int row = i * stride - pad + a, column = j * stride - pad + b;
          const bool inside = row >= 0 && row < h && column >= 0 && column < w;
          for (int ch = 0; ch < c; ++ch) *columns++ = inside ? x[(row * w + column) * c + ch] : 0;
        }
}
