/* Fail or kill at the n-th call that changes what is below one folder.
 *
 * Preloaded into Python. Until `fault_arm` is called, everything passes. From then on the
 * calls of write, fsync, rename, lock, unlink and their like on files below the folder are
 * counted, and number `at` of them fails with `code`, or ends the process by SIGKILL
 * right before or right after it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum { FAIL, KILL_BEFORE, KILL_AFTER };

static char root[PATH_MAX];
static long at, mode, code, seen;
static char names[4096][12];

void fault_arm(const char *folder, long number, long how, long error) {
    at = number, mode = how, code = error, seen = 0;
    strncpy(root, folder, sizeof root - 1);
}

long fault_seen(void) { return seen; }

const char *fault_name(long number) { return names[number & 4095]; }

static int is_below(int folder, const char *path) {
    char whole[PATH_MAX], link[64];
    if (!root[0] || !path) return 0;
    if (path[0] == '/') return !strncmp(path, root, strlen(root));
    if (folder == AT_FDCWD) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t length = readlink(link, whole, sizeof whole - 1);
    return length > 0 && !strncmp(whole, root, strlen(root));
}

static int is_file_below(int fd) { return root[0] && is_below(fd, "."); }

/* Count a call; return 1 if it is to fail, 2 if the process is to end after it. */
static int fate(const char *name) {
    strncpy(names[++seen & 4095], name, 11);
    if (seen != at) return 0;
    if (mode == KILL_BEFORE) kill(getpid(), SIGKILL);
    if (mode == KILL_AFTER) return 2;
    errno = (int)code;
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define CALL(name, test, ...)                                                          \
    do {                                                                               \
        int doom = (test) ? fate(#name) : 0;                                           \
        if (doom == 1) return -1;                                                      \
        __auto_type result = REAL(name)(__VA_ARGS__);                                  \
        if (doom == 2) kill(getpid(), SIGKILL);                                        \
        return result;                                                                 \
    } while (0)

ssize_t write(int fd, const void *data, size_t n) {
    CALL(write, is_file_below(fd), fd, data, n);
}
ssize_t pwrite(int fd, const void *data, size_t n, off_t where) {
    CALL(pwrite, is_file_below(fd), fd, data, n, where);
}
int ftruncate(int fd, off_t n) { CALL(ftruncate, is_file_below(fd), fd, n); }
int fsync(int fd) { CALL(fsync, is_file_below(fd), fd); }
int flock(int fd, int how) { CALL(flock, is_file_below(fd), fd, how); }
int mkdir(const char *path, mode_t how) { CALL(mkdir, is_below(AT_FDCWD, path), path, how); }
int rmdir(const char *path) { CALL(rmdir, is_below(AT_FDCWD, path), path); }
int unlink(const char *path) { CALL(unlink, is_below(AT_FDCWD, path), path); }
int unlinkat(int folder, const char *path, int how) {
    CALL(unlinkat, is_below(folder, path), folder, path, how);
}
int rename(const char *old, const char *new) {
    CALL(rename, is_below(AT_FDCWD, new), old, new);
}
int renameat(int from, const char *old, int to, const char *new) {
    CALL(renameat, is_below(to, new), from, old, to, new);
}
int renameat2(int from, const char *old, int to, const char *new, unsigned how) {
    CALL(renameat2, is_below(to, new), from, old, to, new, how);
}

static int opened(const char *name, int folder, const char *path, int flags, mode_t how) {
    int doom = (flags & O_CREAT) && is_below(folder, path) ? fate("create") : 0;
    if (doom == 1) return -1;
    __typeof__(&openat) call = dlsym(RTLD_NEXT, name);
    int result = call(folder, path, flags, how);
    if (doom == 2) kill(getpid(), SIGKILL);
    return result;
}

#define MODE(last)                                                                     \
    mode_t how = 0;                                                                    \
    if (flags & O_CREAT) {                                                             \
        va_list rest;                                                                  \
        va_start(rest, last);                                                          \
        how = va_arg(rest, mode_t);                                                    \
        va_end(rest);                                                                  \
    }

int open(const char *path, int flags, ...) {
    MODE(flags)
    return opened("openat", AT_FDCWD, path, flags, how);
}
int open64(const char *path, int flags, ...) {
    MODE(flags)
    return opened("openat64", AT_FDCWD, path, flags, how);
}
int openat(int folder, const char *path, int flags, ...) {
    MODE(flags)
    return opened("openat", folder, path, flags, how);
}
int openat64(int folder, const char *path, int flags, ...) {
    MODE(flags)
    return opened("openat64", folder, path, flags, how);
}
