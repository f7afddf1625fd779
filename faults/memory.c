/* A machine whose memory runs out: preloaded into commands (LD_PRELOAD), it counts the larger allocations, over all
   processes, and refuses one of them, or all from there on. faults/memory.py builds it and tells it what to do by the
   environment:

   MEMORY_COUNTER  a file of 8 bytes that all processes share; without it nothing is counted
   MEMORY_LEAST    the bytes from which an allocation is counted
   MEMORY_AT       the number of the one that is refused; 0: none
   MEMORY_LASTING  1: every one from there on, in all processes
   MEMORY_LOG      what was refused first: number, process, bytes */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

/* Who has read the environment: a process that forks for each command is told anew in each. */
static int reader;
static long *counter, at;
static size_t least;
static int lasting;

static void read_environment(void) {
    const char *file = getenv("MEMORY_COUNTER"), *value;
    counter = NULL;
    reader = getpid();
    if (!file || !*file) return;
    int opened = syscall(SYS_openat, AT_FDCWD, file, O_RDWR | O_CLOEXEC);
    if (opened < 0) return;
    void *mapped = (void *)syscall(SYS_mmap, NULL, sizeof *counter, PROT_READ | PROT_WRITE, MAP_SHARED, opened, 0);
    syscall(SYS_close, opened);
    if (mapped == MAP_FAILED) return;
    at = (value = getenv("MEMORY_AT")) ? atol(value) : 0;
    least = (value = getenv("MEMORY_LEAST")) ? strtoul(value, NULL, 10) : 1;
    lasting = (value = getenv("MEMORY_LASTING")) && *value == '1';
    counter = mapped;
}

static void told(long number, size_t size) {
    char line[100];
    const char *path = getenv("MEMORY_LOG");
    if (!path) return;
    int length = snprintf(line, sizeof line, "%ld %d %zu\n", number, getpid(), size);
    int file = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    (void)!syscall(SYS_write, file, line, length);
    syscall(SYS_close, file);
}

/* Whether there is no memory for so many bytes. */
static int refused(size_t size) {
    if (size < 4096 || !environ) return 0;
    if (!counter || reader != getpid()) read_environment();
    if (!counter || size < least) return 0;
    long number = __atomic_add_fetch(counter, 1, __ATOMIC_SEQ_CST);
    if (!at || number < at || (number > at && !lasting)) return 0;
    if (number == at) told(number, size);
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t size) { return refused(size) ? NULL : __libc_malloc(size); }

void *calloc(size_t count, size_t size) { return refused(count * size) ? NULL : __libc_calloc(count, size); }

void *realloc(void *old, size_t size) { return refused(size) ? NULL : __libc_realloc(old, size); }

void *memalign(size_t alignment, size_t size) { return refused(size) ? NULL : __libc_memalign(alignment, size); }

void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }

int posix_memalign(void **target, size_t alignment, size_t size) {
    void *found = memalign(alignment, size);
    if (!found && size) return ENOMEM;
    *target = found;
    return 0;
}

/* Where memory is asked for, not a file. */
#define MMAP(name, offset_type) \
    void *name(void *address, size_t size, int protection, int flags, int file, offset_type offset) { \
        if (flags & MAP_ANONYMOUS && protection & PROT_WRITE && refused(size)) return MAP_FAILED; \
        return (void *)syscall(SYS_mmap, address, size, protection, flags, file, offset); \
    }
MMAP(mmap, off_t)
MMAP(mmap64, off64_t)
