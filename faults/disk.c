/* A disk that fails: preloaded into a command (LD_PRELOAD), it counts the writing calls below a folder, over all
   processes, and makes one of them fail, stop half-way, or kill. faults/disk.py builds it and tells it what to do by
   the environment:

   DISK_ROOT      the folder; only calls on what lies below it are counted
   DISK_ONLY      patterns of paths below the folder, separated by ':'; empty: all
   DISK_EXCEPT    patterns of paths that are left alone
   DISK_COUNTER   a file of 8 bytes that all processes share
   DISK_LOG       a line for each counted call: number, process, call, path
   DISK_AT        the number at which it happens; 0: never
   DISK_ACTION    half (half of the bytes, where there are some, then the error), kill (before the call), kill_half
                  (half of the bytes, or the whole call where there are none, then the kill), cut (the file system
                  takes nothing more and forgets what it has not written, as when its power is cut; then the kill)
   DISK_ERROR     the errno of half
   DISK_LASTING   1: every call from DISK_AT on fails
   DISK_REMOVALS  1: removing is counted too */

#include "calls.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

/* Of ext4, XFS and others (linux/fs.h of newer kernels): without writing the journal. */
#define FS_IOC_SHUTDOWN _IOR('X', 125, uint32_t)
#define FS_SHUTDOWN_FLAGS_NOLOGFLUSH 2

enum verdict { PASS, FAIL, HALF, HALF_KILL };

static long counted(void) {
    int file = syscall(SYS_openat, AT_FDCWD, said("DISK_COUNTER"), O_RDWR);
    long *counter = mmap(NULL, sizeof *counter, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    syscall(SYS_close, file);
    if (counter == MAP_FAILED) return -1;
    long number = __atomic_add_fetch(counter, 1, __ATOMIC_SEQ_CST);
    munmap(counter, sizeof *counter);
    return number;
}

static void logged(long number, const char *call, const char *path) {
    char line[PATH_MAX + 100];
    int size = snprintf(line, sizeof line, "%ld %d %s %s\n", number, getpid(), call, path);
    int file = syscall(SYS_openat, AT_FDCWD, said("DISK_LOG"), O_WRONLY | O_APPEND | O_CREAT, 0644);
    syscall(SYS_write, file, line, size);
    syscall(SYS_close, file);
}

static void cut(const char *root) {
    uint32_t flags = FS_SHUTDOWN_FLAGS_NOLOGFLUSH;
    int folder = syscall(SYS_openat, AT_FDCWD, root, O_RDONLY | O_DIRECTORY);
    ioctl(folder, FS_IOC_SHUTDOWN, &flags);
    syscall(SYS_close, folder);
}

/* What shall happen to a call on an absolute path. */
static enum verdict judged(const char *call, const char *path) {
    const char *root = said("DISK_ROOT");
    size_t length = strlen(root);
    if (!length || strncmp(path, root, length) || path[length] != '/') return PASS;
    const char *below = path + length + 1, *only = said("DISK_ONLY");
    if ((*only && !matches(only, below)) || matches(said("DISK_EXCEPT"), below)) return PASS;
    int before = errno;
    long number = counted(), at = atol(said("DISK_AT"));
    logged(number, call, below);
    errno = before;
    if (!at || number < at || (number > at && !*said("DISK_LASTING"))) return PASS;
    const char *action = said("DISK_ACTION");
    if (!strcmp(action, "cut")) cut(root);
    if (!strcmp(action, "kill") || !strcmp(action, "cut")) kill(getpid(), SIGKILL);
    if (!strcmp(action, "kill_half")) return HALF_KILL;
    errno = atoi(said("DISK_ERROR"));
    return !strcmp(action, "half") && number == at ? HALF : FAIL;
}

/* The same for a path as a call gets it: relative to a folder's descriptor. */
static enum verdict judged_at(const char *call, int folder, const char *path) {
    char base[PATH_MAX], whole[2 * PATH_MAX], link[64];
    if (!path || !*said("DISK_ROOT")) return PASS;
    if (*path == '/') return judged(call, path);
    snprintf(link, sizeof link, folder == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", folder);
    ssize_t size = readlink(link, base, sizeof base - 1);
    if (size < 0) return PASS;
    base[size] = 0;
    while (!strncmp(path, "./", 2)) path += 2;
    snprintf(whole, sizeof whole, "%s/%s", base, path);
    return judged(call, whole);
}

static enum verdict judged_file(const char *call, int file) {
    char path[PATH_MAX], link[64];
    if (!*said("DISK_ROOT")) return PASS;
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t size = readlink(link, path, sizeof path - 1);
    errno = before;
    if (size < 0) return PASS;
    path[size] = 0;
    return judged(call, path);
}

static int is_removal_counted(void) { return *said("DISK_REMOVALS") != 0; }

/* A call without bytes that can be halved: it fails, or is done and followed by the kill. */
#define WHOLE(judgement, call) \
    do { \
        enum verdict found = judgement; \
        if (found == FAIL || found == HALF) return -1; \
        int done = call; \
        if (found == HALF_KILL) kill(getpid(), SIGKILL); \
        return done; \
    } while (0)

/* A call that writes `size` bytes: `half` writes half of them. */
#define BYTES(judgement, whole, half) \
    do { \
        enum verdict found = judgement; \
        if (found == PASS) return whole; \
        int error = errno; \
        if (found != FAIL) (void)!(half); \
        if (found == HALF_KILL) kill(getpid(), SIGKILL); \
        errno = error; \
        return -1; \
    } while (0)

#define MODE(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { \
        va_list rest; \
        va_start(rest, flags); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    } \
    enum verdict verdict
#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        MODE(flags) = writes(flags) ? judged_at("open", AT_FDCWD, path) : PASS; \
        REAL(name); \
        WHOLE(verdict, real(path, flags, mode)); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        MODE(flags) = writes(flags) ? judged_at("open", folder, path) : PASS; \
        REAL(name); \
        WHOLE(verdict, real(folder, path, flags, mode)); \
    }
