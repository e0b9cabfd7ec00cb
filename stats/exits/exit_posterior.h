// How many exits counted times show: shape mixtures of every number of exits and of several families, and what each is
// worth.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "stats/exits/shape_mixture.h"
#include "stats/exits/time_cells.h"

namespace offramp::stats {

// How a fit is judged. The figures were set on synthetic traces, seeds apart from those that check the promise
// (docs/results/exits.md).
struct PosteriorPrior {
  // No noise is exactly a mixture of a few normals, so many times would split every exit. The likelihood counts as
  // that of n / (1 + n / coarsening) times (Miller and Dunson 2019).
  double coarsening = 4000;
  double entropy_weight = 0.1;    // of twice the classification entropy; 1: ICL (Biernacki 2000)
  double scale_deviation = 0.35;  // of ln(scale of an exit / scale of the one before)
  double temperature = 2;         // of the posterior over the number of exits
  double share_weight = 2;        // of the Dirichlet prior of the shares
  double least_share = 0.004;
  double least_samples = 4;
  double regimes_cost = 4;  // of a shape with parts apart, in log odds: rather exits than regimes
};

struct FittedExits {
  ShapeMixture mixture;  // exits ascending by mean
  double criterion = 0;  // -2 log evidence
  double entropy = 0;
  double least_gap = 0;  // of neighbours, in the larger spread of the two
  bool all_win = true;   // every exit wins a cell, so that thresholds part them
};

// For each k but the last exit: the cell after which P(exit > k) wins, the maximum of sum_{c <= it} n_c (2 P(exit <= k) - 1).
// responsibilities: [cells, exits]. An exit wins no cell where its own is not beyond that of the exit before.
std::vector<std::size_t> last_cells(std::span<const double> counts,
                                    std::span<const double> responsibilities,
                                    std::size_t exits);

struct ExitPosterior {
  std::vector<FittedExits> best;  // of each number of exits that could be fitted; best[i] has i + 1 exits
  std::vector<double> weight;     // [best] of the fits: exp(-criterion / (2 temperature)), normalised
  std::size_t most_probable = 1;  // exits of the fit of most weight
};

// [i]: probability of i + 1 exits, up to `most`. A fit whose exits lie close may hide more that no peak shows: of
// the synthetic traces that set the figure every second one did.
std::vector<double> probability_of_exits(const ExitPosterior& posterior, std::size_t most);

// Whether the number `exits` may be promised; how far that is kept on synthetic traces: docs/results/exits.md.
bool is_reliable(const ExitPosterior& posterior, std::size_t exits);

// most: exits; asked: fits up to so many, if exits could make them; threads do not change the answer.
ExitPosterior exit_posterior(const TimeCells& cells,
                             double least_width,
                             std::size_t most,
                             const PosteriorPrior& prior = {},
                             unsigned threads = 1,
                             std::size_t asked = 1);

}  // namespace offramp::stats
