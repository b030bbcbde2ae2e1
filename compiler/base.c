/* Arena, interned names, vectors, string buffer: base.h.
 *
 * The arena is a chain of blocks; interned names live in it, in an open-addressing table (FNV-1a). Under AddressSanitizer every request
 * has a block of its own, so that it sees who writes past the end of a structure. */
#include "base.h"

#include <stdlib.h>
#include <string.h>

#ifndef __has_feature /* gcc has a macro where clang has a feature */
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define BLOCK_BYTES ((size_t)0)
#else
#define BLOCK_BYTES ((size_t)1 << 20)
#endif
#define ALIGNMENT _Alignof(max_align_t)

typedef struct Block {
  struct Block *next;
  max_align_t bytes[];
} Block;

static struct {
  Block *blocks;
  char *at; /* free space of the current block */
  size_t left;
} arena;

static char *new_block(size_t bytes)
{
  Block *b = bytes < SIZE_MAX - sizeof *b ? calloc(1, sizeof *b + bytes) : NULL;
  if (!b) {
    fprintf(stderr, "pgmc: out of memory\n");
    exit(3);
  }
  b->next = arena.blocks;
  arena.blocks = b;
  return (char *)b->bytes;
}

void *arena_alloc(size_t bytes)
{
  if (!BLOCK_BYTES || bytes > BLOCK_BYTES / 4) return new_block(bytes); /* large requests get a block of their own */
  bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  if (bytes > arena.left) {
    arena.at = new_block(BLOCK_BYTES);
    arena.left = BLOCK_BYTES;
  }
  void *p = arena.at;
  arena.at += bytes;
  arena.left -= bytes;
  return p;
}

/* ---- names ----------------------------------------------------------------------------------------------------------------- */

static struct {
  Name *slot;
  size_t size, used;
} names; /* size: a power of two, at most half full */

void arena_reset(void)
{
  while (arena.blocks) {
    Block *next = arena.blocks->next;
    free(arena.blocks);
    arena.blocks = next;
  }
  memset(&arena, 0, sizeof arena);
  memset(&names, 0, sizeof names);
}

static uint64_t text_hash(const char *text, size_t length)
{
  uint64_t h = 1469598103934665603u;
  for (size_t i = 0; i < length; i++) h = (h ^ (unsigned char)text[i]) * 1099511628211u;
  return h;
}

static size_t name_slot(const char *text, size_t length)
{
  size_t i = text_hash(text, length) & (names.size - 1);
  while (names.slot[i] && (strncmp(names.slot[i], text, length) || names.slot[i][length])) i = (i + 1) & (names.size - 1);
  return i;
}

Name intern_n(const char *text, size_t length)
{
  if (2 * (names.used + 1) > names.size) {
    Name *old = names.slot;
    size_t n = names.size;
    names.size = n ? 2 * n : 256;
    names.slot = NEW_ARRAY(Name, names.size);
    for (size_t i = 0; i < n; i++)
      if (old[i]) names.slot[name_slot(old[i], strlen(old[i]))] = old[i];
  }
  size_t i = name_slot(text, length);
  if (!names.slot[i]) {
    char *copy = arena_alloc(length + 1);
    memcpy(copy, text, length);
    names.slot[i] = copy;
    names.used++;
  }
  return names.slot[i];
}

Name intern(const char *text)
{
  return intern_n(text, strlen(text));
}

/* ---- vectors and strings --------------------------------------------------------------------------------------------------- */

void vec_grow(void **at, int *cap, size_t size)
{
  int more = *cap ? 2 * *cap : 8;
  void *p = arena_alloc(size * (size_t)more);
  if (*cap) memcpy(p, *at, size * (size_t)*cap);
  *at = p;
  *cap = more;
}

static void sb_reserve(StrBuf *b, size_t more)
{
  if (b->length + more + 1 <= b->cap) return;
  size_t cap = b->cap ? 2 * b->cap : 64;
  while (cap < b->length + more + 1) cap *= 2;
  char *text = arena_alloc(cap);
  if (b->length) memcpy(text, b->text, b->length);
  b->text = text;
  b->cap = cap;
}

void sb_putc(StrBuf *b, char c)
{
  sb_reserve(b, 1);
  b->text[b->length++] = c;
  b->text[b->length] = 0;
}

void sb_puts(StrBuf *b, const char *s)
{
  size_t n = strlen(s);
  sb_reserve(b, n);
  memcpy(b->text + b->length, s, n + 1);
  b->length += n;
}

void sb_vprintf(StrBuf *b, const char *format, va_list args)
{
  va_list again;
  va_copy(again, args);
  int n = vsnprintf(NULL, 0, format, args);
  ASSERT(n >= 0);
  sb_reserve(b, (size_t)n);
  vsnprintf(b->text + b->length, (size_t)n + 1, format, again);
  va_end(again);
  b->length += (size_t)n;
}

void sb_printf(StrBuf *b, const char *format, ...)
{
  va_list args;
  va_start(args, format);
  sb_vprintf(b, format, args);
  va_end(args);
}

const char *sb_text(const StrBuf *b)
{
  return b->text ? b->text : "";
}

const char *arena_printf(const char *format, ...)
{
  StrBuf b = {0};
  va_list args;
  va_start(args, format);
  sb_vprintf(&b, format, args);
  va_end(args);
  return sb_text(&b);
}

_Noreturn void bug_abort(const char *file, int line, const char *format, ...)
{
  va_list args;
  va_start(args, format);
  fprintf(stderr, "pgmc: internal error at %s:%d: ", file, line);
  vfprintf(stderr, format, args);
  fprintf(stderr, "\npgmc: this is a bug in pgmc; please report it with the model that caused it\n");
  va_end(args);
  exit(5);
}

long gcd(long a, long b)
{
  a = labs(a), b = labs(b);
  while (b) {
    long t = a % b;
    a = b;
    b = t;
  }
  return a;
}
