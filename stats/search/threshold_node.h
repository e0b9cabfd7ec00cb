// One box of the branch and bound (threshold_branch_bound.h): what its samples may still decide. Private.
// Coordinates are compressed to the places where an undecided sample changes; per dimension and coordinate,
// `fixed` holds the best sum of slab samples and `origin` the candidate that reaches it. Sums count in units
// of weight * scale, so that integer convex weights have room to move.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "stats/search/threshold_problem.h"

namespace offramp::stats::search {

template <class Number>
class Node {
 public:
  struct Split {
    bool single = false;        // every dimension has one coordinate
    std::size_t dimension = 0;  // else: coordinates <= at go left
    std::uint32_t at = 0;
  };

  static Number scale_for(Number total);
  static Node root(const Problem<Number>& problem, Number scale);

  // The dimension most undecided samples depend on, at the median of their positions.
  Split split() const;
  Node child(const Split& split, bool left) const;

  // Upper bound over the box after at most `steps` evaluations; stops early when it is <= enough. `point` and
  // `value` get the best point met (in candidates of the problem, value in units), if any. 0 steps: no bound.
  Number tighten(int steps, Number enough, Point& point, Number& value);
  // Value in units of a box of one point.
  Number evaluate_single(Point& point) const;

  std::size_t bytes() const { return bytes_; }

 private:
  // Samples undecided in the same dimensions: structure of arrays.
  struct Pattern {
    std::vector<std::uint8_t> dimension;  // ascending, at least two
    int leaves = -1;                      // index into `dimension` of the one to leave at, or -1
    std::vector<Number> weight;
    std::vector<std::vector<std::uint32_t>> position;  // [dimension][sample]
    std::vector<std::vector<Number>> part;             // convex weights, sum to `weight`
  };

  Pattern& pattern_like(const std::vector<std::uint8_t>& dimension, int leaves);
  void restrict_dimension(std::size_t d, std::uint32_t low, std::uint32_t high);
  void add_slab(std::size_t d, bool leaves, std::uint32_t position, Number weight);
  void settle();  // slabs into `fixed`, coordinates compressed, bytes counted
  void compress(std::size_t d);
  Point origin_of(const Point& t) const;
  // The parts of tighten (threshold_bound.cpp). Points here are coordinates of the node.
  // The sum over dimensions of the best that each can reach alone, and where; `change` is scratch.
  Number separable_bound(std::vector<std::vector<Number>>& change, Point& best) const;
  // What point t is worth, and how far its samples are torn between dimensions (the squared norm of the
  // subgradient there).
  Number joint_value(const Point& t, double& torn) const;
  // A subgradient step of this length at t.
  void shift_parts(const Point& t, double length);

  std::vector<std::vector<Number>> fixed_, slab_;
  std::vector<std::vector<std::uint32_t>> origin_;
  std::vector<Pattern> patterns_;
  std::size_t bytes_ = 0;
};

}  // namespace offramp::stats::search
