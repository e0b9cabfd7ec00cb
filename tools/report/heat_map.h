#pragma once
// A matrix as coloured cells with numbers: confusion between exits or classes, agreement, leakage by setting.
#include <string>
#include <vector>

namespace offramp::report {

enum class Shade { kByRow, kByAll };  // what the darkest cell is the largest of

struct HeatMap {
  std::string title = {}, subtitle = {};
  std::string row_label = {}, column_label = {};
  std::vector<std::string> rows = {}, columns = {};
  std::vector<double> values = {};  // [rows, columns]; NaN shows as a grey cell "n/a"
  int decimals = 0;                 // of the numbers in the cells; whole numbers get commas
  bool percent = false;             // numbers are shares: .875 is written 87.5 % (decimals 1)
  Shade shade = Shade::kByAll;
  double width = 560;
};

// Negative values are shaded like 0. Throws ReportError when the number of values is not rows x columns.
// Numbers are left out where cells are too narrow for them; each cell's tip has the full value.
std::string render(const HeatMap& map);

}  // namespace offramp::report
