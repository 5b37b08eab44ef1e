/* Counts what a process does to the files below one folder, and does it harm at one moment.
 *
 * Preloaded (LD_PRELOAD), it stands between every program and the C library, so it sees Python,
 * pyarrow, safetensors and git alike. Where nobody has armed it, it does nothing. What it is told,
 * and what it has seen, stands in a file that all processes of a command map.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CREATE, WRITE, RENAME, UNLINK, FSYNC, MKDIR, LINK, KINDS };
enum { COUNT, KILL, TEAR, KILL_ALL, TERMINATE, INTERRUPT, FULL, READ_ONLY, FORBIDDEN, FAILING };

struct state {
    int64_t at, mode, main;
    _Atomic int64_t count, fired;
    _Atomic int64_t kinds[KINDS];
    int64_t fired_kind;
    char fired_path[PATH_MAX];
    char root[PATH_MAX];
};

static struct state *state;

int faults_attach(const char *path) {
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return -1;
    void *where = mmap(NULL, sizeof(struct state), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (where == MAP_FAILED) return -1;
    state = where;
    return 0;
}

size_t faults_size(void) { return sizeof(struct state); }

__attribute__((constructor)) static void attach(void) {
    const char *path = getenv("FAULTS_STATE");
    if (path) faults_attach(path);
}

static int below(const char *path) {
    size_t n = strlen(state->root);
    return n && !strncmp(path, state->root, n) && (path[n] == '/' || !path[n]);
}

static int full_path(int folder, const char *path, char *out) {
    if (path[0] == '/') return snprintf(out, PATH_MAX, "%s", path) < PATH_MAX;
    char where[PATH_MAX];
    if (folder == AT_FDCWD) {
        if (!getcwd(where, sizeof where)) return 0;
    } else {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t n = readlink(link, where, sizeof where - 1);
        if (n <= 0) return 0;
        where[n] = 0;
    }
    return snprintf(out, PATH_MAX, "%s/%s", where, path) < PATH_MAX;
}

static int fd_path(int fd, char *out) {
    struct stat info;
    if (fstat(fd, &info) || !(S_ISREG(info.st_mode) || S_ISDIR(info.st_mode))) return 0;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, out, PATH_MAX - 1);
    if (n <= 0) return 0;
    out[n] = 0;
    return 1;
}

static int lasting(int kind) {
    switch (state->mode) {
    case FULL: return kind == WRITE || kind == CREATE || kind == MKDIR || kind == FSYNC ? ENOSPC : 0;
    case READ_ONLY: return EROFS;
    case FORBIDDEN: return kind == WRITE || kind == FSYNC ? 0 : EACCES;
    default: return 0;
    }
}

/* What becomes of an operation: 0 it goes on, -1 only its half, else the error it fails with. */
static int harm(int kind, const char *path) {
    int64_t number = ++state->count;
    ++state->kinds[kind];
    if (state->mode == COUNT || number < state->at) return 0;
    if (number > state->at) return lasting(kind);
    state->fired_kind = kind;
    snprintf(state->fired_path, PATH_MAX, "%s", path);
    state->fired = 1;
    switch (state->mode) {
    case KILL: kill(getpid(), SIGKILL); break;
    case TEAR: if (kind == WRITE) return -1; kill(getpid(), SIGKILL); break;
    case KILL_ALL: kill(0, SIGKILL); break;
    case TERMINATE: kill(0, SIGTERM); break;
    case INTERRUPT: kill(0, SIGINT); break;
    case FULL: if (kind == WRITE) return -1; break;
    case FAILING: return EIO;
    }
    return lasting(kind);
}

static int harm_at(int kind, int folder, const char *path) {
    char where[PATH_MAX];
    int saved = errno;
    int result = state && path && full_path(folder, path, where) && below(where) ? harm(kind, where) : 0;
    errno = saved;
    return result;
}

static int harm_fd(int kind, int fd) {
    char where[PATH_MAX];
    int saved = errno;
    int result = state && fd_path(fd, where) && below(where) ? harm(kind, where) : 0;
    errno = saved;
    return result;
}

#define REAL(name) static __typeof__(&name) real; if (!real) real = dlsym(RTLD_NEXT, #name)
#define REFUSE(what) do { int error = what; if (error > 0) { errno = error; return -1; } } while (0)

/* A write of which half happens: then the process dies, or is told so. */
#define HALF(size, call) do { ssize_t done = (size) > 1 ? (call) : 0; \
    if (state->mode == TEAR) kill(getpid(), SIGKILL); \
    if (done <= 0) { errno = ENOSPC; return -1; } return done; } while (0)

ssize_t write(int fd, const void *data, size_t size) {
    REAL(write);
    int what = harm_fd(WRITE, fd);
    if (what < 0) HALF(size, real(fd, data, size / 2));
    REFUSE(what);
    return real(fd, data, size);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    REAL(pwrite64);
    int what = harm_fd(WRITE, fd);
    if (what < 0) HALF(size, real(fd, data, size / 2, at));
    REFUSE(what);
    return real(fd, data, size, at);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return pwrite64(fd, data, size, at); }

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(writev);
    int what = harm_fd(WRITE, fd);
    if (what < 0) HALF(count, real(fd, parts, count / 2));
    REFUSE(what);
    return real(fd, parts, count);
}

