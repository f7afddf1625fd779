/* What reaches a disk, and in which order: preloaded into commands (LD_PRELOAD), it does each call that changes
   something below a folder, and writes down what it changed, over all processes. faults/power.py reads that and works
   out what a power cut would have left. By the environment:

   JOURNAL_ROOT    the folder, as the kernel names it; without it nothing is written down
   JOURNAL_EXCEPT  patterns of paths below the folder that are left alone, separated by ':'
   JOURNAL_FILE    where the changes go: for each a struct entry, its path, its other path, its bytes

   Who holds a lock on that file does a call and writes it down: the order is that in which the calls were done.
   fsync is written down and not done. */

#include "calls.h"

#include <sys/file.h>

enum operation { CREATE = 1, MKDIR, SYMLINK, LINK, RENAME, EXCHANGE, REMOVE, WRITE, SIZE, MODE, SYNC };

struct entry {
    uint32_t operation, mode;
    int64_t offset;
    uint64_t size;
    uint32_t path, other;
};

/* The part of an absolute path below the folder, or NULL where it is of no concern. */
static const char *below(const char *path) {
    const char *root = said("JOURNAL_ROOT");
    size_t length = strlen(root);
    if (!length || strncmp(path, root, length) || (path[length] && path[length] != '/')) return NULL;
    const char *found = path + length + (path[length] == '/');
    return matches(said("JOURNAL_EXCEPT"), found) ? NULL : found;
}

/* The path of a descriptor, as below. */
static const char *named(int file, char *path) {
    char link[64];
    if (!*said("JOURNAL_ROOT")) return NULL;
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t size = readlink(link, path, PATH_MAX - 1);
    errno = before;
    if (size < 0) return NULL;
    path[size] = 0;
    return below(path);
}

