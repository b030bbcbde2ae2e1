/* The C compiler and the files. Everything is made in a temporary directory beside the target and renamed into place, so an interrupted or failed
 * run leaves neither half a file nor a temporary one. The runtime is found from where pgmc itself stands: in its build directory, or as
 * PREFIX/bin/pgmc with PREFIX/lib/pgmc and PREFIX/include/pgmc. */
#define _GNU_SOURCE
#include "driver.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef PGMC_LDFLAGS
#define PGMC_LDFLAGS ""
#endif
#ifndef PGMC_GOMP
#define PGMC_GOMP ""                   /* libgomp.a of the compiler that built this, where it has one */
#endif

extern char **environ;

typedef VEC(const char *) Words;

static void add_words(Words *w, const char *text)
{
  while (text && *text) {
    size_t n = strcspn(text, " \t\n");
    if (n) VEC_PUSH(*w, arena_printf("%.*s", (int)n, text));
    text += n + (text[n] != 0);
  }
}

static int fail(const char *what)
{
  fprintf(stderr, "pgmc: %s: %s\n", what, strerror(errno));
  return 3;
}

/* Runs a command; 0, or 3 with a message. */
static int run(const DriverOptions *o, Words *w)
{
  VEC_PUSH(*w, NULL);
  if (o->verbose) {
    for (int i = 0; w->at[i]; i++) fprintf(stderr, "%s%s", i ? " " : "+ ", w->at[i]);
    fputc('\n', stderr);
  }
  pid_t pid;
  int error = posix_spawnp(&pid, w->at[0], NULL, NULL, (char *const *)w->at, environ), status;
  if (error) {
    fprintf(stderr, "pgmc: cannot run '%s': %s\n", w->at[0], strerror(error));
    return 3;
  }
  while (waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return fail(w->at[0]);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return 0;
  if (WIFSIGNALED(status)) fprintf(stderr, "pgmc: '%s' was ended by signal %d\n", w->at[0], WTERMSIG(status));
  else fprintf(stderr, "pgmc: '%s' failed with status %d (run with -v to see the command)\n", w->at[0], WEXITSTATUS(status));
  return 3;
}

/* ---- temporary directory ---------------------------------------------------------------------------------------------------------------- */

static char temporary[PATH_MAX];

static void remove_temporary(void)
{
  static const char *const files[] = {"model.c", "model.o", "out", "out.a", "out.h"};
  char path[PATH_MAX + 16];
  if (!*temporary) return;
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    snprintf(path, sizeof path, "%s/%s", temporary, files[i]);
    unlink(path);
  }
  rmdir(temporary);
  *temporary = 0;
}

static void interrupted(int signal_number)
{
  remove_temporary();
  _exit(128 + signal_number);
}

/* Beside `path`, so that renaming works; 0, or 3. */
static int make_temporary(const char *path)
{
  const char *slash = strrchr(path, '/');
  int n = slash ? snprintf(temporary, sizeof temporary, "%.*s/.pgmc-XXXXXX", (int)(slash - path), path) : snprintf(temporary, sizeof temporary, ".pgmc-XXXXXX");
  if (n >= (int)sizeof temporary) { errno = ENAMETOOLONG; *temporary = 0; return fail(path); }
  if (!mkdtemp(temporary)) { *temporary = 0; return fail(path); }
  atexit(remove_temporary);
  signal(SIGINT, interrupted), signal(SIGTERM, interrupted), signal(SIGHUP, interrupted);
  return 0;
}

static const char *in_temporary(const char *file) { return arena_printf("%s/%s", temporary, file); }

static int write_file(const char *path, const char *text)
{
  FILE *f = fopen(path, "w");
  if (!f) return fail(path);
  size_t n = strlen(text);
  bool ok = fwrite(text, 1, n, f) == n;
  ok = !fflush(f) && ok;
  ok = !fclose(f) && ok;
  return ok ? 0 : fail(path);
}

static int move(const char *from, const char *to)
{
  struct stat st;
  if (!stat(to, &st) && S_ISDIR(st.st_mode)) { errno = EISDIR; return fail(to); }
  return rename(from, to) ? fail(to) : 0;
}

int driver_write(const char *path, const char *text)
{
  if (!path || !strcmp(path, "-")) {
    fputs(text, stdout);
    return fflush(stdout) ? fail("standard output") : 0;
  }
  int status = make_temporary(path);
  if (!status) status = write_file(in_temporary("model.c"), text);
  return status ? status : move(in_temporary("model.c"), path);
}

/* ---- the runtime ---------------------------------------------------------------------------------------------------------------------------- */

static bool exists(const char *path) { return !access(path, R_OK); }

