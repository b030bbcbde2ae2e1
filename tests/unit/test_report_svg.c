/* Charts: texts of ticks that would run into each other are left out, their lines stay. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "report_svg.h"

static int count(const char *text, const char *what)
{
  int n = 0;
  for (; (text = strstr(text, what)); text++) n++;
  return n;
}

/* One bar to `hi` on a logarithmic scale from 0.001; the caller frees the picture. */
static char *bars(double hi)
{
  char *text = NULL;
  size_t size;
  FILE *out = open_memstream(&text, &size);
  const PgmScale x = {"nats", PGM_UNIT_PLAIN, true, false, 1e-3, hi};
  const PgmBarRow row = {"mlp 784-256-16 leaky_relu", "var(--fvi)", "84 294", hi / 2, NAN, false};
  assert_non_null(out);
  pgm_svg_bars(out, "Bars", x, NAN, NULL, &row, 1);
  fclose(out);
  return text;
}

static void test_ticks(void **state)
{
  (void)state;
  char *few = bars(100), *many = bars(1e5);
  assert_int_equal(count(few, "class=\"grid\""), 6);
  assert_int_equal(count(few, "text-anchor=\"middle\">"), 6 + 1); /* and the label of the axis */
  assert_int_equal(count(many, "class=\"grid\""), 9);
  assert_int_equal(count(many, "text-anchor=\"middle\">"), 8 + 1);
  assert_non_null(strstr(many, ">1000<"));
  assert_non_null(strstr(many, ">100\xe2\x80\x89" "000<"));
  assert_null(strstr(many, ">10\xe2\x80\x89" "000<"));
  free(few);
  free(many);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_ticks)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
