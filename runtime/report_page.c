/* The frame of a report. Colours are variables that follow the reader's scheme (prefers-color-scheme) and turn to ink on white when
 * printed; charts (report_svg.c, report_graph.c) use them by class. No script, no font, no picture from elsewhere. */
#include "report_page.h"

#include "report_svg.h"

const char *const pgm_page_colours[4] = {"var(--const)", "var(--fvi)", "var(--full)", "var(--chosen)"};

char *pgm_page_shade(int i, int n, char buffer[40])
{
  const double t = n > 1 ? (double)i / (n - 1) : 0;
  snprintf(buffer, 40, "hsl(%.0f 58%% 44%%)", 75 + 110 * t);
  return buffer;
}

static const char style[] =
    ":root{color-scheme:light dark;--bg:#fff;--ink:#1b1e23;--muted:#59616e;--line:#dadee4;--soft:#f5f6f8;--const:#b4560c;--fvi:#1b1e23;"
    "--full:#0a63b8;--chosen:#b02a77;--good:#14733c;--bad:#b42318;--warn:#8a5a00}\n"
    "@media (prefers-color-scheme:dark){:root{--bg:#15171b;--ink:#e7e9ec;--muted:#a2aab6;--line:#363b44;--soft:#1d2026;--const:#f0a25c;"
    "--fvi:#e7e9ec;--full:#6cb2f7;--chosen:#f18bc4;--good:#5fd39a;--bad:#ff8d83;--warn:#e9b44c}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.55 system-ui,-apple-system,\"Segoe UI\",Roboto,\"Helvetica "
    "Neue\",\"DejaVu Sans\",sans-serif}\n"
    "main{max-width:1180px;margin:0 auto;padding:32px 28px 64px}\n"
    "h1{font-size:28px;line-height:1.2;margin:0 0 6px;letter-spacing:-.01em}\n"
    "h2{font-size:19px;margin:44px 0 6px;padding-top:14px;border-top:1px solid var(--line)}\n"
    "h3{font-size:15px;margin:0 0 8px}\n"
    "p{margin:8px 0;max-width:78ch}\n"
    "code{font:.92em ui-monospace,SFMono-Regular,Menlo,Consolas,\"DejaVu Sans Mono\",monospace;overflow-wrap:anywhere}\n"
    ".sub,.note,.key-line{color:var(--muted)}.note,.key-line{font-size:14px}\n"
    ".badges{margin:14px 0 4px;display:flex;flex-wrap:wrap;gap:8px}\n"
    ".badge{border:1px solid currentColor;border-radius:999px;padding:2px 12px;font-size:14px;font-weight:600}\n"
    ".good{color:var(--good)}.bad{color:var(--bad)}.warn{color:var(--warn)}\n"
    ".say{background:var(--soft);border-left:4px solid var(--full);border-radius:0 6px 6px 0;padding:12px 18px;margin:18px 0}\n"
    ".say p{max-width:90ch}\n"
    ".two{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(440px,100%),1fr));gap:24px 32px;align-items:start;margin:14px 0}\n"
    ".two.wide{grid-template-columns:minmax(0,1fr)}\n"
    "figure{margin:0;min-width:0}figcaption{font-weight:600;font-size:15px;margin:0 0 6px}\n"
    "svg.chart{width:100%;max-width:640px;height:auto;display:block}\n"
    "svg.graph{max-width:100%;height:auto;display:block;margin:0 auto}\n"
    ".scroll{overflow-x:auto}@media screen and (max-width:700px){main{padding:20px 16px 40px}.scroll td:last-child:not(:empty):not(.n){min-width:14em}}\n"
    "table{border-collapse:collapse;font-size:14.5px;font-variant-numeric:tabular-nums;margin:8px 0}\n"
    "th,td{padding:5px 12px 5px 0;text-align:left;vertical-align:baseline;border-bottom:1px solid var(--line)}\n"
    "th{font-weight:600;color:var(--muted);font-size:13px}\n"
    "td.n,th.n{text-align:right;padding-left:12px;padding-right:0;white-space:nowrap}td.n+td,th.n+th{padding-left:20px}\n"
    "td.se{color:var(--muted);white-space:nowrap}tr.sub td:first-child{padding-left:18px}tr.total td{border-top:2px solid "
    "var(--line)}tr.total td:first-child,tr.total td.n{font-weight:600}td.name,.option{white-space:nowrap}td.entry{min-width:8em}\n"
    ".swatch{display:inline-block;width:10px;height:10px;border-radius:2px;margin-right:8px;background:var(--c)}\n"
    "svg text{font-family:inherit;fill:var(--ink)}\n"
    "svg .tick,svg "
    ".edge-label{font-size:12px;fill:var(--muted);paint-order:stroke;stroke:var(--bg);stroke-width:4px;stroke-linejoin:round}svg "
    ".label{font-size:13px;fill:var(--muted)}svg .row{font-size:13px}svg .never{font-size:12px;fill:var(--bad)}\n"
    "svg .grid{stroke:var(--line);stroke-width:1}svg .axis{stroke:var(--muted);stroke-width:1}\n"
    "svg .path{fill:none;stroke:var(--c);stroke-width:1.8;stroke-linejoin:round;stroke-opacity:.85}svg .end{fill:var(--c)}svg "
    ".key{stroke:var(--c);stroke-width:3}\n"
    "svg .box{fill:var(--c);fill-opacity:.2;stroke:var(--c);stroke-width:1.4}svg .whisker{stroke:var(--c);stroke-width:1.4}svg "
    ".median{stroke:var(--c);stroke-width:2.6}\n"
    "svg .dot{fill:var(--c);fill-opacity:.55}svg .bar{fill:var(--c);fill-opacity:.85}svg .bar.sub{fill-opacity:.45}svg "
    ".error{stroke:var(--ink);stroke-width:1.4}\n"
    "svg .limit{stroke:var(--bad);stroke-width:1.2;stroke-dasharray:5 4}\n"
    "svg .plate{fill:none;stroke:var(--muted);stroke-width:1.1}svg "
    ".plate-label{font-size:12px;fill:var(--muted);paint-order:stroke;stroke:var(--bg);stroke-width:4px}\n"
    "svg .edge{fill:none;stroke:var(--muted);stroke-width:1.3}svg .edge.other{stroke-dasharray:5 4}svg "
    ".edge.marked{stroke:var(--bad);stroke-width:2}\n"
    "svg path.head{fill:var(--muted);stroke:none}svg path.head.marked{fill:var(--bad)}\n"
    "svg .node text{font-size:14px}svg .node ellipse,svg .node rect{fill:var(--bg);stroke:var(--ink);stroke-width:1.4}\n"
    "svg .node.observed ellipse{fill:var(--line)}svg .node.factor rect{fill:var(--ink)}svg .node.input text{fill:var(--muted)}svg "
    ".node.marked ellipse,svg .node.marked rect{stroke:var(--bad);stroke-width:2.2}\n"
    "footer{margin-top:48px;padding-top:14px;border-top:1px solid var(--line);font-size:13.5px;color:var(--muted)}\n"
    "@media "
    "print{:root{color-scheme:light;--bg:#fff;--ink:#000;--muted:#444;--line:#ccc;--soft:#f3f3f3;--const:#b4560c;--fvi:#000;--full:#0a4f94;"
    "--chosen:#98205f;--good:#0d5c2e;--bad:#9b1c12;--warn:#6f4800}\n"
    "*{print-color-adjust:exact;-webkit-print-color-adjust:exact}\n"
    "main{max-width:none;padding:0}.scroll{overflow:visible}body{font-size:10.5pt}h1{font-size:18pt}h2{font-size:13pt;margin-top:20px;"
    "break-after:avoid}h3,h2+p,figcaption{break-after:avoid}figure,tr,.say{break-inside:avoid}thead{display:table-header-group}\n"
    ".two{grid-template-columns:1fr 1fr;gap:14px "
    "22px}.two.stack{grid-template-columns:1fr}table{font-size:9.5pt}th,.note,.key-line,footer{font-size:8.5pt}@page{size:A4;margin:15mm "
    "14mm}}\n";

void pgm_page_begin(FILE *out, const char *title)
{
  fputs("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, "
        "initial-scale=1\">\n<title>",
        out);
  pgm_html_text(out, title);
  fprintf(out, "</title>\n<style>\n%s</style>\n</head>\n<body>\n<main>\n", style);
}

void pgm_page_end(FILE *out)
{
  fputs("</main>\n</body>\n</html>\n", out);
}