/* Library and header directory; 0, or 3. */
static int find_runtime(bool portable, const char **library, const char **headers)
{
  char self[PATH_MAX];
  ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
  if (n < 0) return fail("/proc/self/exe");
  self[n] = 0;
  char *slash = strrchr(self, '/');
  *slash = 0;
  const char *file = portable ? "libpgmrt-portable.a" : "libpgmrt.a";
  *library = arena_printf("%s/%s", self, file), *headers = arena_printf("%s/../runtime", self);
  if (exists(*library) && exists(arena_printf("%s/pgmrt.h", *headers))) return 0;
  *library = arena_printf("%s/../lib/pgmc/%s", self, file), *headers = arena_printf("%s/../include/pgmc", self);
  if (exists(*library) && exists(arena_printf("%s/pgmrt.h", *headers))) return 0;
  fprintf(stderr, "pgmc: the runtime (%s, pgmrt.h) is not beside '%s' nor in ../lib/pgmc and ../include/pgmc of it\n", file, self);
  return 3;
}

/* What docs/performance.md finds: vector maths without the semantics of -ffast-math. */
static const char *const kernel_flags =
  "-std=gnu11 -O3 -fno-math-errno -fno-trapping-math -fno-builtin-sin -fno-builtin-cos -fopenmp --param max-unswitch-insns=1000 -Wall";

static void start_command(Words *w, const DriverOptions *o, const char *headers)
{
  const char *cc = o->cc ? o->cc : getenv("CC");
  add_words(w, cc && *cc ? cc : "gcc");
  add_words(w, kernel_flags);
  if (!o->portable) add_words(w, "-march=native -mprefer-vector-width=512");
  VEC_PUSH(*w, arena_printf("-I%s", headers));
}

int driver_program(const DriverOptions *o, const char *path, const char *source)
{
  const char *library, *headers;
  int status = find_runtime(o->portable, &library, &headers);
  if (status || (status = make_temporary(path))) return status;
  if ((status = write_file(in_temporary("model.c"), source))) return status;
  Words w = {0};
  start_command(&w, o, headers);
  VEC_PUSH(w, in_temporary("model.c"));
  VEC_PUSH(w, "-o");
  VEC_PUSH(w, in_temporary("out"));
  VEC_PUSH(w, library);
  add_words(&w, o->cflags);
  if (!o->cc && !getenv("CC") && *PGMC_GOMP) add_words(&w, "-Wl,--as-needed -l:libgomp.a"); /* so that runtime/cli.c can tell it how to wait */
  add_words(&w, PGMC_LDFLAGS " -lgsl -ljansson -lz -lm");
  if ((status = run(o, &w))) return status;
  if (o->save_c && (status = move(in_temporary("model.c"), arena_printf("%s.c", path)))) return status;
  return move(in_temporary("out"), path);
}

const char *driver_header_text(const char *file)
{
  const char *library, *headers;
  if (find_runtime(true, &library, &headers)) exit(3);
  FILE *f = fopen(arena_printf("%s/%s", headers, file), "r");
  StrBuf text = {0};
  if (!f) exit(fail(file));
  for (int c; (c = getc(f)) != EOF;) sb_putc(&text, (char)c);
  fclose(f);
  return sb_text(&text);
}

int driver_library(const DriverOptions *o, const char *name, const char *directory, const char *source, const char *header)
{
  const char *library, *headers, *dir = directory ? directory : ".";
  const char *archive = arena_printf("%s/lib%s.a", dir, name), *public_header = arena_printf("%s/%s.h", dir, name);
  int status = find_runtime(o->portable, &library, &headers);
  if (status || (status = make_temporary(archive))) return status;
  if ((status = write_file(in_temporary("model.c"), source)) || (status = write_file(in_temporary("out.h"), header))) return status;
  Words w = {0};
  start_command(&w, o, headers);
  add_words(&w, "-fPIC -DPGM_LIBRARY -c");
  VEC_PUSH(w, in_temporary("model.c"));
  VEC_PUSH(w, "-o");
  VEC_PUSH(w, in_temporary("model.o"));
  add_words(&w, o->cflags);
  if ((status = run(o, &w))) return status;
  /* one archive with the runtime inside: cp, then ar adds the model */
  Words cp = {0}, ar = {0};
  add_words(&cp, "cp");
  VEC_PUSH(cp, library);
  VEC_PUSH(cp, in_temporary("out.a"));
  if ((status = run(o, &cp))) return status;
  add_words(&ar, "ar rcs");
  VEC_PUSH(ar, in_temporary("out.a"));
  VEC_PUSH(ar, in_temporary("model.o"));
  if ((status = run(o, &ar))) return status;
  if (o->save_c && (status = move(in_temporary("model.c"), arena_printf("%s/%s.c", dir, name)))) return status;
  if ((status = move(in_temporary("out.h"), public_header))) return status;
  return move(in_temporary("out.a"), archive);
}
