/* Files that appear whole or not at all: written under a temporary name in the same directory, synced, renamed over the old file, and the
 * directory synced, so that a crash leaves the old file or the new one (POSIX rename(2) is atomic within a file system; fsync(2) on the
 * directory makes the new name last). In: a path and bytes written to `stream`. Out: the file, or an error and no trace. */
#include "atomic.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static PgmStatus system_error(PgmError *error, const char *path, int number)
{
  return pgm_fail(error, PGM_SYSTEM, "%s: %s", path, strerror(number));
}

/* Opens a new file beside `f->path` under a name nobody has, with the permissions `mode` (less the umask); -1 and errno otherwise. */
static int open_beside(PgmAtomicFile *f, mode_t mode)
{
  const char *slash = strrchr(f->path, '/');
  int directory = slash ? (int)(slash - f->path) + 1 : 0;
  for (unsigned attempt = 0; attempt < 100; attempt++) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int length = snprintf(f->temporary, sizeof f->temporary, "%.*s.%s.%lx-%lx.tmp", directory, f->path, f->path + directory, (long)getpid(),
                          (unsigned long)now.tv_nsec + attempt);
    if (length < 0 || (size_t)length >= sizeof f->temporary) {
      errno = ENAMETOOLONG;
      break;
    }
    int fd = open(f->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd >= 0) return fd;
    if (errno != EEXIST) break;
  }
  f->temporary[0] = '\0';
  return -1;
}

PgmStatus pgm_atomic_open(PgmAtomicFile *f, const char *path, PgmError *error)
{
  struct stat status;
  bool exists = stat(path, &status) == 0;
  f->stream = NULL;
  f->temporary[0] = '\0';
  if (strlen(path) >= sizeof f->path) return system_error(error, path, ENAMETOOLONG);
  strcpy(f->path, path);
  if (exists && S_ISDIR(status.st_mode)) return system_error(error, path, EISDIR);
  if (exists && !S_ISREG(status.st_mode)) {
    f->stream = fopen(path, "w");
    return f->stream ? PGM_OK : system_error(error, path, errno);
  }
  if (exists) { /* rename would replace a symbolic link, and ask the directory where the file says no */
    char *real = realpath(path, NULL);
    bool fits = real && strlen(real) < sizeof f->path;
    if (fits) strcpy(f->path, real);
    free(real);
    if (!fits) return system_error(error, path, errno ? errno : ENAMETOOLONG);
    if (access(f->path, W_OK) != 0) return system_error(error, path, errno);
  }
  int fd = open_beside(f, 0666);
  if (fd < 0) return system_error(error, path, errno);
  if (exists) (void)!fchmod(fd, status.st_mode & 07777);
  f->stream = fdopen(fd, "w");
  if (f->stream) return PGM_OK;
  int number = errno;
  close(fd);
  pgm_atomic_discard(f);
  return system_error(error, path, number);
}

static void sync_directory(const char *path)
{
  char directory[PGM_PATH_SIZE];
  strcpy(directory, path);
  char *slash = strrchr(directory, '/');
  if (!slash)
    strcpy(directory, ".");
  else
    slash[slash == directory] = '\0';
  int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  (void)!fsync(fd); /* some file systems cannot: the data themselves are safe */
  close(fd);
}

PgmStatus pgm_atomic_commit(PgmAtomicFile *f, PgmError *error)
{
  bool in_place = !f->temporary[0];
  int number = 0;
  if (fflush(f->stream) != 0 || ferror(f->stream)) number = errno ? errno : EIO;
  if (!number && !in_place && fsync(fileno(f->stream)) != 0) number = errno;
  if (fclose(f->stream) != 0 && !number) number = errno;
  f->stream = NULL;
  if (!number && !in_place && rename(f->temporary, f->path) != 0) number = errno;
  if (number) {
    pgm_atomic_discard(f);
    return system_error(error, f->path, number);
  }
  f->temporary[0] = '\0';
  if (!in_place) sync_directory(f->path);
  return PGM_OK;
}

void pgm_atomic_discard(PgmAtomicFile *f)
{
  if (f->stream) fclose(f->stream);
  f->stream = NULL;
  if (f->temporary[0]) unlink(f->temporary);
  f->temporary[0] = '\0';
}
