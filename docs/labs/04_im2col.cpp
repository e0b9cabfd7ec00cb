// Lab 4: a convolution as a matrix product. Page: docs/labs/04_im2col.md; tools/lab 4 grades it.
#include "docs/labs/labs.h"

// One row a pixel of the output: the patch under it. The product with the filters, [r * s * c, k], is the convolution.
void im2col(int h, int w, int c, int r, int s, int stride, int pad, const float* x, float* columns) {
  const int out_h = (h + 2 * pad - r) / stride + 1, out_w = (w + 2 * pad - s) / stride + 1;
  for (int i = 0; i < out_h; ++i)
    for (int j = 0; j < out_w; ++j) {
      float* row = columns + (i * out_w + j) * r * s * c;
      // HOLE: right only for 1x1 filters without stride and padding.
      for (int ch = 0; ch < c; ++ch) row[ch] = i < h && j < w ? x[(i * w + j) * c + ch] : 0;
    }
}
