#pragma once
// Matrix products by cuBLASLt for one context: c[rows, columns] = sum over depth of a * b, sums in float, an
// algorithm a problem. Only algorithms that give the same bits twice. No vendor header is needed to include
// this one; a build without cuBLASLt's header has one that never opens (cublaslt_absent.cpp).
#include <compare>
#include <memory>
#include <string>

#include "kernels/cuda/conv_problem.h"

namespace offramp::cuda {

class Context;

// How an operand lies, in the words of tile_product.h: a is [rows][depth] and b [columns][depth] (along the
// sum), or a is [depth][rows] and b [depth][columns] (across it).
enum class Lines { kAlongSum, kAcrossSum };

struct ProductProblem {
  int rows = 0, columns = 0, depth = 0;
  Lines a = Lines::kAlongSum, b = Lines::kAlongSum;
  NumberType in = NumberType::kFloat, out = NumberType::kFloat;
  bool adds = false;  // to what c holds
  bool bias = false;  // of the columns, of type `out`
  bool tf32 = false;
  friend auto operator<=>(const ProductProblem&, const ProductProblem&) = default;
};

class CublasLtProducts {
 public:
  // Null where cuBLASLt is missing or refuses the device, then `why` says so.
  static std::unique_ptr<CublasLtProducts> open(std::string& why);
  virtual ~CublasLtProducts() = default;

  // Queues the product. False where it is empty or no algorithm is there: then nothing was done.
  virtual bool run(Context& ctx,
                   const ProductProblem& problem,
                   const void* a,
                   const void* b,
                   const void* bias,
                   void* c) = 0;
  virtual std::size_t plans() const = 0;  // made so far
};

}  // namespace offramp::cuda