OPENAT(openat)
OPENAT(openat64)

#define FOPEN(name) \
    FILE *name(const char *path, const char *mode) { \
        REAL(name); \
        enum verdict found = strpbrk(mode, "wa+") ? judged_at("open", AT_FDCWD, path) : PASS; \
        if (found == FAIL || found == HALF) return NULL; \
        FILE *file = real(path, mode); \
        if (found == HALF_KILL) kill(getpid(), SIGKILL); \
        return file; \
    }
FOPEN(fopen)
FOPEN(fopen64)

ssize_t write(int file, const void *data, size_t size) {
    REAL(write);
    BYTES(judged_file("write", file), real(file, data, size), real(file, data, size / 2));
}

#define PWRITE(name, offset_type) \
    ssize_t name(int file, const void *data, size_t size, offset_type offset) { \
        REAL(name); \
        BYTES(judged_file("write", file), real(file, data, size, offset), real(file, data, size / 2, offset)); \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t writev(int file, const struct iovec *parts, int count) {
    REAL(writev);
    BYTES(judged_file("write", file), real(file, parts, count), write(file, parts->iov_base, parts->iov_len / 2));
}

size_t fwrite(const void *data, size_t size, size_t count, FILE *stream) {
    REAL(fwrite);
    enum verdict found = judged_file("write", fileno(stream));
    if (found == PASS) return real(data, size, count, stream);
    int error = errno;
    if (found != FAIL) real(data, 1, size * count / 2, stream), fflush(stream);
    if (found == HALF_KILL) kill(getpid(), SIGKILL);
    errno = error;
    return 0;
}

#define SENDFILE(name, offset_type) \
    ssize_t name(int target, int source, offset_type *offset, size_t size) { \
        REAL(name); \
        BYTES(judged_file("write", target), real(target, source, offset, size), real(target, source, offset, size / 2)); \
    }
SENDFILE(sendfile, off_t)
SENDFILE(sendfile64, off64_t)

ssize_t copy_file_range(int source, off64_t *from, int target, off64_t *to, size_t size, unsigned flags) {
    REAL(copy_file_range);
    BYTES(judged_file("write", target), real(source, from, target, to, size, flags),
          real(source, from, target, to, size / 2, flags));
}

int fsync(int file) {
    REAL(fsync);
    WHOLE(judged_file("fsync", file), real(file));
}

int fdatasync(int file) {
    REAL(fdatasync);
    WHOLE(judged_file("fsync", file), real(file));
}

/* A close that fails has closed all the same. */
int close(int file) {
    REAL(close);
    int before = errno, flags = *said("DISK_ROOT") ? fcntl(file, F_GETFL) : -1;
    errno = before;
    enum verdict found = flags != -1 && (flags & O_ACCMODE) != O_RDONLY ? judged_file("close", file) : PASS;
    int error = errno, done = real(file);
    if (found == HALF_KILL) kill(getpid(), SIGKILL);
    if (found == PASS) return done;
    errno = error;
    return -1;
}

#define TRUNCATE(name, size_type) \
    int name(int file, size_type size) { \
        REAL(name); \
        WHOLE(judged_file("truncate", file), real(file, size)); \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

/* It returns its error. */
#define FALLOCATE(name, size_type) \
    int name(int file, size_type start, size_type size) { \
        REAL(name); \
        enum verdict found = judged_file("truncate", file); \
        if (found == FAIL || found == HALF) return errno; \
        int done = real(file, start, size); \
        if (found == HALF_KILL) kill(getpid(), SIGKILL); \
        return done; \
    }
FALLOCATE(posix_fallocate, off_t)
FALLOCATE(posix_fallocate64, off64_t)

/* Renaming is counted by its target. */
int rename(const char *from, const char *to) {
    REAL(rename);
    WHOLE(judged_at("rename", AT_FDCWD, to), real(from, to));
}

int renameat(int from_folder, const char *from, int to_folder, const char *to) {
    REAL(renameat);
    WHOLE(judged_at("rename", to_folder, to), real(from_folder, from, to_folder, to));
}

int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags) {
    REAL(renameat2);
    WHOLE(judged_at("rename", to_folder, to), real(from_folder, from, to_folder, to, flags));
}

/* Making a folder that is there writes nothing. */
int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    WHOLE(is_there(AT_FDCWD, path) ? PASS : judged_at("mkdir", AT_FDCWD, path), real(path, mode));
}

int mkdirat(int folder, const char *path, mode_t mode) {
    REAL(mkdirat);
    WHOLE(is_there(folder, path) ? PASS : judged_at("mkdir", folder, path), real(folder, path, mode));
}

int link(const char *from, const char *to) {
    REAL(link);
    WHOLE(judged_at("link", AT_FDCWD, to), real(from, to));
}

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
    REAL(linkat);
    WHOLE(judged_at("link", to_folder, to), real(from_folder, from, to_folder, to, flags));
}

int symlink(const char *from, const char *to) {
    REAL(symlink);
    WHOLE(judged_at("link", AT_FDCWD, to), real(from, to));
}

int unlink(const char *path) {
    REAL(unlink);
    WHOLE(is_removal_counted() ? judged_at("remove", AT_FDCWD, path) : PASS, real(path));
}

int unlinkat(int folder, const char *path, int flags) {
    REAL(unlinkat);
    WHOLE(is_removal_counted() ? judged_at("remove", folder, path) : PASS, real(folder, path, flags));
}

int rmdir(const char *path) {
    REAL(rmdir);
    WHOLE(is_removal_counted() ? judged_at("remove", AT_FDCWD, path) : PASS, real(path));
}
