#include "tools/report/svg_writer.h"

#include <array>
#include <cmath>
#include <cstdint>

#include "base/hash.h"
#include "tools/report/text.h"
#include "tools/report/theme.h"

namespace offramp::report {
namespace {

std::string attribute(std::string_view name, double value) {
  return std::string(" ").append(name).append("=\"").append(coordinate(value)).append("\"");
}
std::string attribute(std::string_view name, std::string_view value) {
  return std::string(" ").append(name).append("=\"").append(escape(value)).append("\"");
}
std::string tip_or_close(std::string_view element, std::string_view tip) {
  if (tip.empty()) return "/>\n";
  return std::string("><title>").append(escape(tip)).append("</title></").append(element).append(">\n");
}

constexpr std::string_view kOpen = "<svg class=\"chart\"";

}  // namespace

SvgWriter::SvgWriter(double width, double height, std::string_view title) {
  out_.append(kOpen)
      .append(attribute("viewBox", "0 0 " + coordinate(width) + " " + coordinate(height)))
      .append(attribute("width", width))
      .append(attribute("height", height))
      .append(" role=\"img\"")
      .append(attribute("aria-label", title))
      .append(">\n");
}

void SvgWriter::rect(
    double x, double y, double w, double h, std::string_view css, std::string_view tip, double opacity) {
  out_.append("<rect").append(attribute("x", x)).append(attribute("y", y));
  out_.append(attribute("width", w)).append(attribute("height", h)).append(attribute("class", css));
  if (opacity < 1) out_.append(attribute("fill-opacity", opacity));
  out_.append(tip_or_close("rect", tip));
}

void SvgWriter::line(double x1, double y1, double x2, double y2, std::string_view css) {
  out_.append("<line").append(attribute("x1", x1)).append(attribute("y1", y1));
  out_.append(attribute("x2", x2)).append(attribute("y2", y2)).append(attribute("class", css)).append("/>\n");
}

void SvgWriter::path(const std::string& d, std::string_view css) {
  if (!d.empty())
    out_.append("<path").append(attribute("d", d)).append(attribute("class", css)).append("/>\n");
}

void SvgWriter::text(double x, double y, std::string_view content, std::string_view css, Anchor anchor) {
  constexpr std::array<std::string_view, 3> kAnchor = {"start", "middle", "end"};
  out_.append("<text").append(attribute("x", x)).append(attribute("y", y)).append(attribute("class", css));
  if (anchor != Anchor::kStart)
    out_.append(attribute("text-anchor", kAnchor[static_cast<std::size_t>(anchor)]));
  out_.append(">").append(escape(content)).append("</text>\n");
}

void SvgWriter::text_up(double x, double y, std::string_view content, std::string_view css) {
  out_.append("<text").append(
      attribute("transform", "translate(" + coordinate(x) + " " + coordinate(y) + ") rotate(-90)"));
  out_.append(attribute("class", css))
      .append(" text-anchor=\"middle\">")
      .append(escape(content))
      .append("</text>\n");
}

void SvgWriter::marker(double x, double y, int shape, double r, std::string_view css) {
  if (shape % 8 == 0) {
    out_.append("<circle").append(attribute("cx", x)).append(attribute("cy", y)).append(attribute("r", r));
    out_.append(attribute("class", css)).append("/>\n");
    return;
  }
  const auto polygon = [&](std::initializer_list<std::array<double, 2>> points) {
    std::string d;
    for (const auto& p : points)
      d.append(d.empty() ? "M" : "L")
          .append(coordinate(x + p[0] * r))
          .append(" ")
          .append(coordinate(y + p[1] * r));
    path(d.append("Z"), css);
  };
  switch (shape % 8) {
    case 1:
      return polygon({{-.9, -.9}, {.9, -.9}, {.9, .9}, {-.9, .9}});
    case 2:
      return polygon({{0, -1.25}, {1.15, .85}, {-1.15, .85}});
    case 3:
      return polygon({{0, -1.3}, {1.3, 0}, {0, 1.3}, {-1.3, 0}});
    case 4:
      return polygon({{0, 1.25}, {1.15, -.85}, {-1.15, -.85}});
    case 5:  // plus
      return polygon({{-.4, -1.2},
                      {.4, -1.2},
                      {.4, -.4},
                      {1.2, -.4},
                      {1.2, .4},
                      {.4, .4},
                      {.4, 1.2},
                      {-.4, 1.2},
                      {-.4, .4},
                      {-1.2, .4},
                      {-1.2, -.4},
                      {-.4, -.4}});
    case 6:  // hexagon
      return polygon({{1.15, 0}, {.575, 1}, {-.575, 1}, {-1.15, 0}, {-.575, -1}, {.575, -1}});
    default:  // five-pointed star: radii 1.8 and .75, first tip upwards
      return polygon({{0, -1.8},
                      {.441, -.607},
                      {1.712, -.556},
                      {.713, .232},
                      {1.058, 1.456},
                      {0, .75},
                      {-1.058, 1.456},
                      {-.713, .232},
                      {-1.712, -.556},
                      {-.441, -.607}});
  }
}

void SvgWriter::image(
    double x, double y, double w, double h, std::string_view data_uri, std::string_view tip) {
  out_.append("<image").append(attribute("x", x)).append(attribute("y", y));
  out_.append(attribute("width", w)).append(attribute("height", h)).append(" class=\"pixels\"");
  out_.append(attribute("href", data_uri)).append(tip_or_close("image", tip));
}

void SvgWriter::open_clip(double x, double y, double w, double h) {
  // A name of its own on a page of many charts: of all that this one has drawn so far, its title among it, and the rectangle.
  Fnv1a drawn;
  drawn.add(out_);
  for (const double v : {x, y, w, h}) drawn.add(v);
  const std::string id = "c" + std::to_string(drawn.value());
  out_.append("<clipPath")
      .append(attribute("id", id))
      .append("><rect")
      .append(attribute("x", x))
      .append(attribute("y", y));
  out_.append(attribute("width", w)).append(attribute("height", h)).append("/></clipPath>\n");
  out_.append("<g").append(attribute("clip-path", "url(#" + id + ")")).append(">\n");
}

void SvgWriter::close_clip() { out_.append("</g>\n"); }

std::string SvgWriter::inline_svg() && { return std::move(out_).append("</svg>\n"); }

std::string standalone_svg(const std::string& inline_element) {
  if (!inline_element.starts_with(kOpen))
    throw ReportError("svg: expected an element made by SvgWriter, found '" + inline_element.substr(0, 20) +
                      "'");
  std::string out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\"";
  const std::size_t body = inline_element.find('\n') + 1;
  out.append(inline_element, 4, body - 4);
  out.append("<style>").append(escape(colour_css())).append(escape(chart_css())).append("</style>\n");
  out.append("<rect width=\"100%\" height=\"100%\" class=\"ground\"/>\n");
  return out.append(inline_element, body);
}

}  // namespace offramp::report
