// Loaded with LD_PRELOAD into a program that is being tested: counts what the program writes below one
// folder, and makes operation number N go wrong. What counts is whatever changes a file system: writing,
// making room, flushing, opening for writing, making, linking and renaming.
//
//   FAULT_FOLDER  absolute path; operations elsewhere are left alone
//   FAULT_AT      number of the operation, from 1; 0 only counts
//   FAULT_ERRNO   the error's number, "kill" (SIGKILL before the operation), "term" (SIGTERM, and it goes on)
//   or
//                 "clock" (nothing fails, but from now on the clock of the day is wrong by FAULT_CLOCK
//                 seconds)
//   FAULT_CLOCK   seconds, perhaps negative
//   FAULT_STAYS   "1": all operations after it fail as well, as on a disk that stays full; removing files
//   still works FAULT_REPORT  a file that is given "<operations> <hits> <name and path of the first hit>" at
//   the end of each hit,
//                 and at exit
#define _GNU_SOURCE
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>

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
#include <time.h>
#include <unistd.h>

static const char* folder;
static size_t folder_length;
static const char* report;
static long fail_at;
static int fail_with;
static int kill_with;
static int jumps;
static long clock_error;
static atomic_int clock_is_wrong;
static int stays;
static atomic_long operations;
static atomic_long hits;
static char first_hit[PATH_MAX + 64];

static long (*real_syscall)(long number, ...);

// The next definition of the function that this stands in for. All are looked up by their own name.
#define REAL(function)               \
  static __typeof__(&function) real; \
  if (real == NULL) real = (__typeof__(&function))dlsym(RTLD_NEXT, #function)

static void tell(void) {
  if (report == NULL) return;
  char text[PATH_MAX + 128];
  const int length =
      snprintf(text, sizeof text, "%ld %ld %s\n", atomic_load(&operations), atomic_load(&hits), first_hit);
  const long file =
      real_syscall(SYS_openat, AT_FDCWD, report, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0) return;
  real_syscall(SYS_write, file, text, (long)length);
  real_syscall(SYS_close, file);
}

__attribute__((constructor)) static void begin(void) {
  real_syscall = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
  folder = getenv("FAULT_FOLDER");
  report = getenv("FAULT_REPORT");
  const char* at = getenv("FAULT_AT");
  const char* with = getenv("FAULT_ERRNO");
  const char* stay = getenv("FAULT_STAYS");
  if (folder != NULL) folder_length = strlen(folder);
  if (at != NULL) fail_at = atol(at);
  if (with != NULL && strcmp(with, "kill") == 0) {
    kill_with = SIGKILL;
  } else if (with != NULL && strcmp(with, "term") == 0) {
    kill_with = SIGTERM;
  } else if (with != NULL && strcmp(with, "clock") == 0) {
    jumps = 1;
    const char* seconds = getenv("FAULT_CLOCK");
    clock_error = seconds != NULL ? atol(seconds) : 0;
  } else if (with != NULL) {
    fail_with = atoi(with);
  }
  stays = stay != NULL && strcmp(stay, "1") == 0;
}

__attribute__((destructor)) static void end(void) {
  tell();
}

static int is_inside(const char* path) {
  return strncmp(path, folder, folder_length) == 0 &&
         (path[folder_length] == '/' || path[folder_length] == '\0');
}

static int path_of(int descriptor, char* path) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  const long length = real_syscall(SYS_readlink, link, path, PATH_MAX - 1);
  if (length < 0) return 0;
  path[length] = '\0';
  return 1;
}

// True if the operation is to fail, with errno set.
static int count(const char* what, const char* path) {
  const long number = atomic_fetch_add(&operations, 1) + 1;
  if (fail_at == 0 || number < fail_at || (number > fail_at && !stays)) return 0;
  if (atomic_fetch_add(&hits, 1) == 0) snprintf(first_hit, sizeof first_hit, "%s %s", what, path);
  tell();
  if (jumps) atomic_store(&clock_is_wrong, 1);
  if (kill_with != 0) real_syscall(SYS_kill, (long)getpid(), (long)kill_with);
  if (jumps || kill_with != 0) return 0;
  errno = fail_with;
  return 1;
}

static int fails_on(const char* what, int descriptor) {
  if (folder == NULL) return 0;
  char path[PATH_MAX];
  const int kept = errno;
  const int inside = path_of(descriptor, path) && is_inside(path);
  errno = kept;
  return inside && count(what, path);
}