/* The path that a call gets, relative to a folder's descriptor: its folder as the kernel names it, its name as it is. */
static const char *placed(int folder, const char *given, char *path) {
    char parent[PATH_MAX], link[64];
    if (!given || !*said("JOURNAL_ROOT")) return NULL;
    int before = errno;
    snprintf(parent, sizeof parent, "%s", given);
    size_t length = strlen(parent);
    while (length > 1 && parent[length - 1] == '/') parent[--length] = 0;
    char *slash = strrchr(parent, '/'), name[NAME_MAX + 1];
    snprintf(name, sizeof name, "%s", slash ? slash + 1 : parent);
    if (slash) slash[slash == parent] = 0;
    int at = syscall(SYS_openat, folder, slash ? parent : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (at < 0) return errno = before, NULL;
    snprintf(link, sizeof link, "/proc/self/fd/%d", at);
    ssize_t size = readlink(link, path, PATH_MAX - NAME_MAX - 2);
    syscall(SYS_close, at);
    errno = before;
    if (size < 0) return NULL;
    path[size] = 0;
    strcat(strcat(path, "/"), name);
    return below(path);
}

static int begin(void) {
    int before = errno;
    int journal = syscall(SYS_openat, AT_FDCWD, said("JOURNAL_FILE"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    syscall(SYS_flock, journal, LOCK_EX);
    errno = before;
    return journal;
}

static void end(int journal) {
    int before = errno;
    syscall(SYS_close, journal);
    errno = before;
}

static void noted(int journal, enum operation operation, const char *path, const char *other, int64_t offset,
                  const void *data, uint64_t size, uint32_t mode) {
    int before = errno;
    struct entry entry = {operation, mode, offset, size, strlen(path), other ? strlen(other) : 0};
    struct iovec parts[] = {{&entry, sizeof entry}, {(void *)path, entry.path}, {(void *)other, entry.other},
                            {(void *)data, data ? size : 0}};
    syscall(SYS_writev, journal, parts, 4);
    errno = before;
}

/* A call that changes names; `then` notes it where it went well. */
#define CALL(concerned, call, then) \
    do { \
        if (!(concerned)) return call; \
        int journal = begin(), done = call; \
        if (done == 0) then; \
        end(journal); \
        return done; \
    } while (0)

#define NOTE(operation, path, other, mode) noted(journal, operation, path, other, 0, NULL, 0, mode)

static off_t size_of(int file) {
    struct stat found;
    return fstat(file, &found) ? 0 : found.st_size;
}

/* What opening has changed: a file is there that was not, or what was in it is gone. */
static void opened(int journal, const char *path, int was_there, int flags, int file) {
    struct stat found;
    if (file < 0 || fstat(file, &found) || !S_ISREG(found.st_mode)) return;
    if (!was_there) NOTE(CREATE, path, NULL, found.st_mode & 07777);
    else if (flags & O_TRUNC) NOTE(SIZE, path, NULL, 0);
}

#define OPENING(folder, given, flags, call) \
    do { \
        char place[PATH_MAX], target[PATH_MAX]; \
        const char *path = writes(flags) ? placed(folder, given, place) : NULL; \
        if (!path) return call; \
        int journal = begin(), was_there = is_there(folder, given), file = call; \
        /* Through a link it is another file that was opened. */ \
        const char *real_path = file < 0 ? NULL : named(file, target); \
        if (real_path) opened(journal, real_path, was_there, flags, file); \
        end(journal); \
        return file; \
    } while (0)

#define OPEN_MODE(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { \
        va_list rest; \
        va_start(rest, flags); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    }

#define OPEN(name) \
    int name(const char *path_given, int flags, ...) { \
        OPEN_MODE(flags) \
        REAL(name); \
        OPENING(AT_FDCWD, path_given, flags, real(path_given, flags, mode)); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
    int name(int folder, const char *path_given, int flags, ...) { \
        OPEN_MODE(flags) \
        REAL(name); \
        OPENING(folder, path_given, flags, real(folder, path_given, flags, mode)); \
    }
OPENAT(openat)
OPENAT(openat64)

#define FOPEN(name) \
    FILE *name(const char *given, const char *how) { \
        REAL(name); \
        char place[PATH_MAX]; \
        const char *path = strpbrk(how, "wa+") ? placed(AT_FDCWD, given, place) : NULL; \
        if (!path) return real(given, how); \
        int journal = begin(), was_there = is_there(AT_FDCWD, given); \
        FILE *file = real(given, how); \
        if (file) opened(journal, path, was_there, *how == 'w' ? O_TRUNC : 0, fileno(file)); \
        end(journal); \
        return file; \
    }
FOPEN(fopen)
FOPEN(fopen64)

static off_t position(int file) {
    return fcntl(file, F_GETFL) & O_APPEND ? size_of(file) : syscall(SYS_lseek, file, 0, SEEK_CUR);
}

/* A call that writes: `at` is where, `data` what. */
#define BYTES(file, at, data, call) \
    do { \
        char place[PATH_MAX]; \
        const char *path = named(file, place); \
        if (!path) return call; \
        int journal = begin(); \
        off_t offset = at; \
        ssize_t done = call; \
        if (done > 0) noted(journal, WRITE, path, NULL, offset, data, done, 0); \
        end(journal); \
        return done; \
    } while (0)

ssize_t write(int file, const void *data, size_t size) {
    REAL(write);
    BYTES(file, position(file), data, real(file, data, size));
}

#define PWRITE(name, offset_type) \
    ssize_t name(int file, const void *data, size_t size, offset_type at) { \
        REAL(name); \
        BYTES(file, at, data, real(file, data, size, at)); \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

/* Part by part: a call may write less than it was given. */
ssize_t writev(int file, const struct iovec *parts, int count) {
    REAL(writev);
    char place[PATH_MAX];
    if (!named(file, place)) return real(file, parts, count);
    ssize_t total = 0;
    for (int part = 0; part < count; part++) {
        ssize_t done = write(file, parts[part].iov_base, parts[part].iov_len);
        if (done < 0) return total ? total : -1;
        total += done;
        if ((size_t)done < parts[part].iov_len) break;
    }
    return total;
}

size_t fwrite(const void *data, size_t size, size_t count, FILE *stream) {
    REAL(fwrite);
    char place[PATH_MAX];
    const char *path = named(fileno(stream), place);
    if (!path) return real(data, size, count, stream);
    int journal = begin();
    off_t offset = position(fileno(stream));
    size_t done = real(data, size, count, stream);
    fflush(stream);
    if (done) noted(journal, WRITE, path, NULL, offset, data, done * size, 0);
    end(journal);
    return done;
}

/* What was copied is read again from where it came. */
static ssize_t copied(int source, off_t from, off_t offset, ssize_t done, int journal, const char *path) {
    char *data = done > 0 ? malloc(done) : NULL;
    if (data && syscall(SYS_pread64, source, data, done, from) == done)
        noted(journal, WRITE, path, NULL, offset, data, done, 0);
    free(data);
    return done;
}

#define COPYING(target, source, from, to, call) \
    do { \
        char place[PATH_MAX]; \
        const char *path = named(target, place); \
        if (!path) return call; \
        int journal = begin(); \
        off_t start = (from) ? *(from) : syscall(SYS_lseek, source, 0, SEEK_CUR), offset = to; \
        ssize_t done = copied(source, start, offset, call, journal, path); \
        end(journal); \
        return done; \
    } while (0)

#define SENDFILE(name, offset_type) \
    ssize_t name(int target, int source, offset_type *from, size_t size) { \
        REAL(name); \
        COPYING(target, source, from, position(target), real(target, source, from, size)); \
    }
SENDFILE(sendfile, off_t)
SENDFILE(sendfile64, off64_t)

ssize_t copy_file_range(int source, off64_t *from, int target, off64_t *to, size_t size, unsigned flags) {
    REAL(copy_file_range);
    COPYING(target, source, from, to ? *to : position(target), real(source, from, target, to, size, flags));
}

#define SYNCING(name) \
    int name(int file) { \
        REAL(name); \
        char place[PATH_MAX]; \
        const char *path = named(file, place); \
        CALL(path, path ? 0 : real(file), NOTE(SYNC, path, NULL, 0)); \
    }
SYNCING(fsync)
SYNCING(fdatasync)

#define TRUNCATE(name, size_type) \
    int name(int file, size_type size) { \
        REAL(name); \
        char place[PATH_MAX]; \
        const char *path = named(file, place); \
        CALL(path, real(file, size), noted(journal, SIZE, path, NULL, size, NULL, 0, 0)); \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

#define FALLOCATE(name, size_type) \
    int name(int file, size_type start, size_type size) { \
        REAL(name); \
        char place[PATH_MAX]; \
        const char *path = named(file, place); \
        CALL(path, real(file, start, size), noted(journal, SIZE, path, NULL, size_of(file), NULL, 0, 0)); \
    }
FALLOCATE(posix_fallocate, off_t)
FALLOCATE(posix_fallocate64, off64_t)

static int renamed(int from_folder, const char *from, int to_folder, const char *to, unsigned flags) {
    static int (*real)(int, const char *, int, const char *, unsigned);
    if (!real) real = (__typeof__(real))dlsym(RTLD_NEXT, "renameat2");
    char before[PATH_MAX], after[PATH_MAX];
    const char *one = placed(from_folder, from, before), *other = placed(to_folder, to, after);
    CALL(one && other, real(from_folder, from, to_folder, to, flags),
         NOTE(flags & RENAME_EXCHANGE ? EXCHANGE : RENAME, one, other, 0));
}

int rename(const char *from, const char *to) { return renamed(AT_FDCWD, from, AT_FDCWD, to, 0); }

int renameat(int from_folder, const char *from, int to_folder, const char *to) {
    return renamed(from_folder, from, to_folder, to, 0);
}

int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags) {
    return renamed(from_folder, from, to_folder, to, flags);
}

static mode_t mode_of(int folder, const char *given) {
    struct stat found;
    return fstatat(folder, given, &found, 0) ? 0755 : found.st_mode & 07777;
}

int mkdirat(int folder, const char *given, mode_t mode) {
    REAL(mkdirat);
    char place[PATH_MAX];
    const char *path = placed(folder, given, place);
    CALL(path, real(folder, given, mode), NOTE(MKDIR, path, NULL, mode_of(folder, given)));
}

int mkdir(const char *given, mode_t mode) { return mkdirat(AT_FDCWD, given, mode); }

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
    REAL(linkat);
    char before[PATH_MAX], after[PATH_MAX];
    const char *one = placed(from_folder, from, before), *other = placed(to_folder, to, after);
    CALL(one && other, real(from_folder, from, to_folder, to, flags), NOTE(LINK, one, other, 0));
}

int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

int symlinkat(const char *target, int folder, const char *given) {
    REAL(symlinkat);
    char place[PATH_MAX];
    const char *path = placed(folder, given, place);
    CALL(path, real(target, folder, given), NOTE(SYMLINK, path, target, 0));
}

int symlink(const char *target, const char *given) { return symlinkat(target, AT_FDCWD, given); }

int unlinkat(int folder, const char *given, int flags) {
    REAL(unlinkat);
    char place[PATH_MAX];
    const char *path = placed(folder, given, place);
    CALL(path, real(folder, given, flags), NOTE(REMOVE, path, NULL, 0));
}

int unlink(const char *given) { return unlinkat(AT_FDCWD, given, 0); }

int rmdir(const char *given) { return unlinkat(AT_FDCWD, given, AT_REMOVEDIR); }

int fchmod(int file, mode_t mode) {
    REAL(fchmod);
    char place[PATH_MAX];
    const char *path = named(file, place);
    CALL(path, real(file, mode), NOTE(MODE, path, NULL, mode & 07777));
}

int fchmodat(int folder, const char *given, mode_t mode, int flags) {
    REAL(fchmodat);
    char place[PATH_MAX];
    const char *path = placed(folder, given, place);
    CALL(path, real(folder, given, mode, flags), NOTE(MODE, path, NULL, mode & 07777));
}

int chmod(const char *given, mode_t mode) { return fchmodat(AT_FDCWD, given, mode, 0); }
