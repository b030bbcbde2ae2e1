/* NAME.h of `pgmc MODEL.pgm --library`: the runtime's public interface (error.h and pgm.h, whole, so that the header needs no other file) and
 * typed wrappers for this model. In: the model. Out: C that is C++ as well. For
 *
 *   input N : int;   latent theta ~ normal(0, 10);   plate n in 1..N { latent z[n] ~ ...;   observed x[n] : vector[3] ~ ...; }
 *
 * they are saw_model(), saw_open(), saw_open_memory(), the struct saw_data with members N and x (two extents: n, and the vector's), saw_infer(),
 * and saw_posterior_theta(), saw_posterior_z(). Two such headers may be included together: the interface has its own guard. */
#include "header.h"

#include <string.h>

/* Words of C and C++ that a variable of the model may be called and a member may not. */
static const char *member_name(Name name)
{
  static const char *const words[] = {
      "alignas",   "alignof",  "and",       "asm",      "auto",     "bool",    "break",   "case",     "catch",    "char",
      "class",     "const",    "constexpr", "continue", "decltype", "default", "delete",  "do",       "double",   "else",
      "enum",      "explicit", "export",    "extern",   "false",    "float",   "for",     "friend",   "goto",     "if",
      "inline",    "int",      "long",      "mutable",  "new",      "not",     "nullptr", "operator", "or",       "private",
      "protected", "public",   "register",  "restrict", "return",   "short",   "signed",  "sizeof",   "static",   "struct",
      "switch",    "template", "this",      "throw",    "true",     "try",     "typedef", "typeid",   "typename", "union",
      "unsigned",  "using",    "virtual",   "void",     "volatile", "while",   "xor"};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    if (strcmp(words[i], name) == 0) return arena_printf("%s_", name);
  }
  return name;
}

/* A text without its lines that include another file of the runtime. */
static void put_without_includes(StrBuf *out, const char *text)
{
  while (*text) {
    const char *end = strchr(text, '\n');
    int length = end ? (int)(end - text) : (int)strlen(text);
    if (strncmp(text, "#include \"", 10) != 0) sb_printf(out, "%.*s\n", length, text);
    text += length + (end != NULL);
  }
}

static bool is_data(const Family *f)
{
  return f->role == ROLE_INPUT || f->role == ROLE_OBSERVED;
}

static bool is_latent(const Family *f)
{
  return f->role == ROLE_GLOBAL || f->role == ROLE_LOCAL || f->role == ROLE_PARAM;
}

static int family_rank(const Family *f)
{
  return f->n_index + type_rank(f->type.kind);
}

/* The statements that define a family, each as a comment. Comments within them lose their ends, lest they end this one. */
static void put_definitions(const Model *m, const Family *f, const char *indent, StrBuf *out)
{
  for (int i = 0; i < f->n_statements; i++) {
    sb_printf(out, "%s/* ", indent);
    for (const char *p = source_slice(m->stmts.at[f->statements[i]].span); *p; p++) {
      sb_putc(out, *p);
      if ((p[0] == '*' && p[1] == '/') || (p[0] == '/' && p[1] == '*')) sb_putc(out, ' ');
    }
    sb_puts(out, " */\n");
  }
}

static void put_data(const Model *m, StrBuf *out)
{
  bool any = false;
  sb_printf(
      out,
      "/* A batch of observations. `value` NULL: not given; NaN in it: missing. `dim`: extents, indices first, then those of a vector or\n"
      " * matrix; values are row-major, lowest index first. */\n"
      "typedef struct {\n");
  for (int i = 0; i < m->families.n; i++) {
    const Family *f = &m->families.at[i];
    int rank = family_rank(f);
    if (!is_data(f)) continue;
    any = true;
    put_definitions(m, f, "  ", out);
    sb_printf(out, "  struct { const double *value;");
    if (rank) sb_printf(out, " long dim[%d];", rank);
    sb_printf(out, " } %s;\n", member_name(f->name));
  }
  if (!any) sb_printf(out, "  int nothing;\n");
  sb_printf(out, "} %s_data;\n\n", m->name);
}

static void put_infer(const Model *m, StrBuf *out)
{
  int n = 0;
  sb_printf(
      out,
      "/* See pgm_posterior_infer. */\n"
      "static inline PgmStatus %s_infer(const PgmPosterior *posterior, const %s_data *data, PgmInference **out, PgmError *error)\n{\n",
      m->name, m->name);
  for (int i = 0; i < m->families.n; i++) n += is_data(&m->families.at[i]);
  if (!n) {
    sb_printf(out, "  (void)data;\n  return pgm_posterior_infer(posterior, NULL, 0, NULL, out, error);\n}\n\n");
    return;
  }
  sb_printf(out, "  const PgmValues values[] = {\n");
  for (int i = 0; i < m->families.n; i++) {
    const Family *f = &m->families.at[i];
    if (!is_data(f)) continue;
    int rank = family_rank(f);
    sb_printf(out, "    {\"%s\", %d, ", f->name, rank);
    if (rank)
      sb_printf(out, "data->%s.dim", member_name(f->name));
    else
      sb_puts(out, "NULL");
    sb_printf(out, ", data->%s.value},\n", member_name(f->name));
  }
  sb_printf(out, "  };\n  return pgm_posterior_infer(posterior, values, %d, NULL, out, error);\n}\n\n", n);
}

void header_print(const Model *m, const char *error_h, const char *pgm_h, StrBuf *out)
{
  const char *name = m->name;
  sb_printf(out,
            "/* %s.h - posteriors of the model %s in C; written by pgmc. Link with lib%s.a and\n"
            " *   -fopenmp -lgsl -ljansson -lz -lm\n"
            " * First the interface that all models share, at the end what is this model's. */\n",
            name, name, name);
  put_without_includes(out, error_h);
  put_without_includes(out, pgm_h);
  sb_printf(out,
            "\n/* ---- %s ---- */\n#ifndef PGM_MODEL_%s_H\n#define PGM_MODEL_%s_H\n\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n"
            "const PgmModel *%s_model(void);\n\n"
            "/* A fit of this model, from a file or from its bytes in memory: see pgm_posterior_open. */\n"
            "static inline PgmStatus %s_open(const char *path, PgmPosterior **out, PgmError *error)\n"
            "{\n  return pgm_posterior_open(out, %s_model(), path, error);\n}\n"
            "static inline PgmStatus %s_open_memory(const void *bytes, size_t size, PgmPosterior **out, PgmError *error)\n"
            "{\n  return pgm_posterior_from_memory(out, %s_model(), bytes, size, error);\n}\n\n",
            name, name, name, name, name, name, name, name);
  put_data(m, out);
  put_infer(m, out);
  for (int i = 0; i < m->families.n; i++) {
    const Family *f = &m->families.at[i];
    if (!is_latent(f)) continue;
    put_definitions(m, f, "", out);
    sb_printf(out,
              "static inline const PgmMarginal *%s_posterior_%s(const PgmInference *inference)\n"
              "{\n  return pgm_inference_find(inference, \"%s\");\n}\n",
              name, f->name, f->name);
  }
  sb_printf(out, "\n#ifdef __cplusplus\n}\n#endif\n#endif\n");
}
