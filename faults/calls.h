/* What the preloaded libraries that stand between a command and its files share. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

/* The value of a variable of the environment; empty where it is not set. */
static const char *said(const char *name) {
    const char *value = getenv(name);
    return value ? value : "";
}

/* Whether one of the patterns, separated by ':', matches. */
static int matches(const char *patterns, const char *path) {
    char copy[4096], *rest = copy, *pattern;
    snprintf(copy, sizeof copy, "%s", patterns);
    while ((pattern = strsep(&rest, ":")))
        if (*pattern && fnmatch(pattern, path, 0) == 0) return 1;
    return 0;
}

/* Whether a file that is opened so can be changed. */
static int writes(int flags) { return (flags & O_ACCMODE) != O_RDONLY || flags & (O_CREAT | O_TRUNC); }

static int is_there(int folder, const char *path) {
    int before = errno, found = syscall(SYS_faccessat, folder, path, F_OK) == 0;
    errno = before;
    return found;
}
