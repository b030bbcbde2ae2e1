#!/bin/bash
# One chart of a page of `gap --html` (or of an experiment's own page) as an SVG file of its own, which follows light and dark as the page does.
#   experiments/picture.sh PAGE.html LABEL [K] > PICTURE.svg       LABEL: the beginning of the chart's aria-label; K: the K-th such chart (1)
# Out: the chart with the page's rules for charts and its colours inside, on a ground of the page's colour. Exit 1: there is no such chart.
exec awk -v label="$2" -v k="${3:-1}" '
  /^<style>/ { style = 1; next }
  /^<\/style>/ { style = 0 }
  style && /^(:root|@media \(prefers|svg )/ { rules = rules $0 "\n" }
  !found && (at = index($0, "<svg class=\"chart\"")) && index($0, "aria-label=\"" label) {
    if (--k) next
    found = 1
    $0 = substr($0, at)
    sub(/<svg class="chart"/, "<svg xmlns=\"http://www.w3.org/2000/svg\"")
    end = index($0, ">")
    print substr($0, 1, end)
    print "<style>\nsvg{font-family:system-ui,\"Segoe UI\",Roboto,\"Helvetica Neue\",\"DejaVu Sans\",sans-serif}\n" rules "</style>"
    print "<rect width=\"100%\" height=\"100%\" style=\"fill:var(--bg)\"/>"
    $0 = substr($0, end + 1)
    inside = 1
  }
  inside && /<\/svg>/ { sub(/<\/svg>.*/, "</svg>"); print; inside = 0; next }
  inside { print }
  END { exit !found }' "$1"
