#pragma once
// Builds one SVG element. Text and attributes are escaped here; coordinates are written by coordinate(), so
// that equal charts are equal bytes.
#include <string>
#include <string_view>

namespace offramp::report {

enum class Anchor { kStart, kMiddle, kEnd };

class SvgWriter {
 public:
  // `title` is read out by screen readers.
  SvgWriter(double width, double height, std::string_view title);

  void rect(double x,
            double y,
            double w,
            double h,
            std::string_view css,
            std::string_view tip = "",
            double opacity = 1);
  void line(double x1, double y1, double x2, double y2, std::string_view css);
  void path(const std::string& d, std::string_view css);
  void text(
      double x, double y, std::string_view content, std::string_view css, Anchor anchor = Anchor::kStart);
  void text_up(double x, double y, std::string_view content, std::string_view css);  // read upwards, centred
  // One of eight shapes around (x, y).
  void marker(double x, double y, int shape, double radius, std::string_view css);
  void image(double x, double y, double w, double h, std::string_view data_uri, std::string_view tip);
  void open_clip(double x, double y, double w, double h);  // what follows is cut to the rectangle
  void close_clip();

  // The element for a page that has colour_css() and chart_css(); the last call.
  std::string inline_svg() &&;

 private:
  std::string out_;
};

// A file of its own from an inline element: namespace declaration and both style sheets are added.
std::string standalone_svg(const std::string& inline_element);

}  // namespace offramp::report
