// LD_PRELOAD shim of the crash tests: counts the calls that change files below GAPLESS_SHIM_DIR and makes one of
// them kill the process or fail. Test code only; built by shim.ts with the C compiler of the machine.
//   GAPLESS_SHIM_DIR=/path/       only files below it count
//   GAPLESS_SHIM_KILL=n           SIGKILL before the n-th call (from 1); with GAPLESS_SHIM_AFTER behind it;
//                                 with GAPLESS_SHIM_TORN in the middle of it, if it is a write
//   GAPLESS_SHIM_FAIL=call:n:errno   the n-th `call` fails without being made; n = 0: every one
//   GAPLESS_SHIM_COUNT=file       the number of calls is written there at exit
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_long calls;
static atomic_long failed_calls;

static long number_of(const char* name) {
  const char* text = getenv(name);
  return text == NULL ? 0 : atol(text);
}

static int counts(const char* path) {
  const char* dir = getenv("GAPLESS_SHIM_DIR");
  return dir != NULL && path != NULL && strncmp(path, dir, strlen(dir)) == 0;
}

static int fd_counts(int fd) {
  char link[64];
  char path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return counts(path);
}

static void die(void) {
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

// 1: the call must fail with errno as set.
static int fails(const char* call) {
  const char* spec = getenv("GAPLESS_SHIM_FAIL");
  const size_t length = strlen(call);
  if (spec == NULL || strncmp(spec, call, length) != 0 || spec[length] != ':') return 0;
  const long wanted = atol(spec + length + 1);
  const long now = atomic_fetch_add(&failed_calls, 1) + 1;
  if (wanted != 0 && now != wanted) return 0;
  errno = atoi(strrchr(spec, ':') + 1);
  return 1;
}

// 2: this is the call to die in.
static int enter(const char* call) {
  if (fails(call)) return 1;
  const long now = atomic_fetch_add(&calls, 1) + 1;
  if (now != number_of("GAPLESS_SHIM_KILL")) return 0;
  if (getenv("GAPLESS_SHIM_AFTER") == NULL && getenv("GAPLESS_SHIM_TORN") == NULL) die();
  return 2;
}

__attribute__((destructor)) static void tell(void) {
  const char* path = getenv("GAPLESS_SHIM_COUNT");
  FILE* file = path == NULL ? NULL : fopen(path, "w");
  if (file == NULL) return;
  fprintf(file, "%ld\n", atomic_load(&calls));
  fclose(file);
}

#define REAL(name) \
  static __typeof__(&name) real; \
  if (real == NULL) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

#define WRAP(name, applies, result) \
  const int entered = (applies) ? enter(#name) : 0; \
  if (entered == 1) return -1; \
  result; \
  if (entered == 2) die(); \
  return done

static size_t length_of(const struct iovec* parts, int count) {
  size_t sum = 0;
  for (int i = 0; i < count; ++i) sum += parts[i].iov_len;
  return sum;
}

// Writes about half of the bytes and dies.
static void tear(int fd, const struct iovec* parts, int count, off_t at) {
  size_t left = length_of(parts, count) / 2;
  for (int i = 0; i < count && left > 0; ++i) {
    const size_t size = parts[i].iov_len < left ? parts[i].iov_len : left;
    if (pwrite(fd, parts[i].iov_base, size, at) < 0) break;
    at += (off_t)size;
    left -= size;
  }
  die();
}

static int torn(int entered) { return entered == 2 && getenv("GAPLESS_SHIM_TORN") != NULL; }

ssize_t pwritev(int fd, const struct iovec* parts, int count, off_t at) {
  REAL(pwritev);
  const int entered = fd_counts(fd) ? enter("pwritev") : 0;
  if (entered == 1) return -1;
  if (torn(entered)) tear(fd, parts, count, at);
  const ssize_t done = real(fd, parts, count, at);
  if (entered == 2) die();
  return done;
}
ssize_t pwritev64(int fd, const struct iovec* parts, int count, off64_t at) {
  REAL(pwritev64);
  const int entered = fd_counts(fd) ? enter("pwritev") : 0;
  if (entered == 1) return -1;
  if (torn(entered)) tear(fd, parts, count, at);
  const ssize_t done = real(fd, parts, count, at);
  if (entered == 2) die();
  return done;
}
int fdatasync(int fd) {
  REAL(fdatasync);
  WRAP(fdatasync, fd_counts(fd), const int done = real(fd));
}
int fsync(int fd) {
  REAL(fsync);
  WRAP(fsync, fd_counts(fd), const int done = real(fd));
}
int ftruncate(int fd, off_t size) {
  REAL(ftruncate);
  WRAP(ftruncate, fd_counts(fd), const int done = real(fd, size));
}
int ftruncate64(int fd, off64_t size) {
  REAL(ftruncate64);
  WRAP(ftruncate, fd_counts(fd), const int done = real(fd, size));
}
int fallocate(int fd, int mode, off_t at, off_t size) {
  REAL(fallocate);
  WRAP(fallocate, fd_counts(fd), const int done = real(fd, mode, at, size));
}
int fallocate64(int fd, int mode, off64_t at, off64_t size) {
  REAL(fallocate64);
  WRAP(fallocate, fd_counts(fd), const int done = real(fd, mode, at, size));
}
int rename(const char* from, const char* to) {
  REAL(rename);
  WRAP(rename, counts(to), const int done = real(from, to));
}
int unlink(const char* path) {
  REAL(unlink);
  WRAP(unlink, counts(path), const int done = real(path));
}
int mkdir(const char* path, mode_t mode) {
  REAL(mkdir);
  WRAP(mkdir, counts(path), const int done = real(path, mode));
}

#define OPEN(name) \
  int name(const char* path, int flags, ...) { \
    REAL(name); \
    va_list more; \
    va_start(more, flags); \
    const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(more, mode_t) : 0; \
    va_end(more); \
    const int entered = (flags & O_CREAT) != 0 && counts(path) ? enter("open") : 0; \
    if (entered == 1) return -1; \
    const int done = real(path, flags, mode); \
    if (entered == 2) die(); \
    return done; \
  }
OPEN(open)
OPEN(open64)
