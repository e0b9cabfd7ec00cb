#pragma once
// Colours and type, light and dark. Series colours are those of Okabe and Ito (told apart with every kind of
// colour vision), darkened for contrast on white and lightened for dark grounds; lines also differ in dash
// and marker.
#include <string_view>

namespace offramp::report {

inline constexpr int kSeriesColours = 8;

// Custom properties for both schemes (--ground, --text, --s0 ... --s7, ...), then the classes that charts
// use. A file with a chart alone carries both inside; a report states them once.
std::string_view colour_css();
std::string_view chart_css();

}  // namespace offramp::report
