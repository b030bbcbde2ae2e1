/* libFuzzer target for everything behind the front end (`make fuzz`): of inputs that are models, the analysis with its reports, the expressions and
 * the C source, written and thrown away. What must hold: no pass ends in an internal error (bug_abort exits, which libFuzzer reports), the analysis
 * agrees with the model written out (ground.c sees to that), and C is refused only with a message.
 *
 * Models are kept small, since time grows with terms that are written out. Built with AddressSanitizer and UBSan; fuzz_front.c has the front end. */
#include "emit.h"
#include "graph.h"
#include "resolve.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MOST_STATEMENTS 40

static void run_passes(const Model *m)
{
  const char *const hash = "0000000000000000000000000000000000000000000000000000000000000000";
  StrBuf text = {0}, json = {0}, dot = {0}, source = {0};
  const Expectation *expectations;
  Analysis *a = analyse(m);
  EmitOptions options = {.version = "0", .hash = hash};
  Emission *e = emit_prepare(m, a, &options);
  if (diag_errors()) return;            /* what code generation lacks */
  const int n = emit_expectations(e, &expectations);
  report_text(m, a, expectations, n, &text);
  report_json(m, a, expectations, n, "0", hash, &json);
  report_dot(m, a, &dot);
  emit_source(e, sb_text(&text), sb_text(&json), sb_text(&dot), &source);
  if (!diag_errors() && !source.length) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  char *text = malloc(size + 1);
  if (!text) abort();
  if (size) memcpy(text, data, size);
  text[size] = 0;
  source_set("fuzz.pgm", text, size);
  const Ast *ast = parse_source();
  const Model *m = ast ? resolve(ast) : NULL;
  if (m && !diag_errors() && m->stmts.n <= MOST_STATEMENTS) run_passes(m);
  arena_reset();
  free(text);
  return 0;
}
