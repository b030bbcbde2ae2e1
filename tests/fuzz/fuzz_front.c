/* libFuzzer target for the front end (`make fuzz`): any bytes are a model or are refused with messages; the dumps and both forms of the
 * messages are written and thrown away. Built with AddressSanitizer and UBSan, under which every structure of the arena has its own
 * block (base.c). What a pass must keep to is checked here too: a diagnostic for every refusal, spans within the text.
 *
 *   build/fuzz/fuzz_front FOUND tests/fuzz/corpus tests/bad tests/good      new inputs go to FOUND
 *   build/fuzz/fuzz_front FILE...                                           run once each, as the tests do with the corpus */
#include "ast.h"
#include "resolve.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static FILE *sink;

static void check_diagnostics(bool refused)
{
  if (refused && !diag_errors()) abort();
  for (int i = 0; i < diag_count(); i++) {
    const Diag *d = diag_at(i);
    if (d->span.begin < 0 || d->span.end < d->span.begin || (size_t)d->span.end > source_length() || !*d->message) abort();
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  if (!sink && !(sink = fopen("/dev/null", "w"))) abort();
  char *text = malloc(size + 1); /* of its own, so that reading past it is seen */
  if (!text) abort();
  if (size) memcpy(text, data, size);
  text[size] = 0;
  source_set("fuzz.pgm", text, size);
  const Ast *ast = parse_source();
  if (ast) ast_dump(ast, sink);
  const Model *m = ast ? resolve(ast) : NULL;
  check_diagnostics(!m);
  if (m) model_dump(m, sink);
  diag_print(sink, true);
  diag_print_json(sink);
  arena_reset();
  free(text);
  return 0;
}
