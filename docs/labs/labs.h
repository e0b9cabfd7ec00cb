// What the labs ask for: the functions that the graders call. Arrays are dense, rows first; a comment behind a pointer is its
// shape. Only what a comment calls an output is written.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

extern "C" {

// Lab 1. Gradients of sum(dy * y) for y_i = x_i s(a x_i), s the logistic function. They are added to dx and da.
void swish_backward(int n,
                    double a,
                    const double* x /*[n]*/,
                    const double* dy /*[n]*/,
                    double* dx /*[n]*/,
                    double* da /*[1]*/);

// Lab 2. How far a sum of `terms` products in float may lie from the exact one; sum_abs = sum of |a_i b_i|.
double tolerance(int terms, double sum_abs);

// Lab 3. Gradients of sum(dy * y) for y = gamma (x - mean) / sqrt(var + eps) + beta, mean and (biased) var over the rows of each
// channel. Overwrites its outputs.
void batch_norm_backward(int rows,
                         int channels,
                         double eps,
                         const double* x /*[rows, channels]*/,
                         const double* gamma /*[channels]*/,
                         const double* dy /*[rows, channels]*/,
                         double* dx /*[rows, channels]*/,
                         double* dgamma /*[channels]*/,
                         double* dbeta /*[channels]*/);

// Lab 4. Row p of `columns` is the patch under output pixel p (row by row), its values in the order r, s, c; zeros outside of x.
void im2col(int h,
            int w,
            int c,
            int r,
            int s,
            int stride,
            int pad,
            const float* x /*[h, w, c]*/,
            float* columns /*[out_h * out_w, r * s * c]*/);

// Lab 5. Matrices of F(m, r) for n - 1 finite points and infinity, n = m + r - 1, so that
// y = at [(g f) * (bt d)] is the filter y_i = sum over j of d_{i+j} f_j.
void winograd_matrices(int m,
                       int r,
                       const double* points /*[n - 1]*/,
                       double* bt /*[n, n]*/,
                       double* g /*[n, r]*/,
                       double* at /*[m, n]*/);

// Lab 8. counts: queries of each class that left at each exit. Writes what knowing that a query left at exit e tells about its
// class, weighted by how often it happens, in bits; returns the sum, the mutual information of exit and class.
double leaked_bits(int exits, int classes, const long* counts /*[exits, classes]*/, double* bits /*[exits]*/);

// Lab 9. Thresholds under which as many samples as possible leave at their exit of `wanted` (1 to exits). A sample leaves at the
// first exit k < exits with confidence > threshold[k], else at the last one.
void best_thresholds(int n,
                     int exits,
                     const double* confidence /*[n, exits - 1]*/,
                     const int* wanted /*[n]*/,
                     double* threshold /*[exits - 1]*/);

// Lab 10. The accuracy of "member where score > t" on the judged records, t learnt on the known ones alone.
double attack_accuracy(int known,
                       const double* known_score /*[known]*/,
                       const int* known_member /*[known], 0 or 1*/,
                       int judged,
                       const double* score /*[judged]*/,
                       const int* member /*[judged]*/);
// The same attack where there is nothing to find: all n records are members, half of them play non-members.
double control_accuracy(int n, const double* member_score /*[n], in the order of the data set*/);

// Lab 11. Exits answer at time[k] (ascending), share[k] of the queries (sum 1). Exits of one group all answer at the latest time
// of the group. Of the groupings whose time tells at most max_bits about the exit, one with the least mean delay.
void plan_groups(
    int exits, const double* time, const double* share, double max_bits, int* group /*[exits], from 0*/);

// Lab 12. Spans of a profile of one thread, by begin, the outer of two that begin together first; they nest. Writes the time
// that each op spent itself, outside of the spans within.
void self_times(int n,
                const double* begin,
                const double* end,
                const int* op /*[n]*/,
                int num_ops,
                double* self /*[num_ops]*/);
// How many times faster the whole gets where `op` alone becomes `factor` times faster.
double whole_speedup(int num_ops, const double* self /*[num_ops]*/, int op, double factor);

}  // extern "C"
