/* Progress on standard error. In: the fraction done and a text. Out: on a terminal one line, redrawn at most ten times a second, with a bar
 * and the time left; elsewhere a line after ten seconds and then every ten seconds. Nothing in the first 0.3 seconds, so that short work
 * leaves no trace. The time left supposes that the rest goes as fast as what is done. */
#include "progress.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void pgm_progress_start(PgmProgress *p, const char *what, bool quiet)
{
  const char *term = getenv("TERM");
  bool terminal = isatty(STDERR_FILENO) && !(term && strcmp(term, "dumb") == 0);
  *p = (PgmProgress){.what = what, .quiet = quiet, .terminal = terminal, .started = now()};
  p->shown = p->started;
}

bool pgm_progress_due(const PgmProgress *p)
{
  if (p->quiet) return false;
  double wait = !p->terminal ? 10 : p->drawn ? 0.1 : 0.3;
  return now() - p->shown >= wait;
}

static char *duration_text(double seconds, char *buffer, size_t size)
{
  if (seconds < 60)
    snprintf(buffer, size, "%.0f s", seconds);
  else if (seconds < 3600)
    snprintf(buffer, size, "%d min %02d s", (int)seconds / 60, (int)seconds % 60);
  else
    snprintf(buffer, size, "%.0f h %02d min", floor(seconds / 3600), (int)fmod(seconds / 60, 60));
  return buffer;
}

static int terminal_width(void)
{
  struct winsize w;
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 20 ? w.ws_col : 80;
}

static void draw_bar(const PgmProgress *p, const char *line)
{
  enum { BAR = 24 };
  char bar[BAR + 1];
  int full = (int)(p->fraction * BAR);
  for (int i = 0; i < BAR; i++) bar[i] = i < full ? '#' : '.';
  bar[BAR] = '\0';
  int room = terminal_width() - BAR - 4;
  fprintf(stderr, "\r[%s] %.*s\033[K", bar, room > 0 ? room : 0, line);
}

void pgm_progress_show(PgmProgress *p, double fraction, const char *text)
{
  if (fraction > p->fraction) p->fraction = fraction < 1 ? fraction : 1; /* false for NaN */
  if (!pgm_progress_due(p)) return;
  p->shown = now();
  double elapsed = p->shown - p->started;
  char line[256], spent[40], left[40];
  if (p->fraction > 0.005) {
    snprintf(line, sizeof line, "%s, %s, about %s left", text, duration_text(elapsed, spent, sizeof spent),
             duration_text(elapsed * (1 - p->fraction) / p->fraction, left, sizeof left));
  } else {
    snprintf(line, sizeof line, "%s, %s", text, duration_text(elapsed, spent, sizeof spent));
  }
  if (p->terminal)
    draw_bar(p, line);
  else
    fprintf(stderr, "%s: %s\n", p->what, line);
  fflush(stderr);
  p->drawn = true;
}

void pgm_progress_end(PgmProgress *p)
{
  if (p->drawn && p->terminal && !p->quiet) fputs("\r\033[K", stderr);
  p->drawn = false;
}