static int fails_at(const char* what, int directory, const char* name) {
  if (folder == NULL || name == NULL) return 0;
  char path[2 * PATH_MAX];
  const int kept = errno;
  int inside = 0;
  if (name[0] == '/') {
    inside = is_inside(name);
    snprintf(path, sizeof path, "%s", name);
  } else if (directory == AT_FDCWD) {
    inside = real_syscall(SYS_getcwd, path, (long)PATH_MAX) > 0 && is_inside(path);
  } else if (path_of(directory, path)) {
    inside = is_inside(path);
    const size_t length = strlen(path);
    snprintf(path + length, sizeof path - length, "/%s", name);
  }
  errno = kept;
  return inside && count(what, path);
}

static int writes(int flags) {
  return (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC)) != 0;
}

// ---- on descriptors ----

#define ON_DESCRIPTOR(result, name, parameters, arguments) \
  result name parameters {                                 \
    REAL(name);                                            \
    if (fails_on(#name, descriptor)) return (result) - 1;  \
    return real arguments;                                 \
  }

ON_DESCRIPTOR(ssize_t, write, (int descriptor, const void* bytes, size_t size), (descriptor, bytes, size))
ON_DESCRIPTOR(ssize_t, pwrite, (int descriptor, const void* bytes, size_t size, off_t at),
              (descriptor, bytes, size, at))
ON_DESCRIPTOR(ssize_t, pwrite64, (int descriptor, const void* bytes, size_t size, off64_t at),
              (descriptor, bytes, size, at))
ON_DESCRIPTOR(ssize_t, writev, (int descriptor, const struct iovec* parts, int size),
              (descriptor, parts, size))
ON_DESCRIPTOR(ssize_t, pwritev, (int descriptor, const struct iovec* parts, int size, off_t at),
              (descriptor, parts, size, at))
ON_DESCRIPTOR(int, fsync, (int descriptor), (descriptor))
ON_DESCRIPTOR(int, fdatasync, (int descriptor), (descriptor))
ON_DESCRIPTOR(int, syncfs, (int descriptor), (descriptor))
ON_DESCRIPTOR(int, ftruncate, (int descriptor, off_t size), (descriptor, size))
ON_DESCRIPTOR(int, ftruncate64, (int descriptor, off64_t size), (descriptor, size))
ON_DESCRIPTOR(int, fallocate, (int descriptor, int mode, off_t at, off_t size), (descriptor, mode, at, size))
ON_DESCRIPTOR(int, fallocate64, (int descriptor, int mode, off64_t at, off64_t size),
              (descriptor, mode, at, size))
ON_DESCRIPTOR(int, fchmod, (int descriptor, mode_t mode), (descriptor, mode))
ON_DESCRIPTOR(int, fchown, (int descriptor, uid_t user, gid_t group), (descriptor, user, group))
ON_DESCRIPTOR(int, futimens, (int descriptor, const struct timespec times[2]), (descriptor, times))
ON_DESCRIPTOR(int, fsetxattr, (int descriptor, const char* name, const void* value, size_t size, int flags),
              (descriptor, name, value, size, flags))

// These two return the error instead of setting errno.
int posix_fallocate(int descriptor, off_t at, off_t size) {
  REAL(posix_fallocate);
  return fails_on("posix_fallocate", descriptor) ? errno : real(descriptor, at, size);
}
int posix_fallocate64(int descriptor, off64_t at, off64_t size) {
  REAL(posix_fallocate64);
  return fails_on("posix_fallocate64", descriptor) ? errno : real(descriptor, at, size);
}

ssize_t copy_file_range(int from, off64_t* from_at, int descriptor, off64_t* at, size_t size,
                        unsigned flags) {
  REAL(copy_file_range);
  if (fails_on("copy_file_range", descriptor)) return -1;
  return real(from, from_at, descriptor, at, size, flags);
}

// ---- on paths ----

#define ON_PATH(name, directory, path, parameters, arguments) \
  int name parameters {                                       \
    REAL(name);                                               \
    if (fails_at(#name, directory, path)) return -1;          \
    return real arguments;                                    \
  }

ON_PATH(rename, AT_FDCWD, to, (const char* from, const char* to), (from, to))
ON_PATH(renameat, directory, to, (int from_directory, const char* from, int directory, const char* to),
        (from_directory, from, directory, to))
ON_PATH(renameat2, directory, to,
        (int from_directory, const char* from, int directory, const char* to, unsigned flags),
        (from_directory, from, directory, to, flags))
ON_PATH(link, AT_FDCWD, to, (const char* from, const char* to), (from, to))
ON_PATH(linkat, directory, to,
        (int from_directory, const char* from, int directory, const char* to, int flags),
        (from_directory, from, directory, to, flags))
ON_PATH(symlink, AT_FDCWD, to, (const char* target, const char* to), (target, to))
ON_PATH(symlinkat, directory, to, (const char* target, int directory, const char* to),
        (target, directory, to))
ON_PATH(mkdir, AT_FDCWD, path, (const char* path, mode_t mode), (path, mode))
ON_PATH(mkdirat, directory, path, (int directory, const char* path, mode_t mode), (directory, path, mode))
ON_PATH(mknod, AT_FDCWD, path, (const char* path, mode_t mode, dev_t device), (path, mode, device))
ON_PATH(mknodat, directory, path, (int directory, const char* path, mode_t mode, dev_t device),
        (directory, path, mode, device))
ON_PATH(chmod, AT_FDCWD, path, (const char* path, mode_t mode), (path, mode))
ON_PATH(fchmodat, directory, path, (int directory, const char* path, mode_t mode, int flags),
        (directory, path, mode, flags))
ON_PATH(fchownat, directory, path, (int directory, const char* path, uid_t user, gid_t group, int flags),
        (directory, path, user, group, flags))
ON_PATH(utimensat, directory, path,
        (int directory, const char* path, const struct timespec times[2], int flags),
        (directory, path, times, flags))
ON_PATH(truncate, AT_FDCWD, path, (const char* path, off_t size), (path, size))

// ---- opening ----

#define MODE_ARGUMENT                         \
  mode_t mode = 0;                            \
  if ((flags & (O_CREAT | O_TMPFILE)) != 0) { \
    va_list rest;                             \
    va_start(rest, flags);                    \
    mode = va_arg(rest, mode_t);              \
    va_end(rest);                             \
  }

int open(const char* path, int flags, ...) {
  REAL(open);
  MODE_ARGUMENT
  if (writes(flags) && fails_at("open", AT_FDCWD, path)) return -1;
  return real(path, flags, mode);
}
int open64(const char* path, int flags, ...) {
  REAL(open64);
  MODE_ARGUMENT
  if (writes(flags) && fails_at("open", AT_FDCWD, path)) return -1;
  return real(path, flags, mode);
}
int openat(int directory, const char* path, int flags, ...) {
  REAL(openat);
  MODE_ARGUMENT
  if (writes(flags) && fails_at("openat", directory, path)) return -1;
  return real(directory, path, flags, mode);
}
int openat64(int directory, const char* path, int flags, ...) {
  REAL(openat64);
  MODE_ARGUMENT
  if (writes(flags) && fails_at("openat", directory, path)) return -1;
  return real(directory, path, flags, mode);
}

// ---- the clock of the day ----

int clock_gettime(clockid_t clock, struct timespec* now) {
  REAL(clock_gettime);
  const int result = real(clock, now);
  if (result == 0 && clock == CLOCK_REALTIME && atomic_load(&clock_is_wrong)) now->tv_sec += clock_error;
  return result;
}

int gettimeofday(struct timeval* now, void* zone) {
  REAL(gettimeofday);
  const int result = real(now, zone);
  if (result == 0 && atomic_load(&clock_is_wrong)) now->tv_sec += clock_error;
  return result;
}

time_t time(time_t* into) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (into != NULL) *into = now.tv_sec;
  return now.tv_sec;
}

// What has no function of its own in the C library.
struct how_to_open {
  unsigned long long flags;
  unsigned long long mode;
  unsigned long long resolve;
};

long syscall(long number, ...) {
  va_list rest;
  va_start(rest, number);
  long a[6];
  for (int i = 0; i < 6; ++i) a[i] = va_arg(rest, long);
  va_end(rest);
  if (real_syscall == NULL) real_syscall = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
  if (number == SYS_openat2) {
    const struct how_to_open* how = (const struct how_to_open*)a[2];
    if (writes((int)how->flags) && fails_at("openat2", (int)a[0], (const char*)a[1])) return -1;
  } else if (number == SYS_mknodat) {
    if (fails_at("mknodat", (int)a[0], (const char*)a[1])) return -1;
  }
  return real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
