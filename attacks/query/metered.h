#pragma once
// The meter that every theft is counted with: asks a victim for answers without times, counts the images, refuses what is
// beyond the budget, and keeps what was answered on disk. A run that was killed asks the same images again in the same
// order and gets the kept answers, so that no query is lost and none is counted twice.
#include <cstdint>
#include <filesystem>
#include <vector>

#include "attacks/query/black_box.h"

namespace offramp::attacks {

class MeteredBlackBox final : public BlackBox {
 public:
  // budget: images in all; at least 1. `file` (safetensors: "fingerprints" [n] U64, "probabilities" [n, classes] F32):
  // read where it exists, else begun; empty: nothing is kept. The victim must outlive this. Throws FileError for a file
  // that is no such log, ValueError for a budget below 1.
  MeteredBlackBox(BlackBox& victim, std::int64_t budget, std::filesystem::path file = {});
  int classes() const override { return victim_.classes(); }
  // Timing is Timing::kNone whatever is asked for. Throws ValueError, before the victim is asked, where more images
  // are wanted than are left, and FileError where a kept answer belongs to another image.
  Answer query(const Tensor& images, Timing timing) override;

  std::int64_t spent() const { return spent_; }
  std::int64_t left() const { return budget_ - spent_; }
  void flush();  // writes what was answered since the last time

 private:
  BlackBox& victim_;
  std::int64_t budget_, spent_ = 0;
  std::filesystem::path file_;
  std::vector<std::uint64_t> fingerprints_;
  std::vector<float> probabilities_;
  std::size_t on_disk_ = 0;  // answers
};

}  // namespace offramp::attacks
