#include "tools/report/theme.h"

namespace offramp::report {

std::string_view colour_css() {
  return R"css(:root{color-scheme:light dark;--ground:#ffffff;--panel:#f7f8fa;--text:#1b1f24;--muted:#59626d;--faint:#8b95a1;
--grid:#e7eaee;--axis:#aab2bd;--accent:#0b62a8;--heat:#0b62a8;--warn:#a33d00;--good:#00704f;
--s0:#0b62a8;--s1:#c74e00;--s2:#008661;--s3:#a8487f;--s4:#a87400;--s5:#2f8fc4;--s6:#6a4fb3;--s7:#5b6570}
@media (prefers-color-scheme:dark){:root{--ground:#14171b;--panel:#1c2026;--text:#e8eaed;--muted:#a5aeb9;--faint:#77818d;
--grid:#2a3038;--axis:#566170;--accent:#6cb6f0;--heat:#2c7cc0;--warn:#ff9d66;--good:#4fd0a5;
--s0:#5eb0ef;--s1:#ff8a4a;--s2:#3fcf9f;--s3:#e58fc0;--s4:#e8b13a;--s5:#8fd3f5;--s6:#a994ee;--s7:#a5aeb9}}
)css";
}

std::string_view chart_css() {
  return R"css(.chart{font-family:"Inter","Segoe UI",system-ui,-apple-system,"Helvetica Neue","Liberation Sans",Arial,sans-serif;
font-size:12px;font-variant-numeric:tabular-nums;max-width:100%;height:auto}
.chart text{fill:var(--text)}.chart .title{font-size:15px;font-weight:600}.chart .sub{fill:var(--muted)}
.chart .tick{fill:var(--muted);font-size:11px}.chart .label{fill:var(--muted);font-size:12px}
.chart .halo{paint-order:stroke;stroke:var(--ground);stroke-width:3px;stroke-linejoin:round}
.chart .none{fill:var(--faint);font-size:13px}.chart .note{font-size:11px}.chart .ground{fill:var(--ground)}
.chart .grid{stroke:var(--grid);stroke-width:1;shape-rendering:crispEdges}
.chart .axis{stroke:var(--axis);stroke-width:1;shape-rendering:crispEdges}
.chart .rule{stroke:var(--text);stroke-width:1.2;stroke-dasharray:4 3;opacity:.75}
.chart .line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.chart .interval{stroke:var(--text);stroke-width:1.3}.chart .whisker{fill:none;stroke-width:1.3}.chart .band{stroke:none;opacity:.17}
.chart .bars{stroke:none;opacity:.42}.chart .bar{stroke:none}
.chart .mark{stroke:var(--ground);stroke-width:1}.chart .cell{fill:var(--heat)}.chart .frame{fill:none;stroke:var(--grid)}
.chart .on{fill:#ffffff}.chart .off{fill:var(--text)}.chart .absent{fill:var(--grid)}
.chart .d1{stroke-dasharray:7 4}.chart .d2{stroke-dasharray:2 4}.chart .d3{stroke-dasharray:9 3 2 3}
.f0{fill:var(--s0)}.f1{fill:var(--s1)}.f2{fill:var(--s2)}.f3{fill:var(--s3)}.f4{fill:var(--s4)}.f5{fill:var(--s5)}
.f6{fill:var(--s6)}.f7{fill:var(--s7)}.l0{stroke:var(--s0)}.l1{stroke:var(--s1)}.l2{stroke:var(--s2)}.l3{stroke:var(--s3)}
.l4{stroke:var(--s4)}.l5{stroke:var(--s5)}.l6{stroke:var(--s6)}.l7{stroke:var(--s7)}
.pixels{image-rendering:pixelated}
)css";
}

}  // namespace offramp::report
