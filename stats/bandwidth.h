// Rules for the bandwidth of a Gaussian KDE. Rules that look at the spread of the whole sample (Silverman,
// Scott) oversmooth separated modes; the exit estimation takes its bandwidth from re-measured noise instead
// (exit_estimation.h) and the plug-in rules (Sheather-Jones, Botev's ISJ) when nothing was measured twice.
// All: ValueError on an empty or non-finite sample. A sample without spread has no bandwidth: ValueError.
#pragma once

#include <span>

namespace offramp::stats {

double silverman_bandwidth(std::span<const double> sample);  // 0.9 min(sd, IQR/1.34) n^(-1/5)
double scott_bandwidth(std::span<const double> sample);      // (4/3)^(1/5) sd n^(-1/5)

// Sheather and Jones (1991), solve the equation; pair distances binned to 1/1000 of the range.
double sheather_jones_bandwidth(std::span<const double> sample);

// Botev, Grotowski and Kroese (2010), improved Sheather-Jones: no normal reference anywhere, so modes far
// apart do not inflate it. Sample binned to 2^14 cells, fixed point of xi gamma^[5] found by scanning and
// bisection.
double isj_bandwidth(std::span<const double> sample);

// Type-7 quantile (linear between order statistics) of an ascending, non-empty sample; 0 <= p <= 1.
double sorted_quantile(std::span<const double> sorted, double p);
// Standard deviation with n - 1; 0 for a single value.
double sample_sd(std::span<const double> sample);
double sample_mean(std::span<const double> sample);

}  // namespace offramp::stats
