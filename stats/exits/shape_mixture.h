// What running times look like when each goes through one of K exits: all exits share the shape of the machine's
// noise, and each shifts it, scales it and weighs its parts:
//
//   P(cell) = (1 - b) sum_k share_k sum_j weight_kj [Phi((high - m_kj) / q_kj) - Phi((low - m_kj) / q_kj)]
//             + b * Cauchy(cell),    m_kj = location_k + scale_k offset_j,    q_kj = max(scale_k width_j, least_width)
//
// The shape is a mixture of J normals: with two parts or three a floor and a right tail, or a machine of two speeds.
// Times are counted in cells, so the clock's ticks and what a recorder rounded are part of the likelihood.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "stats/exits/time_cells.h"

namespace offramp::stats {

struct ShapeFamily {
  std::size_t parts = 1;     // J
  bool free_scale = false;   // scale_k of its own; else 1
  bool own_weights = false;  // weight_kj of its own; else that of the shape
};

struct ShapeMixture {
  ShapeFamily family;
  std::vector<double> share, location, scale;  // [K] of the exits, in the order of the starts
  std::vector<double> offset, width;           // [J] of the shape
  std::vector<double> weight;                  // [K, J]
  double background = 0.005;                   // b
  double log_likelihood = 0;

  std::size_t exits() const { return share.size(); }
  std::size_t parts() const { return offset.size(); }
  std::size_t parameters() const;
  // Deviation and mean of the shape about location_k, for exit k.
  double spread(std::size_t k) const;
  double mean(std::size_t k) const;
};

// Fits by expectation and conditional maximisation (Meng and Rubin 1993); the expectations within a cell are exact.
class ShapeFit {
 public:
  explicit ShapeFit(const TimeCells& cells, double least_width = 0.3);

  // exit_of_cell: [cells] from 0, or none of the exits for an outlier; every exit has a cell.
  ShapeMixture start(std::span<const std::size_t> exit_of_cell, std::size_t exits, ShapeFamily family) const;
  // Until a step gains less than `least_gain` in log likelihood.
  void run(ShapeMixture& m, std::size_t most_steps, double least_gain);
  double log_likelihood(const ShapeMixture& m);

  // [cells, K] probability of each exit, given that it is one.
  std::vector<double> responsibilities(const ShapeMixture& m);

  // [cells] those that more likely belong to the background.
  std::vector<bool> outliers(const ShapeMixture& m);

  // Other counts for the same cells.
  void set_counts(std::span<const double> counts);
  double total() const { return total_; }
  double log_range() const;  // ln of the width of the background, in units of the cells
  static constexpr double kMostBackground = 0.01;

 private:
  double expect(const ShapeMixture& m);
  void maximise(ShapeMixture& m) const;
  void part_masses(double location, double width, std::size_t part);

  const TimeCells& cells_;
  double least_width_, total_ = 0, centre_ = 0, reach_ = 1;
  std::vector<double> count_, background_;     // [cells]
  std::vector<double> mass_, first_, second_;  // [K J, cells]: probability, sums of x and x^2 within the cell
  std::vector<std::size_t> begin_, end_;       // [K J] cells in reach
  std::vector<double> inside_, ratio_;         // [cells]
  std::vector<double> n_, sum_, sum_squares_;  // [K J] expected counts and moments
  double background_count_ = 0;
};

}  // namespace offramp::stats
