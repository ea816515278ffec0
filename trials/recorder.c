/* Records what a process asks of the file system below one folder, in the order in which it asks.

   It is loaded in front of the C library (LD_PRELOAD), so it sees the calls of Python and of SQLite alike. RECORD_UNDER
   is the folder, RECORD_TO the log: for each call that succeeded a `struct head`, then its two paths and its bytes.
   One thread writes; calls that name no absolute path are not seen, which the reader of the log finds out, because
   replaying the log must give the folder as it is. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define MOST 4096 /* file descriptors */

struct head {
    uint32_t kind, fd;             /* kind: a letter, see below */
    uint64_t place;                /* offset of a write, size of a cut */
    uint32_t path, other, data;    /* lengths of what follows */
    uint32_t unused;
};

static char inside[MOST]; /* whether a descriptor is of a file below the folder */
static int journal = -1;
static const char *under;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int below(const char *path) {
    size_t length;
    if (!under && !(under = getenv("RECORD_UNDER"))) under = "";
    length = strlen(under);
    return length && path && !strncmp(path, under, length) && (path[length] == '/' || !path[length]);
}

static void note(char kind, int fd, uint64_t place, const char *path, const char *other, const void *data, size_t size) {
    struct head head = {(uint32_t)kind, (uint32_t)fd, place, path ? strlen(path) : 0, other ? strlen(other) : 0, size, 0};
    struct iovec parts[4] = {{&head, sizeof head}, {(void *)path, head.path}, {(void *)other, head.other}, {(void *)data, size}};
    int before = errno;
    if (journal < 0) journal = REAL(open)(getenv("RECORD_TO"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (writev(journal, parts, 4) < 0) abort();
    errno = before;
}

/* o: opened, c: opened and made */
static int opened(int fd, const char *path, int flags, int was_there) {
    if (fd < 0 || fd >= MOST) return fd;
    inside[fd] = below(path) && (flags & O_TMPFILE) != O_TMPFILE;
    if (inside[fd]) {
        note(was_there ? 'o' : 'c', fd, 0, path, NULL, NULL, 0);
        if (was_there && (flags & O_TRUNC)) note('t', fd, 0, NULL, NULL, NULL, 0);
    }
    return fd;
}

#define OPEN(name, parameters, folder, call)                                                              \
    int name parameters {                                                                                 \
        struct stat found;                                                                                \
        int mode = 0, was_there = below(path) && !lstat(path, &found);                                    \
        va_list more;                                                                                     \
        va_start(more, flags);                                                                            \
        if (flags & (O_CREAT | O_TMPFILE)) mode = va_arg(more, int);                                      \
        va_end(more);                                                                                     \
        return opened(call, path, flags, was_there);                                                      \
    }

OPEN(open, (const char *path, int flags, ...), AT_FDCWD, REAL(open)(path, flags, mode))
OPEN(open64, (const char *path, int flags, ...), AT_FDCWD, REAL(open64)(path, flags, mode))
OPEN(openat, (int folder, const char *path, int flags, ...), folder, REAL(openat)(folder, path, flags, mode))
OPEN(openat64, (int folder, const char *path, int flags, ...), folder, REAL(openat64)(folder, path, flags, mode))

int close(int fd) {
    if (fd >= 0 && fd < MOST) inside[fd] = 0;
    return REAL(close)(fd);
}

static int seen(int fd) { return fd >= 0 && fd < MOST && inside[fd]; }

/* w: written */
ssize_t write(int fd, const void *data, size_t size) {
    ssize_t done = REAL(write)(fd, data, size);
    if (done > 0 && seen(fd)) note('w', fd, lseek(fd, 0, SEEK_CUR) - done, NULL, NULL, data, done);
    return done;
}

#define PWRITE(name, offset_type)                                                       \
    ssize_t name(int fd, const void *data, size_t size, offset_type place) {            \
        ssize_t done = REAL(name)(fd, data, size, place);                               \
        if (done > 0 && seen(fd)) note('w', fd, place, NULL, NULL, data, done);         \
        return done;                                                                    \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

/* s: synced */
#define SYNC(name)                                                       \
    int name(int fd) {                                                   \
        int result = REAL(name)(fd);                                     \
        if (!result && seen(fd)) note('s', fd, 0, NULL, NULL, NULL, 0);  \
        return result;                                                   \
    }
SYNC(fsync)
SYNC(fdatasync)

/* t: cut to a size */
#define CUT(name, size_type)                                                   \
    int name(int fd, size_type size) {                                         \
        int result = REAL(name)(fd, size);                                     \
        if (!result && seen(fd)) note('t', fd, size, NULL, NULL, NULL, 0);     \
        return result;                                                         \
    }
CUT(ftruncate, off_t)
CUT(ftruncate64, off64_t)

/* r: renamed, u: removed, m: folder made */
int rename(const char *path, const char *target) {
    int result = REAL(rename)(path, target);
    if (!result && below(target)) note('r', 0, 0, path, target, NULL, 0);
    return result;
}

#define REMOVE(name, parameters, call)                                            \
    int name parameters {                                                         \
        int result = call;                                                        \
        if (!result && below(path)) note('u', 0, 0, path, NULL, NULL, 0);         \
        return result;                                                            \
    }
REMOVE(unlink, (const char *path), REAL(unlink)(path))
REMOVE(unlinkat, (int folder, const char *path, int flags), REAL(unlinkat)(folder, path, flags))
REMOVE(rmdir, (const char *path), REAL(rmdir)(path))

int mkdir(const char *path, mode_t mode) {
    int result = REAL(mkdir)(path, mode);
    if (!result && below(path)) note('m', 0, 0, path, NULL, NULL, 0);
    return result;
}
