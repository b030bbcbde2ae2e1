/* One verdict per family: see pieces.h. */
#include "pieces.h"

#include <ctype.h>
#include <string.h>

/* From easy to hard to amortise; a piece that is pruned has no factor and no say. */
static int hardness(const LatentVerdict *v)
{
  static const char *const order[] = {"pruned", "closes", "set", "slice", "position", "data", "unbounded", "unbounded-set", "unknown"};
  const int n = sizeof order / sizeof *order;
  for (int i = 0; i < n; i++)
    if (!strcmp(v->verdict, order[i])) return i;
  return n;                             /* global, param, marginal: families of one kind throughout */
}

bool verdict_has_inputs(const LatentVerdict *v)
{
  return v->amortize || !strcmp(v->verdict, "closes") || !strcmp(v->verdict, "set") || !strcmp(v->verdict, "slice");
}

/* `text` with the index variables `from` called as in `to`: "x[m-1]" of a piece z[m] is "x[n-1]" to z[n]. */
static const char *renamed(const char *text, const TextList *from, const TextList *to)
{
  StrBuf out = {0};
  while (*text) {
    size_t length = 0;
    while (isalnum((unsigned char)text[length]) || text[length] == '_') length++;
    if (!length) {
      sb_putc(&out, *text++);
      continue;
    }
    const char *name = arena_printf("%.*s", (int)length, text);
    for (int k = 0; k < from->n && k < to->n; k++)
      if (!strcmp(name, from->at[k])) {
        name = to->at[k];
        break;
      }
    sb_puts(&out, name);
    text += length;
  }
  return sb_text(&out);
}

static void unite(TextList *all, const TextList *more, const TextList *from, const TextList *to)
{
  for (int i = 0; i < more->n; i++) {
    const char *text = renamed(more->at[i], from, to);
    bool there = false;
    for (int k = 0; k < all->n && !there; k++) there = !strcmp(all->at[k], text);
    if (!there) VEC_PUSH(*all, text);
  }
}

const LatentVerdict *family_verdict(const Analysis *a, int family)
{
  const LatentVerdict *only = NULL, *hardest = NULL;
  int n = 0;
  for (int i = 0; i < a->latents.n; i++) {
    const LatentVerdict *v = &a->latents.at[i];
    if (v->family != family) continue;
    n++;
    if (!only) only = v;
    if (!hardest || hardness(v) > hardness(hardest)) hardest = v;
  }
  if (n <= 1) return only;
  LatentVerdict *all = NEW(LatentVerdict);
  *all = *hardest;
  memset(&all->remedies, 0, sizeof all->remedies);
  for (int i = 0; i < hardest->remedies.n; i++) {
    Remedy r = hardest->remedies.at[i];
    r.domain = (TextList){0};
    unite(&r.domain, &hardest->remedies.at[i].domain, &hardest->index, &only->index);
    VEC_PUSH(all->remedies, r);
  }
  all->index = only->index;
  all->separable = true;
  all->domain = all->sd_domain = all->inputs = all->window = (TextList){0};
  for (int i = 0; i < a->latents.n; i++) {
    const LatentVerdict *v = &a->latents.at[i];
    if (v->family != family || (v != hardest && hardness(v) == 0)) continue;
    all->separable &= v->separable;
    unite(&all->domain, &v->domain, &v->index, &only->index);
    unite(&all->sd_domain, &v->sd_domain, &v->index, &only->index);
    unite(&all->inputs, &v->inputs, &v->index, &only->index);
    unite(&all->window, &v->window, &v->index, &only->index);
  }
  return all;
}