ssize_t sendfile64(int to, int from, off64_t *at, size_t size) {
    REAL(sendfile64);
    int what = harm_fd(WRITE, to);
    if (what < 0) HALF(size, real(to, from, at, size / 2));
    REFUSE(what);
    return real(to, from, at, size);
}

ssize_t sendfile(int to, int from, off_t *at, size_t size) { return sendfile64(to, from, at, size); }

ssize_t copy_file_range(int from, off64_t *a, int to, off64_t *b, size_t size, unsigned flags) {
    REAL(copy_file_range);
    int what = harm_fd(WRITE, to);
    if (what < 0) HALF(size, real(from, a, to, b, size / 2, flags));
    REFUSE(what);
    return real(from, a, to, b, size, flags);
}

int ftruncate64(int fd, off64_t size) {
    REAL(ftruncate64);
    int what = harm_fd(WRITE, fd);
    if (what < 0 && state->mode == TEAR) { if (size > 1) real(fd, size / 2); kill(getpid(), SIGKILL); }
    REFUSE(what < 0 ? ENOSPC : what);
    return real(fd, size);
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

int fsync(int fd) { REAL(fsync); REFUSE(harm_fd(FSYNC, fd)); return real(fd); }
int fdatasync(int fd) { REAL(fdatasync); REFUSE(harm_fd(FSYNC, fd)); return real(fd); }

int rename(const char *a, const char *b) {
    REAL(rename); REFUSE(harm_at(RENAME, AT_FDCWD, b)); return real(a, b);
}
int renameat(int x, const char *a, int y, const char *b) {
    REAL(renameat); REFUSE(harm_at(RENAME, y, b)); return real(x, a, y, b);
}
int renameat2(int x, const char *a, int y, const char *b, unsigned flags) {
    REAL(renameat2); REFUSE(harm_at(RENAME, y, b)); return real(x, a, y, b, flags);
}
int link(const char *a, const char *b) {
    REAL(link); REFUSE(harm_at(LINK, AT_FDCWD, b)); return real(a, b);
}
int linkat(int x, const char *a, int y, const char *b, int flags) {
    REAL(linkat); REFUSE(harm_at(LINK, y, b)); return real(x, a, y, b, flags);
}
int symlink(const char *a, const char *b) {
    REAL(symlink); REFUSE(harm_at(LINK, AT_FDCWD, b)); return real(a, b);
}
int symlinkat(const char *a, int y, const char *b) {
    REAL(symlinkat); REFUSE(harm_at(LINK, y, b)); return real(a, y, b);
}
int unlink(const char *path) {
    REAL(unlink); REFUSE(harm_at(UNLINK, AT_FDCWD, path)); return real(path);
}
int unlinkat(int folder, const char *path, int flags) {
    REAL(unlinkat); REFUSE(harm_at(UNLINK, folder, path)); return real(folder, path, flags);
}
int rmdir(const char *path) {
    REAL(rmdir); REFUSE(harm_at(UNLINK, AT_FDCWD, path)); return real(path);
}
int mkdir(const char *path, mode_t mode) {
    REAL(mkdir); REFUSE(harm_at(MKDIR, AT_FDCWD, path)); return real(path, mode);
}
int mkdirat(int folder, const char *path, mode_t mode) {
    REAL(mkdirat); REFUSE(harm_at(MKDIR, folder, path)); return real(folder, path, mode);
}

#define MODE_OF(flags, mode) mode_t mode = 0; \
    if ((flags) & (O_CREAT | __O_TMPFILE)) { va_list rest; va_start(rest, flags); \
        mode = va_arg(rest, mode_t); va_end(rest); }
#define CHANGES(flags) ((flags) & (O_CREAT | O_TRUNC))

int open(const char *path, int flags, ...) {
    REAL(open);
    MODE_OF(flags, mode);
    if (CHANGES(flags)) REFUSE(harm_at(CREATE, AT_FDCWD, path));
    return real(path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    REAL(open64);
    MODE_OF(flags, mode);
    if (CHANGES(flags)) REFUSE(harm_at(CREATE, AT_FDCWD, path));
    return real(path, flags, mode);
}
int openat(int folder, const char *path, int flags, ...) {
    REAL(openat);
    MODE_OF(flags, mode);
    if (CHANGES(flags)) REFUSE(harm_at(CREATE, folder, path));
    return real(folder, path, flags, mode);
}
int openat64(int folder, const char *path, int flags, ...) {
    REAL(openat64);
    MODE_OF(flags, mode);
    if (CHANGES(flags)) REFUSE(harm_at(CREATE, folder, path));
    return real(folder, path, flags, mode);
}
FILE *fopen64(const char *path, const char *how) {
    static __typeof__(&fopen64) real;
    if (!real) real = dlsym(RTLD_NEXT, "fopen64");
    int error = how[0] == 'r' ? 0 : harm_at(CREATE, AT_FDCWD, path);
    if (error > 0) { errno = error; return NULL; }
    return real(path, how);
}
FILE *fopen(const char *path, const char *how) { return fopen64(path, how); }
