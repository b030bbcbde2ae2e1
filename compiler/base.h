/* The small things every pass uses: an arena, vectors, interned names, a string buffer.
 *
 * The compiler allocates from one arena and never frees: structures live until the process ends, and pointers to them stay valid.
 * Vectors grow in the arena too (the old block is left behind), so a pointer INTO a vector is invalid after a push: keep indices. */
#ifndef PGMC_BASE_H
#define PGMC_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

void *arena_alloc(size_t bytes);                      /* zeroed, aligned for any type; exits with status 3 when memory is out */
void arena_reset(void);                               /* gives everything back, names too: between models, in tests */
#define NEW(T) ((T *)arena_alloc(sizeof(T)))
#define NEW_ARRAY(T, n) ((T *)arena_alloc(sizeof(T) * (size_t)(n)))

/* Interned names: equal text means equal pointer, so names compare with ==. */
typedef const char *Name;
Name intern(const char *text);
Name intern_n(const char *text, size_t length);

/* VEC(int) ids = {0}; VEC_PUSH(ids, 3); for (int i = 0; i < ids.n; i++) ids.at[i] */
#define VEC(T) struct { T *at; int n, cap; }
#define VEC_PUSH(v, ...)                                                                                              \
  do {                                                                                                                \
    if ((v).n == (v).cap) vec_grow((void **)&(v).at, &(v).cap, sizeof *(v).at);                                       \
    (v).at[(v).n++] = (__VA_ARGS__);                                                                                  \
  } while (0)
void vec_grow(void **at, int *cap, size_t size);

/* Text under construction; `text` is always terminated (or NULL while empty). */
typedef struct { char *text; size_t length, cap; } StrBuf;
void sb_putc(StrBuf *b, char c);
void sb_puts(StrBuf *b, const char *s);
void sb_printf(StrBuf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sb_vprintf(StrBuf *b, const char *format, va_list args);
const char *sb_text(const StrBuf *b);                 /* "" when empty */
const char *arena_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));

long gcd(long a, long b);                             /* not negative; gcd(a, 0) is |a| */

/* Our own bugs end here: names the place, asks for a report, exits with status 5. */
#define BUG(...) bug_abort(__FILE__, __LINE__, __VA_ARGS__)
_Noreturn void bug_abort(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));
#define ASSERT(cond) ((cond) ? (void)0 : BUG("%s", #cond))

#endif
