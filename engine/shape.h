#pragma once
// Shape of a dense tensor, one to four dimensions. Four dimensions are N,C,H,W in print and index and N,H,W,C
// in memory; a convolution weight is K,C,R,S in print and K,R,S,C in memory. Fewer dimensions are plain
// row-major.
#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

namespace offramp {

class Shape {
 public:
  static constexpr int kMaxRank = 4;

  Shape() = default;
  Shape(std::initializer_list<std::int64_t>
            dims);  // throws ShapeError on a negative size or more than 4 dimensions
  explicit Shape(std::span<const std::int64_t> dims);

  int rank() const { return rank_; }
  std::int64_t operator[](int i) const { return dims_[static_cast<std::size_t>(i)]; }
  std::int64_t size() const;      // number of elements; 1 for rank 0
  std::string to_string() const;  // "[128,3,32,32]"

  // The four sizes of an activation; a [rows, features] matrix counts as [rows, features, 1, 1].
  int n() const { return static_cast<int>(rank_ > 0 ? dims_[0] : 1); }
  int c() const { return static_cast<int>(rank_ > 1 ? dims_[1] : 1); }
  int h() const { return static_cast<int>(rank_ > 2 ? dims_[2] : 1); }
  int w() const { return static_cast<int>(rank_ > 3 ? dims_[3] : 1); }

  friend bool operator==(const Shape&, const Shape&) = default;

 private:
  void assign(std::span<const std::int64_t> dims);
  std::array<std::int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

}  // namespace offramp
